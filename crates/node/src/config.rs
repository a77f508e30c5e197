//! A node's configuration: its keys, where their values come from, and what is wrong with them.
//!
//! The file is TOML. Values come from, last wins: the defaults here, the file, the environment (`LIGHTER_...`), the
//! command line. An unknown key is an error that names the nearest known one. configs/node.toml documents every key and
//! a test holds it equal to these defaults.

mod addresses;
mod check_upstream;
mod images;
mod layers;
pub mod policy;
mod ranges;
mod registry;
mod upstream;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use lighter_engine::{EffortChoice, Settings};
use lighter_types::{Bytes, BytesPerSecond, Effort, PeerId, SiteName};
use lighter_wire::Incarnation;
use serde::{Deserialize, Serialize};

use addresses::{cannot_dial, cannot_listen};
pub use images::{Images, Scope, WhenExpired};
pub use layers::{ConfigError, Layered, Origin, key_parts, load};
use ranges::{check_range, check_size};
pub use registry::Registry;
pub use upstream::{UpstreamHost, settings as upstream_settings};
use values::text_list;
pub use values::{Preference, Rate, ReleasesKept, Size};

/// The commented file with all defaults, as `lighter node init` writes it.
pub const TEMPLATE: &str = include_str!("../../../configs/node.toml");

/// Everything that can be configured. Each key is documented in configs/node.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub data_dir: DataDir,
    pub site: Site,
    pub network: Network,
    pub fleet: Fleet,
    pub images: Images,
    pub store: Store,
    pub transfer: Transfer,
    pub limits: Limits,
    pub timing: Timing,
    pub admin: Admin,
    pub registry: Registry,
    pub log: Log,
    /// By host and port.
    #[serde(default)]
    pub upstream: BTreeMap<String, UpstreamHost>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataDir(pub PathBuf);

/// A site's name, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site(pub Option<SiteName>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    #[serde(with = "text_list")]
    pub listen: Vec<Multiaddr>,
    #[serde(with = "text_list")]
    pub bootstrap: Vec<Multiaddr>,
    pub mdns: bool,
    pub connections_max: u32,
    pub upload_max: Rate,
    pub download_max: Rate,
    pub uplink_assumed: Rate,
    pub passes_on: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    #[serde(with = "text_list")]
    pub members: Vec<PeerId>,
    #[serde(with = "text_list")]
    pub publishers: Vec<PeerId>,
    #[serde(with = "text_list")]
    pub neighbours: Vec<PeerId>,
    pub open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub bytes_max: Size,
    pub releases_kept: ReleasesKept,
    pub at_rest: AtRest,
    pub scrub_days: u32,
    pub scrub_rate: Rate,
}

/// The form in which layers lie on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtRest {
    /// The tar as it is.
    #[default]
    Tar,
    /// Compressed behind the commit, and read by position.
    Zstd,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    pub prefer: Preference,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub fetches_max: usize,
    pub encodes_max: usize,
    pub encode_effort: EncodeEffort,
    pub encode_memory_max: Size,
    pub copies_max: usize,
    pub streams_max: usize,
    pub streams_per_peer_max: usize,
    pub peers_max: usize,
    pub imports_max: usize,
}

/// At which effort patches are made for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncodeEffort {
    Fast,
    Default,
    Max,
    /// By link, receivers and queue, for each patch.
    Auto,
}

impl From<EncodeEffort> for EffortChoice {
    fn from(effort: EncodeEffort) -> Self {
        match effort {
            EncodeEffort::Fast => Self::Always(Effort::Fast),
            EncodeEffort::Default => Self::Always(Effort::Default),
            EncodeEffort::Max => Self::Always(Effort::Max),
            EncodeEffort::Auto => Self::Auto,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    pub announce_interval_s: u32,
    pub stall_timeout_s: u32,
    pub ask_timeout_s: u32,
    pub keep_alive_s: u32,
    pub patience_s: u32,
    pub away_s: u32,
    pub cut_off_s: u32,
    pub stuck_s: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    pub socket: PathBuf,
    pub listen: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for DataDir {
    fn default() -> Self {
        Self(PathBuf::from("lighter-data"))
    }
}

/// The longest path of a Unix socket on Linux (unix(7), `sun_path`, less the NUL at its end).
const SOCKET_BYTES_MAX: usize = 107;
/// The port that nodes listen on unless told otherwise; unassigned by IANA.
const PORT: u16 = 4410;

impl Default for Network {
    fn default() -> Self {
        let any = Multiaddr::empty().with(Protocol::Ip4(std::net::Ipv4Addr::UNSPECIFIED));
        Self {
            listen: vec![any.clone().with(Protocol::Udp(PORT)).with(Protocol::QuicV1), any.with(Protocol::Tcp(PORT))],
            bootstrap: Vec::new(),
            mdns: false,
            connections_max: 512,
            upload_max: Rate::UNLIMITED,
            download_max: Rate::UNLIMITED,
            uplink_assumed: Rate(Some(BytesPerSecond(1_250_000))),
            passes_on: true,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        let bytes_max = Size(lighter_types::Bytes::GIB.times(20));
        let scrub_rate = Rate(Some(BytesPerSecond(4 << 20)));
        let (releases_kept, at_rest) = (ReleasesKept::Newest(2), AtRest::default());
        Self { bytes_max, releases_kept, at_rest, scrub_days: 30, scrub_rate }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let engine = Settings::default();
        Self {
            fetches_max: engine.fetches_max,
            encodes_max: engine.encodes_max,
            encode_effort: EncodeEffort::Auto,
            encode_memory_max: Size(lighter_patch::Settings::default().memory_bytes_max),
            copies_max: engine.copies_max,
            streams_max: engine.streams_max,
            streams_per_peer_max: engine.streams_per_peer_max,
            peers_max: engine.peers_max,
            imports_max: 1,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        let engine = Settings::default();
        Self {
            announce_interval_s: seconds(engine.announce_interval),
            stall_timeout_s: seconds(engine.stall_timeout),
            ask_timeout_s: 10,
            keep_alive_s: seconds(lighter_quic::Config::default().keep_alive),
            patience_s: seconds(engine.patience),
            away_s: 6 * 3600,
            cut_off_s: seconds(engine.cut_off),
            stuck_s: 60,
        }
    }
}

fn seconds(duration: Duration) -> u32 {
    duration.as_secs() as u32
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Config {
    /// The admin API's socket.
    pub fn admin_socket(&self) -> PathBuf {
        if self.admin.socket.as_os_str().is_empty() {
            self.data_dir.0.join("admin.sock")
        } else {
            self.admin.socket.clone()
        }
    }

    /// The engine's part.
    pub fn engine_settings(&self, incarnation: Incarnation, seed: u64) -> Settings {
        let defaults = Settings::default();
        Settings {
            incarnation,
            seed,
            site: self.site.0.clone(),
            neighbours: self.fleet.neighbours.iter().copied().collect(),
            announce_interval: Duration::from_secs(self.timing.announce_interval_s.into()),
            prefer: self.transfer.prefer.0,
            uplink_rate: self.network.uplink_assumed.0.unwrap_or(defaults.site_rate),
            stall_timeout: Duration::from_secs(self.timing.stall_timeout_s.into()),
            patience: Duration::from_secs(self.timing.patience_s.into()),
            away: Duration::from_secs(self.timing.away_s.into()),
            cut_off: Duration::from_secs(self.timing.cut_off_s.into()),
            fetches_max: self.limits.fetches_max,
            encodes_max: self.limits.encodes_max,
            effort: self.limits.encode_effort.into(),
            upload_max: self.network.upload_max.0,
            encoder_ids: Effort::ALL.map(|effort| self.patch_settings(effort).id()),
            copies_max: self.limits.copies_max,
            passes_on: self.network.passes_on,
            streams_max: self.limits.streams_max,
            streams_per_peer_max: self.limits.streams_per_peer_max,
            peers_max: self.limits.peers_max,
            ..defaults
        }
    }

    /// By which patches are made at this effort.
    pub fn patch_settings(&self, effort: Effort) -> lighter_patch::Settings {
        lighter_patch::Settings {
            method: lighter_patch::Method::Delta(effort),
            memory_bytes_max: self.limits.encode_memory_max.0,
            ..lighter_patch::Settings::default()
        }
    }

    /// Checks ranges, and values that contradict each other. Returns key and reason of the first wrong one.
    fn check(&self) -> Result<(), (&'static str, String)> {
        check_range("limits.fetches_max", self.limits.fetches_max as u64, 1, 64)?;
        check_range("limits.encodes_max", self.limits.encodes_max as u64, 1, 64)?;
        check_range("limits.imports_max", self.limits.imports_max as u64, 1, 64)?;
        check_range("limits.copies_max", self.limits.copies_max as u64, 0, 4096)?;
        check_range("limits.streams_max", self.limits.streams_max as u64, 1, 4096)?;
        check_range("limits.streams_per_peer_max", self.limits.streams_per_peer_max as u64, 1, 4096)?;
        check_range("limits.peers_max", self.limits.peers_max as u64, 1, 1 << 20)?;
        check_range("network.connections_max", self.network.connections_max.into(), 1, 1 << 16)?;
        check_range("timing.announce_interval_s", self.timing.announce_interval_s.into(), 1, 86_400)?;
        check_range("timing.stall_timeout_s", self.timing.stall_timeout_s.into(), 1, 3600)?;
        check_range("timing.ask_timeout_s", self.timing.ask_timeout_s.into(), 1, 3600)?;
        check_range("timing.keep_alive_s", self.timing.keep_alive_s.into(), 5, 600)?;
        check_range("timing.patience_s", self.timing.patience_s.into(), 1, 86_400)?;
        check_range("timing.away_s", self.timing.away_s.into(), 0, 864_000)?;
        check_range("timing.cut_off_s", self.timing.cut_off_s.into(), 1, 864_000)?;
        check_range("timing.stuck_s", self.timing.stuck_s.into(), 5, 86_400)?;
        check_range("store.scrub_days", self.store.scrub_days.into(), 0, 3650)?;
        check_size("store.bytes_max", &self.store.bytes_max, Bytes::MIB)?;
        // With less, one patch at a time would take more than all of it.
        check_size("limits.encode_memory_max", &self.limits.encode_memory_max, Bytes::MIB.times(256))?;
        if self.data_dir.0.as_os_str().is_empty() {
            return Err(("data_dir", "must name a folder; \".\" is the working folder".to_owned()));
        }
        if self.network.listen.is_empty() {
            return Err(("network.listen", "must name at least one address".to_owned()));
        }
        if self.site.0.is_none() && !self.fleet.neighbours.is_empty() {
            return Err(("fleet.neighbours", "needs a name in `site`".to_owned()));
        }
        if self.network.uplink_assumed == Rate::UNLIMITED {
            return Err(("network.uplink_assumed", "must be a rate, such as \"10 Mbit/s\"".to_owned()));
        }
        if let Some(why) = self.network.listen.iter().find_map(cannot_listen) {
            return Err(("network.listen", why));
        }
        if let Some(why) = self.network.bootstrap.iter().find_map(cannot_dial) {
            return Err(("network.bootstrap", why));
        }
        let socket = self.admin_socket();
        let bytes = socket.as_os_str().len();
        if bytes > SOCKET_BYTES_MAX {
            let why = format!("{} has {bytes} bytes, and a socket's path at most {SOCKET_BYTES_MAX}", socket.display());
            return Err(("admin.socket", why));
        }
        self.images.check()?;
        self.registry.check()?;
        if !self.admin.listen.is_empty() {
            let address: Option<SocketAddr> = self.admin.listen.parse().ok();
            if !address.is_some_and(|address| address.ip().is_loopback()) {
                let why = "must be a loopback address and a port, such as \"127.0.0.1:4411\"".to_owned();
                return Err(("admin.listen", why));
            }
        }
        Ok(())
    }
}

impl Serialize for Site {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_ref().map_or("", SiteName::as_str))
    }
}

impl<'de> Deserialize<'de> for Site {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|site| Self(Some(site))).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
