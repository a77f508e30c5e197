//! Every interval and cap of the engine, in one place. An operator sets the fields of [`Settings`]; its constants are
//! fixed.
//!
//! docs/ENGINE.md lists them as tables ("Timers", "Caps").

use std::collections::BTreeSet;
use std::time::Duration;

use lighter_types::{BASES_MAX, Bytes, BytesPerSecond, Effort, PeerId, Prefer, SiteName};
use lighter_wire::{Incarnation, Referable};

use crate::effort::EffortChoice;

/// The settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub incarnation: Incarnation,
    /// Seeds the jitter of timers. Two nodes should not share one.
    pub seed: u64,
    pub site: Option<SiteName>,
    /// The peers of the site; empty if each peer is of the site that it names.
    pub neighbours: BTreeSet<PeerId>,
    /// The time between two heartbeats. A peer that is silent for [`Settings::SILENT_INTERVALS`] of these is forgotten.
    pub announce_interval: Duration,
    /// Whether pulls over the uplink are to have fewer bytes or to end sooner.
    pub prefer: Prefer,
    /// The rate assumed of a peer outside the site until a transfer shows one.
    pub uplink_rate: BytesPerSecond,
    /// The most that this node may send; absent without a cap. Until uploads were measured, the effort is chosen by it.
    pub upload_max: Option<BytesPerSecond>,
    /// The effort of patches made here.
    pub effort: EffortChoice,
    /// The number of the encoder's settings at each effort, in patches and resumes: fast, default, max.
    pub encoder_ids: [u32; 4],
    /// The rate assumed of a peer of the same site.
    pub site_rate: BytesPerSecond,
    /// A fetch that gets less than [`Settings::STALL_BYTES`] in this time is stopped and goes on elsewhere.
    pub stall_timeout: Duration,
    /// How long a pull waits for a peer that has what the pull needs.
    pub patience: Duration,
    /// How long a layer waits beyond patience for a peer that was there and is away now: a link that is down. Zero, as
    /// in the simulator: not at all. Nodes have hours.
    pub away: Duration,
    /// How long a peer that lied or flooded is cut off.
    pub cut_off: Duration,
    /// Layers fetched at a time.
    pub fetches_max: usize,
    /// Patches made at a time.
    pub encodes_max: usize,
    /// Copies of a patch that this node sends to other sites before it refers requesters to peers that have it. With 0,
    /// it refers no peer.
    pub copies_max: usize,
    /// Whether peers may be referred to this node.
    pub passes_on: bool,
    /// Streams served at a time, to all and to one peer.
    pub streams_max: usize,
    pub streams_per_peer_max: usize,
    /// Peers in the directory; a later peer is not heard unless it connects.
    pub peers_max: usize,
}

impl Settings {
    /// Heartbeats that may be lost before a peer is forgotten: at 10 % loss, one in 10,000 is forgotten wrongly.
    pub const SILENT_INTERVALS: u32 = 4;
    /// Every so many announcements, and at the start, a short list is announced in full: one of so few layers that a
    /// question for them would cost more.
    pub const FULL_EVERY: u64 = 10;
    pub const FULL_MAX: usize = 4;
    /// Changes of the own list that are kept. A peer that knows an earlier list gets all of it.
    pub const CHANGES_MAX: usize = 1024;
    /// Lists of other peers that are kept over a restart, and the layers in them: 5 MB on disk.
    pub const LISTS_MAX: usize = 256;
    pub const LISTED_MAX: usize = 65_536;
    /// A changed list is written after this time, and lists are not written more often than this.
    pub const KEEP_SOON: Duration = Duration::from_secs(10);
    pub const KEEP_EVERY: Duration = Duration::from_secs(10 * 60);
    /// A connected peer that did not answer what it holds is asked again after this.
    pub const ASK_AGAIN: Duration = Duration::from_secs(5);
    /// Changes of holdings within this time are announced together.
    pub const GATHER: Duration = Duration::from_millis(500);
    /// A fetch must bring this much within `stall_timeout`: 1.6 kbit/s at the default of 20 s, less than any uplink in
    /// use.
    pub const STALL_BYTES: u64 = 4096;
    /// The pace of a fetch is looked at over this time.
    pub const PACE_WINDOW: Duration = Duration::from_secs(5);
    /// A fetch is late if its rest takes this many times what the node expects, and [`Settings::PACE_GRACE`] longer.
    /// Trees of relays give half of an uplink's rate (docs/decisions/0028-trees-of-two-branches.md).
    pub const PACE_SLACK: u32 = 2;
    pub const PACE_GRACE: Duration = Duration::from_secs(10);
    /// The same for a peer that passes a patch on: the node does not know its uplink, nor the others that it sends to.
    pub const PACE_SLACK_FOLLOWED: u32 = 8;
    /// The relays that a patch may come through, one after another: in a tree of two branches, those of 65,000 nodes.
    pub const RELAYS_ABOVE: u32 = 16;
    /// A race shows an uplink of this part of the assumed rate at least: sources that are slow together show less.
    pub const UPLINK_SEEN_PART: u64 = 64;
    /// A peer that waits for a frame says that it grows. The least growth that counts is this part of a frame.
    pub const WORDS_OF_A_FRAME: u64 = 32;
    /// The first byte of a fetch may take this long beside the work that the peer quoted.
    pub const SILENT_MAX: Duration = Duration::from_secs(15);
    /// How long a second source that has to make the patch is waited for before it is asked for the patch.
    pub const PATIENT_MAX: Duration = Duration::from_secs(60);
    /// A race between two sources is decided after this time, or when the second has brought as much as it may.
    pub const RACE_TIME: Duration = Duration::from_secs(3);
    /// A neighbour through which a layer is to come and that has nothing of it to show for this long is late.
    pub const NEIGHBOUR_SILENT_MAX: Duration = Duration::from_secs(15);
    /// A neighbour whose transfers of a layer ended early so often is not asked any more whether that layer is coming.
    pub const NEIGHBOUR_LOSSES_MAX: u32 = 3;
    /// A neighbour through which a layer did not come is not asked during this time, and twice as long each time after:
    /// 11 hours at most.
    pub const DOUBT: Duration = Duration::from_secs(10 * 60);
    pub const DOUBT_DOUBLINGS: u32 = 6;
    /// Neighbours that are doubted.
    pub const DOUBTS_MAX: usize = 256;
    /// All second sources of a layer may bring a tenth of it and this much in vain.
    pub const RACE_BYTES: Bytes = Bytes(256 << 10);
    /// The most that one of them brings before it has won: the node holds it in memory.
    pub const RACE_BYTES_MAX: Bytes = Bytes(4 << 20);
    /// Layers with a second source at a time.
    pub const RACES_MAX: usize = 1;
    /// A patch of which so many bytes are to come, over an uplink that takes [`Settings::LONG_PATCH`] for them or
    /// longer, comes from both ends (`fetch/ends.rs`). A power cut costs what came from the end: so the uplink must
    /// take no longer than this for all of them.
    pub const TAIL_BYTES_MIN: Bytes = Bytes(64 << 20);
    pub const TAIL_TIME_MAX: Duration = Duration::from_secs(10 * 60);
    /// A request for a patch that is split and here already waits for others: for this part of the time that the patch
    /// takes, and no longer than this (`serve/gathering.rs`).
    pub const GATHER_PARTS: u32 = 32;
    pub const GATHER_MAX: Duration = Duration::from_millis(500);
    /// Layers with a tail at a time, and tails of a layer that may fail.
    pub const TAILS_MAX: usize = 1;
    pub const TAIL_ATTEMPTS_MAX: u32 = 3;
    /// A provider may work on a patch for this long before the fetch goes elsewhere.
    pub const WORKING_MAX: Duration = Duration::from_secs(30 * 60);
    /// Peers that are asked for a quote on a layer.
    pub const QUOTES_MAX: usize = 3;
    /// Neighbours of a site that are asked whether a layer is coming. Questions within a site are cheap.
    pub const NEIGHBOURS_MAX: usize = 64;
    /// A neighbour that does not answer within this is not waited for.
    pub const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(1);
    /// Peers asked at a time for the release of a name. All connected peers are asked: few hold an image, and the
    /// newest of several releases counts.
    pub const RESOLVERS_MAX: usize = 8;
    /// How long a pull waits for other peers to connect after the last peer answered and none knew the name.
    pub const RESOLVE_GRACE: Duration = Duration::from_secs(2);
    /// A peer that failed at a layer is not asked for it during this time. Each failure doubles the time,
    /// [`Settings::BACKOFF_DOUBLINGS`] times at most: to 2 minutes.
    pub const BACKOFF: Duration = Duration::from_secs(2);
    pub const BACKOFF_DOUBLINGS: u32 = 6;
    /// A busy peer has the layer: it is asked again within 16 to 24 seconds at most.
    pub const BUSY_DOUBLINGS: u32 = 3;
    /// A busy peer that asks for more time than this is asked again after this time.
    pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
    /// After this long with nothing but busy peers, being busy is a failure like any other. It is the time that one
    /// patch may be worked on.
    pub const BUSY_MAX: Duration = Self::WORKING_MAX;
    /// Attempts at one layer, since the last one that brought something new, before its pull fails.
    pub const ATTEMPTS_MAX: u32 = 12;
    /// Failures of a layer, those for want of room included, before its pull may end for want of room for what peers
    /// claim: some 6 s, in which a peer that claims less may connect.
    pub const ROOMLESS_MIN: u32 = 3;
    /// Panics of the workers that read, keep and commit an image, after each of which a pull goes on.
    pub const PANICS_MAX: u32 = 2;
    /// A layer of at most this many compressed bytes is fetched without a question for its sketch or a quote: they
    /// would cost more than they save.
    pub const ASKING_BYTES: Bytes = Bytes(4096);
    /// A layer of at most this many compressed bytes is small, and does not count against `fetches_max` and
    /// `streams_max`.
    pub const SMALL_LAYER_BYTES: Bytes = Bytes(32 << 10);
    /// Small layers that a node fetches at a time, and that it sends to one peer and to all peers.
    pub const SMALL_FETCHES_MAX: usize = 32;
    pub const SMALL_STREAMS_MAX: usize = 512;
    /// Layers that are looked at for offers count as a message of the asker, this many together: each takes up to 1 ms.
    pub const OFFERS_PER_MESSAGE: usize = 8;
    /// Peers whose offers for the layers of one image a pull takes in.
    pub const OFFERERS_MAX: usize = 8;
    /// Pulls and layers under way or waiting.
    pub const PULLS_MAX: usize = 64;
    pub const TARGETS_MAX: usize = 1024;
    /// Layers believed of one peer; what a node announces above this is not remembered.
    pub const LAYERS_PER_PEER_MAX: usize = 4096;
    /// Different layers known in all.
    pub const CARDS_MAX: usize = 1 << 18;
    /// Patches waiting to be made.
    pub const ENCODES_QUEUED_MAX: usize = 64;
    /// Peers whose encoding time is counted: as many as may wait for a patch.
    pub const ACCOUNTS_MAX: usize = 4096;
    /// A provider that was busy this often in a row for a request with a have-list is asked once without.
    pub const LISTS_REFUSED_MAX: u32 = 2;
    /// Patches whose way through the fleet is followed, and relays of one patch.
    pub const SPREADS_MAX: usize = 64;
    pub const RELAYS_MAX: usize = 4096;
    /// A patch that takes this long over the requester's uplink is long. A tree with two branches at each node has 1.6
    /// times the levels of one with three, and 1.5 times the rate. For some thousand nodes it is sooner from four times
    /// [`Settings::REFERRAL_HOP`] on (docs/decisions/0028-trees-of-two-branches.md).
    pub const LONG_PATCH: Duration = Duration::from_millis(3200);
    /// The time until a referred peer gets what its relay has: to connect over two uplinks in use, and to ask.
    pub const REFERRAL_HOP: Duration = Duration::from_millis(800);
    /// The part of [`Settings::REFERRAL_HOP`] that it takes to connect.
    pub const REFERRAL_CONNECT: Duration = Duration::from_millis(400);
    /// A referred peer that asks again within this time after it should be done got nothing from its relay.
    pub const REFERRAL_LIFE: Duration = Duration::from_secs(60);
    /// A peer that came back this often is referred no more.
    pub const REFERRALS_MAX: u32 = 2;
    /// How long a referred peer tries to connect.
    pub const CONNECT_MAX: Duration = Duration::from_secs(10);
    /// Streams of peers that may be referred, beside `streams_max`: they wait for a patch to be made, and most go
    /// elsewhere.
    pub const STREAMS_WAITING_MAX: usize = 4096;
    /// Cached patches that the engine remembers.
    pub const PATCHES_MAX: usize = 65_536;
    /// Messages of one peer within [`Settings::FLOOD_WINDOW`]. Above this number messages are refused or ignored; above
    /// ten times the number the peer is cut off. An honest pull asks a handful of questions for each layer.
    pub const MESSAGES_MAX: u32 = 500;
    pub const FLOOD_WINDOW: Duration = Duration::from_secs(10);
    /// A patch has at most this many bases. The encoder takes eight; each costs it time and memory, and a fifth would
    /// have to save a thirty-second of the bytes that four leave.
    pub const PATCH_BASES_MAX: usize = 4;
    /// Bases named in a request, those of the plan first: a provider may have a patch from any of them in its cache.
    pub const OFFERED_BASES_MAX: usize = BASES_MAX;
    /// A have-list is sent if it saves this much: the list itself has some ten kilobytes.
    pub const LISTED_SAVES_MIN: Bytes = Bytes(256 << 10);
    /// Own layers among which sketches choose, the best by TLSH, and different sets of them that are chosen for one
    /// target: a choice takes 1 ms at most.
    pub const SHORTLIST_MAX: usize = 12;
    pub const POOLS_MAX: usize = 4;
    /// Sketches kept of own layers and of other nodes' layers, 5 KB each. Layers beyond the caps are planned by TLSH.
    pub const OWN_SKETCHES_MAX: usize = 4096;
    pub const SKETCHES_MAX: usize = 1024;
    /// Layers whose sketch is being asked for, or is given up.
    pub const SKETCHES_ASKED_MAX: usize = Self::TARGETS_MAX;
    /// How long a peer has to answer with sketches: 16 of them take 2.4 s at 64 kbit/s.
    pub const SKETCH_TIMEOUT: Duration = Duration::from_secs(4);
    /// Peers that are asked for one sketch, one after another; then planning goes on without the sketch.
    pub const SKETCH_ASKS_MAX: usize = 2;
    /// A sketch that no peer gave is asked for again after this time.
    pub const SKETCH_AGAIN: Duration = Duration::from_secs(10 * 60);
    /// Links that are remembered: 100 bytes each.
    pub const LINKS_MAX: usize = 4096;
    /// Calibrations: one for each rule of prediction and each setting of the encoder.
    pub const CALIBRATIONS_MAX: usize = 16;
    /// Calibrations of layers that came by patches: 44 bytes each.
    pub const LINEAGES_MAX: usize = 1024;
    /// A layer may come as its compressed blob if that has no more than this part of the layer's bytes beside them.
    pub const BLOB_MORE_MAX: u64 = 4;
}

impl Settings {
    /// The effort at which this node's encoder makes the patches whose settings have this number.
    pub fn effort_of(&self, id: u32) -> Option<Effort> {
        Effort::ALL.into_iter().zip(self.encoder_ids).find(|(_, of)| *of == id).map(|(effort, _)| effort)
    }

    /// Whether so many bytes of a patch are brought from both ends, over an uplink of this rate.
    pub fn is_split(bytes: Bytes, uplink: BytesPerSecond) -> bool {
        bytes >= Self::TAIL_BYTES_MIN && (Self::LONG_PATCH..=Self::TAIL_TIME_MAX).contains(&bytes.at(uplink))
    }

    /// The number of the settings that a patch was made with here; 0 if it was another encoder.
    pub fn id_of(&self, effort: Option<Effort>) -> u32 {
        effort.map_or(0, |effort| self.encoder_ids[effort as usize])
    }

    /// The part of a request by which a provider may refer this node to a relay.
    pub fn referable(&self) -> Referable {
        let uplink = self.upload_max.map_or(self.uplink_rate, |max| max.min(self.uplink_rate));
        Referable { uplink, passes_on: self.passes_on }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            incarnation: Incarnation(0),
            seed: 0,
            site: None,
            neighbours: BTreeSet::new(),
            announce_interval: Duration::from_secs(900),
            prefer: Prefer::default(),
            uplink_rate: BytesPerSecond(1_250_000),
            upload_max: None,
            effort: EffortChoice::Auto,
            encoder_ids: [4, 1, 2, 3],
            site_rate: BytesPerSecond(125_000_000),
            stall_timeout: Duration::from_secs(20),
            patience: Duration::from_secs(30),
            away: Duration::ZERO,
            cut_off: Duration::from_secs(600),
            fetches_max: 3,
            encodes_max: 1,
            copies_max: 3,
            passes_on: true,
            streams_max: 32,
            streams_per_peer_max: 4,
            peers_max: 16_384,
        }
    }
}
