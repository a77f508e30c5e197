//! The admin API: HTTP with JSON on a unix socket that only the node's user can open, and on a loopback port if the
//! operator asks for one ([`guard`]). Long work answers with one JSON value a line while it goes on. `lighter-api` has
//! the paths and the values; docs/ADMIN.md describes them.

mod answers;
mod guard;
mod handlers;

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use lighter_api::paths;
use lighter_registry::server::Limits;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::StartError;
use crate::config::Config;
use crate::shared::Shared;
pub use answers::kind_of;
use guard::Guard;
pub use handlers::store::collect;

/// Connections to the port at a time; any user of the machine can open some. More wait. One that sends no request ends
/// after some time (`lighter_registry::server::Limits`). The socket has none of these bounds: it has its file mode.
const PORT_CONNECTIONS_MAX: usize = 64;

/// The listeners, bound and not served yet.
pub struct Admin {
    socket: UnixListener,
    path: PathBuf,
    tcp: Option<(TcpListener, Guard)>,
}

/// The state that handlers share.
#[derive(Clone)]
struct State {
    shared: Arc<Shared>,
    /// Places for imports and exports.
    imports: Arc<Semaphore>,
    /// Ends imports out of registries.
    stop: CancellationToken,
}

impl Admin {
    /// # Errors
    /// If the socket or the port is taken or cannot be made. A socket that nobody listens on any more is replaced.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let path = config.admin_socket();
        let socket_error = |why: io::Error| StartError::AdminSocket { path: path.clone(), why };
        if let Ok(found) = std::fs::symlink_metadata(&path) {
            if UnixStream::connect(&path).await.is_ok() {
                return Err(socket_error(io::ErrorKind::AddrInUse.into()));
            }
            // A mistake in `admin.socket` must not cost a file.
            if !found.file_type().is_socket() {
                return Err(socket_error(io::Error::other("something that is no socket is there")));
            }
            std::fs::remove_file(&path).map_err(socket_error)?;
        }
        let socket = UnixListener::bind(&path).map_err(socket_error)?;
        let permissions = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, permissions).map_err(socket_error)?;
        let tcp = match config.admin.listen.as_str() {
            "" => None,
            address => {
                let failed = |why| StartError::AdminPort { address: address.to_owned(), why };
                let guard = Guard::open(&config.data_dir.0).map_err(failed)?;
                let tcp = TcpListener::bind(address).await.map_err(failed)?;
                // The machine chooses the port if the configuration has 0.
                if let Ok(address) = tcp.local_addr() {
                    tracing::info!(%address, "the admin API listens");
                }
                Some((tcp, guard))
            }
        };
        Ok(Self { socket, path, tcp })
    }

    /// Serves until `stop` is cancelled; requests under way are cut off then.
    pub async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        let imports = Arc::new(Semaphore::new(shared.config.limits.imports_max));
        let router = router(State { shared, imports, stop: stop.clone() });
        let socket = axum::serve(self.socket, router.clone());
        let serving = async {
            match self.tcp {
                Some((tcp, guard)) => {
                    let guarded = router.layer(from_fn_with_state(guard, guard::guard));
                    let limits = Limits { connections_max: PORT_CONNECTIONS_MAX, ..Limits::default() };
                    let tcp = lighter_registry::server::serve(tcp, guarded, limits, stop.clone());
                    let _ = tokio::join!(socket.into_future(), tcp);
                }
                None => drop(socket.await),
            }
        };
        tokio::select! {
            () = serving => tracing::error!("the admin API ended"),
            () = stop.cancelled() => {}
        }
        // A stale socket is no harm: the next start replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn router(state: State) -> Router {
    Router::new()
        .route(paths::HEALTH, get(handlers::healthz))
        .route(paths::READINESS, get(handlers::readyz))
        .route(paths::METRICS, get(handlers::metrics))
        .route(paths::STATUS, get(handlers::status))
        .route(paths::PEERS, get(handlers::peers))
        .route(paths::LIMITS, post(handlers::limits))
        .route(paths::LAYERS, get(handlers::layers::list))
        .route(paths::LAYER, get(handlers::layers::show))
        .route(paths::LAYERS_PIN, post(handlers::layers::pin))
        .route(paths::IMAGES, get(handlers::images::list))
        .route(paths::IMAGE, get(handlers::images::show))
        .route(paths::IMAGES_PIN, post(handlers::images::pin))
        .route(paths::IMAGES_REMOVE, post(handlers::images::remove))
        .route(paths::ROLLOUT, get(handlers::images::rollout))
        .route(paths::IMAGES_IMPORT, post(handlers::files::import))
        .route(paths::IMAGES_EXPORT, post(handlers::files::export))
        .route(paths::IMAGES_ARCHIVE, post(handlers::files::archive))
        .route(paths::IMAGES_PULL, post(handlers::pulls::pull))
        .route(paths::IMAGES_CANCEL, post(handlers::pulls::cancel))
        .route(paths::PLAN, get(handlers::pulls::plan))
        .route(paths::RELEASES_SIGN, post(handlers::releases::sign_anew))
        .route(paths::RELEASES_RECORD, get(handlers::releases::record))
        .route(paths::RELEASES_COSIGN, post(handlers::releases::cosign))
        .route(paths::RELEASES_ADD, post(handlers::releases::add))
        .route(paths::RELEASES_HANDOVER, post(handlers::releases::hand_over))
        .route(paths::RELEASES_FORGET, post(handlers::releases::forget))
        .route(paths::STORE, get(handlers::store::stats))
        .route(paths::STORE_GC, post(handlers::store::gc))
        .route(paths::STORE_SCRUB, post(handlers::store::scrub))
        .fallback(answers::no_such_path)
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data_dir = crate::config::DataDir(folder.path().to_owned());
        let path = config.admin_socket();
        std::fs::write(&path, "of the operator").unwrap();
        assert!(matches!(Admin::bind(&config).await, Err(StartError::AdminSocket { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"of the operator");
        std::fs::remove_file(&path).unwrap();
        let stale = Admin::bind(&config).await.unwrap();
        assert!(matches!(Admin::bind(&config).await, Err(StartError::AdminSocket { .. })), "it is in use");
        drop(stale);
        assert!(Admin::bind(&config).await.is_ok());
    }
}
