//! Models of a frame's contents, in two tiers.
//!
//! - [`contents`] is what a walk over a frame calls, for either tier.
//! - [`light`] codes runs of equal bytes and the changes between them, by symbols. Fast.
//! - [`full`] codes each bit by a mix of contexts: whether a byte is the base's, and the byte itself. Small. [`quick`]
//!   has the contexts; [`earlier`] those of patches of earlier programs, by [`hits`] and [`bytes`]. Both code
//!   [`blocks`] of equal bytes.
//! - [`headers`] codes tar headers field by field.
//! - [`references`] guesses how a changed reference in code or a table changed; both tiers use it.
//! - [`mixer`] has the probabilities, and mixes them; [`window`] has the base's bytes that a match is coded against.

mod blocks;
mod bytes;
pub mod contents;
pub mod earlier;
pub mod full;
pub mod headers;
mod hits;
mod light;
mod mixer;
pub mod quick;
mod references;
pub mod window;
