//! This machine's wall clock: it may be wrong, and it may jump.
//!
//! No wait, rate or cut-off is measured by it: those go by the monotonic clock ([`crate::shared::Shared::now`]). The
//! wall clock dates releases and the life of this node. The order in which the store evicts goes by [`UseClock`].
//! Peers compare the date and the end of a release with their clocks, unless these are known to be wrong
//! (`releases/time.rs`): so a wrong clock refuses nothing for good, and `status` tells of it. Records of other
//! programs and certificates of registries need a right one too.
//!
//! Peers date their life by their clocks. That is a time which those clocks have shown: a clock that shows less than
//! most of them did is behind. Whether it is ahead, that does not tell.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lighter_store::{Store, UnixSeconds};
use lighter_types::Moment;
use lighter_wire::Incarnation;

/// The beginning of 2024: a clock that shows less was never set, as on a board without a battery.
const SET_MIN: UnixSeconds = UnixSeconds(1_704_067_200);
/// A smaller step is a correction, and no jump.
const JUMP_MIN_S: u64 = 60;
/// `status` tells of a jump for a day.
const JUMP_TOLD_MS: u64 = 24 * 3600 * 1000;
/// Peers whose clocks were this much ahead show that this one is behind. Less is the poor clock of some machine.
const BEHIND_MIN_S: u64 = 600;
const REMEDY: &str = "let NTP set the clock (`timedatectl` shows whether it does)";

/// Seconds since 1970 by this machine's clock; 0 before.
pub fn unix_now() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs()))
}

/// The clock by which the store orders uses: from the latest use on, it goes as the monotonic clock does. A clock that
/// is set back would otherwise make everything that is used from then on seem older than all before, for years.
pub struct UseClock {
    opened: UnixSeconds,
    started: Instant,
}

impl UseClock {
    /// The clock of a store that was opened just now.
    pub fn of(store: &Store) -> Self {
        Self { opened: unix_now().max(store.last_use()), started: Instant::now() }
    }

    pub fn now(&self) -> UnixSeconds {
        UnixSeconds(self.opened.0.saturating_add(self.started.elapsed().as_secs()))
    }
}

/// A jump of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    from: UnixSeconds,
    to: UnixSeconds,
    at: Moment,
}

impl std::fmt::Display for Jump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, .. } = self;
        let direction = if to > from { "forward" } else { "back" };
        let by = span(to.0.abs_diff(from.0));
        write!(f, "jumped {direction} by {by}, from {} to {}", shown(*from), shown(*to))
    }
}

/// The wall clock as it was seen from time to time.
#[derive(Debug, Default)]
pub struct WallClock {
    seen: Option<(UnixSeconds, Moment)>,
    jump: Option<Jump>,
}

impl WallClock {
    /// Takes in that the clock shows `wall` now. Returns a jump since the last look.
    pub fn look(&mut self, wall: UnixSeconds, now: Moment) -> Option<Jump> {
        let (before, then) = self.seen.replace((wall, now))?;
        let expected = UnixSeconds(before.0.saturating_add(now.since(then).as_secs()));
        if wall.0.abs_diff(expected.0) < JUMP_MIN_S {
            return None;
        }
        let jump = Jump { from: expected, to: wall, at: now };
        // A clock that is set for the first time is as it should be.
        let is_first = expected < SET_MIN && wall >= SET_MIN;
        self.jump = (!is_first).then_some(jump);
        Some(jump)
    }

    /// A sentence for the operator about each trouble with the clock, with its remedy. `lives` are those of the
    /// connected peers.
    pub fn warnings(&self, wall: UnixSeconds, now: Moment, lives: &[Incarnation]) -> Vec<String> {
        let recent = self.jump.filter(|jump| now.0.saturating_sub(jump.at.0) < JUMP_TOLD_MS);
        let jumped = recent.map(|jump| {
            let ago = span(now.since(jump.at).as_secs());
            format!("this machine's clock {jump}, {ago} ago, or the machine slept: {REMEDY}")
        });
        trouble(wall, lives).map(|trouble| format!("{trouble}: {REMEDY}")).into_iter().chain(jumped).collect()
    }
}

/// Why the clock must be wrong, if it must.
pub fn trouble(wall: UnixSeconds, lives: &[Incarnation]) -> Option<String> {
    let behind = behind(wall, lives).map(|(by, peers)| {
        let clocks =
            if peers == 1 { "that of the connected peer".to_owned() } else { format!("those of {peers} peers") };
        format!("at least {} behind {clocks} (their median)", span(by))
    });
    match (wall < SET_MIN, behind) {
        (true, None) => Some(format!("this machine's clock was never set: it shows {}", shown(wall))),
        (true, Some(behind)) => Some(format!("this machine's clock was never set: it shows {}, {behind}", shown(wall))),
        (false, Some(behind)) => Some(format!("this machine's clock is wrong: it shows {}, {behind}", shown(wall))),
        (false, None) => None,
    }
}

/// By how much the clock is behind the median of the peers' lives, and how many peers there are.
fn behind(wall: UnixSeconds, lives: &[Incarnation]) -> Option<(u64, usize)> {
    let mut lives = lives.to_vec();
    lives.sort_unstable();
    // The earlier of two in the middle: more than half of the peers must say so.
    let median = lives.get(lives.len().checked_sub(1)? / 2)?.0 / 1000;
    let by = median.checked_sub(wall.0).filter(|&by| by >= BEHIND_MIN_S)?;
    Some((by, lives.len()))
}

pub fn shown(wall: UnixSeconds) -> String {
    let moment = i64::try_from(wall.0).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| "a time beyond the year 9999".to_owned(), |moment| moment.to_string())
}

pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use lighter_store::GcMode;
    use lighter_types::OciDigest;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::admin::collect;

    const NOON: u64 = 1_796_000_000;
    const YEARS: u64 = 30 * 365 * 86_400;

    fn lives(seconds: &[u64]) -> Vec<Incarnation> {
        seconds.iter().map(|seconds| Incarnation(seconds * 1000)).collect()
    }

    /// The jumps that looks at these times of the clock and of the node see, and the clock after them.
    fn looked(looks: &[(u64, u64)]) -> (Vec<String>, WallClock) {
        let mut clock = WallClock::default();
        let jumps = looks.iter().filter_map(|&(wall, now)| clock.look(UnixSeconds(wall), Moment(now * 1000)));
        (jumps.map(|jump| jump.to_string()).collect(), clock)
    }

    /// A use was dated by a clock that was years ahead, and was set right since.
    #[test]
    fn uses_are_ordered_and_grow_old_after_a_use_in_the_future() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), lighter_store::Options::default()).unwrap();
        let blob = |byte: u8| {
            let bytes = [byte; 9];
            (OciDigest::new(Sha256::digest(bytes).into()), bytes)
        };
        let future = UnixSeconds(unix_now().0 + YEARS);
        let (digest, bytes) = blob(1);
        store.put_blob(&digest, &bytes, future).unwrap();
        let clock = UseClock::of(&store);
        assert!(clock.now() >= future);
        let (digest, bytes) = blob(2);
        store.put_blob(&digest, &bytes, clock.now()).unwrap();
        let removed = |now| collect(&store, GcMode::DryRun, now).unwrap().removed.len();
        assert_eq!(removed(UnixSeconds(unix_now().0 + 7200)), 0, "the wall clock shows that time in years");
        assert_eq!(removed(UnixSeconds(clock.now().0 + 7200)), 2);
        assert_eq!(removed(clock.now()), 0);
    }

    #[test]
    fn a_clock_that_goes_and_is_corrected_does_not_jump() {
        let (jumps, clock) = looked(&[(NOON, 0), (NOON + 1, 1), (NOON + 5_000, 5_000), (NOON + 5_030, 5_001)]);
        assert!(jumps.is_empty(), "{jumps:?}");
        assert!(clock.warnings(UnixSeconds(NOON + 5_030), Moment(5_001_000), &[]).is_empty());
    }

    #[test]
    fn jumps_in_both_directions_are_told_for_a_day() {
        let looks = [(NOON, 0), (NOON + YEARS, 10), (NOON + YEARS + 5, 15), (NOON + 20, 20)];
        let (jumps, clock) = looked(&looks);
        let forward = "jumped forward by 10949 days, from 2026-11-30T00:53:30Z to 2056-11-22T00:53:20Z";
        let back = "jumped back by 10949 days, from 2056-11-22T00:53:30Z to 2026-11-30T00:53:40Z";
        assert_eq!(jumps, [forward, back]);
        let warnings = clock.warnings(UnixSeconds(NOON + 140), Moment(140_000), &[]);
        assert!(
            warnings.len() == 1 && warnings[0].contains("2 min ago") && warnings[0].contains("NTP"),
            "{warnings:?}"
        );
        let later = Moment(20_000 + JUMP_TOLD_MS);
        assert!(clock.warnings(UnixSeconds(NOON + 90_000), later, &[]).is_empty());
    }

    #[test]
    fn a_clock_that_is_set_for_the_first_time_is_no_trouble() {
        let (jumps, clock) = looked(&[(600, 0), (NOON, 10)]);
        assert_eq!(jumps.len(), 1);
        assert!(clock.warnings(UnixSeconds(NOON), Moment(11_000), &lives(&[NOON - 50])).is_empty());
        let (_, clock) = looked(&[(NOON, 0), (600, 10)]);
        assert_eq!(clock.warnings(UnixSeconds(600), Moment(11_000), &[]).len(), 2);
    }

    #[test]
    fn a_clock_is_behind_if_more_than_half_of_the_peers_say_so() {
        let told = |wall, seconds: &[u64]| trouble(UnixSeconds(wall), &lives(seconds));
        assert_eq!(told(NOON, &[]), None);
        assert_eq!(told(NOON, &[NOON - YEARS, NOON + YEARS]), None);
        assert_eq!(told(NOON, &[NOON + 599]), None);
        let behind = told(NOON, &[NOON + YEARS, 0, NOON + 2 * YEARS]).unwrap();
        assert!(behind.contains("at least 10950 days behind those of 3 peers"), "{behind}");
        let unset = told(600, &[NOON]).unwrap();
        assert!(unset.contains("was never set: it shows 1970-01-01T00:10:00Z, at least 20787 days behind"), "{unset}");
        assert!(told(600, &[]).unwrap().contains("was never set"));
        // A peer may say anything.
        assert!(told(NOON, &[u64::MAX / 1000]).unwrap().contains("behind"));
    }
}
