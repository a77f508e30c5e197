//! `lighter status` and `lighter peer`.

use std::path::PathBuf;

use comfy_table::Table;
use lighter_api::{Peer, ScrubStatus, Status, paths};
use lighter_types::{Bytes, SiteName};

use crate::args::PeerCommand;
use crate::client::Client;
use crate::exit::Failure;
use crate::output::{Output, right, table};
use crate::progress::duration;

/// Figures of the store that are older than this are told with their age: the node reads them every ten seconds.
const STORE_AGE_MS_MIN: u64 = 15_000;

pub fn status(output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let status: Status = Client::new(socket)?.get(paths::STATUS)?;
    output.value(&status, status_text)?;
    if !status.warnings.is_empty() {
        output.say("hint: the section \"Troubleshooting\" of docs/OPERATING.md says what to do about each warning");
    }
    Ok(())
}

fn status_text(status: &Status) -> String {
    let mut lines = vec![
        format!("peer id   {}", status.peer_id),
        format!("version   {}", status.version),
        format!("site      {}", status.site.as_ref().map_or("none", SiteName::as_str)),
        format!("up        {}", duration(status.uptime_s * 1000)),
        format!("peers     {} connected, {} known", status.peers_connected, status.peers_known),
        format!("layers    {} in {}", status.layers, status.store.layer_bytes),
        format!("patches   {} in {}", status.store.patches, status.store.patch_bytes),
        format!(
            "disk      {} of {} used, {} free on the disk",
            status.store.used_bytes, status.store.bytes_max, status.store.disk_free_bytes
        ),
        format!(
            "traffic   {} sent (at most {}), {} received (at most {})",
            status.sent_bytes, status.upload_max, status.received_bytes, status.download_max
        ),
    ];
    if status.store_read_ms_ago >= STORE_AGE_MS_MIN {
        lines.push(format!("          as of {} ago: the disk does not answer", duration(status.store_read_ms_ago)));
    }
    lines.push(format!("scrubbed  {}", scrub_text(&status.scrub)));
    for row in status.traffic.iter().filter(|row| row.sent_bytes + row.received_bytes > Bytes::ZERO) {
        lines.push(format!("  {:8} {} sent, {} received", row.protocol, row.sent_bytes, row.received_bytes));
    }
    if let Some(bytes) = status.idle_bytes_per_day {
        lines.push(format!("idle      {bytes} in a day for each connection"));
    }
    lines.extend(status.listen.iter().map(|address| format!("listens   {address}")));
    lines.extend(status.pulls.iter().map(|pull| format!("pulling   {}", pull.image)));
    lines.extend(status.gave_way.iter().map(|release| format!("gave way  {}", release.reference)));
    lines.extend(status.warnings.iter().map(|warning| format!("WARNING   {warning}")));
    lines.join("\n")
}

/// When the store was last read as a whole.
fn scrub_text(scrub: &ScrubStatus) -> String {
    let now = if scrub.running { ", under way now" } else { "" };
    let Some(last_s) = scrub.last_s else { return format!("never yet{now}") };
    let at = i64::try_from(last_s).ok().and_then(|last_s| jiff::Timestamp::from_second(last_s).ok());
    let at = at.map_or_else(|| format!("{last_s} s after 1970"), |at| at.to_string());
    format!("{at}, {} damaged files in {}{now}", scrub.last_damaged, scrub.last_bytes)
}

pub fn peers(command: PeerCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let PeerCommand::List = command;
    let peers: Vec<Peer> = Client::new(socket)?.get(paths::PEERS)?;
    output.rows(&peers, peer_table)
}

fn shown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn peer_table(peers: &[Peer]) -> Table {
    let mut table = table(&[
        "peer",
        "site",
        "state",
        "layers",
        "heard",
        "from it",
        "to it",
        "round trip",
        "lost",
        "sent",
        "received",
    ]);
    for peer in peers {
        let state = match (peer.cut_off, peer.connected) {
            (true, true | false) => "cut off",
            (false, true) => "connected",
            (false, false) => "heard of",
        };
        table.add_row([
            peer.peer_id.to_string().into(),
            peer.site.as_ref().map_or("", SiteName::as_str).into(),
            state.into(),
            right(peer.layers),
            right(format!("{} ago", duration(peer.last_heard_ms_ago))),
            right(shown(peer.rate)),
            right(shown(peer.rate_up)),
            right(peer.round_trip_ms.map(|time| format!("{time} ms")).unwrap_or_default()),
            right(peer.lost_per_mille.map(|lost| format!("{}.{} %", lost / 10, lost % 10)).unwrap_or_default()),
            right(peer.sent_bytes),
            right(peer.received_bytes),
        ]);
    }
    table
}
