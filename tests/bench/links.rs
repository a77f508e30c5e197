//! Real nodes over bad links: far, lossy, and asked by many at once.
//!
//! A relay of our own (tests/shared/relay.rs) stands between a hub and an edge, with delay, rate, queue and loss in
//! both directions. A pull's time counts from the start of the command `lighter` to its end. Each run has new nodes,
//! which have learned nothing of the link. Beside a pull's time stands the least that the link allows: bytes / rate and
//! three round trips. The storms have no relay: every node is on this machine, without a limit. The figures beside the
//! kernel's TCP use network namespaces.

mod bytes;
mod crowd;
mod idle;
mod kernel;
mod lists;
mod reconnects;
mod site;
mod times;
mod tun;

use anyhow::Result;
use clap::ValueEnum;

use crate::Bencher;
use crate::report::Section;

/// A figure of this benchmark, to be measured alone by `--row`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinkRow {
    /// A layer of 3.55 MiB over 8 Mbit/s, a round trip of 600 ms, 1 % loss.
    FarLossy,
    /// The same, 80 ms.
    Lossy,
    /// 1 Mbit/s, 600 ms, 2 %.
    ThinLossy,
    /// 8 Mbit/s, 80 ms, 5 %.
    #[value(name = "loss-5")]
    Loss5,
    /// 8 Mbit/s, 80 ms, 10 %.
    #[value(name = "loss-10")]
    Loss10,
    /// 8 Mbit/s, 600 ms, no loss.
    Far,
    /// 8 Mbit/s, 20 ms, no loss.
    Near,
    /// 20 Mbit/s down, 64 kbit/s up, 80 ms.
    ThinUplink,
    /// A patch of 261 KiB over 8 Mbit/s, 600 ms.
    PatchFar,
    /// An image of 15 layers of 3 KB over 8 Mbit/s, 600 ms.
    LayersFar,
    /// The queue that a pull adds on a link that can queue for a second.
    Queue,
    /// 30 edges pull 8 layers of 300 KB at once.
    Storm,
    /// 150 edges pull one layer of 400 KB at once.
    Crowd,
    /// Bytes received for 15 layers of 3 KB.
    BytesSmall,
    /// Bytes received for a layer of 300 KB that does not compress.
    BytesLarge,
    /// The list of 3,000 layers after a restart of the hub.
    ListHub,
    /// The list of 3,000 layers after a restart of the edge.
    ListEdge,
    /// Bytes of an idle connection in a day.
    Idle,
    /// Memory that a hub keeps of 10,000 connections that came and went.
    Reconnects,
    /// A pull beside curl over the kernel's cubic, on the same bad link.
    Cubic,
    /// The share of a TCP cubic flow beside a pull.
    Share,
}

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    for row in LinkRow::value_variants() {
        if !bencher.link_rows.is_empty() && !bencher.link_rows.contains(row) {
            continue;
        }
        let name = row.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("bench: links: {name}");
        // One row that cannot be measured leaves the others.
        if let Err(error) = measure(bencher, *row, &name, section) {
            section.failed(&format!("{name}: {error:#}"));
        }
    }
    Ok(())
}

fn measure(bencher: &Bencher, row: LinkRow, name: &str, section: &mut Section) -> Result<()> {
    match row {
        LinkRow::FarLossy
        | LinkRow::Lossy
        | LinkRow::ThinLossy
        | LinkRow::Loss5
        | LinkRow::Loss10
        | LinkRow::Far
        | LinkRow::Near
        | LinkRow::ThinUplink => times::whole_layer(bencher, row, name, section),
        LinkRow::PatchFar => times::patch(bencher, name, section),
        LinkRow::LayersFar => times::layers(bencher, name, section),
        LinkRow::Queue => times::queue(bencher, name, section),
        LinkRow::Storm => crowd::storm(bencher, name, section),
        LinkRow::Crowd => crowd::crowd(bencher, name, section),
        LinkRow::BytesSmall => bytes::small(bencher, name, section),
        LinkRow::BytesLarge => bytes::large(bencher, name, section),
        LinkRow::ListHub => lists::hub(bencher, name, section),
        LinkRow::ListEdge => lists::edge(bencher, name, section),
        LinkRow::Idle => idle::run(bencher, name, section),
        LinkRow::Reconnects => reconnects::run(bencher, name, section),
        LinkRow::Cubic => kernel::cubic(bencher, name, section),
        LinkRow::Share => kernel::share(bencher, name, section),
    }
}
