//! The peers' turns at the encoder, by the time that was spent on each.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queuing", SIGCOMM 1996). Each peer has an account of
//! encoding time. The patch whose peer has the lowest account comes next. A patch is charged when it begins, by what it
//! is expected to take, and corrected when it has ended: so a peer cannot make its work look cheap. The peers that wait
//! for a patch share its cost. A peer that asks for its first patch starts at the account of the patch that began last:
//! so it gets its turn behind the patch under way, and nobody saves up time while it asks for nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use lighter_types::PeerId;

use crate::settings::Settings;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    /// Accounts above `now`. At most [`Settings::ACCOUNTS_MAX`].
    accounts: BTreeMap<PeerId, Duration>,
    /// The lowest account of the patch that began last.
    now: Duration,
}

impl Turns {
    /// The turn of a patch for which these peers wait: that of the peer on which the least time was spent.
    pub fn of(&self, peers: &[PeerId]) -> Duration {
        peers.iter().map(|&peer| self.account(peer)).min().unwrap_or(self.now)
    }

    /// A patch begins for these peers, and is expected to cost this.
    pub fn begin(&mut self, peers: &[PeerId], cost: Duration) {
        self.now = self.of(peers).max(self.now);
        self.charge(peers, cost);
    }

    /// Charges these peers, each its share.
    pub fn charge(&mut self, peers: &[PeerId], cost: Duration) {
        for &peer in peers {
            let account = self.account(peer).saturating_add(share(cost, peers));
            self.accounts.insert(peer, account);
        }
        self.forget();
    }

    /// A patch for these peers cost something else than expected.
    pub fn correct(&mut self, peers: &[PeerId], expected: Duration, cost: Duration) {
        for &peer in peers {
            let account = self.account(peer).saturating_sub(share(expected, peers));
            self.accounts.insert(peer, account.saturating_add(share(cost, peers)));
        }
        self.forget();
    }

    /// Peers with an account of their own.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.accounts.len()
    }

    fn account(&self, peer: PeerId) -> Duration {
        self.accounts.get(&peer).map_or(self.now, |&account| account.max(self.now))
    }

    /// Forgets accounts that tell nothing, and beyond the cap the lowest ones.
    fn forget(&mut self) {
        self.accounts.retain(|_, account| *account > self.now);
        while self.accounts.len() > Settings::ACCOUNTS_MAX
            && let Some((&peer, _)) = self.accounts.iter().min_by_key(|(_, account)| **account)
        {
            self.accounts.remove(&peer);
        }
    }
}

fn share(cost: Duration, peers: &[PeerId]) -> Duration {
    cost / u32::try_from(peers.len()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: PeerId = PeerId::new([1; 32]);
    const CALM: PeerId = PeerId::new([2; 32]);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_that_was_spent_on_a_peer_puts_it_behind_the_others() {
        let mut turns = Turns::default();
        assert_eq!(turns.of(&[LOUD]), turns.of(&[CALM]));
        turns.begin(&[LOUD], SECOND);
        assert!(turns.of(&[CALM]) < turns.of(&[LOUD]));
        assert_eq!(turns.of(&[LOUD, CALM]), turns.of(&[CALM]), "a patch comes at the earliest turn of its peers");
        turns.begin(&[CALM], SECOND * 3);
        assert!(turns.of(&[LOUD]) < turns.of(&[CALM]));
        turns.correct(&[CALM], SECOND * 3, SECOND);
        assert_eq!(turns.of(&[LOUD]), turns.of(&[CALM]));
    }

    #[test]
    fn peers_that_share_a_patch_share_its_cost() {
        let mut turns = Turns::default();
        turns.begin(&[LOUD, CALM], SECOND * 4);
        assert_eq!(turns.of(&[LOUD]), SECOND * 2);
        turns.correct(&[LOUD, CALM], SECOND * 4, SECOND * 6);
        assert_eq!(turns.of(&[CALM]), SECOND * 3);
    }

    #[test]
    fn a_peer_that_was_silent_has_no_time_saved_up() {
        let mut turns = Turns::default();
        for _ in 0..9 {
            turns.begin(&[LOUD], SECOND);
        }
        let before = turns.of(&[LOUD]);
        assert_eq!(turns.of(&[CALM]), before - SECOND, "one patch behind, not nine");
        turns.begin(&[CALM], SECOND * 2);
        assert!(turns.of(&[LOUD]) < turns.of(&[CALM]));
    }

    #[test]
    fn accounts_are_forgotten() {
        let mut turns = Turns::default();
        let peer = |name: usize| PeerId::new(std::array::from_fn(|index| (name >> (8 * (index % 4))) as u8));
        for name in 0..Settings::ACCOUNTS_MAX + 10 {
            turns.charge(&[peer(name)], SECOND);
        }
        assert_eq!(turns.held(), Settings::ACCOUNTS_MAX);
        turns.begin(&[peer(0), peer(1)], SECOND * 10);
        turns.begin(&[peer(1)], SECOND);
        assert_eq!(turns.held(), 1, "the one that the clock has not reached");
    }
}
