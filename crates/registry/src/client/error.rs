//! Failures of upstream registries: which registry and repository, at which step, and what to do.

use std::io;
use std::time::Duration;

use lighter_types::Blame;

use super::credentials::CredentialsError;

/// A step of an import that a registry did not let succeed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} of {repository} from {registry}")]
pub struct UpstreamError {
    /// Host and port of the last registry or mirror that was asked.
    pub registry: Box<str>,
    pub repository: Box<str>,
    /// As in "get manifest 1.0".
    pub step: Box<str>,
    #[source]
    pub failure: Failure,
}

/// The reason.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection, or none that TLS trusts.
    #[error("it cannot be reached")]
    Unreachable { source: io::Error },
    /// Less than the floor of progress came within the time.
    #[error("it sent {received} bytes in the last {} s", interval.as_secs())]
    Stalled { received: u64, interval: Duration },
    /// The connection broke, or the answer ended before its end.
    #[error("the answer ended after {received} bytes: {problem}")]
    Broken { received: u64, problem: String },
    /// The bytes are not those that were asked for.
    #[error("{what}: expected {expected}, found {found}")]
    Wrong { what: &'static str, expected: String, found: String },
    /// The registry, or the realm that gives its tokens, refuses with these credentials or without any.
    #[error("{host} refuses ({status}) {}", credentials_text(*.with_credentials))]
    Refused { host: String, status: u16, with_credentials: bool },
    /// The registry sends its clients to a host that may not get the credentials.
    #[error("it demands that {realm} gets the credentials")]
    Realm { realm: String },
    /// The registry cannot answer now, or answers in another way than it should.
    #[error("it answers with status {status}{}", wait_text(*.retry_after))]
    Status { status: u16, retry_after: Option<Duration> },
    /// An answer against the protocol or over a limit.
    #[error("{problem}")]
    Protocol { problem: String },
    /// This node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The configured credentials cannot be had.
    #[error("the credentials cannot be had")]
    Credentials { source: CredentialsError },
}

fn credentials_text(with_credentials: bool) -> &'static str {
    if with_credentials { "these credentials" } else { "without credentials" }
}

fn wait_text(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| format!(" and asks to wait {} s", wait.as_secs()))
}

impl Failure {
    pub(super) fn protocol(problem: impl Into<String>) -> Self {
        Self::Protocol { problem: problem.into() }
    }

    /// Whether the registry says that it has no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// Whether the same request may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            // TLS does not trust it, or its settings cannot be used.
            Self::Unreachable { source } => !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other),
            Self::Stalled { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Wrong { .. }
            | Self::Refused { .. }
            | Self::Realm { .. }
            | Self::Stopping
            | Self::Protocol { .. }
            | Self::Credentials { .. } => false,
        }
    }
}

impl UpstreamError {
    /// The party at fault.
    pub fn blame(&self) -> Blame {
        match &self.failure {
            Failure::Status { .. } if self.failure.is_not_found() => Blame::Caller,
            Failure::Unreachable { .. }
            | Failure::Stalled { .. }
            | Failure::Broken { .. }
            | Failure::Wrong { .. }
            | Failure::Status { .. }
            | Failure::Protocol { .. } => Blame::Peer,
            Failure::Refused { .. } | Failure::Realm { .. } | Failure::Credentials { .. } | Failure::Stopping => {
                Blame::Machine
            }
        }
    }

    /// The operator's way to mend it.
    pub fn remedy(&self) -> String {
        let table = format!("[upstream.\"{}\"]", self.registry);
        match &self.failure {
            Failure::Unreachable { .. } => {
                let keys = "`insecure` for plain HTTP and `ca` for a CA of your own";
                format!("check the name, the port and the network; {table} has {keys}")
            }
            Failure::Stalled { .. } | Failure::Broken { .. } => {
                format!("check the link to {}, then import again", self.registry)
            }
            Failure::Wrong { .. } => {
                format!("do not use what {} serves there: ask its operator, or remove it from `mirrors`", self.registry)
            }
            Failure::Refused { with_credentials: false, .. } => {
                let keys = "`auth_file`, or `username` and `password_file`";
                format!("check the repository's name; for a private one set {keys}, in {table}")
            }
            Failure::Refused { with_credentials: true, .. } => {
                format!("check the credentials that {table} names, and their rights to pull {}", self.repository)
            }
            Failure::Realm { realm } => format!("if {realm} may have them, add it to `realm_hosts` in {table}"),
            Failure::Status { status: 404, .. } => "check the repository, the tag or the digest".to_owned(),
            Failure::Status { .. } => format!("import again later, or name a mirror in {table}"),
            Failure::Protocol { .. } => {
                format!("check that {} is a registry of the OCI distribution spec", self.registry)
            }
            Failure::Stopping => "import again when the node runs".to_owned(),
            Failure::Credentials { .. } => format!("correct what {table} says of credentials"),
        }
    }
}

/// The error that [`lighter_image::Files`] passes on.
impl From<UpstreamError> for io::Error {
    fn from(error: UpstreamError) -> Self {
        Self::other(error)
    }
}
