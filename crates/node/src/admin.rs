//! The admin API: HTTP with JSON on a unix socket that only the node's user can open, and on a loopback port if the
//! operator asks for one. Long work answers with one JSON value a line while it goes on. Paths and values are in
//! docs/ADMIN.md.

mod handlers;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::StartError;
use crate::config::Config;
use crate::shared::Shared;
pub use handlers::collect;

/// The listeners, bound and not served yet.
pub struct Admin {
    socket: UnixListener,
    path: PathBuf,
    tcp: Option<TcpListener>,
}

/// What the handlers share.
#[derive(Clone)]
struct State {
    shared: Arc<Shared>,
    /// Places for imports and exports.
    imports: Arc<Semaphore>,
}

impl Admin {
    /// # Errors
    /// If the socket or the port is taken or cannot be made. A socket that nobody listens on any more is replaced.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let path = config.admin_socket();
        let failed = |place: String| move |why: io::Error| StartError::Admin { place, why: why.to_string() };
        let place = path.display().to_string();
        if path.exists() {
            if UnixStream::connect(&path).await.is_ok() {
                let why = io::Error::from(io::ErrorKind::AddrInUse);
                return Err(failed(place)(why));
            }
            std::fs::remove_file(&path).map_err(failed(place.clone()))?;
        }
        let socket = UnixListener::bind(&path).map_err(failed(place.clone()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed(place))?;
        let tcp = match config.admin.listen.as_str() {
            "" => None,
            address => {
                let tcp = TcpListener::bind(address).await.map_err(failed(address.to_owned()))?;
                // The machine chooses the port if the configuration has 0.
                if let Ok(address) = tcp.local_addr() {
                    tracing::info!(%address, "the admin API listens");
                }
                Some(tcp)
            }
        };
        Ok(Self { socket, path, tcp })
    }

    /// Serves until `stop` is cancelled; requests under way are cut off then.
    pub async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        let imports = Arc::new(Semaphore::new(shared.config.limits.imports_max));
        let router = router(State { shared, imports });
        let socket = axum::serve(self.socket, router.clone());
        let serving = async {
            match self.tcp {
                Some(tcp) => {
                    let tcp = axum::serve(tcp, router);
                    let _ = tokio::join!(socket.into_future(), tcp.into_future());
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
        .route("/healthz", get(handlers::healthz))
        .route("/readyz", get(handlers::readyz))
        .route("/metrics", get(handlers::metrics))
        .route("/v1/status", get(handlers::status))
        .route("/v1/peers", get(handlers::peers))
        .route("/v1/layers", get(handlers::layers))
        .route("/v1/layers/{diff_id}", get(handlers::layer))
        .route("/v1/images", get(handlers::images::images))
        .route("/v1/images/show", get(handlers::images::image))
        .route("/v1/images/import", post(handlers::images::import))
        .route("/v1/images/export", post(handlers::images::export))
        .route("/v1/images/pull", post(handlers::images::pull))
        .route("/v1/images/cancel", post(handlers::images::cancel))
        .route("/v1/layers/pin", post(handlers::pin))
        .route("/v1/images/remove", post(handlers::images::remove))
        .route("/v1/plan", get(handlers::plan))
        .route("/v1/rollout", get(handlers::rollout))
        .route("/v1/limits", post(handlers::limits))
        .route("/v1/store", get(handlers::store))
        .route("/v1/store/gc", post(handlers::gc))
        .with_state(state)
}
