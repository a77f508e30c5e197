//! Whether a request for a layer comes with a have-list.
//!
//! A provider has fewer places for lists than for requests. One that was busy for several requests with a list in a
//! row is asked once without a list: a patch with more bytes is better than none. If it is busy then as well, lists
//! were not the cause.

use lighter_types::DiffId;

use crate::core::Core;
use crate::settings::Settings;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lists {
    /// A list led to another layer: the node sends none for this layer any more.
    has_misled: bool,
    /// Whether the request under way has a list.
    is_sent: bool,
    /// Requests with a list in a row that met a busy provider.
    refused: u32,
}

impl Lists {
    pub fn may_send(&self) -> bool {
        !self.has_misled && self.refused < Settings::LISTS_REFUSED_MAX
    }

    /// A request goes out.
    pub fn asked(&mut self, has_list: bool) {
        self.is_sent = has_list;
    }

    /// The provider that was asked for a patch is busy.
    pub fn met_busy(&mut self) {
        self.refused = if self.is_sent { self.refused + 1 } else { 0 };
    }

    pub fn misled(&mut self) {
        self.has_misled = true;
    }
}

/// Whether a layer has fewer bytes than a question for its sketch or a quote.
pub fn is_tiny(id: DiffId, core: &Core) -> bool {
    core.directory.card(id).is_some_and(|card| card.compressed_bytes <= Settings::ASKING_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_provider_is_asked_once_without_a_list() {
        let mut lists = Lists::default();
        let asked: Vec<bool> = std::iter::repeat_with(|| {
            let may_send = lists.may_send();
            lists.asked(may_send);
            lists.met_busy();
            may_send
        })
        .take(6)
        .collect();
        assert_eq!(asked, [true, true, false, true, true, false]);
        lists.misled();
        assert!(!lists.may_send());
    }
}
