//! The node's figures as Prometheus reads them, made from the same values that the admin API shows.

mod registry;
mod scrub;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::api::{RacesStatus, Status};
use crate::defects::Defects;
pub use registry::{BlobShares, RegistryFigures};

/// Labels of the traffic counters.
type Labels = [(&'static str, String); 2];

/// One exposition, in the OpenMetrics text format.
pub fn text(status: &Status, figures: &RegistryFigures) -> String {
    let mut registry = Registry::with_prefix("lighter");
    let gauges = [
        ("peers_connected", "Peers with an open connection", status.peers_connected as u64),
        ("peers_known", "Peers in the directory", status.peers_known as u64),
        ("layers", "Layers held and served", status.layers as u64),
        ("pulls", "Pulls under way", status.pulls.len() as u64),
        ("images", "Images with a name", status.store.images),
        ("patches", "Patches in the cache", status.store.patches),
        ("partial_patches", "Patches that have begun to arrive", status.store.partial_patches),
        ("store_used_bytes", "What counts against the store's budget", status.store.used_bytes.0),
        ("store_staying_bytes", "What never gives way to a pull", status.store.staying_bytes.0),
        ("store_budget_bytes", "The store's budget", status.store.bytes_max.0),
        ("store_disk_free_bytes", "Free space of the disk", status.store.disk_free_bytes.0),
        ("store_figures_age_seconds", "Age of the figures of the store", status.store_read_ms_ago / 1000),
        ("warnings", "Things that the operator should look at", status.warnings.len() as u64),
        ("releases_expired", "Images whose release has ended", status.releases_expired),
        ("streams_queued", "Patch streams of peers that wait", status.streams.queued as u64),
        ("ready_stuck", "1 if a worker is stuck: the node is not ready", status.stuck.is_some().into()),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(signed(value)));
    }
    if let Some(bytes) = status.idle_bytes_per_day {
        let help = "What an idle connection over QUIC costs in a day, with every header";
        registry.register_with_unit("idle_connection_day", help, Unit::Bytes, ConstGauge::new(signed(bytes.0)));
    }
    registry.register_with_unit("uptime", "Since the node started", Unit::Seconds, ConstCounter::new(status.uptime_s));
    registry.register(
        "releases_gave_way",
        "Releases that gave way when the store needed their room",
        ConstCounter::new(status.releases_gave_way),
    );
    let streams = status.streams;
    registry.register("streams_busy", "Patch streams refused: too many waited", ConstCounter::new(streams.busy));
    registry.register(
        "streams_reset",
        "Patch streams reset: too many were being refused",
        ConstCounter::new(streams.resets),
    );
    scrub::register(&mut registry, &status.scrub);
    register_races(&mut registry, status.races);
    let defects = Defects::counted();
    registry.register("panics", "Tasks of this node that panicked: a defect", ConstCounter::new(defects.panics));
    registry.register(
        "broken_invariants",
        "Invariants of this node that were found broken: a defect",
        ConstCounter::new(defects.broken_invariants),
    );
    registry.register(
        "lost_log_lines",
        "Lines of the log that could not be written",
        ConstCounter::new(defects.lost_lines),
    );
    let traffic = Family::<Labels, Counter>::default();
    for row in &status.traffic {
        for (direction, bytes) in [("sent", row.sent_bytes), ("received", row.received_bytes)] {
            let labels = [("protocol", row.protocol.clone()), ("direction", direction.to_owned())];
            // The family is new: what is added is the value.
            traffic.get_or_create(&labels).inc_by(bytes.0);
        }
    }
    registry.register_with_unit("traffic", "Over all links since the node started", Unit::Bytes, traffic);
    registry::register(&mut registry, figures);
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// Second sources that were tried beside late ones.
fn register_races(registry: &mut Registry, races: RacesStatus) {
    registry.register("races", "Second sources that were tried beside late ones", ConstCounter::new(races.decided));
    registry.register("races_won", "Those that were faster than the late ones", ConstCounter::new(races.won));
    let help = "Bytes that came for layers and were of no use";
    registry.register_with_unit("wasted", help, Unit::Bytes, ConstCounter::new(races.wasted_bytes.0));
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use lighter_types::{Bytes, PeerId};

    use super::*;
    use crate::api::{ScrubStatus, StoreStatus, StreamsStatus, TrafficStatus};

    #[test]
    fn figures_are_exposed_with_their_labels() {
        let store = StoreStatus {
            layers: 1,
            layer_bytes: Bytes(2),
            patches: 3,
            patch_bytes: Bytes(4),
            partial_patches: 5,
            blobs: 6,
            images: 7,
            image_bytes_max: Bytes(20),
            staying_bytes: Bytes(21),
            used_bytes: Bytes(8),
            bytes_max: Bytes(9),
            disk_free_bytes: Bytes(10),
        };
        let patch = TrafficStatus { protocol: "patch".to_owned(), sent_bytes: Bytes(11), received_bytes: Bytes(12) };
        let status = Status {
            version: String::new(),
            peer_id: PeerId::new([1; 32]),
            site: None,
            listen: vec![],
            uptime_s: 13,
            peers_connected: 14,
            peers_known: 15,
            layers: 16,
            pulls: vec![],
            sent_bytes: Bytes::ZERO,
            received_bytes: Bytes::ZERO,
            traffic: vec![patch],
            idle_bytes_per_day: Some(Bytes(19)),
            upload_max: String::new(),
            download_max: String::new(),
            store,
            store_read_ms_ago: 26_000,
            releases_gave_way: 22,
            releases_expired: 23,
            gave_way: vec![],
            streams: StreamsStatus { queued: 16, busy: 17, resets: 18 },
            scrub: ScrubStatus::default(),
            stuck: None,
            races: RacesStatus { decided: 23, won: 24, wasted_bytes: Bytes(25) },
            warnings: vec![],
        };
        let text = text(&status, &RegistryFigures::default());
        for line in [
            "lighter_peers_connected 14",
            "lighter_store_used_bytes 8",
            "lighter_store_staying_bytes 21",
            "lighter_store_figures_age_seconds 26",
            "lighter_releases_gave_way_total 22",
            "lighter_releases_expired 23",
            "lighter_uptime_seconds_total 13",
            "# TYPE lighter_traffic_bytes counter",
            "lighter_traffic_bytes_total{protocol=\"patch\",direction=\"sent\"} 11",
            "lighter_idle_connection_day_bytes 19",
            "lighter_streams_queued 16",
            "lighter_streams_busy_total 17",
            "lighter_streams_reset_total 18",
            "lighter_ready_stuck 0",
            "lighter_races_total 23",
            "lighter_races_won_total 24",
            "lighter_wasted_bytes_total 25",
            "lighter_panics_total 0",
            "lighter_broken_invariants_total 0",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
