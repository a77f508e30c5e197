//! Registries, both ways: [`server`] is the pull side of the OCI distribution specification for clients of this host.

pub mod server;
