//! A pull beside the kernel's TCP with cubic, which every registry uses: its time on the same bad link, and its share
//! of a link that both use at once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lighter_tests::link::Conditions;

use super::site::{IMAGE, noise_image};
use super::tun::{DEVICE, TunLink};
use crate::fleet::{Fleet, Place, Transport};
use crate::namespaces::{self, Namespace};
use crate::report::{Row, Section, median};
use crate::{Bencher, process};

const HUB: &str = "10.79.0.1";
const EDGE: &str = "10.79.0.2";
const PORT: &str = "8000";
const PATIENCE: Duration = Duration::from_secs(20);
/// The bytes of the layer and of the file.
const BYTES: usize = 3_722_445;
/// The layer beside a TCP flow: about 20 s at half of 10 Mbit/s.
const SHARED_BYTES: usize = 12 << 20;
/// TCP has found its rate when the pull begins.
const HEAD_START: Duration = Duration::from_secs(4);

/// A hub with a node and a web server, an edge, and the link between them.
struct Pair {
    fleet: Fleet,
    server: Server,
    link: TunLink,
    edge: Namespace,
    _hub: Namespace,
}

impl Pair {
    /// The hub has an image with one layer of `layer_bytes`, and the web server a file of `file_bytes`.
    fn start(bencher: &Bencher, run: u32, link: &Conditions, layer_bytes: usize, file_bytes: usize) -> Result<Self> {
        let (hub, edge) = (Namespace::create("hub")?, Namespace::create("edge")?);
        let link = TunLink::start([(&hub, HUB), (&edge, EDGE)], link, u64::from(run) + 1)?;
        // A namespace cannot always choose cubic for all its sockets; a route can.
        hub.ip(&["route", "replace", &format!("{EDGE}/32"), "dev", DEVICE, "congctl", "cubic"])?;
        let dir = bencher.work.join("links-kernel");
        let places = [Place { namespace: &hub, ip: HUB, site: "hub" }, Place { namespace: &edge, ip: EDGE, site: "" }];
        let fleet = Fleet::start(bencher, &dir, Transport::Quic, &places, &[])?;
        let layout = tempfile::tempdir_in(&dir)?;
        noise_image(7, 1, layer_bytes).write_to(layout.path());
        fleet.nodes[0].import(layout.path(), IMAGE)?;
        fleet.nodes[1].wait_for_peers(1, 1)?;
        std::fs::write(dir.join("file"), lighter_tests::images::noise(8, file_bytes))?;
        let server = Server::start(&hub, dir)?;
        let pair = Self { fleet, server, link, edge, _hub: hub };
        pair.wait_for_server()?;
        Ok(pair)
    }

    fn wait_for_server(&self) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = process::output(&mut self.curl("node0/node.toml")) {
            if start.elapsed() > PATIENCE {
                bail!("the web server does not answer: {error:#}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// A download by the edge.
    fn curl(&self, file: &str) -> Command {
        let mut command = self.edge.command("curl");
        command.args(["--silent", "--fail", "--output", "/dev/null", &format!("http://{HUB}:{PORT}/{file}")]);
        command
    }

    fn end(self) -> Result<()> {
        let dir = self.server.dir.clone();
        drop(self);
        Ok(std::fs::remove_dir_all(dir)?)
    }
}

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A web server.
struct Server {
    _process: Running,
    dir: PathBuf,
}

impl Server {
    fn start(namespace: &Namespace, dir: PathBuf) -> Result<Self> {
        let mut command = namespace.command("python3");
        command.args(["-m", "http.server", PORT, "--bind", HUB, "--directory"]).arg(&dir);
        Ok(Self { _process: Running(in_background(&mut command)?), dir })
    }
}

fn in_background(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot start")
}

fn obstacle() -> Option<String> {
    let missing = ["curl", "python3"].into_iter().find(|tool| !process::is_there(tool));
    let missing = missing.map(|tool| format!("{tool} is missing"));
    let tun = (!Path::new("/dev/net/tun").exists()).then(|| "there is no /dev/net/tun".to_owned());
    missing.or(tun).or_else(namespaces::obstacle)
}

pub fn cubic(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = obstacle() {
        section.skip(&format!("{name}: {obstacle}"));
        return Ok(());
    }
    let conditions = Conditions {
        delay: Duration::from_millis(40),
        bits_per_second: Some(8_000_000),
        queue: Duration::from_millis(300),
        loss: 0.01,
        ..Conditions::default()
    };
    let (mut ours, mut curls, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..bencher.link_runs {
        let pair = Pair::start(bencher, run, &conditions, BYTES, BYTES)?;
        let start = Instant::now();
        process::output(&mut pair.curl("file"))?;
        let curl = start.elapsed().as_secs_f64();
        let pulled = pair.fleet.nodes[1].pull(IMAGE)?.seconds;
        eprintln!("bench: links: {name}: {pulled:.1} s, curl {curl:.1} s");
        ours.push(pulled);
        curls.push(curl);
        ratios.push(pulled / curl);
        pair.end()?;
    }
    let figure = format!("{name}: 3.55 MiB, 8 Mbit/s, 80 ms, loss 1 %");
    let row = Row::new(figure, median(ours), "s").beside("curl over cubic", median(curls), median(ratios));
    section.add(row.ratio_at_most(0.5).goal(0.2));
    Ok(())
}

pub fn share(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = obstacle() {
        section.skip(&format!("{name}: {obstacle}"));
        return Ok(());
    }
    let conditions = Conditions {
        delay: Duration::from_millis(40),
        bits_per_second: Some(10_000_000),
        queue: Duration::from_millis(200),
        ..Conditions::default()
    };
    let (mut shares, mut seconds) = (Vec::new(), Vec::new());
    for run in 0..bencher.link_runs {
        let pair = Pair::start(bencher, run, &conditions, SHARED_BYTES, 20 * SHARED_BYTES)?;
        let flow = Running(in_background(&mut pair.curl("file"))?);
        std::thread::sleep(HEAD_START);
        let before = pair.link.carried();
        seconds.push(pair.fleet.nodes[1].pull(IMAGE)?.seconds);
        let after = pair.link.carried();
        let (tcp, udp) = ((after.tcp - before.tcp) as f64, (after.udp - before.udp) as f64);
        shares.push(tcp / (tcp + udp));
        eprintln!("bench: links: {name}: TCP had {:.2}", tcp / (tcp + udp));
        drop(flow);
        pair.end()?;
    }
    let figure = format!("{name}: TCP cubic beside a pull, 10 Mbit/s, 80 ms, queue of 200 ms");
    let note = format!("a pull of 12 MiB took {:.1} s", median(seconds));
    section.add(Row::new(figure, median(shares), "of the bytes").between(0.35, 0.65).note(note));
    Ok(())
}
