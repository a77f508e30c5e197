//! A pull through the endpoint, as a runtime makes it: manifest by tag, config, and each blob, digests compared.
//!
//! Nothing is kept. Whatever answers at the endpoint may be anything: a document has at most 4 MiB, a blob the bytes
//! that its descriptor names, and every wait has an end. The node fetches an image while its blobs are asked for, so
//! the first byte of an answer may take as long as `registry.wait_s` (10 minutes by default).

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes as Chunk, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lighter_types::{Bytes, OciDigest};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::args::Endpoint;
use crate::exit::{Failure, Kind};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A node that runs answers this at once.
const BASE_LIMIT: Duration = Duration::from_secs(10);
/// Six times what `registry.wait_s` is by default: a node that waits longer than an hour proves nothing.
const HEAD_LIMIT: Duration = Duration::from_secs(3600);
const CHUNK_LIMIT: Duration = Duration::from_secs(60);
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Layers and config of an image; the node takes no more itself.
const BLOBS_MAX: usize = 513;
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// An image that came through the endpoint whole.
#[derive(Debug, Serialize)]
pub struct Pulled {
    pub image: String,
    pub manifest: String,
    /// The config and the layers.
    pub blobs: usize,
    pub bytes: u64,
    pub took_ms: u64,
}

/// An image's name as the path of a request has it.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    repository: String,
    /// A tag or a digest.
    reference: String,
}

/// Whether a registry answers at the endpoint.
///
/// # Errors
/// `NoNode` if nobody answers, or something else does.
pub fn answers(endpoint: &Endpoint) -> Result<(), Failure> {
    let asked = async {
        let response = timeout(BASE_LIMIT, get(endpoint, "/v2/")).await;
        let response = response.map_err(|_| nobody(endpoint, "no answer in time"))??;
        if response.status().is_success() {
            return Ok(());
        }
        Err(nobody(endpoint, &format!("GET /v2/ is answered with {}: that is no registry", response.status())))
    };
    runtime()?.block_on(asked)
}

/// Pulls an image through the endpoint.
///
/// # Errors
/// `Usage` for a name that is none, `NotFound` if the node has no such image, `BadData` if something is not what its
/// digest says, `NoNode` if the connection breaks.
pub fn pull(endpoint: &Endpoint, image: &str) -> Result<Pulled, Failure> {
    let started = Instant::now();
    let name = Name::parse(image)?;
    runtime()?.block_on(async {
        let mut manifest = document(endpoint, &name, &name.reference).await?;
        if let Some(digest) = of_this_platform(&manifest.json) {
            manifest = document(endpoint, &name, &digest).await?;
        }
        let layers = manifest.json["layers"].as_array().map_or(&[][..], Vec::as_slice);
        let blobs: Vec<&Value> = [&manifest.json["config"]].into_iter().chain(layers).collect();
        if blobs.len() > BLOBS_MAX {
            return Err(Failure::new(Kind::BadData, format!("the manifest of {image} names {} blobs", blobs.len())));
        }
        let mut bytes = 0;
        for blob in &blobs {
            bytes += check_blob(endpoint, &name, blob).await?;
        }
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Pulled { image: image.to_owned(), manifest: manifest.digest, blobs: blobs.len(), bytes, took_ms })
    })
}

impl Name {
    /// As runtimes read names: without a registry, Docker Hub is meant.
    fn parse(image: &str) -> Result<Self, Failure> {
        let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match name[last..].split_once(':') {
            Some((_, tag)) => (&name[..name.len() - tag.len() - 1], tag),
            None => (name, "latest"),
        };
        let reference = digest.unwrap_or(tag).to_owned();
        let is_name = !repository.is_empty()
            && image.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte));
        let is_digest = digest.is_none_or(|digest| digest.parse::<OciDigest>().is_ok());
        if !is_name || !is_digest {
            return Err(Failure::new(Kind::Usage, format!("{image:?} is no name of an image")));
        }
        Ok(Self { repository: repository.to_owned(), reference })
    }
}

/// A manifest or an index.
struct Document {
    digest: String,
    json: Value,
}

async fn document(endpoint: &Endpoint, name: &Name, reference: &str) -> Result<Document, Failure> {
    let path = format!("/v2/{}/manifests/{reference}", name.repository);
    let response = found(endpoint, &path, &format!("{}:{reference}", name.repository)).await?;
    let mut bytes = Vec::new();
    let count = read(endpoint, response, DOCUMENT_BYTES_MAX, |chunk| bytes.extend_from_slice(chunk)).await?;
    let digest = OciDigest::new(Sha256::digest(&bytes).into()).to_string();
    if reference.starts_with("sha256:") && reference != digest {
        return Err(wrong(&format!("manifest {reference}"), &format!("the {count} bytes that came are {digest}")));
    }
    let json =
        serde_json::from_slice(&bytes).map_err(|error| wrong(&format!("manifest {digest}"), &error.to_string()))?;
    Ok(Document { digest, json })
}

/// The digest of the manifest for this machine, if the document is an index.
fn of_this_platform(index: &Value) -> Option<String> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let manifests = index["manifests"].as_array()?;
    let fits = |entry: &&Value| {
        let platform = &entry["platform"];
        platform["os"] == "linux" && platform["architecture"] == architecture
    };
    let chosen = manifests.iter().find(fits).or_else(|| manifests.first())?;
    chosen["digest"].as_str().map(str::to_owned)
}

/// Reads a blob to its end and compares it with its descriptor: its bytes.
async fn check_blob(endpoint: &Endpoint, name: &Name, descriptor: &Value) -> Result<u64, Failure> {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    let (Ok(expected), Some(size)) = (digest.parse::<OciDigest>(), descriptor["size"].as_u64()) else {
        return Err(wrong("a descriptor", &format!("it is {descriptor}")));
    };
    let path = format!("/v2/{}/blobs/{expected}", name.repository);
    let response = found(endpoint, &path, &format!("blob {expected}")).await?;
    let mut sha256 = Sha256::new();
    let bytes = read(endpoint, response, size, |chunk| sha256.update(chunk)).await?;
    let found = OciDigest::new(sha256.finalize().into());
    if found == expected && bytes == size {
        return Ok(bytes);
    }
    Err(wrong(&format!("blob {expected} of {size} bytes"), &format!("the {bytes} bytes that came are {found}")))
}

/// Reads a body of at most so many bytes.
async fn read(
    endpoint: &Endpoint,
    response: Response<Incoming>,
    bytes_max: u64,
    mut take: impl FnMut(&[u8]),
) -> Result<u64, Failure> {
    let mut body = response.into_body();
    let mut bytes = 0;
    loop {
        let frame = timeout(CHUNK_LIMIT, body.frame()).await.map_err(|_| nobody(endpoint, "an answer stands still"))?;
        let Some(frame) = frame else { return Ok(bytes) };
        let frame = frame.map_err(|error| nobody(endpoint, &format!("an answer broke off: {error}")))?;
        let chunk = frame.data_ref().map_or(&[][..], |chunk| chunk);
        bytes += chunk.len() as u64;
        if bytes > bytes_max {
            return Err(wrong("an answer", &format!("more than {} came", Bytes(bytes_max))));
        }
        take(chunk);
    }
}

/// An answer that has what was asked for.
async fn found(endpoint: &Endpoint, path: &str, what: &str) -> Result<Response<Incoming>, Failure> {
    let response =
        timeout(HEAD_LIMIT, get(endpoint, path)).await.map_err(|_| nobody(endpoint, "no answer in time"))??;
    match response.status().as_u16() {
        200 => Ok(response),
        404 => Err(Failure::new(Kind::NotFound, format!("{what} is not found at {endpoint}"))
            .hint("`lighter image list` shows the images of the node, and `lighter plan IMAGE` whether a peer has it")),
        _ => Err(Failure::new(Kind::Other, format!("{endpoint} answers {} for {what}", response.status()))
            .hint("the log of the node says more")),
    }
}

async fn get(endpoint: &Endpoint, path: &str) -> Result<Response<Incoming>, Failure> {
    if !endpoint.is_plain() {
        return Err(Failure::new(Kind::Usage, format!("{endpoint} is not looked at: only http:// can be asked here")));
    }
    let connected = timeout(CONNECT_LIMIT, TcpStream::connect(endpoint.authority())).await;
    let stream = connected.map_err(|_| nobody(endpoint, "no connection in time"))?;
    let stream = stream.map_err(|error| nobody(endpoint, &error.to_string()))?;
    let lost = |error: hyper::Error| nobody(endpoint, &error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", endpoint.authority())
        .header("accept", ACCEPT)
        .header("user-agent", concat!("lighter/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Chunk>::new())
        .map_err(|error| Failure::from_error(Kind::Other, &error))?;
    sender.send_request(request).await.map_err(lost)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Kind::Machine, format!("cannot start: {error}")))
}

fn nobody(endpoint: &Endpoint, why: &str) -> Failure {
    Failure::new(Kind::NoNode, format!("no registry answers at {endpoint}: {why}")).hint(
        "run a node with `listen = \"127.0.0.1:4480\"` in the section [registry] of its node.toml, or name its address \
         with --endpoint",
    )
}

fn wrong(what: &str, why: &str) -> Failure {
    Failure::new(Kind::BadData, format!("{what} is not what the endpoint serves: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(image: &str, repository: &str, reference: &str) {
        let expected = Name { repository: repository.to_owned(), reference: reference.to_owned() };
        assert_eq!(Name::parse(image).unwrap(), expected);
    }

    #[test]
    fn names_are_read_as_runtimes_read_them() {
        check("nginx", "nginx", "latest");
        check("registry.example:5000/shop/app:7", "registry.example:5000/shop/app", "7");
        check("registry.example:5000/shop/app", "registry.example:5000/shop/app", "latest");
        let digest = format!("sha256:{}", "07".repeat(32));
        check(&format!("a/b:1@{digest}"), "a/b", &digest);
        for image in ["", ":1", "a b", "a@sha256:00", "a?b", "a/b@x"] {
            assert!(Name::parse(image).is_err(), "{image}");
        }
    }

    #[test]
    fn an_index_names_the_manifest_of_this_machine() {
        let entry = |os: &str, architecture: &str, digest: &str| json!({ "digest": digest, "platform": { "os": os, "architecture": architecture } });
        let index = json!({ "manifests": [
            entry("windows", "amd64", "a"), entry("linux", "arm64", "b"), entry("linux", "amd64", "c"),
        ] });
        let expected = if std::env::consts::ARCH == "aarch64" { "b" } else { "c" };
        assert_eq!(of_this_platform(&index).as_deref(), Some(expected));
        assert_eq!(of_this_platform(&json!({ "layers": [] })), None);
    }
}
