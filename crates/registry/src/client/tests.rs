//! The client against registries that are wrong in every way, on a network within the process.
//!
//! The clock is paused: it moves only while everything waits, so waits take no time and are exact.

mod authorization;
mod blobs;
mod documents;
mod files;
mod mirrors;
mod network;
mod redirects;
mod referring;
