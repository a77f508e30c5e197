//! Calls the admin API of a running node over its socket.
//!
//! A short request is answered by one value. Long work is followed event by event, and an archive comes as bytes. Each
//! call is a connection of its own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use lighter_api::{Problem, ProblemKind, paths};
use lighter_node::config::Config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::exit::{Failure, Kind};

/// A node's admin API.
pub struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// A client of the node at `socket`, or at the default one.
    pub fn new(socket: Option<PathBuf>) -> Result<Self, Failure> {
        let socket = socket.unwrap_or_else(|| Config::default().admin_socket());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Kind::Machine, format!("cannot start: {error}")))?;
        Ok(Self { socket, runtime })
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.runtime.block_on(async { self.whole(Method::GET, path, Bytes::new()).await })
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = encode(body)?;
        self.runtime.block_on(async { self.whole(Method::POST, path, body).await })
    }

    /// Orders long work and gives each event to `take`, until `take` returns a result.
    pub fn follow<T: DeserializeOwned, D>(
        &self,
        path: &str,
        body: &impl Serialize,
        mut take: impl FnMut(T) -> Result<Option<D>, Failure>,
    ) -> Result<D, Failure> {
        let body = encode(body)?;
        self.runtime.block_on(async {
            let mut response = self.send(Method::POST, path, body).await?;
            if !response.status().is_success() {
                return Err(problem(response).await);
            }
            let mut received = Vec::new();
            while let Some(frame) = response.body_mut().frame().await {
                let frame = frame.map_err(|error| self.lost(&error))?;
                received.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(end) = received.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = received.drain(..=end).collect();
                    let event = match decode(&line) {
                        Ok(event) => event,
                        Err(failure) => return Err(self.compared(failure).await),
                    };
                    if let Some(done) = take(event)? {
                        return Ok(done);
                    }
                }
            }
            Err(Failure::new(Kind::NoNode, "the node closed the connection before its last event"))
        })
    }

    /// Orders bytes and gives them to `take`, with the headers of the answer. Returns the headers.
    ///
    /// # Errors
    /// Those of `take`, and `NoNode` for an answer that breaks off: what came is then not whole.
    pub fn download(
        &self,
        path: &str,
        body: &impl Serialize,
        mut take: impl FnMut(&HeaderMap, &[u8]) -> Result<(), Failure>,
    ) -> Result<HeaderMap, Failure> {
        let body = encode(body)?;
        self.runtime.block_on(async {
            let response = self.send(Method::POST, path, body).await?;
            if !response.status().is_success() {
                return Err(problem(response).await);
            }
            let (head, mut body) = response.into_parts();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| self.lost(&error).hint("the log of the node says why"))?;
                take(&head.headers, frame.data_ref().map_or(&[][..], |data| data))?;
            }
            Ok(head.headers)
        })
    }

    /// The socket that it talks to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    async fn whole<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        let response = self.send(method, path, body).await?;
        if !response.status().is_success() {
            return Err(problem(response).await);
        }
        let body = response.into_body().collect().await.map_err(|error| self.lost(&error))?;
        match decode(&body.to_bytes()) {
            Ok(value) => Ok(value),
            Err(failure) => Err(self.compared(failure).await),
        }
    }

    /// A failure to read an answer, with a hint if the node's version is another.
    async fn compared(&self, failure: Failure) -> Failure {
        let Ok(response) = self.send(Method::GET, paths::STATUS, Bytes::new()).await else { return failure };
        let Ok(body) = response.into_body().collect().await else { return failure };
        // Whatever else the status has in that version.
        let status: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        unreadable(failure, status["version"].as_str())
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| no_node(&self.socket, &error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.lost(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "lighter")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::from_error(Kind::Other, &error))?;
        sender.send_request(request).await.map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &hyper::Error) -> Failure {
        Failure::new(Kind::NoNode, format!("lost the node at {}: {error}", self.socket.display()))
    }
}

fn no_node(socket: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::new(Kind::NoNode, format!("no node answers at {}: {error}", socket.display()));
    match error.kind() {
        ErrorKind::PermissionDenied => failure.hint("run this as the user that the node runs as"),
        // There is no socket, or nobody listens on it.
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            failure.hint("start one with `lighter node run --config FILE`, or name its socket with --socket")
        }
        _ => failure,
    }
}

async fn problem(response: Response<Incoming>) -> Failure {
    let status = response.status();
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let problem = serde_json::from_slice(&body).unwrap_or_else(|_| {
        Problem::new(ProblemKind::Request, format!("{status}: {}", String::from_utf8_lossy(&body)))
    });
    problem.into()
}

fn encode(body: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| Failure::from_error(Kind::Other, &error))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::new(Kind::Other, format!("the node's answer cannot be read: {error}")))
}

/// An answer that cannot be read, from a node of version `node`.
fn unreadable(failure: Failure, node: Option<&str>) -> Failure {
    let own = env!("CARGO_PKG_VERSION");
    match node.filter(|node| *node != own) {
        Some(node) => failure.hint(format!("the node is of version {node}, this command of {own}: use the same")),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_about_a_node_that_does_not_answer_follows_from_the_machines_error() {
        for (kind, expected) in [
            (ErrorKind::NotFound, Some("start one with")),
            (ErrorKind::ConnectionRefused, Some("start one with")),
            (ErrorKind::PermissionDenied, Some("as the user that the node runs as")),
            (ErrorKind::InvalidInput, None),
        ] {
            let failure = no_node(Path::new("admin.sock"), &kind.into());
            assert_eq!(failure.hint_text().is_some(), expected.is_some(), "{failure:?}");
            assert!(failure.hint_text().unwrap_or_default().contains(expected.unwrap_or_default()), "{failure:?}");
        }
    }

    #[test]
    fn another_version_is_named_only_where_the_node_has_one() {
        let failed = || decode::<u64>(b"{}").unwrap_err();
        assert_eq!(unreadable(failed(), None).hint_text(), None);
        assert_eq!(unreadable(failed(), Some(env!("CARGO_PKG_VERSION"))).hint_text(), None);
        let other = unreadable(failed(), Some("9.9.9"));
        assert!(other.hint_text().is_some_and(|hint| hint.contains("9.9.9")), "{other:?}");
    }
}
