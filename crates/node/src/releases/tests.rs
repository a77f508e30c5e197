//! Each class of attack that The Update Framework Specification names (1.0.33, section 1.5.2), with the error that it
//! ends in; and what keeps a fleet from being locked out: clocks, handovers, forgetting. A node is a folder, a
//! configuration and a clock that the test sets.

use lighter_store::Options;
use lighter_types::{Bytes, OciDigest};
use lighter_wire::{Bounds, Release, WireError};
use tempfile::TempDir;

use super::*;
use crate::config::Scope;
use crate::identity::Identity;
use crate::images::next_date;

const NOON: u64 = 1_796_000_000;
const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;
const NAME: &str = "demo/app:1";

/// A node of a fleet with three publishers.
struct Node {
    folder: TempDir,
    store: Store,
    releases: Releases,
    config: Config,
    own: PeerId,
    publishers: [Identity; 3],
    wall: UnixSeconds,
}

impl Node {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let wall = UnixSeconds(NOON);
        let releases = Releases::open(folder.path(), &store, wall);
        let publishers = [(); 3].map(|()| Identity::generate());
        let mut config = Config::default();
        config.fleet.publishers = publishers.iter().map(Identity::peer_id).collect();
        Self { folder, store, releases, config, own: PeerId::new([7; 32]), publishers, wall }
    }

    /// Opens what is on disk again. The index knows no image.
    fn restart(&mut self) {
        self.releases = Releases::open(self.folder.path(), &self.store, self.wall);
    }

    /// A release of [`NAME`] by a publisher: the number tells manifests apart.
    fn release(&self, publisher: usize, number: u8, issued_s: u64) -> SignedRelease {
        self.publishers[publisher].sign(statement(number, issued_s, None))
    }

    fn judge(&self, release: &SignedRelease) -> Result<(), ReleaseError> {
        self.releases.judge(&self.config, self.own, self.wall, release)
    }

    /// Takes a release in, as from a peer.
    fn take(&self, release: &SignedRelease) {
        self.judge(release).unwrap();
        if self.releases.see(release, self.wall) {
            self.releases.keep(&release.release.reference);
        }
    }

    fn obey(&self, signed: &SignedHandover) -> Result<bool, ReleaseError> {
        let taken = self.releases.obey(&self.config, self.own, self.wall, signed)?;
        self.releases.settle(&Due::handover(signed)).unwrap();
        Ok(taken)
    }

    /// Has `threshold` of the first publishers sign for the repository of [`NAME`].
    fn set_scope(&mut self, publishers: usize, threshold: u32) {
        let publishers = self.config.fleet.publishers[..publishers].to_vec();
        let repositories = vec!["demo/app".parse().unwrap()];
        self.config.images.scope = vec![Scope { repositories, publishers, threshold }];
    }

    fn handover(&self, from: usize, to: PeerId, issued_s: u64) -> SignedHandover {
        let from = &self.publishers[from];
        from.hand_over(Handover { repository: "demo/app".to_owned(), from: from.peer_id(), to, issued_s })
    }

    fn id(&self, publisher: usize) -> PeerId {
        self.publishers[publisher].peer_id()
    }

    fn warnings(&self) -> Warnings {
        self.releases.warnings(&self.config, self.wall, |_| true)
    }
}

fn statement(number: u8, issued_s: u64, expires_s: Option<u64>) -> Release {
    Release {
        reference: NAME.parse().unwrap(),
        manifest: OciDigest::new([number; 32]),
        issued_s,
        companions: None,
        bounds: Some(Bounds { tar_bytes: vec![Bytes(1)], expires_s }),
    }
}

#[test]
fn arbitrary_software_is_refused() {
    let node = Node::start();
    let mut forged = node.release(0, 1, NOON);
    forged.release.manifest = OciDigest::new([2; 32]);
    assert_eq!(node.judge(&forged), Err(ReleaseError::NotSigned { publisher: node.id(0) }));
    let stranger = Identity::generate();
    let strange = stranger.sign(statement(1, NOON, None));
    assert_eq!(node.judge(&strange), Err(ReleaseError::Unlisted { publisher: stranger.peer_id() }));
    assert_eq!(node.judge(&node.release(0, 1, NOON)), Ok(()));
}

#[test]
fn a_rollback_is_refused_after_the_image_was_removed_and_the_index_was_lost() {
    let mut node = Node::start();
    node.take(&node.release(0, 2, NOON));
    let older = node.release(0, 1, NOON - 1);
    let expected = Err(ReleaseError::Older {
        publisher: node.id(0),
        reference: NAME.parse().unwrap(),
        issued_s: NOON - 1,
        seen_s: NOON,
    });
    assert_eq!(node.judge(&older), expected);
    node.restart();
    assert_eq!(node.judge(&older), expected);
    // Two releases of one second: the one that was seen counts.
    assert!(matches!(node.judge(&node.release(0, 3, NOON)), Err(ReleaseError::Older { .. })));
    assert_eq!(node.judge(&node.release(0, 2, NOON)), Ok(()));
    // The operator may want the older one.
    assert!(node.releases.forget(&NAME.parse().unwrap(), false).unwrap());
    node.restart();
    assert_eq!(node.judge(&older), Ok(()));
    assert!(!node.releases.forget(&NAME.parse().unwrap(), false).unwrap());
}

#[test]
fn a_fast_forward_is_refused_and_hides_nothing() {
    let mut node = Node::start();
    for ahead in [DAY + 1, 500 * YEAR, u64::MAX - NOON] {
        let refused = node.judge(&node.release(0, 1, NOON + ahead));
        let expected = ReleaseError::Ahead { publisher: node.id(0), ahead_s: ahead, now: node.wall };
        assert!(expected.to_string().contains("clock"), "{expected}");
        assert_eq!(refused, Err(expected));
    }
    node.take(&node.release(0, 2, NOON + DAY));
    // A clock that was never set cannot tell. Once it is set, the largest date stands in nobody's way.
    node.wall = UnixSeconds(600);
    node.releases.set_trouble(Some("never set".to_owned()));
    node.take(&node.release(0, 3, u64::MAX));
    assert!(matches!(node.judge(&node.release(0, 4, NOON + 2 * DAY)), Err(ReleaseError::Older { .. })));
    node.wall = UnixSeconds(NOON + 2 * DAY);
    node.releases.set_trouble(None);
    node.take(&node.release(0, 4, NOON + 2 * DAY));
    node.restart();
    assert!(matches!(node.judge(&node.release(0, 5, NOON + DAY)), Err(ReleaseError::Older { .. })));
}

/// The key that signed the largest date is taken out of the configuration, or another publisher stands beside it.
#[test]
fn a_key_that_signed_ahead_of_a_wrong_clock_is_lifted_by_the_configuration() {
    let mut node = Node::start();
    node.wall = UnixSeconds(NOON + YEAR);
    node.take(&node.release(0, 1, NOON + YEAR));
    node.wall = UnixSeconds(NOON);
    let next = node.release(1, 2, NOON);
    assert!(matches!(node.judge(&next), Err(ReleaseError::Older { .. })));
    node.config.fleet.publishers.remove(0);
    assert_eq!(node.judge(&next), Ok(()));
}

#[test]
fn a_freeze_is_told_or_held() {
    let mut node = Node::start();
    let release = node.publishers[0].sign(statement(1, NOON, Some(NOON + DAY)));
    node.take(&release);
    assert_eq!(node.warnings(), Warnings::default());
    node.wall = UnixSeconds(NOON + DAY + 1);
    assert_eq!(node.judge(&release), Ok(()));
    let told = node.warnings();
    assert_eq!((told.expired, told.texts.len()), (1, 1));
    assert!(told.texts.values().any(|text| text.contains(NAME) && text.contains("counts all the same")));
    node.config.images.expired = WhenExpired::Hold;
    let expected =
        ReleaseError::Expired { publisher: node.id(0), expired_s: NOON + DAY, now: UnixSeconds(NOON + DAY + 1) };
    assert_eq!(node.judge(&release), Err(expected));
    let record = release.encode().unwrap();
    assert!(node.releases.is_held_back(&node.config, node.wall, &record));
    assert!(node.warnings().texts.values().any(|text| text.contains("held back")));
    // A later end, signed anew, ends it.
    let renewed = node.publishers[0].sign(statement(1, NOON + DAY, Some(NOON + 9 * DAY)));
    node.take(&renewed);
    assert_eq!(node.warnings(), Warnings::default());
}

#[test]
fn endless_data_is_refused_before_it_is_read() {
    let endless = vec![0; SignedRelease::BYTES_MAX + 1];
    assert!(matches!(SignedRelease::decode(&endless), Err(WireError::TooLarge { .. })));
    let node = Node::start();
    let mut release = statement(1, NOON, None);
    release.bounds = Some(Bounds { tar_bytes: vec![Bytes(u64::MAX); 600], expires_s: None });
    assert!(release.signed_bytes().len() > 600 * 8);
    let bytes = node.publishers[0].sign(release).encode().unwrap();
    assert!(matches!(SignedRelease::decode(&bytes), Err(WireError::OutOfRange { .. })));
}

#[test]
fn parts_of_two_releases_make_no_third() {
    let mut node = Node::start();
    node.set_scope(3, 2);
    let (first, second) = (node.release(0, 1, NOON - 1), node.release(0, 2, NOON));
    // The sizes of one with the manifest of the other, and a release without the sizes that it was signed with.
    let mut mixed = second.clone();
    mixed.release.bounds = Some(Bounds { tar_bytes: vec![Bytes(2)], expires_s: None });
    assert_eq!(node.judge(&mixed), Err(ReleaseError::NotSigned { publisher: node.id(0) }));
    mixed.release.bounds = None;
    assert_eq!(node.judge(&mixed), Err(ReleaseError::NotSigned { publisher: node.id(0) }));
    // The second publisher's signature of the first release beside the second release.
    let mut cosigned = first;
    node.publishers[1].cosign(&mut cosigned);
    assert_eq!(node.judge(&cosigned), Ok(()));
    let mixed = SignedRelease { cosignatures: cosigned.cosignatures, ..second };
    assert_eq!(node.judge(&mixed), Err(ReleaseError::Mixed { publisher: node.id(1) }));
}

#[test]
fn a_publisher_of_another_scope_is_refused() {
    let mut node = Node::start();
    node.set_scope(1, 1);
    let (publisher, repository) = (node.id(1), "demo/app".to_owned());
    assert_eq!(node.judge(&node.release(1, 1, NOON)), Err(ReleaseError::WrongScope { publisher, repository }));
    assert_eq!(node.judge(&node.release(0, 1, NOON)), Ok(()));
    // Repositories without a scope stay open to all publishers.
    let other = Release { reference: "demo/other:1".parse().unwrap(), ..statement(1, NOON, None) };
    assert_eq!(node.judge(&node.publishers[1].sign(other)), Ok(()));
}

#[test]
fn keys_below_the_threshold_sign_for_nobody() {
    let mut node = Node::start();
    node.set_scope(3, 2);
    let below = || ReleaseError::BelowThreshold { repository: "demo/app".to_owned(), signed: 1, needed: 2 };
    let mut release = node.release(0, 1, NOON);
    assert_eq!(node.judge(&release), Err(below()));
    // One key twice, and a stranger's, are still one.
    node.publishers[0].cosign(&mut release);
    Identity::generate().cosign(&mut release);
    assert_eq!(node.judge(&release), Err(below()));
    node.publishers[2].cosign(&mut release);
    assert_eq!(node.judge(&release), Ok(()));
    // A release by one key alone hides nothing, though it was seen.
    node.releases.see(&node.release(0, 9, NOON + 9), node.wall);
    assert_eq!(node.judge(&release), Ok(()));
}

#[test]
fn a_repository_is_handed_over_once_and_by_its_publisher() {
    let mut node = Node::start();
    node.set_scope(1, 1);
    let (new, thief) = (Identity::generate(), Identity::generate());
    node.take(&node.release(0, 1, NOON - 9));
    let by_new = new.sign(statement(2, NOON, None));
    assert!(matches!(node.judge(&by_new), Err(ReleaseError::Unlisted { .. })));
    // By a publisher of another scope, and one that is not signed.
    let repository = "demo/app".to_owned();
    let wrong = Err(ReleaseError::WrongScope { publisher: node.id(1), repository: repository.clone() });
    assert_eq!(node.obey(&node.handover(1, new.peer_id(), NOON)), wrong);
    let handover = node.handover(0, new.peer_id(), NOON - 5);
    let mut forged = handover.clone();
    forged.handover.to = thief.peer_id();
    assert_eq!(node.obey(&forged), Err(ReleaseError::NotSigned { publisher: node.id(0) }));
    let ahead = node.handover(0, new.peer_id(), NOON + 2 * DAY);
    assert!(matches!(node.obey(&ahead), Err(ReleaseError::Ahead { .. })));
    assert_eq!(node.obey(&handover), Ok(true));
    assert_eq!(node.obey(&handover), Ok(false));
    node.restart();
    assert_eq!(node.releases.handovers("demo/app"), [handover]);
    // The old key's earlier release counts until there is a newer one; its later ones do not, nor its second handover.
    assert_eq!(node.judge(&node.release(0, 1, NOON - 9)), Ok(()));
    let (publisher, to) = (node.id(0), new.peer_id());
    let over = ReleaseError::HandedOver { publisher, to, repository };
    assert_eq!(node.judge(&node.release(0, 3, NOON)), Err(over.clone()));
    assert_eq!(node.obey(&node.handover(0, thief.peer_id(), NOON)), Err(over));
    assert_eq!(node.judge(&by_new), Ok(()));
    // The operator takes the old key out of the configuration: nothing that rested on it counts.
    node.config.images.scope[0].publishers = vec![node.id(1)];
    assert!(matches!(node.judge(&by_new), Err(ReleaseError::Unlisted { .. })));
}

/// No date is refused by a clock that is known to be wrong, and no end that has passed for sure is new again.
#[test]
fn wrong_clocks_lock_nobody_out_and_make_nothing_new() {
    let mut node = Node::start();
    node.config.images.expired = WhenExpired::Hold;
    let ended = node.publishers[0].sign(statement(1, NOON - 9 * DAY, Some(NOON - DAY)));
    node.take(
        &node.publishers[0].sign(Release { reference: "demo/other:1".parse().unwrap(), ..statement(9, NOON, None) }),
    );
    // 1970: the peers say that it is wrong. Set back by a year midway: the date of what was checked says so.
    for (wall, trouble) in [(0, Some("never set")), (NOON - YEAR, None)] {
        node.wall = UnixSeconds(wall);
        node.releases.set_trouble(trouble.map(str::to_owned));
        assert!(matches!(node.judge(&ended), Err(ReleaseError::Expired { .. })), "{wall}");
        let current = node.publishers[0].sign(statement(2, NOON + 60, Some(NOON + 9 * DAY)));
        assert_eq!(node.judge(&current), Ok(()), "{wall}");
        node.releases.see(&current, node.wall);
        let told = node.warnings().texts;
        assert!(told.values().any(|text| text.contains("cannot be checked")), "{told:?}");
        node.releases.forget(&NAME.parse().unwrap(), false).unwrap();
    }
    // A year ahead: what ends by that clock is held back and told, and nothing is remembered against it.
    node.releases.set_trouble(None);
    node.wall = UnixSeconds(NOON + YEAR);
    let current = node.publishers[0].sign(statement(2, NOON + 60, Some(NOON + 9 * DAY)));
    let held = node.judge(&current).unwrap_err();
    assert!(held.to_string().contains("clock"), "{held}");
    assert_eq!(node.judge(&node.release(1, 3, NOON + 61)), Ok(()));
    node.wall = UnixSeconds(NOON);
    assert_eq!(node.judge(&current), Ok(()));
}

#[test]
fn a_release_is_dated_after_the_last_one_that_others_believe() {
    let mut node = Node::start();
    let name: ImageReference = NAME.parse().unwrap();
    let next = |node: &Node, name: &ImageReference| next_date(&node.store, &node.releases, name, node.wall);
    assert_eq!(next(&node, &name), NOON);
    node.take(&node.release(0, 1, NOON + 60));
    assert_eq!(next(&node, &name), NOON + 61);
    assert_eq!(next(&node, &"demo/app:2".parse().unwrap()), NOON + 61);
    assert_eq!(next(&node, &"demo/other:1".parse().unwrap()), NOON);
    // The clock was never set: the order of imports holds all the same.
    node.wall = UnixSeconds(600);
    node.releases.set_trouble(Some("never set".to_owned()));
    assert_eq!(next(&node, &name), NOON + 61);
    // It was years ahead when it signed: nobody believes that, and it is not in the way.
    node.releases.see(&node.release(0, 2, NOON + 500 * YEAR), node.wall);
    node.wall = UnixSeconds(NOON);
    node.releases.set_trouble(None);
    assert_eq!(next(&node, &name), NOON);
}

#[test]
fn a_damaged_file_counts_as_absent() {
    let mut node = Node::start();
    node.take(&node.release(0, 2, NOON));
    let folder = node.folder.path().join(kept::FOLDER);
    let path = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&path).unwrap();
    let older = node.release(0, 1, NOON - 1);
    for place in [0, 8, 9, good.len() - 1] {
        let mut bad = good.clone();
        bad[place] ^= 0x40;
        std::fs::write(&path, &bad).unwrap();
        node.restart();
        assert_eq!(node.judge(&older), Ok(()), "byte {place}");
    }
    std::fs::write(&path, &good).unwrap();
    std::fs::write(path.with_extension("seen.new"), b"cut off").unwrap();
    node.restart();
    assert!(matches!(node.judge(&older), Err(ReleaseError::Older { .. })));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// A file in the place of the folder stands for a disk that fails.
#[test]
fn releases_that_could_not_be_written_are_written_later() {
    let mut node = Node::start();
    let folder = node.folder.path().join(kept::FOLDER);
    std::fs::write(&folder, b"no folder").unwrap();
    node.take(&node.release(0, 2, NOON));
    let handover = node.handover(0, Identity::generate().peer_id(), NOON);
    assert!(node.releases.obey(&node.config, node.own, node.wall, &handover).unwrap());
    // Known by now, and told as not written all the same.
    for due in [Due::handover(&handover), Due::Seen(NAME.parse().unwrap()), Due::handover(&handover)] {
        assert!(node.releases.settle(&due).is_err(), "{due:?}");
    }
    std::fs::remove_file(&folder).unwrap();
    // One that is not due writes the rest too.
    node.releases.settle(&Due::Seen("demo/other:1".parse().unwrap())).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    node.restart();
    assert_eq!(node.releases.handovers("demo/app"), [handover]);
    let older = node.releases.lock().seen.get(&NAME.parse().unwrap()).map(|seen| seen.release.release.issued_s);
    assert_eq!(older, Some(NOON));
}

#[test]
fn nothing_that_was_forgotten_is_written_later() {
    let mut node = Node::start();
    let release = node.release(0, 2, NOON);
    assert!(node.releases.see(&release, node.wall));
    let handover = node.handover(0, Identity::generate().peer_id(), NOON);
    assert!(node.releases.obey(&node.config, node.own, node.wall, &handover).unwrap());
    assert!(node.releases.forget(&NAME.parse().unwrap(), true).unwrap());
    node.releases.keep(&NAME.parse().unwrap());
    node.releases.settle(&Due::handover(&handover)).unwrap();
    node.restart();
    assert_eq!(node.releases.handovers("demo/app"), []);
    assert!(node.releases.lock().seen.is_empty());
}
