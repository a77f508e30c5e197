//! The commands, one file for each family.

pub mod bench;
pub mod config;
pub mod documents;
pub mod image;
pub mod layer;
pub mod mirror;
pub mod node;
pub mod patch;
pub mod plan;
pub mod recipe;
pub mod release;
pub mod sim;
pub mod status;
pub mod store;
