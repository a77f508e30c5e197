//! From a target and its bases to steps and frames of the delta codec.
//!
//! The layers are cut into the entries of their tars ([`files`]). An entry that stands in a base as it is, header and
//! all, is a copy; so is a content that stands in any base ([`draft`]), or earlier in the target ([`twins`]). What remains is compared with the files that it
//! may have been changed from ([`pairs`]), compressed streams taken apart ([`streams`], in [`gzip`], [`zip`] and xz files), byte by byte ([`matches`]), all that is
//! left of the bases included ([`material`], brought together by [`loading`]). The steps that come out ([`writer`],
//! [`weave`], [`plan`]) are cut into frames ([`frames`]), which are encoded on several threads.
//!
//! Everything is a function of the layers and the settings; threads only share work.

mod draft;
mod files;
mod frames;
mod gzip;
mod index;
mod loading;
mod matches;
mod material;
mod pairs;
mod plan;
mod steps;
mod streams;
mod twins;
mod weave;
mod writer;
mod zip;

pub(crate) use files::{Entry, entries};
pub(crate) use frames::{EncodedFrame, cut, encode_frames};
pub(crate) use index::Window;
pub(crate) use plan::{Search, plan};
pub(crate) use steps::{Layers, drop_unused};
