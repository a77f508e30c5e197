//! Entropy coders: bits, symbols and numbers in, bytes out, and back.
//!
//! - [`Encoder`] and [`Decoder`]: arithmetic coding of single bits.
//! - [`AnsEncoder`] and [`AnsDecoder`]: asymmetric numeral systems, for symbols of four bits and for plain bits.
//! - [`Frequencies`], [`ByteModel`] and [`Numbers`]: models that learn while they code. A model is written once, over
//!   [`Coder`] or [`SymbolCoder`]; the encoder and the decoder run the same code.
//! - [`varint`]: integers of variable size.
//!
//! All of it is in integers, so that every machine writes the same bytes. Decoders accept any input: behind the end of
//! a message stand zeros, and `is_past_end` and `is_at_end` tell whether the message was whole.

#![deny(clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod ans;
mod arithmetic;
mod coder;
mod numbers;
mod symbols;
pub mod varint;

pub use ans::{AnsDecoder, AnsEncoder};
pub use arithmetic::{Decoder, Encoder};
pub use coder::{Coder, SYMBOLS, Starts, SymbolCoder};
pub use numbers::{NUMBER_MAX, Numbers};
pub use symbols::{ByteModel, Frequencies};
