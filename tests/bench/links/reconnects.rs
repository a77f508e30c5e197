//! Memory that a hub keeps of connections that came and went.
//!
//! One member dials the hub and closes the connection, over and over. It speaks QUIC alone and no protocol above it:
//! the hub opens its streams in vain. The hub holds off a peer that comes back so often: most of these connections are
//! refused, before the handshake or behind it. The first connections leave something behind, such as buffers and pages
//! of the allocator, and do not count.

use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::poll_fn;
use libp2p::core::muxing::StreamMuxer as _;
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::{Endpoint, Transport as _};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use lighter_quic::{Config, Transport};
use tokio::runtime::Runtime;

use super::site::Site;
use crate::nodes::Node;
use crate::report::{Row, Section};
use crate::{Bencher, machine};

const FIRST: usize = 10_000;
const CONNECTIONS: usize = 10_000;
/// Bytes for each connection: a megabyte in all is the allocator's noise.
const BAR: f64 = 100.0;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const OPTIONS: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };

pub fn run(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let keys = Keypair::generate_ed25519();
    let members = format!("fleet.members={:?}", [PeerId::from(keys.public()).to_string()]);
    let site = Site::start_set(bencher, name, &[], &[members])?;
    let hub: Multiaddr = site.hub.status()?.listen.first().context("the hub does not listen")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _guard = runtime.enter();
    let mut transport = Transport::new(&Config::default(), &keys)?;
    runtime.block_on(reconnect(&mut transport, &hub, FIRST))?;
    let before = memory_of(&site.hub, &runtime)?;
    let began = Instant::now();
    runtime.block_on(reconnect(&mut transport, &hub, CONNECTIONS))?;
    let took = began.elapsed().as_secs_f64();
    let after = memory_of(&site.hub, &runtime)?;
    let kept = (after - before) * f64::from(1 << 20) / CONNECTIONS as f64;
    let note = format!("{before:.1} MiB after {FIRST}, {after:.1} MiB after {CONNECTIONS} more, in {took:.0} s");
    let figure = format!("{name}: memory that a hub keeps of a connection that came and went");
    section.add(Row::new(figure, kept.max(0.0), "bytes").at_most(BAR).goal(0.0).note(note));
    site.end()
}

async fn reconnect(transport: &mut Transport, hub: &Multiaddr, times: usize) -> Result<()> {
    for _ in 0..times {
        let Ok((_, mut connection)) = transport.dial(hub.clone(), OPTIONS)?.await else { continue };
        // The hub took it in, and asks for something; or it closes the connection.
        if poll_fn(|context| Pin::new(&mut connection).poll_inbound(context)).await.is_ok() {
            poll_fn(|context| Pin::new(&mut connection).poll_close(context)).await?;
        }
    }
    Ok(())
}

/// The resident memory when no connection is left, in MiB. The runtime goes on meanwhile: it has closes to send.
fn memory_of(hub: &Node, runtime: &Runtime) -> Result<f64> {
    let began = Instant::now();
    while hub.status()?.peers_connected > 0 {
        if began.elapsed() > PATIENCE {
            bail!("the hub keeps a connection that was closed");
        }
        runtime.block_on(tokio::time::sleep(POLL));
    }
    machine::memory_mib(hub.pid(), "VmRSS").context("the hub's memory cannot be read")
}
