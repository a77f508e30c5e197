//! A pull over an uplink of 1 Mbit/s, and the cost of a second edge of the same site on that uplink.
//!
//! hub ── switch ══ uplink, shaped in both directions ══ switch ── edge-a, edge-b
//!
//! The shaper stands between the nodes, like a modem. No node sees the rate at its own interface.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::Bencher;
use crate::fleet::{Fleet, NEW, Place, Transport};
use crate::namespaces::{self, Namespace};
use crate::report::{Row, Section, median};

const BITS_PER_SECOND: f64 = 1e6;
/// The length of the queue before the uplink: 50 kB, as in a modem.
const QUEUE: &str = "400ms";
/// The burst of the shaper: two full frames.
const BURST: &str = "3100";
/// The promise for the first edge: the time of the transfer divided by patch bytes x 8 / rate.
const TIME_RATIO: f64 = 1.15;
/// The promise for the second edge: its bytes over the uplink as a share of the patch.
const SECOND_EDGE_PERCENT: f64 = 3.0;
/// The time until the traffic of a start is over.
const SETTLE: Duration = Duration::from_secs(5);

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = namespaces::obstacle() {
        section.skip(&format!("uplink: {obstacle}"));
        return Ok(());
    }
    let mut images = vec![("nginx", bencher.inputs.nginx.clone())];
    match bencher.inputs.whole_nginx()? {
        Some(whole) => images.push(("debian12+nginx", whole)),
        None => section.skip("uplink: the whole nginx image needs the corpus"),
    }
    for (name, layouts) in &images {
        for transport in Transport::ALL {
            measure(bencher, name, layouts, transport, section)?;
        }
    }
    Ok(())
}

/// The figures of one run, which has two pulls.
struct Measured {
    patch_bytes: f64,
    seconds: f64,
    encode_seconds: f64,
    uplink_bytes: f64,
    second_seconds: f64,
    second_uplink_bytes: f64,
}

impl Measured {
    fn ideal_seconds(&self) -> f64 {
        self.patch_bytes * 8.0 / BITS_PER_SECOND
    }
}

fn measure(
    bencher: &Bencher,
    name: &str,
    layouts: &[PathBuf; 2],
    transport: Transport,
    section: &mut Section,
) -> Result<()> {
    let runs = (0..bencher.runs)
        .map(|run| pulls(bencher, &format!("uplink-{name}-{}-{run}", transport.name()), layouts, transport))
        .collect::<Result<Vec<_>>>()?;
    let of = |value: &dyn Fn(&Measured) -> f64| median(runs.iter().map(value));
    let ratio = of(&|run| (run.seconds - run.encode_seconds) / run.ideal_seconds());
    let figure = |what: &str| format!("{name}, {}: {what}", transport.name());
    let note = format!(
        "{:.2} s to make the patches is taken off, without it {:.3}",
        of(&|run| run.encode_seconds),
        of(&|run| run.seconds / run.ideal_seconds())
    );
    section.add(
        Row::new(figure("first edge"), of(&|run| run.seconds), "s")
            .beside("patch x 8 / rate", of(&Measured::ideal_seconds), ratio)
            .ratio_at_most(TIME_RATIO)
            .note(note),
    );
    let (carried, patch) = (of(&|run| run.uplink_bytes), of(&|run| run.patch_bytes));
    let row = Row::new(figure("first edge's uplink frames"), carried, "bytes");
    section.add(row.beside("patch", patch, carried / patch).note("both directions"));
    let percent = of(&|run| 100.0 * run.second_uplink_bytes / run.patch_bytes);
    let note = format!(
        "{:.0} bytes over the uplink both ways, {:.2} s",
        of(&|run| run.second_uplink_bytes),
        of(&|run| run.second_seconds)
    );
    let figure = figure("second edge's uplink bytes");
    section.add(Row::new(figure, percent, "% of patch").at_most(SECOND_EDGE_PERCENT).note(note));
    Ok(())
}

fn pulls(bencher: &Bencher, dir: &str, layouts: &[PathBuf; 2], transport: Transport) -> Result<Measured> {
    let hub = Namespace::create("hub")?;
    let wan = Namespace::create("wan")?;
    let edges = [Namespace::create("edge-a")?, Namespace::create("edge-b")?];
    hub.cable("eth0", &wan, "hub")?;
    edges[0].cable("eth0", &wan, "edge-a")?;
    edges[1].cable("eth0", &wan, "edge-b")?;
    wan.cable("uplink0", &wan, "uplink1")?;
    wan.switch("outside", &["hub", "uplink0"])?;
    wan.switch("inside", &["uplink1", "edge-a", "edge-b"])?;
    let rate = format!("{BITS_PER_SECOND}bit");
    wan.shape("uplink0", &rate, BURST, QUEUE)?;
    wan.shape("uplink1", &rate, BURST, QUEUE)?;
    let places = [
        Place { namespace: &hub, ip: "10.77.0.1", site: "hub" },
        Place { namespace: &edges[0], ip: "10.77.0.2", site: "harbour" },
        Place { namespace: &edges[1], ip: "10.77.0.3", site: "harbour" },
    ];
    for place in &places {
        place.namespace.address("eth0", place.ip)?;
    }
    let dir = bencher.work.join(dir);
    // An operator with this uplink sets the same value.
    let fleet = Fleet::start(bencher, &dir, transport, &places, &["network.uplink_assumed=1 Mbit/s"])?;
    fleet.release(layouts)?;
    fleet.nodes[2].wait_for_peers(2, 1)?;
    std::thread::sleep(SETTLE);
    let counted = wan.counters("uplink0")?;
    let first = fleet.nodes[1].pull(NEW)?;
    let uplink_bytes = wan.counters("uplink0")?.since(counted).total();
    let encode_seconds = fleet.nodes[0].encode_seconds();
    std::thread::sleep(SETTLE);
    let counted = wan.counters("uplink0")?;
    let second = fleet.nodes[2].pull(NEW)?;
    let second_uplink_bytes = wan.counters("uplink0")?.since(counted).total();
    for trouble in first.trouble.iter().chain(&second.trouble) {
        eprintln!("bench: a pull was retried: {trouble}");
    }
    drop(fleet);
    std::fs::remove_dir_all(dir)?;
    Ok(Measured {
        patch_bytes: first.patch_bytes as f64,
        seconds: first.seconds,
        encode_seconds,
        uplink_bytes: uplink_bytes as f64,
        second_seconds: second.seconds,
        second_uplink_bytes: second_uplink_bytes as f64,
    })
}
