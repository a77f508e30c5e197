//! A network within the process: hosts are closures from a request to a reply. Port 443 speaks TLS.
//!
//! Replies are bytes, so that a host can break every rule of HTTP. The network keeps what it was asked, host by host,
//! so that tests see which host got which header. The one certificate is for all hosts, and its own CA.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lighter_image::BlobDescriptor;
use lighter_types::{Bytes, OciDigest};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::client::Upstream;
use crate::client::connect::{Dial, Dialling, Stream};
use crate::client::download::Download;
use crate::client::error::{Failure, UpstreamError};
use crate::client::settings::{Credentials, HostSettings, Settings};

/// A request as a host saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub host: String,
    pub port: u16,
    /// Method and path.
    pub line: String,
    /// In lower case.
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// The way a host goes on after its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Stay,
    Close,
    /// Sends nothing more, and keeps the connection.
    Hang,
}

/// An answer: its bytes, head included, and what follows.
pub struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

impl Reply {
    pub fn raw(head: &str, body: &[u8], then: Then) -> Self {
        let head = head.trim_end().replace('\n', "\r\n");
        Self { bytes: [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat(), then }
    }

    /// With a right Content-Length.
    pub fn new(head: &str, body: &[u8]) -> Self {
        Self::raw(&format!("{head}\nContent-Length: {}", body.len()), body, Then::Stay)
    }

    pub fn ok(body: &[u8]) -> Self {
        Self::new("200 OK", body)
    }

    pub fn status(status: u16) -> Self {
        Self::new(&format!("{status} X"), b"")
    }

    pub fn redirect(to: &str) -> Self {
        Self::new(&format!("307 X\nLocation: {to}"), b"")
    }

    pub fn challenge(challenge: &str) -> Self {
        Self::new(&format!("401 X\nWWW-Authenticate: {challenge}"), b"no")
    }

    /// Nothing at all.
    pub fn silence() -> Self {
        Self { bytes: Vec::new(), then: Then::Hang }
    }
}

type Handler = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// The hosts, and all that they were asked.
pub struct Network {
    handler: Handler,
    log: Mutex<Vec<Asked>>,
    dials: Mutex<Vec<String>>,
    tls: TlsAcceptor,
    folder: tempfile::TempDir,
}

impl Network {
    pub fn new(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let names = ["r.example", "cdn.example", "auth.example", "m.example"].map(str::to_owned);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("password"), "secret\n").unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let (log, dials) = (Mutex::default(), Mutex::default());
        Arc::new(Self { handler: Box::new(handler), log, dials, tls, folder })
    }

    /// Settings of a host over TLS.
    pub fn secure(&self) -> HostSettings {
        HostSettings { ca: Some(self.folder.path().join("ca.pem")), ..HostSettings::default() }
    }

    /// The same with a name and a password.
    pub fn with_login(&self) -> HostSettings {
        HostSettings { credentials: Some(self.login()), ..self.secure() }
    }

    pub fn login(&self) -> Credentials {
        Credentials::Password { username: "ann".to_owned(), password_file: self.path("password") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client whose settings are these.
    pub fn client(self: &Arc<Self>, hosts: &[(&str, HostSettings)]) -> Arc<Upstream> {
        let hosts = hosts.iter().map(|(host, settings)| ((*host).to_owned(), settings.clone()));
        Upstream::new(Settings::new(hosts), Arc::new(Dialler(self.clone())), 7, CancellationToken::new())
    }

    /// A client for which these hosts speak plain HTTP.
    pub fn plain_client(self: &Arc<Self>, hosts: &[&str]) -> Arc<Upstream> {
        let plain = HostSettings { is_insecure: true, ..HostSettings::default() };
        let hosts: Vec<_> = hosts.iter().map(|host| (*host, plain.clone())).collect();
        self.client(&hosts)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    /// `host path` of each request.
    pub fn places(&self) -> Vec<String> {
        self.asked().iter().map(|asked| format!("{} {}", asked.host, asked.path())).collect()
    }

    pub fn dials(&self) -> usize {
        self.dials.lock().unwrap().len()
    }

    async fn serve(self: Arc<Self>, stream: DuplexStream, host: String, port: u16) {
        let mut stream: Box<dyn Stream> = if port == 443 {
            match self.tls.accept(stream).await {
                Ok(stream) => Box::new(stream),
                // The client does not trust it.
                Err(_) => return,
            }
        } else {
            Box::new(stream)
        };
        while let Some(asked) = read_request(&mut stream, &host, port).await {
            self.log.lock().unwrap().push(asked.clone());
            let reply = (self.handler)(&asked);
            // The client may leave in the middle.
            let sent = stream.write_all(&reply.bytes).await;
            let _ = stream.flush().await;
            match reply.then {
                Then::Stay if sent.is_ok() => {}
                Then::Stay => return,
                Then::Close => return drop(stream.shutdown().await),
                Then::Hang => std::future::pending().await,
            }
        }
    }
}

struct Dialler(Arc<Network>);

impl Dial for Dialler {
    fn dial(&self, host: String, port: u16) -> Dialling<'_> {
        self.0.dials.lock().unwrap().push(host.clone());
        Box::pin(async move {
            if host == "gone.example" {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(1 << 20);
            tokio::spawn(self.0.clone().serve(far, host, port));
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

async fn read_request(stream: &mut Box<dyn Stream>, host: &str, port: u16) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut asked = Asked { host: host.to_owned(), port, line, headers, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}

pub fn digest(bytes: &[u8]) -> OciDigest {
    OciDigest::new(Sha256::digest(bytes).into())
}

/// The descriptor of a blob with these bytes.
pub fn descriptor(bytes: &[u8]) -> BlobDescriptor {
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    BlobDescriptor { digest: digest(bytes), media_type, bytes: Bytes(bytes.len() as u64) }
}

/// Bytes that differ from place to place.
pub fn noise(count: usize) -> Vec<u8> {
    (0..count as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).take(count).collect()
}

/// Downloads a blob of r.example's repository a/b.
pub async fn download(client: &Arc<Upstream>, bytes: &[u8]) -> Result<Vec<u8>, UpstreamError> {
    let mut download = Download::new(client.clone(), "r.example", "a/b", descriptor(bytes));
    let mut found = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        found.extend_from_slice(&chunk);
    }
    Ok(found)
}

/// The failure of a request for the manifest `1` of r.example's repository a/b.
pub async fn failure(client: &Arc<Upstream>) -> Failure {
    client.document("r.example", "a/b", "1", None).await.unwrap_err().failure
}
