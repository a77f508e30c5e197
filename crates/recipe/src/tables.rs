//! Buffers of a fixed size on the heap, which the compiler can check cheaply.

/// A buffer of zeros.
pub fn boxed<T: Copy + Default, const N: usize>() -> Box<[T; N]> {
    match vec![T::default(); N].into_boxed_slice().try_into() {
        Ok(boxed) => boxed,
        // A slice of N items is an array of N items.
        Err(_) => Box::new([T::default(); N]),
    }
}
