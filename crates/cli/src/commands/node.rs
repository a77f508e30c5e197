//! `lighter node`.

mod failures;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lighter_api::{LimitsRequest, paths};
use lighter_node::config::{Log, LogFormat, TEMPLATE};
use lighter_node::identity::Identity;
use lighter_node::{LogWriter, Node, RunError};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::failures::start_failure;
use super::config;
use crate::args::{ConfigSource, NodeCommand, Role};
use crate::client::Client;
use crate::exit::{Failure, Kind};
use crate::output::Output;

const HUB: &str = include_str!("../../../../configs/hub.toml");
const EDGE: &str = include_str!("../../../../configs/edge.toml");
/// The file that `node init` writes.
const CONFIG_FILE: &str = "node.toml";
/// Most threads that wait for the disk or compute: two for each layer that is fetched, and others. An idle one ends
/// after some seconds.
const BLOCKING_THREADS_MAX: usize = 128;

pub fn run(command: NodeCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    match command {
        NodeCommand::Run(source) => serve(&source),
        NodeCommand::Init { dir, role } => init(&dir, role, output),
        NodeCommand::Id(source) => id(&source, output),
        NodeCommand::Limit { upload, download } => {
            let request = LimitsRequest { upload_max: upload, download_max: download };
            let limits: LimitsRequest = Client::new(socket)?.post(paths::LIMITS, &request)?;
            output.value(&limits, limits_text)
        }
    }
}

fn limits_text(limits: &LimitsRequest) -> String {
    let upload = limits.upload_max.as_deref().unwrap_or_default();
    let download = limits.download_max.as_deref().unwrap_or_default();
    format!("upload   {upload}\ndownload {download}")
}

fn serve(source: &ConfigSource) -> Result<(), Failure> {
    let config = config::load(source)?.config;
    log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Machine, format!("cannot start: {error}")))?;
    let served = runtime.block_on(async {
        let node = Node::start(config).await.map_err(|error| start_failure(&error))?;
        tracing::info!(peer_id = %node.peer_id(), version = env!("CARGO_PKG_VERSION"), "node started");
        let stop = CancellationToken::new();
        let signalled = stop.clone();
        let waiting = tokio::spawn(async move {
            wait_for_signal().await;
            signalled.cancel();
        });
        let ended = node.run(stop).await;
        waiting.abort();
        ended.map_err(|error| run_failure(&error))
    });
    // Does not wait for workers in the middle of a layer: the next start throws away their work.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// The node ended although nobody stopped it. Exit code 1: the supervisor of the process starts it anew.
fn run_failure(error: &RunError) -> Failure {
    Failure::from_error(Kind::Other, error).hint("the log says more; please report this bug")
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot catch SIGTERM: it will end the node without a clean stop");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

fn log(log: &Log) -> Result<(), Failure> {
    // `config::load` has checked the filter.
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| Failure::new(Kind::Config, error))?;
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogWriter)
        // Its own messages about lines that fail would panic: they go to the same stderr.
        .log_internal_errors(false)
        .with_ansi(is_terminal);
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

fn init(dir: &Path, role: Role, output: &Output) -> Result<(), Failure> {
    let file = dir.join(CONFIG_FILE);
    if file.exists() {
        return Err(Failure::new(Kind::Usage, format!("{} is already there", file.display()))
            .hint("name another folder with --dir"));
    }
    // Images may be private: no other user of the machine enters the folder. One that is there is closed at the start.
    let created = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.map_err(|error| Failure::file("create", dir, &error))?;
    let identity = Identity::create(dir).map_err(|error| Failure::identity(&error))?;
    let role = match role {
        Role::Hub => HUB,
        Role::Edge => EDGE,
    };
    let data_dir = toml::Value::String(config::absolute(dir)?).to_string();
    let text = role.replace("data_dir = \"/var/lib/lighter\"", &format!("data_dir = {data_dir}"));
    let all = commented(TEMPLATE);
    let text = format!("{text}\n# All keys with their defaults:\n#\n{all}");
    std::fs::write(&file, text).map_err(|error| Failure::file("write", &file, &error))?;
    output.say(format!("wrote {}; add the fleet's PeerIds to it, then: lighter node run --config {0}", file.display()));
    output.value(&identity.peer_id().to_string(), Clone::clone)
}

fn commented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }).collect()
}

fn id(source: &ConfigSource, output: &Output) -> Result<(), Failure> {
    let config = config::load(source)?.config;
    let identity = Identity::open(&config.data_dir.0).map_err(|error| Failure::identity(&error))?;
    output.value(&identity.peer_id().to_string(), Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_driver_panicked_ends_with_exit_code_1() {
        assert_eq!(run_failure(&RunError::Panicked).kind.exit_code(), 1);
    }
}
