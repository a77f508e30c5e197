//! The facts and beliefs of the node, shared by all state machines of the engine.
//!
//! [`Core`] holds the facts: settings, own layers, other nodes' layers, sketches, calibrations, links, open
//! questions, cut-offs. A [`Step`] is one call of [`Engine::step`](crate::Engine::step) under way: the moment, the
//! core, and the list that takes the effects. A function that only reads takes `&Core`; a function that changes facts
//! or has something done takes `&mut Step`.

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Link, Moment, Pace, PeerId, Prefer};
use lighter_wire::{ListDigest, Request, Terms};

use crate::asks::{Asks, Purpose};
use crate::calibrations::Calibrations;
use crate::cut_offs::CutOffs;
use crate::directory::{Directory, Peer};
use crate::doubts::Doubts;
use crate::event::{AskId, Effect, PullId, Wanted};
use crate::failure::Offence;
use crate::holdings::Holdings;
use crate::links::Links;
use crate::neighbours::Neighbours;
use crate::report::Report;
use crate::settings::Settings;
use crate::sketches::Sketches;

/// The facts and beliefs of the node.
#[derive(Debug, Default)]
pub struct Core {
    pub settings: Settings,
    pub holdings: Holdings,
    pub directory: Directory,
    pub sketches: Sketches,
    pub calibrations: Calibrations,
    pub links: Links,
    /// How slowly this machine applies patches.
    pub applying: Pace,
    pub asks: Asks,
    pub cut_offs: CutOffs,
    /// The rate over the uplink that a race of two sources showed last, or a transfer since: more was not to be had.
    pub uplink_seen: Option<BytesPerSecond>,
    pub races: Races,
    pub doubts: Doubts,
}

/// Second sources that were tried beside late ones, in this life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Races {
    pub decided: u64,
    /// Those that the second source won.
    pub won: u64,
    /// Bytes that came for layers and were of no use: by races, or from sources that were left.
    pub wasted: Bytes,
}

impl Core {
    pub fn new(settings: Settings) -> Self {
        let neighbours = Neighbours { site: settings.site.clone(), listed: settings.neighbours.clone() };
        let directory = Directory::new(settings.peers_max).with_neighbours(neighbours);
        Self { directory, settings, ..Self::default() }
    }

    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.directory.peer(peer).is_some_and(Peer::is_connected)
    }

    /// Whether a peer, if it is known, is behind the same uplink.
    pub fn is_near(&self, peer: PeerId) -> bool {
        self.directory.peer(peer).is_some_and(|peer| self.is_of_site(peer))
    }

    /// Whether a peer is behind the same uplink.
    pub fn is_of_site(&self, peer: &Peer) -> bool {
        self.settings.site.is_some() && peer.site() == self.settings.site.as_ref()
    }

    /// The rate at which bytes are expected to come from a peer.
    pub fn rate_from(&self, id: PeerId, peer: &Peer) -> BytesPerSecond {
        let assumed = if self.is_of_site(peer) { self.settings.site_rate } else { self.settings.uplink_rate };
        self.links.get(id).down.unwrap_or(assumed).max(BytesPerSecond(1))
    }

    /// The rate that a transfer from a peer is held against: that of its link, as transfers showed it, and no more than
    /// this node could get over its uplink. A neighbour that is slower than the uplink is slow, however fast the site.
    /// The nodes of a site share the uplink, and may all be fetching.
    pub fn expected_from(&self, peer: PeerId) -> BytesPerSecond {
        let uplink = self.uplink();
        let down = self.links.get(peer).down.unwrap_or(uplink);
        let most = self.uplink_seen.unwrap_or(down);
        let expected = if self.is_near(peer) { down.min(uplink) } else { down.min(most) };
        BytesPerSecond((expected.0 / self.sharing_uplink()).max(1))
    }

    /// The rate of this node's uplink, as far as is known.
    pub fn uplink(&self) -> BytesPerSecond {
        let seen = self.uplink_seen.map_or(self.settings.uplink_rate, |seen| seen.min(self.settings.uplink_rate));
        seen.max(BytesPerSecond(1))
    }

    /// Two sources at once brought so much. If that is next to nothing, it says more of them than of the uplink.
    pub fn saw_uplink(&mut self, rate: BytesPerSecond) {
        let least = BytesPerSecond(self.settings.uplink_rate.0 / Settings::UPLINK_SEEN_PART);
        self.uplink_seen = Some(rate.max(least));
    }

    /// The connected nodes behind this node's uplink, itself among them.
    fn sharing_uplink(&self) -> u64 {
        let near = self.directory.peers().filter(|(_, peer)| peer.is_connected() && self.is_of_site(peer));
        1 + near.count() as u64
    }

    /// The terms of this node for a peer that is to send a patch. Bytes within the site cost nothing.
    pub fn terms(&self, is_near: bool) -> Terms {
        Terms { applying: self.applying, prefer: if is_near { Prefer::Time } else { self.settings.prefer } }
    }

    /// How long a pull waits for a peer that knows the image. A release that the node knows already is good enough if
    /// no peer is connected that could name a newer one.
    pub fn patience(&self, wanted: &Wanted) -> Duration {
        let is_known = matches!(wanted, Wanted::Name { known: Some(_), .. });
        let is_alone = !self.directory.peers().any(|(_, peer)| peer.is_connected());
        if is_known && is_alone { Settings::RESOLVE_GRACE } else { self.settings.patience }
    }
}

/// One step of the engine under way.
#[derive(Debug)]
pub struct Step<'a> {
    pub now: Moment,
    pub core: &'a mut Core,
    pub effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    pub fn ask(&mut self, to: PeerId, purpose: Purpose, request: Request) -> AskId {
        let ask = self.core.asks.begin(to, purpose);
        self.effects.push(Effect::Ask { ask, to, request });
        ask
    }

    /// Asks a connected peer what it holds, unless that question is open.
    pub fn ask_holdings(&mut self, peer: PeerId) {
        self.ask_list(peer, self.core.directory.known_list(peer));
    }

    /// Asks a connected peer for the list that became of this one.
    pub fn ask_list(&mut self, peer: PeerId, known: Option<ListDigest>) {
        if self.core.is_connected(peer) && !self.core.asks.are_holdings_asked(peer) {
            self.ask(peer, Purpose::Holdings(known), Request::Holdings { known });
        }
    }

    pub fn is_cut_off(&self, peer: PeerId) -> bool {
        self.core.cut_offs.contains(peer, self.now)
    }

    /// Whether a layer was to come from the peer or through it a short time ago, and did not.
    pub fn is_doubted(&self, peer: PeerId) -> bool {
        self.core.doubts.contains(peer, self.now)
    }

    pub fn cut_off(&mut self, peer: PeerId, offence: Offence) {
        let lasting = self.core.settings.cut_off;
        self.core.cut_offs.add(peer, self.now + lasting, self.core.settings.peers_max);
        self.core.directory.forget(peer);
        self.effects.push(Effect::CutOff { peer, lasting, offence });
    }

    /// The transport shows this of the link to a peer.
    pub fn see_link(&mut self, peer: PeerId, seen: Link) {
        if seen != Link::default() {
            let forgotten = self.core.links.hold(peer, self.core.links.mixed(peer, seen));
            self.effects.extend(forgotten.map(|peer| Effect::KeepLink { peer, link: None }));
        }
    }

    /// A transfer showed this of the link to a peer.
    pub fn learn_link(&mut self, peer: PeerId, seen: Link) {
        if seen != Link::default() {
            if !self.core.is_near(peer) {
                self.core.uplink_seen = self.core.uplink_seen.max(self.core.uplink_seen.and(seen.down));
            }
            self.see_link(peer, seen);
            self.effects.push(Effect::KeepLink { peer, link: Some(self.core.links.get(peer)) });
        }
    }

    pub fn report(&mut self, pull: PullId, report: Report) {
        self.effects.push(Effect::Report { pull, report });
    }

    pub fn report_all<'p>(&mut self, pulls: impl IntoIterator<Item = &'p PullId>, report: &Report) {
        self.effects.extend(pulls.into_iter().map(|&pull| Effect::Report { pull, report: report.clone() }));
    }
}
