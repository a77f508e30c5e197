//! A fleet at rest: what a node with three peers keeps in memory and says on the wire.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lighter_api::Status;

use crate::fleet::{Fleet, OLD, Place, Transport};
use crate::namespaces::{self, Namespace};
use crate::report::{Row, Section};
use crate::{Bencher, machine};

/// What is promised: MiB resident, kbit/s of gossip per peer.
const RESIDENT_MIB: f64 = 80.0;
const GOSSIP_KBIT: f64 = 1.0;
/// Until the fleet has met and said what it holds.
const SETTLE: Duration = Duration::from_secs(20);
const PEERS: usize = 3;
const IPS: [&str; PEERS + 1] = ["10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4"];

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = namespaces::obstacle() {
        section.skip(&format!("idle: {obstacle}"));
        return Ok(());
    }
    Transport::ALL.iter().try_for_each(|&transport| measure(bencher, transport, section))
}

fn measure(bencher: &Bencher, transport: Transport, section: &mut Section) -> Result<()> {
    let wan = Namespace::create("wan")?;
    let namespaces =
        (0..IPS.len()).map(|index| Namespace::create(&format!("node{index}"))).collect::<Result<Vec<_>>>()?;
    let ports: Vec<String> = (0..IPS.len()).map(|index| format!("port{index}")).collect();
    for ((namespace, port), ip) in namespaces.iter().zip(&ports).zip(IPS) {
        namespace.cable("eth0", &wan, port)?;
        namespace.address("eth0", ip)?;
    }
    wan.switch("switch", &ports.iter().map(String::as_str).collect::<Vec<_>>())?;
    let place = |(namespace, ip)| Place { namespace, ip, site: "harbour" };
    let places: Vec<Place> = namespaces.iter().zip(IPS).map(place).collect();
    let dir = bencher.work.join(format!("idle-{}", transport.name()));
    let mut fleet = Fleet::start(bencher, &dir, transport, &places, &[])?;
    let layout = match bencher.inputs.whole_nginx()? {
        Some([old, _]) => old,
        None => bencher.inputs.nginx[0].clone(),
    };
    for node in &fleet.nodes {
        node.import(&layout, OLD)?;
    }
    let figure = |what: &str| format!("{}: {what}", transport.name());
    let resident = |fleet: &Fleet| machine::memory_mib(fleet.nodes[0].pid(), "VmRSS").context("VmRSS cannot be read");
    section.add(
        Row::new(figure("resident right after an import"), resident(&fleet)?, "MiB")
            .note("the allocator gives back what the import took in its own time"),
    );
    fleet.restart(&bencher.lighter, 0)?;
    fleet.nodes[0].wait_for_peers(PEERS, 1)?;
    std::thread::sleep(SETTLE);
    let (counted, before, start) = (namespaces[0].counters("eth0")?, fleet.nodes[0].status()?, Instant::now());
    std::thread::sleep(Duration::from_secs(bencher.idle_s));
    let (wire, after) = (namespaces[0].counters("eth0")?.since(counted), fleet.nodes[0].status()?);
    let per_peer = |bytes: u64| bytes as f64 * 8.0 / 1000.0 / start.elapsed().as_secs_f64() / PEERS as f64;
    let gossip = per_peer(of_protocol(&after, "gossip") - of_protocol(&before, "gossip"));
    let peers = after.peers_connected;
    let connected = format!("{peers} peers connected, watched for {} s", bencher.idle_s);
    section.add(Row::new(figure("resident at rest"), resident(&fleet)?, "MiB").at_most(RESIDENT_MIB).note(connected));
    let both = "both directions together, the node's own accounts";
    section.add(Row::new(figure("gossip per peer"), gossip, "kbit/s").at_most(GOSSIP_KBIT).note(both));
    let protocols = after.traffic.iter().map(|row| {
        let spent = (row.sent_bytes + row.received_bytes).0 - of_protocol(&before, &row.protocol);
        format!("{} {spent}", row.protocol)
    });
    let protocols = protocols.collect::<Vec<_>>().join(", ");
    let own = |status: &Status| (status.sent_bytes + status.received_bytes).0;
    let accounts = per_peer(own(&after) - own(&before));
    section.add(Row::new(figure("all protocols per peer"), accounts, "kbit/s").note(format!("bytes: {protocols}")));
    let note = format!("{} packets, {} bytes at the interface", wire.packets(), wire.total());
    section.add(Row::new(figure("everything on the wire per peer"), per_peer(wire.total()), "kbit/s").note(note));
    drop(fleet);
    Ok(std::fs::remove_dir_all(dir)?)
}

fn of_protocol(status: &Status, protocol: &str) -> u64 {
    let row = status.traffic.iter().find(|row| row.protocol == protocol);
    row.map_or(0, |row| (row.sent_bytes + row.received_bytes).0)
}
