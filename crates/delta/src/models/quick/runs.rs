//! Hashed contexts that keep one byte: the one that followed last, and how often in a row. Source: the run model of
//! M. Mahoney's paq8.

/// How many contexts keep a byte.
pub const CONTEXTS: usize = 4;
/// The bits of each context's table.
const RUN_BITS: u32 = 15;
const COUNT_MAX: u32 = 63;

/// A byte that followed a context, and how often in a row: 1 to 63.
#[derive(Clone, Copy)]
pub struct Run {
    pub byte: u8,
    pub count: u8,
}

/// The tables: 16 bits that tell the context from others, 8 of the byte, 8 that count; 0 if nothing followed yet.
pub struct Runs(Vec<u32>);

impl Runs {
    pub fn new() -> Self {
        Self(vec![0; CONTEXTS << RUN_BITS])
    }

    #[inline]
    fn place(index: usize, context: u64) -> usize {
        index << RUN_BITS | (context >> (64 - RUN_BITS)) as usize
    }

    /// The byte that followed each context, if one did.
    #[inline]
    pub fn get(&self, contexts: &[u64; CONTEXTS]) -> [Option<Run>; CONTEXTS] {
        // All are read before any is looked at: the processor waits for memory once.
        let mut numbers = [0; CONTEXTS];
        for ((index, number), &context) in numbers.iter_mut().enumerate().zip(contexts) {
            *number = self.0[Self::place(index, context)];
        }
        let mut runs = [None; CONTEXTS];
        for ((run, number), &context) in runs.iter_mut().zip(numbers).zip(contexts) {
            if number >> 16 == context as u32 & 0xffff && number & 0xff > 0 {
                *run = Some(Run { byte: (number >> 8) as u8, count: number as u8 });
            }
        }
        runs
    }

    /// Learns which byte followed.
    #[inline]
    pub fn learn(&mut self, contexts: &[u64; CONTEXTS], byte: u8) {
        for (index, &context) in contexts.iter().enumerate() {
            let number = &mut self.0[Self::place(index, context)];
            let same = context as u32 & 0xffff;
            let key = same << 8 | u32::from(byte);
            let count = if *number >> 8 == key { (*number & 0xff).min(COUNT_MAX - 1) } else { 0 };
            *number = key << 8 | (count + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_counts_the_byte_that_follows_and_forgets_it_for_another() {
        let mut runs = Runs::new();
        let contexts = [11 << 50 | 5, 12 << 50, 13 << 50, 14 << 50 | 1];
        assert!(runs.get(&contexts).iter().all(Option::is_none));
        for _ in 0..100 {
            runs.learn(&contexts, 0);
        }
        assert!(runs.get(&contexts).iter().flatten().all(|run| run.byte == 0 && run.count == 63));
        runs.learn(&contexts, 9);
        assert!(runs.get(&contexts).iter().flatten().all(|run| run.byte == 9 && run.count == 1));
        // Another context at the same place is told apart.
        assert!(runs.get(&contexts.map(|context| context ^ 2)).iter().all(Option::is_none));
    }
}
