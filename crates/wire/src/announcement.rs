//! What a node tells everyone: that it is there, and how its holdings changed.
//!
//! A node's holdings have a version that grows by one with each change. A full announcement sets the receiver's belief,
//! a difference moves it by one version, a heartbeat keeps it alive. A receiver that finds a gap, or hears of a node it
//! does not know, asks that node for its holdings ([`crate::Request::Holdings`]). So gossip may lose, repeat and
//! reorder messages, and at rest it carries heartbeats only.

use bincode::{Decode, Encode};
use lighter_types::{Card, DiffId, SiteName};

use crate::codec::{self, CardLayout, Message, WireError};

/// When a node started, in milliseconds since 1970 by its own clock: tells its lives apart. Holdings versions of
/// different incarnations do not compare; the later incarnation wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// One gossip message. Who sent it is known from gossipsub's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub incarnation: Incarnation,
    /// The holdings' version after this announcement.
    pub version: u64,
    /// Grows with every announcement of an incarnation, so that no two have the same bytes.
    pub sequence: u64,
    pub site: Option<SiteName>,
    pub news: News,
}

/// What an announcement says of the sender's holdings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// All of them.
    Full(Vec<Card>),
    /// What one step of the version changed.
    Difference { added: Vec<Card>, removed: Vec<DiffId> },
    /// Nothing changed.
    Heartbeat,
    /// The node stops in good order: forget it at once.
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
    /// Under gossipsub's default limit of 64 KiB with its own fields and signature (FACTS: 60,000 bytes went through).
    const BYTES_MAX: usize = 60_000;
    type Layout = (u64, u64, u64, String, NewsLayout);

    fn to_layout(&self) -> Self::Layout {
        let news = match &self.news {
            News::Full(cards) => NewsLayout::Full(codec::cards_layout(cards)),
            News::Difference { added, removed } => {
                NewsLayout::Difference(codec::cards_layout(added), codec::diff_ids_layout(removed))
            }
            News::Heartbeat => NewsLayout::Heartbeat,
            News::Leaving => NewsLayout::Leaving,
        };
        (self.incarnation.0, self.version, self.sequence, codec::site_layout(self.site.as_ref()), news)
    }

    fn from_layout((incarnation, version, sequence, site, news): Self::Layout) -> Result<Self, WireError> {
        let news = match news {
            NewsLayout::Full(cards) => News::Full(codec::cards::<Self>(cards)?),
            NewsLayout::Difference(added, removed) => News::Difference {
                added: codec::cards::<Self>(added)?,
                removed: codec::diff_ids::<Self>(removed, crate::HOLDINGS_MAX)?,
            },
            NewsLayout::Heartbeat => News::Heartbeat,
            NewsLayout::Leaving => News::Leaving,
        };
        let site = codec::site::<Self>(&site)?;
        Ok(Self { incarnation: Incarnation(incarnation), version, sequence, site, news })
    }
}
