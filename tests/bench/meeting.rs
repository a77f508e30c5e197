//! The first connection of two nodes: the bytes of the handshake and of the first messages.

use std::time::Duration;

use anyhow::Result;

use crate::Bencher;
use crate::fleet::{Fleet, Place, Transport};
use crate::namespaces::{self, Namespace};
use crate::report::{Row, Section};

/// The time until the first messages are over.
const SETTLE: Duration = Duration::from_secs(5);
const IPS: [&str; 2] = ["10.78.0.1", "10.78.0.2"];

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = namespaces::obstacle() {
        section.skip(&format!("meeting: {obstacle}"));
        return Ok(());
    }
    Transport::ALL.iter().try_for_each(|&transport| measure(bencher, transport, section))
}

fn measure(bencher: &Bencher, transport: Transport, section: &mut Section) -> Result<()> {
    let [met, coming] = ["met", "coming"].map(Namespace::create);
    let (met, coming) = (met?, coming?);
    coming.cable("eth0", &met, "eth0")?;
    for (namespace, ip) in [&met, &coming].into_iter().zip(IPS) {
        namespace.address("eth0", ip)?;
    }
    let place = |(namespace, ip)| Place { namespace, ip, site: "harbour" };
    let places: Vec<Place> = [&met, &coming].into_iter().zip(IPS).map(place).collect();
    let dir = bencher.work.join(format!("meeting-{}", transport.name()));
    let before = coming.counters("eth0")?;
    let fleet = Fleet::start(bencher, &dir, transport, &places, &[])?;
    fleet.nodes[1].wait_for_peers(1, 0)?;
    std::thread::sleep(SETTLE);
    let wire = coming.counters("eth0")?.since(before);
    let status = fleet.nodes[1].status()?;
    let name = transport.name();
    for (way, bytes, packets) in
        [("received", wire.received, wire.packets_received), ("sent", wire.sent, wire.packets_sent)]
    {
        let protocols = status.traffic.iter().map(|row| {
            let bytes = if way == "sent" { row.sent_bytes } else { row.received_bytes };
            format!("{} {bytes}", row.protocol)
        });
        let note = format!("{packets} packets; streams: {}", protocols.collect::<Vec<_>>().join(", "));
        section.add(Row::new(format!("{name}: {way} by the dialling node"), bytes as f64, "bytes").note(note));
    }
    drop(fleet);
    Ok(std::fs::remove_dir_all(dir)?)
}
