//! The state of the engine and the swarm as the admin API shows it.
//!
//! A warning of `status` stands for a cause that holds now. Causes that an event shows are written to the log by those
//! who see the event; the standing ones, of the disk and the configuration, are looked for here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_api as api;
use lighter_engine::{Plan, Rule};
use lighter_similarity::ExpectedError;
use lighter_store::Options;
use lighter_types::{DiffId, Effort, Moment, PeerId};
use lighter_wire::Incarnation;

use super::Driver;
use crate::clock::{self, unix_now};
use crate::defects::Defects;
use crate::room;
use crate::store_figures::Figures;
use crate::traffic::{Accountant, Protocol};

/// Between two looks for the log.
const WARNINGS_EVERY: Duration = Duration::from_secs(10);

/// The standing warnings that the log has.
#[derive(Default)]
pub struct Warned {
    next: Moment,
    subjects: BTreeSet<String>,
}

impl Driver {
    pub(super) fn status(&self) -> api::Status {
        let shared = &self.shared;
        let total = shared.accountant.total();
        let (upload_max, download_max) = shared.accountant.limits();
        let pulls = self.pulls.iter().map(|(id, pull)| api::PullStatus {
            pull: id.0,
            image: pull.image.clone(),
            last: pull.last.clone(),
        });
        let (streams, races) = (self.control.counts(), self.engine.races());
        let (figures, read_ago) = shared.figures.last();
        api::Status {
            streams: api::StreamsStatus { queued: streams.queued, busy: streams.busy, resets: streams.resets },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            peer_id: shared.identity.peer_id(),
            site: self.engine.settings().site.clone(),
            listen: self.swarm.listeners().map(ToString::to_string).collect(),
            uptime_s: shared.started.elapsed().as_secs(),
            peers_connected: self.engine.directory().peers().filter(|(_, peer)| peer.is_connected()).count(),
            peers_known: self.engine.directory().len(),
            layers: self.engine.holdings().len(),
            pulls: pulls.collect(),
            sent_bytes: total.sent,
            received_bytes: total.received,
            traffic: Protocol::ALL.map(|protocol| traffic_status(&shared.accountant, protocol)).to_vec(),
            idle_bytes_per_day: shared.accountant.idle_bytes_per_day(),
            upload_max: upload_max.to_string(),
            download_max: download_max.to_string(),
            store: figures.status.clone(),
            store_read_ms_ago: u64::try_from(read_ago.as_millis()).unwrap_or(u64::MAX),
            releases_gave_way: self.gave_way.count,
            gave_way: self.gave_way.last(),
            releases_expired: figures.releases.expired,
            scrub: shared.scrub.status(),
            stuck: self.stuck(),
            races: api::RacesStatus { decided: races.decided, won: races.won, wasted_bytes: races.wasted },
            warnings: self.warnings(&figures),
        }
    }

    fn warnings(&self, figures: &Figures) -> Vec<String> {
        let mut warnings = Defects::counted().warnings();
        warnings.extend(self.stuck());
        for (peer, trouble) in self.connections.dialer.troubles() {
            warnings.push(format!("no connection to {peer} of network.bootstrap: {trouble}"));
        }
        warnings.extend(self.clock.warnings(unix_now(), self.shared.now(), &self.lives()));
        warnings.extend(room::warning(&figures.status));
        for peer in self.connections.twins() {
            warnings.push(format!("two running nodes use the identity {peer}"));
        }
        warnings.extend(self.standing_warnings(figures).into_values());
        warnings
    }

    /// Warnings about the disk and the configuration, by their subject.
    fn standing_warnings(&self, figures: &Figures) -> BTreeMap<String, String> {
        let config = &self.shared.config;
        let mut warnings = figures.releases.texts.clone();
        let (free, kept) = (figures.status.disk_free_bytes, Options::default().disk_free_min);
        if free < kept.times(2) {
            let path = config.data_dir.0.display();
            let warning = format!("the disk of {path} has {free} free, of which {kept} stay free: make room there");
            warnings.insert("disk".to_owned(), warning);
        }
        let lacking = figures.lacking.len();
        if lacking > 0 {
            let what = "images name a layer or a document that is missing or was damaged";
            let warning = format!("{lacking} {what}; the node fetches it again from a peer that has it");
            warnings.insert("lacking".to_owned(), warning);
        }
        if config.fleet.open {
            let warning = "fleet.open is true: any node may connect and fetch every layer held here";
            warnings.insert("open".to_owned(), warning.to_owned());
            return warnings;
        }
        if config.fleet.members.is_empty() {
            warnings.insert("members".to_owned(), "fleet.members is empty: no node can connect".to_owned());
        }
        for address in super::network::bootstrap_strangers(&config.network.bootstrap, &config.fleet.members) {
            let warning = format!("network.bootstrap names {address}, which is not in fleet.members");
            warnings.insert(address.to_string(), warning);
        }
        warnings
    }

    /// Writes each standing warning to the log when it begins. The other warnings of `status` are written where their
    /// causes are seen.
    pub(super) fn log_warnings(&mut self) {
        let now = self.shared.now();
        if self.warned.next > now {
            return;
        }
        let warnings = self.standing_warnings(&self.shared.figures.last().0);
        for (_, warning) in warnings.iter().filter(|(subject, _)| !self.warned.subjects.contains(*subject)) {
            tracing::warn!("{warning}");
        }
        self.warned = Warned { next: now + WARNINGS_EVERY, subjects: warnings.into_keys().collect() };
    }

    /// Why this machine's clock must be wrong, if it must.
    pub(super) fn clock_trouble(&self) -> Option<String> {
        clock::trouble(unix_now(), &self.lives())
    }

    /// When the connected peers started, by their clocks.
    fn lives(&self) -> Vec<Incarnation> {
        let connected = self.engine.directory().peers().filter(|(_, peer)| peer.is_connected() && peer.is_known());
        connected.map(|(_, peer)| peer.life()).collect()
    }

    pub(super) fn peers(&self) -> Vec<api::Peer> {
        let now = self.shared.now();
        let peers = self.engine.directory().peers().map(|(id, peer)| {
            let traffic = self.shared.accountant.of_peer(id);
            let link = self.engine.link(id);
            api::Peer {
                peer_id: id,
                site: peer.site().cloned(),
                connected: peer.is_connected(),
                cut_off: self.engine.is_cut_off(id, now),
                layers: peer.layers(),
                last_heard_ms_ago: u64::try_from(now.since(peer.last_heard()).as_millis()).unwrap_or(u64::MAX),
                rate: link.down,
                rate_up: link.up,
                round_trip_ms: link.round_trip.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
                lost_per_mille: link.lost_per_mille,
                sent_bytes: traffic.sent,
                received_bytes: traffic.received,
            }
        });
        peers.collect()
    }

    pub(super) fn holders(&self, layer: DiffId) -> Vec<PeerId> {
        let mut holders: Vec<PeerId> = self.engine.directory().holding(layer).map(|holder| holder.id).collect();
        holders.sort_unstable();
        holders
    }

    pub(super) fn layer_plan(&self, layer: DiffId) -> api::LayerPlan {
        let held = self.engine.holdings().holds(layer);
        let plans = if held { Vec::new() } else { self.engine.plans(layer, self.shared.now()) };
        let best = plans.first();
        api::LayerPlan { layer, held, plans: plans.iter().map(|plan| self.plan_view(layer, plan, best)).collect() }
    }

    fn plan_view(&self, layer: DiffId, plan: &Plan, best: Option<&Plan>) -> api::Plan {
        api::Plan {
            peer: plan.peer,
            bases: plan.bases.clone(),
            tlsh_distance: plan.distance,
            tlsh_bytes: plan.forecast.by_tlsh.bytes,
            sketch_bytes: plan.forecast.by_sketch.map(|prediction| prediction.bytes),
            sketch_error_percent: plan.forecast.by_sketch.map(|prediction| percent(prediction.expected_error)),
            counted: predictor(plan.forecast.rule()),
            listed: self.engine.listed(layer, plan),
            predicted_bytes: plan.bytes,
            effort: effort_name(plan.effort).to_owned(),
            predicted_ms: u64::try_from(plan.time().as_millis()).unwrap_or(u64::MAX),
            why: why(plan, best),
        }
    }
}

fn traffic_status(accountant: &Accountant, protocol: Protocol) -> api::TrafficStatus {
    let traffic = accountant.of_protocol(protocol);
    api::TrafficStatus {
        protocol: protocol.name().to_owned(),
        sent_bytes: traffic.sent,
        received_bytes: traffic.received,
    }
}

fn percent(error: ExpectedError) -> u32 {
    (error.0 * 100).div_ceil(1024)
}

fn predictor(rule: Rule) -> api::Predictor {
    match rule {
        Rule::Sketch => api::Predictor::Sketch,
        Rule::Tlsh => api::Predictor::Tlsh,
        Rule::Quote => api::Predictor::Quote,
    }
}

fn why(plan: &Plan, best: Option<&Plan>) -> String {
    let Some(best) = best.filter(|best| *best != plan) else {
        return "chosen: the fewest bytes in good time".to_owned();
    };
    if plan.bytes > best.bytes && plan.bases.is_empty() {
        return format!("whole layer: {} more to send", plan.bytes - best.bytes);
    }
    if plan.bytes > best.bytes {
        return format!("{} more to send", plan.bytes - best.bytes);
    }
    if plan.time() > best.time() {
        return format!("{} ms later", (plan.time() - best.time()).as_millis());
    }
    "as good: nodes choose differently among equal plans".to_owned()
}

fn effort_name(effort: Effort) -> &'static str {
    match effort {
        Effort::Plain => "plain",
        Effort::Fast => "fast",
        Effort::Default => "default",
        Effort::Max => "max",
    }
}
