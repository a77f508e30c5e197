//! Guards the admin API's port. Every user of the machine can reach it, and so can every web page in a browser there: a
//! name may lead to the loopback address. So a request must name this machine as its host, must not come out of a page,
//! and must bring the token of the node's data folder. The socket needs none of this: it has its file mode.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use libp2p::identity::ed25519;
use lighter_api::{Problem, ProblemKind, paths};

/// The file in a node's data folder with the token of the admin API's port.
pub const TOKEN_FILE: &str = "admin.token";

/// Paths for monitoring: they tell little and change nothing, so they need no token.
const OPEN: [&str; 3] = [paths::HEALTH, paths::READINESS, paths::METRICS];

/// The token that requests must bring. Only its hash is held: comparing hashes takes the same time for every token.
#[derive(Clone, Copy)]
pub struct Guard(blake3::Hash);

impl Guard {
    /// Reads the token of the node whose data is in `data_dir`, or makes one that only the node's user can read.
    ///
    /// # Errors
    /// The error of the disk; a file without a token.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(TOKEN_FILE);
        let token = match fs::read_to_string(&path) {
            Ok(token) => token.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path)?,
            Err(error) => return Err(error),
        };
        match token.as_str() {
            "" => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is empty: remove it", path.display()))),
            token => Ok(Self(blake3::hash(token.as_bytes()))),
        }
    }

    /// Why a request is refused, if it is.
    fn refusal(self, uri: &Uri, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        let mut hosts = headers.get_all(header::HOST).iter().peekable();
        let is_named = hosts.peek().is_some() && uri.host().is_none_or(is_this_machine);
        if !is_named || !hosts.all(|host| host.to_str().is_ok_and(is_this_machine)) {
            return Some((StatusCode::FORBIDDEN, "the host of the request is no loopback address"));
        }
        if headers.contains_key(header::ORIGIN) {
            return Some((StatusCode::FORBIDDEN, "web pages may not use the admin API"));
        }
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let is_known = token.is_some_and(|token| blake3::hash(token.trim().as_bytes()) == self.0);
        if is_known || OPEN.contains(&uri.path()) {
            return None;
        }
        let why = "the admin API's port needs the token in admin.token of the node's data folder: send it as \
                   `authorization: Bearer TOKEN`, or use the socket";
        Some((StatusCode::UNAUTHORIZED, why))
    }
}

/// Answers a request if the guard lets it pass.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.refusal(request.uri(), request.headers()) {
        None => next.run(request).await,
        Some((status, why)) => (status, Json(Problem::new(ProblemKind::Request, why))).into_response(),
    }
}

/// Whether the host of a request is a loopback address, or `localhost`, with or without a port.
fn is_this_machine(host: &str) -> bool {
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = without_port.map_or(host, |(name, _)| name);
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Writes a new token: the bytes of a new secret key, in hexadecimal.
fn make(path: &Path) -> io::Result<String> {
    let secret = ed25519::Keypair::generate().secret();
    let token: String = secret.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_a_host() {
        for host in ["localhost", "LocalHost:4411", "127.0.0.1", "127.8.0.1:4411", "[::1]:4411", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:4411", "127.0.0.1.evil.example", "10.0.0.1:80", "localhost.evil:1"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn requests_need_the_token_and_must_not_come_out_of_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let guard = Guard::open(folder.path()).unwrap();
        let token = fs::read_to_string(folder.path().join(TOKEN_FILE)).unwrap();
        assert_eq!(token.trim().len(), 64);
        let refused = |path: &str, list: &[&(header::HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.append(name, value.parse().unwrap());
            }
            // A guard that was opened again knows the same token.
            assert_eq!(guard.0, Guard::open(folder.path()).unwrap().0);
            guard.refusal(&path.parse().unwrap(), &headers).map(|(status, _)| status.as_u16())
        };
        let host = (header::HOST, "127.0.0.1:4411");
        let bearer = format!("Bearer {}", token.trim());
        let authorized = (header::AUTHORIZATION, bearer.as_str());
        assert_eq!(refused(paths::STATUS, &[&host, &authorized]), None);
        assert_eq!(refused(paths::STATUS, &[&host]), Some(401));
        assert_eq!(refused(paths::STATUS, &[&host, &(header::AUTHORIZATION, "Bearer 00")]), Some(401));
        assert_eq!(refused(paths::STATUS, &[&(header::HOST, "evil.example"), &authorized]), Some(403));
        assert_eq!(refused(paths::STATUS, &[&authorized]), Some(403));
        let second = (header::HOST, "evil.example");
        assert_eq!(refused(paths::STATUS, &[&host, &second, &authorized]), Some(403));
        assert_eq!(refused("http://evil.example/v1/status", &[&host, &authorized]), Some(403));
        assert_eq!(refused("http://localhost/v1/status", &[&host, &authorized]), None);
        let origin = (header::ORIGIN, "http://evil.example");
        assert_eq!(refused(paths::STATUS, &[&host, &origin, &authorized]), Some(403));
        for path in OPEN {
            assert_eq!(refused(path, &[&host]), None);
            assert_eq!(refused(path, &[&host, &origin]), Some(403));
        }
    }

    #[test]
    fn a_token_that_others_put_there_empty_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(TOKEN_FILE), "\n").unwrap();
        assert!(Guard::open(folder.path()).is_err());
    }
}
