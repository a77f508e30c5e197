//! Everything that a pull puts on the wire: what Lighter sends and receives (patch, gossip, questions, framing), by the
//! node's own accounts, which the bar is for; and what becomes of that in packets, counted at the edge's interface in both
//! directions: encryption, acknowledgements, what is sent twice and all headers too. Handshakes are before.
//!
//! On a link of 100 Mbit/s, and on one as fast as this machine copies: there a sender outruns the receiver's socket.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use lighter_api::Status;
use lighter_types::Bytes;

use crate::Bencher;
use crate::fleet::{Fleet, NEW, Place, Transport};
use crate::namespaces::{self, Counters, Namespace};
use crate::nodes::Pulled;
use crate::report::{Row, Section, median};

/// What is promised of patches over 512 KiB: bytes that Lighter sends and receives over patch bytes. (An IP packet of
/// 1,500 bytes carries 1,448 of TCP and about 1,417 of a QUIC stream: 1.036 and 1.044, before acknowledgements.)
const RATIO: f64 = 1.05;
const PROMISED_BYTES: f64 = 524_288.0;
/// The shaped link, its bursts and its queue (1.25 MB).
const RATE: &str = "100mbit";
const BURST: &str = "32kb";
const QUEUE: &str = "100ms";
/// After a pull, for the announcement that follows it (gathered for half a second) and the last acknowledgements.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Before a pull, until nothing of the start is under way.
const SETTLE: Duration = Duration::from_secs(3);

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = namespaces::obstacle() {
        section.skip(&format!("wire: {obstacle}"));
        return Ok(());
    }
    let mut images = vec![("nginx", bencher.inputs.nginx.clone())];
    match bencher.inputs.whole_nginx()? {
        Some(whole) => images.push(("debian12+nginx", whole)),
        None => section.skip("wire: the whole nginx image needs the corpus"),
    }
    if let Some(python) = bencher.inputs.python()? {
        images.push(("python", python));
    }
    for (name, layouts) in &images {
        for transport in Transport::ALL {
            for link in [Link::Shaped, Link::Unshaped] {
                measure(bencher, &Case { name, layouts, transport, link }, section)?;
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Shaped,
    Unshaped,
}

struct Case<'a> {
    name: &'a str,
    layouts: &'a [PathBuf; 2],
    transport: Transport,
    link: Link,
}

/// One pull.
struct Measured {
    wire: Counters,
    /// Dropped because the edge's UDP socket was full.
    lost_datagrams: u64,
    pulled: Pulled,
    before: Status,
    after: Status,
}

fn measure(bencher: &Bencher, case: &Case, section: &mut Section) -> Result<()> {
    let runs = (0..bencher.runs).map(|_| pull(bencher, case)).collect::<Result<Vec<_>>>()?;
    let of = |value: &dyn Fn(&Measured) -> u64| median(runs.iter().map(|run| value(run) as f64));
    let patch = of(&|run| run.pulled.patch_bytes);
    let total = of(&|run| run.wire.total());
    let link = if case.link == Link::Shaped { RATE } else { "unshaped" };
    let figure = |what: &str| format!("{}, {}, {link}: {what}", case.name, case.transport.name());
    let (received, sent) = (of(&|run| run.wire.received), of(&|run| run.wire.sent));
    let note = format!("received {received:.0}, sent {sent:.0}; {:.0} datagrams lost", of(&|run| run.lost_datagrams));
    let row = Row::new(figure("Ethernet frames"), total, "bytes").beside("patch", patch, total / patch);
    section.add(row.note(note));
    let packets = of(&|run| run.wire.ip().0 + run.wire.ip().1);
    let received = of(&|run| run.wire.ip().0);
    let row = Row::new(figure("IP packets"), packets, "bytes").beside("patch", patch, packets / patch);
    let note = format!("received alone: ratio {:.3}; {:.0} packets", received / patch, of(&|run| run.wire.packets()));
    section.add(row.note(note));
    let accounts = |status: &Status| (status.sent_bytes + status.received_bytes).0;
    let own = of(&|run| accounts(&run.after) - accounts(&run.before));
    let row = Row::new(figure("own accounts"), own, "bytes").beside("patch", patch, own / patch);
    let is_promised = case.link == Link::Shaped && patch > PROMISED_BYTES;
    section.add(if is_promised { row.ratio_at_most(RATIO) } else { row }.note(runs[0].protocols()));
    Ok(())
}

impl Measured {
    /// What each protocol received and sent, by the node's own accounts.
    fn protocols(&self) -> String {
        let rows = self.after.traffic.iter().filter_map(|row| {
            let before = self.before.traffic.iter().find(|before| before.protocol == row.protocol);
            let before = before.map_or((Bytes::ZERO, Bytes::ZERO), |before| (before.received_bytes, before.sent_bytes));
            let (received, sent) = ((row.received_bytes - before.0).0, (row.sent_bytes - before.1).0);
            (received + sent > 0).then(|| format!("{} {received} + {sent}", row.protocol))
        });
        format!("received + sent: {}", rows.collect::<Vec<_>>().join(", "))
    }
}

fn pull(bencher: &Bencher, case: &Case) -> Result<Measured> {
    let (hub, wan, edge) = (Namespace::create("hub")?, Namespace::create("wan")?, Namespace::create("edge")?);
    hub.cable("eth0", &wan, "hub")?;
    edge.cable("eth0", &wan, "edge")?;
    wan.switch("switch", &["hub", "edge"])?;
    if case.link == Link::Shaped {
        ["hub", "edge"].iter().try_for_each(|port| wan.shape(port, RATE, BURST, QUEUE))?;
    }
    hub.address("eth0", "10.77.0.1")?;
    edge.address("eth0", "10.77.0.2")?;
    let places = [
        Place { namespace: &hub, ip: "10.77.0.1", site: "hub" },
        Place { namespace: &edge, ip: "10.77.0.2", site: "" },
    ];
    let dir = bencher.work.join("wire");
    let fleet = Fleet::start(bencher, &dir, case.transport, &places, &[])?;
    fleet.release(case.layouts)?;
    let node = &fleet.nodes[1];
    std::thread::sleep(SETTLE);
    let (counted, lost, before) = (edge.counters("eth0")?, edge.lost_datagrams()?, node.status()?);
    let pulled = node.pull(NEW)?;
    std::thread::sleep(AFTERMATH);
    let lost_datagrams = edge.lost_datagrams()? - lost;
    let (wire, after) = (edge.counters("eth0")?.since(counted), node.status()?);
    for trouble in &pulled.trouble {
        eprintln!("bench: the pull met trouble: {trouble}");
    }
    drop(fleet);
    std::fs::remove_dir_all(dir)?;
    Ok(Measured { wire, lost_datagrams, pulled, before, after })
}
