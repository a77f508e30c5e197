//! The simulator's forecast beside real nodes, over a far and lossy link. Bytes and counts are compared; times are the
//! benchmark's (`make bench BENCH=links`).

use std::time::Duration;

use lighter_tests::forecast::forecast;
use lighter_tests::link::Conditions;
use lighter_tests::relay::{Relay, Settings, udp_address};

use crate::support::images::{self, noise};
use crate::support::{Address, Fleet};

const IMAGE: &str = "demo/app:1";
/// The forecast may be so much off, in percent: three times as much as without loss, where one run is all there is.
const BYTES_OFF: u64 = 9;

#[test]
fn the_bytes_of_a_far_and_lossy_pull_are_as_forecast() {
    let link = Conditions {
        delay: Duration::from_millis(300),
        bits_per_second: Some(8_000_000),
        queue: Duration::from_millis(600),
        loss: 0.02,
        ..Conditions::default()
    };
    let image = images::layout(&[images::tar(&[("lib", &noise(1, 1_500_000))])]);
    let forecast = forecast(&image, 1, &link).expect("a forecast");
    let mut fleet = Fleet::create(2);
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.start();
    hub.import(&folder, &image, IMAGE);
    let target = udp_address(hub.address()).expect("an address of UDP");
    let relay = Relay::start(target, Settings::both(&link)).expect("a relay");
    edge.bootstrap = vec![Address::of(relay.multiaddress(&hub.peer_id))];
    edge.start();
    edge.wait_holdings(&hub.peer_id, 1);
    edge.ask(&["image", "pull", IMAGE]);
    let carried = relay.counts().down.offered.ip_bytes();
    let off = carried.abs_diff(forecast.down_bytes) * 100 / carried;
    assert!(off <= BYTES_OFF, "{carried} bytes, and {forecast:?}");
    assert_eq!(forecast.retries, 0);
}
