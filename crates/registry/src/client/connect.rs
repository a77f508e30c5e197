//! Connections: dialled, secured with TLS, and kept for the next request.
//!
//! HTTP/1.1 alone (RFC 9112): one request at a time on a connection, whose body is read to its end before the
//! connection is kept. An idle connection may have been closed by the server, so a request that fails on one is sent
//! once more on a new one. Each wait has an end. Certificates are checked against the system's, and against the host's
//! `ca`.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Url};

use super::error::Failure;
use super::settings::Settings;

/// A connection must stand within this time, TLS included. Registries answer a handshake within a second; a satellite
/// needs four round trips of 0.7 s.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A host's addresses are tried one after another, so that one family of addresses that leads nowhere does not hide the
/// other.
const ADDRESSES_MAX: usize = 3;
const ADDRESS_MAX: Duration = Duration::from_secs(3);
/// The status and the headers must be there within this time: the floor of progress (docs/IMAGES.md).
pub(super) const INTERVAL: Duration = Duration::from_secs(20);
/// Connections that wait for a next request.
const IDLE_MAX: usize = 4;
/// The largest buffer for headers; hyper refuses an answer whose headers do not fit.
const BUFFER_BYTES_MAX: usize = 128 << 10;
const HEADERS_MAX: usize = 100;

/// A byte stream to a registry.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream that is being opened.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Opens streams to hosts. The node counts and throttles what goes through them.
pub trait Dial: Send + Sync {
    /// Opens a stream. Dropping the future gives it up.
    fn dial(&self, host: String, port: u16) -> Dialling<'_>;
}

/// Opens TCP connections.
pub struct TcpDial;

impl Dial for TcpDial {
    fn dial(&self, host: String, port: u16) -> Dialling<'_> {
        Box::pin(async move {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in lookup_host((host, port)).await?.take(ADDRESSES_MAX) {
                match timeout(ADDRESS_MAX, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => {
                        stream.set_nodelay(true)?;
                        return Ok(Box::new(stream) as Box<dyn Stream>);
                    }
                    Ok(Err(error)) => last = error,
                    Err(_) => last = io::ErrorKind::TimedOut.into(),
                }
            }
            Err(last)
        })
    }
}

/// Where a connection leads.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Origin {
    is_secure: bool,
    host: Host,
    port: u16,
    /// Host and port as the settings name them.
    pub(super) authority: String,
}

impl Origin {
    /// The origin of a url of HTTP or HTTPS.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let is_secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host()?.to_owned();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        Some(Self { is_secure, host, port: url.port_or_known_default()?, authority })
    }

    pub(super) fn is_secure(&self) -> bool {
        self.is_secure
    }

    fn host_without_brackets(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// One HTTP/1.1 connection. Dropping it ends the task that drives it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

/// Opens connections and keeps idle ones.
pub(super) struct Connections {
    dial: Arc<dyn Dial>,
    settings: Settings,
    idle: Mutex<Vec<(Origin, Connection)>>,
    tls: Mutex<BTreeMap<String, Arc<ClientConfig>>>,
}

impl Connections {
    pub(super) fn new(dial: Arc<dyn Dial>, settings: Settings) -> Self {
        Self { dial, settings, idle: Mutex::default(), tls: Mutex::default() }
    }

    /// Sends a request and waits for the headers of its answer. Dropping the future closes the connection.
    ///
    /// # Errors
    /// `Unreachable`, `Stalled`, `Broken`.
    pub(super) async fn send(
        &self,
        origin: &Origin,
        request: &Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        if let Some(connection) = self.take_idle(origin)
            && let Ok(answer) = send_on(connection, request.clone()).await
        {
            return Ok(answer);
        }
        // The server may have closed an idle connection: that tells nothing of a new one.
        send_on(self.connect(origin).await?, request.clone()).await
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, origin: Origin, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push((origin, connection));
    }

    fn take_idle(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let place = idle.iter().rposition(|(other, _)| other == origin)?;
        Some(idle.remove(place).1)
    }

    async fn connect(&self, origin: &Origin) -> Result<Connection, Failure> {
        let connected = timeout(CONNECT_MAX, self.handshake(origin)).await;
        let connected = connected.unwrap_or_else(|_| {
            let why = format!("no connection within {} s", CONNECT_MAX.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        });
        connected.map_err(|source| Failure::Unreachable { source })
    }

    async fn handshake(&self, origin: &Origin) -> io::Result<Connection> {
        let host = origin.host_without_brackets();
        let stream = self.dial.dial(host.clone(), origin.port).await?;
        if !origin.is_secure {
            return drive(stream).await;
        }
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.tls(&origin.authority).await?);
        drive(Box::new(connector.connect(name, stream).await?)).await
    }

    /// TLS for a host: the system's certificates, and those of its `ca`.
    async fn tls(&self, authority: &str) -> io::Result<Arc<ClientConfig>> {
        let ca = self.settings.of(authority).ca;
        let key = if ca.is_some() { authority } else { "" };
        if let Some(config) = self.tls.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(config.clone());
        }
        let config =
            tokio::task::spawn_blocking(move || client_config(ca.as_deref())).await.map_err(io::Error::other)??;
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(key.to_owned()).or_insert(config).clone())
    }
}

fn client_config(ca: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // A certificate of the system that cannot be read trusts nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(ca) = ca {
        let wrong = |error: &dyn fmt::Display| io::Error::other(format!("the file {}: {error}", ca.display()));
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    }
    if roots.is_empty() {
        return Err(io::Error::other("this system has no certificates (on Debian, the package ca-certificates)"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn drive(stream: Box<dyn Stream>) -> io::Result<Connection> {
    let mut builder = Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MAX).max_headers(HEADERS_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(async move {
        // Its failure reaches whoever waits for an answer.
        let _ = connection.await;
    });
    Ok(Connection { sender, _driver: AbortOnDropHandle::new(driver) })
}

async fn send_on(
    mut connection: Connection,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Connection), Failure> {
    let sent = async {
        connection.sender.ready().await?;
        connection.sender.send_request(request).await
    };
    match timeout(INTERVAL, sent).await {
        Ok(Ok(response)) => Ok((response, connection)),
        Ok(Err(error)) => Err(Failure::Broken { received: 0, problem: problem(&error) }),
        Err(_) => Err(Failure::Stalled { received: 0, interval: INTERVAL }),
    }
}

/// hyper's error with its causes.
pub(super) fn problem(error: &hyper::Error) -> String {
    lighter_types::error_chain(error)
}
