//! Why a node does not start, and what to do about it: a hint for each cause that the machine names, and none else.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;

use lighter_node::{NetworkError, StartError};

use crate::exit::{Failure, Kind};

/// Ports below this one are the system's.
const PORT_FREE_MIN: u16 = 1024;

pub fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Identity(error) => Failure::identity(error),
        StartError::Store(error) => Failure::store(error),
        StartError::Network(NetworkError::Setup { .. }) => Failure::from_error(Kind::Machine, error),
        StartError::Network(NetworkError::Listen { address, why }) => hinted(
            Failure::from_error(Kind::Machine, error),
            listen_hint(cause(why), port_of(&address.to_string()), "network.listen"),
        ),
        StartError::AdminPort { address, why } => port_failure(error, address, why, "admin.listen"),
        StartError::RegistryPort { address, why } => port_failure(error, address, why, "registry.listen"),
        StartError::RegistryCertificate { .. } => Failure::from_error(Kind::Config, error)
            .hint("registry.tls_certificate and registry.tls_key are PEM files that belong together"),
        StartError::RegistryUsers { .. } => Failure::from_error(Kind::Config, error)
            .hint("registry.users_file has lines of name:hash, as htpasswd -B writes them"),
        StartError::AdminSocket { path, why } => {
            hinted(Failure::from_error(Kind::Machine, error), socket_hint(why.kind(), path))
        }
    }
}

fn port_failure(error: &StartError, address: &str, why: &io::Error, key: &str) -> Failure {
    let port = address.parse().ok().map(|address: SocketAddr| address.port());
    hinted(Failure::from_error(Kind::Machine, error), listen_hint(why.kind(), port, key))
}

fn hinted(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The kind that the machine gave. Layers of libp2p wrap its error in others of kind `Other`.
fn cause(error: &io::Error) -> ErrorKind {
    match error.get_ref() {
        Some(inner) if error.kind() == ErrorKind::Other => within(inner).unwrap_or(ErrorKind::Other),
        Some(_) | None => error.kind(),
    }
}

fn within(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => Some(cause(error)),
        None => error.source().and_then(within),
    }
}

/// The port of a multiaddress.
fn port_of(address: &str) -> Option<u16> {
    let mut parts = address.split('/').skip_while(|part| !matches!(*part, "udp" | "tcp"));
    parts.nth(1)?.parse().ok()
}

fn listen_hint(kind: ErrorKind, port: Option<u16>, key: &str) -> Option<String> {
    match kind {
        ErrorKind::AddrInUse => Some(format!("another program uses the port; {key} names the addresses")),
        ErrorKind::AddrNotAvailable => {
            Some(format!("this machine does not have the address; {key} names the addresses"))
        }
        ErrorKind::PermissionDenied if port.is_some_and(|port| (1..PORT_FREE_MIN).contains(&port)) => {
            Some(format!("ports below {PORT_FREE_MIN} take the right CAP_NET_BIND_SERVICE; {key} names the addresses"))
        }
        _ => None,
    }
}

fn socket_hint(kind: ErrorKind, path: &Path) -> Option<String> {
    let folder = path.parent().unwrap_or(Path::new("")).display();
    match kind {
        ErrorKind::AddrInUse => Some("another node uses the socket; admin.socket names another".to_owned()),
        ErrorKind::PermissionDenied => {
            Some(format!("the node's user has to be able to write {folder}; admin.socket names another place"))
        }
        ErrorKind::NotFound => Some(format!("make the folder {folder}; admin.socket names another place")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hint about a failure of this kind to listen on an address.
    #[track_caller]
    fn check_listen(kind: ErrorKind, address: &str, expected: Option<&str>) {
        // As libp2p wraps it.
        let wrapped = io::Error::other(Wrapped(kind.into()));
        let why = [io::Error::from(kind), io::Error::other(io::Error::from(kind)), wrapped];
        for why in why {
            let address = address.parse().unwrap();
            let failure = start_failure(&StartError::Network(NetworkError::Listen { address, why }));
            check(&failure, expected);
        }
    }

    #[track_caller]
    fn check(failure: &Failure, expected: Option<&str>) {
        match expected {
            Some(part) => assert!(failure.hint_text().is_some_and(|hint| hint.contains(part)), "{failure:?}"),
            None => assert_eq!(failure.hint_text(), None, "{failure:?}"),
        }
    }

    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the socket failed")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_hint_about_a_port_follows_from_what_the_machine_said() {
        let (quic, low) = ("/ip4/127.0.0.1/udp/4410/quic-v1", "/ip4/127.0.0.1/tcp/443");
        check_listen(ErrorKind::AddrInUse, quic, Some("another program uses the port"));
        check_listen(ErrorKind::AddrNotAvailable, quic, Some("does not have the address"));
        check_listen(ErrorKind::PermissionDenied, low, Some("below 1024"));
        check_listen(ErrorKind::PermissionDenied, quic, None);
        check_listen(ErrorKind::OutOfMemory, quic, None);
        check_listen(ErrorKind::Other, quic, None);
    }

    #[test]
    fn the_hint_about_the_admin_api_follows_from_what_the_machine_said() {
        for (kind, port, socket) in [
            (ErrorKind::AddrInUse, Some("admin.listen"), Some("another node uses the socket")),
            (ErrorKind::PermissionDenied, None, Some("able to write /run/lighter")),
            (ErrorKind::NotFound, None, Some("make the folder /run/lighter")),
            (ErrorKind::InvalidInput, None, None),
        ] {
            let address = "127.0.0.1:9000".to_owned();
            check(&start_failure(&StartError::AdminPort { address: address.clone(), why: kind.into() }), port);
            let registry = port.map(|_| "registry.listen");
            check(&start_failure(&StartError::RegistryPort { address, why: kind.into() }), registry);
            let path = "/run/lighter/admin.sock".into();
            check(&start_failure(&StartError::AdminSocket { path, why: kind.into() }), socket);
        }
    }
}
