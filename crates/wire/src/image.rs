//! One question about an image, and all that a pull needs before its first patch.
//!
//! ```text
//! asker                                               peer
//!   | ImageRequest: name, known manifest, documents?    |
//!   |-------------------------------------------------->|
//!   |    ImageAnswer: release, manifest, config, offers |
//!   |<--------------------------------------------------|
//!   | one patch stream for each layer ...               |
//! ```
//!
//! The peer knows from gossip which layers the asker holds. So it quotes, with the documents, a patch for each layer of
//! the image that it holds and the asker lacks. The asker checks everything: the signature of the release, the digests
//! of manifest and config, and that it holds the bases of each quote.

use bincode::{Decode, Encode};
use lighter_types::{ImageReference, OciDigest};

use crate::codec::{Message, WireError};
use crate::handover::{HandoverLayout, SignedHandover};
use crate::list::ListDigest;
use crate::quote::{Quote, QuoteLayout, quote, quote_layout};
use crate::release::{ReleaseLayout, SignedRelease};
use crate::terms::{Terms, TermsLayout};
use crate::{BLOB_BYTES_MAX, HANDOVERS_MAX, LAYER_OFFERS_MAX, RECIPES_BYTES_MAX};

/// Asks about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    pub name: ImageName,
    /// A manifest that the asker has: if the image is this one, the peer leaves out documents and offers.
    pub known: Option<OciDigest>,
    /// Whether the asker wants documents and offers beside the release.
    pub documents: bool,
    /// The list of layers that the asker holds. A peer that knows another list makes no offers: they would leave out
    /// bases.
    pub list: Option<ListDigest>,
    /// The offers are to suit these.
    pub terms: Terms,
}

/// The name of an image in a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// A reference. A release that a publisher signed says which manifest it stands for.
    Reference(ImageReference),
    Manifest(OciDigest),
}

/// A peer's knowledge of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageAnswer {
    /// The release of the reference that was asked for; absent in the answer to a question for a manifest.
    pub release: Option<SignedRelease>,
    pub documents: Option<Documents>,
    /// One for each layer that the peer can send. At most [`LAYER_OFFERS_MAX`].
    pub offers: Vec<LayerOffer>,
    /// The statements by which keys handed over the repository that was asked for. At most [`HANDOVERS_MAX`].
    pub handovers: Vec<SignedHandover>,
}

/// The documents of an image. Together they have at most [`BLOB_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    pub manifest: Vec<u8>,
    /// Absent if the peer does not have it.
    pub config: Option<Vec<u8>>,
    /// [`crate::ImageRecipes`], from which the exact blobs are rebuilt; absent if the peer does not have them. Nothing
    /// vouches for them: a rebuilt blob must have its digest.
    pub recipes: Option<Vec<u8>>,
}

/// The cost of a patch for one layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerOffer {
    /// The layer's place in the image's config, from 0.
    pub layer: u16,
    pub quote: Quote,
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum ImageNameLayout {
    Reference(String),
    Manifest([u8; 32]),
}

/// Name, known manifest, whether documents are wanted, list and terms of the asker.
pub(crate) type ImageRequestLayout =
    (ImageNameLayout, Option<[u8; 32]>, bool, Option<[u8; ListDigest::BYTES]>, TermsLayout);

/// Release, documents as manifest, config and recipes, offers as place and quote, handovers.
pub(crate) type ImageAnswerLayout =
    (Option<ReleaseLayout>, Option<DocumentsLayout>, Vec<(u16, QuoteLayout)>, Vec<HandoverLayout>);

/// Manifest, config, recipes.
type DocumentsLayout = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

pub(crate) fn request_layout(request: &ImageRequest) -> ImageRequestLayout {
    let name = match &request.name {
        ImageName::Reference(reference) => ImageNameLayout::Reference(reference.to_string()),
        ImageName::Manifest(digest) => ImageNameLayout::Manifest(*digest.as_bytes()),
    };
    let known = request.known.map(|digest| *digest.as_bytes());
    (name, known, request.documents, request.list.map(ListDigest::to_bytes), request.terms.to_layout())
}

pub(crate) fn request<M: Message>(
    (name, known, documents, list, terms): ImageRequestLayout,
) -> Result<ImageRequest, WireError> {
    let name = match name {
        ImageNameLayout::Reference(text) => ImageName::Reference(M::parse(&text)?),
        ImageNameLayout::Manifest(digest) => ImageName::Manifest(OciDigest::new(digest)),
    };
    Ok(ImageRequest {
        name,
        known: known.map(OciDigest::new),
        documents,
        list: list.map(ListDigest::from_bytes),
        terms: Terms::from_layout::<M>(terms)?,
    })
}

pub(crate) fn answer_layout(answer: &ImageAnswer) -> ImageAnswerLayout {
    let documents = answer.documents.as_ref();
    (
        answer.release.as_ref().map(SignedRelease::to_layout),
        documents.map(|documents| (documents.manifest.clone(), documents.config.clone(), documents.recipes.clone())),
        answer.offers.iter().map(|offer| (offer.layer, quote_layout(&offer.quote))).collect(),
        answer.handovers.iter().map(SignedHandover::to_layout).collect(),
    )
}

pub(crate) fn answer<M: Message>(
    (release, documents, offers, handovers): ImageAnswerLayout,
) -> Result<ImageAnswer, WireError> {
    M::check_limit("number of handovers", handovers.len(), HANDOVERS_MAX)?;
    M::check_limit("number of offers", offers.len(), LAYER_OFFERS_MAX)?;
    if let Some((manifest, config, recipes)) = &documents {
        check_documents::<M>(&[Some(manifest), config.as_ref(), recipes.as_ref()])?;
        M::check_limit("size of recipes", recipes.as_ref().map_or(0, Vec::len), RECIPES_BYTES_MAX)?;
    }
    let offers = offers.into_iter().map(|(layer, offer)| Ok(LayerOffer { layer, quote: quote::<M>(offer)? }));
    Ok(ImageAnswer {
        release: release.map(SignedRelease::from_layout).transpose()?,
        documents: documents.map(|(manifest, config, recipes)| Documents { manifest, config, recipes }),
        offers: offers.collect::<Result<_, WireError>>()?,
        handovers: handovers.into_iter().map(SignedHandover::from_layout).collect::<Result<_, WireError>>()?,
    })
}

/// Fails for documents that together have more than [`BLOB_BYTES_MAX`] bytes.
pub(crate) fn check_documents<M: Message>(documents: &[Option<&Vec<u8>>]) -> Result<(), WireError> {
    let bytes = documents.iter().flatten().map(|bytes| bytes.len()).sum();
    M::check_limit("size of an image's documents", bytes, BLOB_BYTES_MAX)
}
