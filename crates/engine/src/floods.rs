//! Counts the messages of each peer within a window, to tell busy peers from flooding ones.

use std::collections::BTreeMap;

use lighter_types::{Moment, PeerId};

use crate::settings::Settings;

/// The judgement of one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Refuse or ignore it.
    TooMany,
    /// Cut the peer off.
    Flood,
}

#[derive(Debug, Default)]
pub struct Floods {
    /// For each peer, when its window began, and its messages since. At most as many as peers are believed in.
    counts: BTreeMap<PeerId, (Moment, u32)>,
    /// When the peers whose window is over were last forgotten to make room.
    swept: Moment,
}

impl Floods {
    /// Counts a message.
    pub fn count(&mut self, from: PeerId, now: Moment, peers_max: usize) -> Verdict {
        self.count_many(from, 1, now, peers_max)
    }

    /// Counts a message that makes as much work as this many. At most `peers_max` peers are counted in a window; a
    /// message of another peer is one too many.
    pub fn count_many(&mut self, from: PeerId, messages: u32, now: Moment, peers_max: usize) -> Verdict {
        if self.counts.len() >= peers_max && is_over(self.swept, now) {
            self.counts.retain(|_, (since, _)| !is_over(*since, now));
            self.swept = now;
        }
        if self.counts.len() >= peers_max && !self.counts.contains_key(&from) {
            return Verdict::TooMany;
        }
        let (since, count) = self.counts.entry(from).or_insert((now, 0));
        if is_over(*since, now) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(messages);
        match *count {
            count if count > Settings::MESSAGES_MAX * 10 => Verdict::Flood,
            count if count > Settings::MESSAGES_MAX => Verdict::TooMany,
            _ => Verdict::Fine,
        }
    }
}

/// Whether a window that began at `since` is over.
fn is_over(since: Moment, now: Moment) -> bool {
    now.since(since) >= Settings::FLOOD_WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_as_messages() {
        let (mut floods, peer) = (Floods::default(), PeerId::new([1; 32]));
        assert_eq!(floods.count_many(peer, Settings::MESSAGES_MAX, Moment(5), 2), Verdict::Fine);
        assert_eq!(floods.count(peer, Moment(5), 2), Verdict::TooMany);
        assert_eq!(floods.count_many(peer, u32::MAX, Moment(5), 2), Verdict::Flood);
    }

    #[test]
    fn many_are_refused_and_far_too_many_are_a_flood() {
        let mut floods = Floods::default();
        let peer = PeerId::new([1; 32]);
        let verdicts: Vec<Verdict> =
            (0..=Settings::MESSAGES_MAX * 10).map(|_| floods.count(peer, Moment(5), 2)).collect();
        assert_eq!(verdicts[Settings::MESSAGES_MAX as usize - 1], Verdict::Fine);
        assert_eq!(verdicts[Settings::MESSAGES_MAX as usize], Verdict::TooMany);
        assert_eq!(verdicts.last(), Some(&Verdict::Flood));
        assert_eq!(floods.count(PeerId::new([2; 32]), Moment(5), 2), Verdict::Fine);
        assert_eq!(floods.count(PeerId::new([3; 32]), Moment(5), 2), Verdict::TooMany);
        assert_eq!(floods.count(peer, Moment(5) + Settings::FLOOD_WINDOW, 2), Verdict::Fine);
        // A peer whose window is over makes room.
        assert_eq!(floods.count(PeerId::new([3; 32]), Moment(5) + Settings::FLOOD_WINDOW, 2), Verdict::Fine);
        assert_eq!(floods.count(PeerId::new([4; 32]), Moment(5) + Settings::FLOOD_WINDOW, 2), Verdict::TooMany);
    }
}
