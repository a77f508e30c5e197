//! Registries, both ways: the client of upstream registries, and [`server`] for container runtimes on this host.
//!
//! [`Upstream`] and the server speak the pull side of the OCI distribution specification (1.1) over HTTP/1.1. The crate
//! decides no names and stores nothing. The client hands an image's documents and blobs, as the registry has them, to
//! the import of `lighter_image`. It must not follow the urls of foreign layers, and must not send credentials to a
//! host that the configuration does not name. docs/decisions/0023-upstream-client.md says why it is written here.

mod client;
pub mod server;

pub use client::{
    Artifact, BlobSource, Credentials, CredentialsError, Dial, Dialling, Failure, HostSettings, ReferenceError,
    RegistryFiles, Settings, Stream, TcpDial, Upstream, UpstreamError, UpstreamReference,
};
