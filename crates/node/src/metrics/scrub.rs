//! The figures of the scrub.

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::signed;
use crate::api::ScrubStatus;

pub fn register(registry: &mut Registry, scrub: &ScrubStatus) {
    let gauges = [
        (
            "last_timestamp_seconds",
            "The end of the last scrub of the store, since 1970; 0 before the first",
            scrub.last_s,
        ),
        ("last_damaged", "Damaged files that the last scrub found", Some(scrub.last_damaged)),
        ("running", "1 while the store is scrubbed", Some(scrub.running.into())),
    ];
    let registry = registry.sub_registry_with_prefix("scrub");
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(signed(value.unwrap_or_default())));
    }
    registry.register("read_bytes", "Bytes that scrubs have read", ConstCounter::new(scrub.read_bytes.0));
    registry.register("damaged", "Damaged files that scrubs have found", ConstCounter::new(scrub.damaged));
}

#[cfg(test)]
mod tests {
    use lighter_types::Bytes;
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_last_scrub_and_all_finds_are_exposed() {
        let scrub = ScrubStatus {
            last_s: Some(1),
            last_bytes: Bytes(2),
            last_damaged: 3,
            running: true,
            read_bytes: Bytes(4),
            damaged: 5,
        };
        let mut registry = Registry::with_prefix("lighter");
        register(&mut registry, &scrub);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "lighter_scrub_last_timestamp_seconds 1",
            "lighter_scrub_last_damaged 3",
            "lighter_scrub_running 1",
            "lighter_scrub_read_bytes_total 4",
            "lighter_scrub_damaged_total 5",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
