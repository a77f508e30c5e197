//! The endpoint's port: bound before the node runs, served with TLS and users where the configuration names them.
//!
//! Certificates and users are read before the port is bound, so that a node with wrong files does not start. They are
//! read again every minute: certificates are renewed, and passwords change.

use std::sync::Arc;
use std::time::Duration;

use lighter_registry::server::{Certificate, Counts, Limits, Users, router, serve, serve_tls};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Registry;
use super::ahead::Ahead;
use super::artifacts::Artifacts;
use super::blobs::Blobs;
use super::flights::Flights;
use super::upstream::Upstreams;
use crate::StartError;
use crate::config::Config;
use crate::config::policy::EVERYBODY;
use crate::shared::Shared;

/// Between two readings of certificates and users.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// The endpoint, bound and not served yet; none if the configuration names no address.
pub struct Endpoint(Option<Bound>);

struct Bound {
    listener: TcpListener,
    certificate: Option<Certificate>,
    users: Option<Arc<Users>>,
}

impl Endpoint {
    /// # Errors
    /// If the port is taken or cannot be had, or a file for it is wrong.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let registry = &config.registry;
        if registry.listen.is_empty() {
            return Ok(Self(None));
        }
        let certificate = registry.has_tls().then(|| Certificate::open(&registry.tls_certificate, &registry.tls_key));
        let certificate = certificate.transpose().map_err(|why| StartError::RegistryCertificate { why })?;
        let users = registry.has_users().then(|| Users::open(&registry.users_file).map(Arc::new));
        let users = users.transpose().map_err(|why| StartError::RegistryUsers { why })?;
        warn_of_strangers(config, users.as_deref());
        let address = registry.listen.clone();
        let listener = TcpListener::bind(&address).await.map_err(|why| StartError::RegistryPort { address, why })?;
        // The machine chooses the port if the configuration has 0.
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "the registry listens");
        }
        Ok(Self(Some(Bound { listener, certificate, users })))
    }

    /// Serves until `stop` is cancelled. Counts its requests in `counts`.
    pub async fn serve(self, shared: Arc<Shared>, counts: Counts, stop: CancellationToken) {
        let Some(Bound { listener, certificate, users }) = self.0 else { return };
        let limits = Limits { connections_max: shared.config.registry.connections_max, ..Limits::default() };
        let registry = Arc::new(Registry::new(shared, users.clone(), stop.clone()));
        let router = router(registry.clone(), counts);
        let serving = async {
            match &certificate {
                None => serve(listener, router, limits, stop).await,
                Some(certificate) => {
                    if let Err(error) = serve_tls(listener, certificate, router, limits, stop).await {
                        tracing::error!(%error, "the registry cannot set up TLS");
                    }
                }
            }
        };
        tokio::select! {
            () = serving => {}
            () = registry.blobs.forget_idle() => {}
            () = registry.work_ahead() => {}
            () = reload(certificate.as_ref(), users) => {}
        }
    }
}

impl Registry {
    /// Serves the images of `shared`, until `stop` is cancelled.
    pub(super) fn new(shared: Arc<Shared>, users: Option<Arc<Users>>, stop: CancellationToken) -> Self {
        let upstreams = Arc::new(Upstreams::new(shared.clone(), stop.clone()));
        let flights = Flights::new(shared.clone(), upstreams.clone(), stop);
        let (blobs, artifacts) = (Blobs::new(shared.clone()), Artifacts::default());
        Self { flights, upstreams, blobs, ahead: Ahead::default(), artifacts, users, shared }
    }
}

/// A policy that names a user who is in no file is likely a mistake. The user may come later.
fn warn_of_strangers(config: &Config, users: Option<&Users>) {
    let Some(users) = users else { return };
    let named = config.registry.policy.iter().flat_map(|policy| &policy.users);
    for user in named.filter(|user| *user != EVERYBODY && !users.has(user)) {
        tracing::warn!(user, "a policy of the registry names a user who is not in registry.users_file");
    }
}

/// Reads the files again, for as long as it is polled. Wrong files change nothing.
async fn reload(certificate: Option<&Certificate>, users: Option<Arc<Users>>) {
    let mut ticks = tokio::time::interval(RELOAD_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (certificate, users) = (certificate.cloned(), users.clone());
        let reloaded = tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = certificate.map(|certificate| certificate.reload()) {
                tracing::warn!(%error, "the registry keeps its old certificate");
            }
            if let Some(Err(error)) = users.map(|users| users.reload()) {
                tracing::warn!(error = lighter_types::error_chain(&error), "the registry keeps its old users");
            }
        });
        // A panic was counted where it happened.
        let _ = reloaded.await;
    }
}
