//! Where the exact blobs of an image's layers come from. Nodes send it with the image's documents and keep it on disk.
//!
//! This crate does not read a recipe's bytes (docs/RECIPE.md).

use bincode::{Decode, Encode};

use crate::codec::{Message, WireError};
use crate::{RECIPES_BYTES_MAX, RECIPES_MAX};

/// The sources of the blobs of an image's layers, in the order of its manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRecipes(pub Vec<BlobSource>);

/// Where the exact blob of a layer comes from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum BlobSource {
    /// Nobody has found out. The node serves no such blob.
    Unknown,
    /// The blob is the layer's tar.
    Plain,
    /// The blob is rebuilt from the tar by this recipe.
    Recipe(Vec<u8>),
    /// No recipe makes the blob: it is kept, and travels as a layer of its own whose name is its digest.
    Verbatim,
}

impl Message for ImageRecipes {
    const NAME: &'static str = "recipes of an image";
    const BYTES_MAX: usize = RECIPES_BYTES_MAX;
    type Layout = Vec<BlobSource>;

    fn to_layout(&self) -> Vec<BlobSource> {
        self.0.clone()
    }

    fn from_layout(layout: Vec<BlobSource>) -> Result<Self, WireError> {
        Self::check_limit("number of layers", layout.len(), RECIPES_MAX)?;
        Ok(Self(layout))
    }
}
