//! Announcements: a node tells all its peers that it is alive and how its holdings changed.
//!
//! A node's holdings have a version that grows by one with each change, and a digest. A receiver keeps a copy of the
//! holdings of each sender. A full announcement replaces the copy, a difference moves it forward, and a heartbeat keeps
//! it from expiring. Each announcement names the digest of the holdings after it: a receiver whose copy has that digest
//! is up to date, whatever it missed. Other receivers ask ([`crate::Request::Holdings`]). So gossip may lose, repeat
//! and reorder messages. A fleet at rest sends heartbeats only.

use bincode::{Decode, Encode};
use lighter_types::{Card, DiffId, SiteName};

use crate::ListDigest;
use crate::codec::{self, CardLayout, Message, WireError};

/// The time when a node started, in milliseconds since 1970 by the node's own clock. A restarted node has a new
/// incarnation. Holdings versions compare within one incarnation only; the later incarnation wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// One gossip message. Gossipsub's signature identifies the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub incarnation: Incarnation,
    /// The version of the holdings after this announcement.
    pub version: u64,
    /// Grows with every announcement of an incarnation, so that no two announcements have the same bytes. Gossipsub
    /// drops equal messages as duplicates.
    pub sequence: u64,
    pub site: Option<SiteName>,
    /// The digest of the holdings after this announcement.
    pub digest: ListDigest,
    pub news: News,
}

/// The change of the sender's holdings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// All holdings.
    Full(Vec<Card>),
    /// The change from the previous version to this one.
    Difference { added: Vec<Card>, removed: Vec<DiffId> },
    /// No change.
    Heartbeat,
    /// The node shuts down. Receivers forget it at once.
    Leaving,
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum NewsLayout {
    Full(Vec<CardLayout>),
    Difference(Vec<CardLayout>, Vec<[u8; 32]>),
    Heartbeat,
    Leaving,
}

impl Message for Announcement {
    const NAME: &'static str = "announcement";
    /// Gossipsub's default limit is 64 KiB, its own fields and signature included. A measured message of 60,000 bytes
    /// went through.
    const BYTES_MAX: usize = 60_000;
    type Layout = (u64, u64, u64, String, [u8; ListDigest::BYTES], NewsLayout);

    fn to_layout(&self) -> Self::Layout {
        let news = match &self.news {
            News::Full(cards) => NewsLayout::Full(codec::cards_layout(cards)),
            News::Difference { added, removed } => {
                NewsLayout::Difference(codec::cards_layout(added), codec::diff_ids_layout(removed))
            }
            News::Heartbeat => NewsLayout::Heartbeat,
            News::Leaving => NewsLayout::Leaving,
        };
        let site = codec::site_layout(self.site.as_ref());
        (self.incarnation.0, self.version, self.sequence, site, self.digest.to_bytes(), news)
    }

    fn from_layout((incarnation, version, sequence, site, digest, news): Self::Layout) -> Result<Self, WireError> {
        let news = match news {
            NewsLayout::Full(cards) => News::Full(codec::cards::<Self>(cards)?),
            NewsLayout::Difference(added, removed) => News::Difference {
                added: codec::cards::<Self>(added)?,
                removed: codec::diff_ids::<Self>(removed, crate::HOLDINGS_MAX)?,
            },
            NewsLayout::Heartbeat => News::Heartbeat,
            NewsLayout::Leaving => News::Leaving,
        };
        let (site, digest) = (codec::site::<Self>(&site)?, ListDigest::from_bytes(digest));
        Ok(Self { incarnation: Incarnation(incarnation), version, sequence, site, digest, news })
    }
}
