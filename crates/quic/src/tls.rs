//! TLS as libp2p has it, with a check of certificates that does not look at the clock.
//!
//! Certificates, algorithms and the protocol's name are those of `libp2p-tls`; the check is ours (`certificate`), and
//! so is the order of the ciphers (`ciphers`).

use std::sync::Arc;
use std::time::Instant;

use libp2p::identity::Keypair;
use noq::rustls::client::Resumption;
use noq::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use noq::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use noq::rustls::server::ServerSessionMemoryCache;
use noq::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use noq::rustls::time_provider::TimeProvider;
use noq::rustls::{
    self, ClientConfig, DigitallySignedStruct, DistinguishedName, PeerIncompatible, ServerConfig, SignatureScheme,
};

use crate::certificate::{Certificate, CertificateError, schemes};
use crate::{Error, ciphers};

/// Sessions that this node can take up again, as the one who dials (eight for a peer) and as the one who listens (two
/// for a connection). Each takes about a kilobyte.
const SESSIONS_DIALLED: usize = 1024;
const SESSIONS_ACCEPTED: usize = 1024;

/// For the node that dials. The swarm compares the PeerId that the certificate proves with the one that it dialled.
///
/// # Errors
/// If the identity gives no certificate.
pub fn client(keys: &Keypair) -> Result<ClientConfig, Error> {
    let libp2p = libp2p_tls::make_client_config(keys, None).map_err(|error| Error::Certificate(error.to_string()))?;
    let (ciphers, time) = (ciphers::in_order(libp2p.crypto_provider()), Arc::new(SinceStart::default()));
    let mut tls = ClientConfig::builder_with_details(ciphers, time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Error::Certificate(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier))
        .with_client_cert_resolver(libp2p.client_auth_cert_resolver);
    tls.alpn_protocols = libp2p.alpn_protocols;
    tls.key_log = libp2p.key_log;
    tls.resumption = Resumption::in_memory_sessions(SESSIONS_DIALLED);
    // The name is only for this node's own memory of sessions.
    tls.enable_sni = false;
    Ok(tls)
}

/// For the node that is dialled.
///
/// # Errors
/// If the identity gives no certificate.
pub fn server(keys: &Keypair) -> Result<ServerConfig, Error> {
    let libp2p = libp2p_tls::make_server_config(keys).map_err(|error| Error::Certificate(error.to_string()))?;
    // The verifier of a server cannot be replaced: the rest is taken over.
    let (ciphers, time) = (ciphers::in_order(libp2p.crypto_provider()), Arc::new(SinceStart::default()));
    let mut tls = ServerConfig::builder_with_details(ciphers, time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Error::Certificate(error.to_string()))?
        .with_client_cert_verifier(Arc::new(Verifier))
        .with_cert_resolver(libp2p.cert_resolver);
    tls.alpn_protocols = libp2p.alpn_protocols;
    tls.key_log = libp2p.key_log;
    // Without AES in hardware, a peer that has it would choose what costs this node most.
    tls.ignore_client_order = !ciphers::has_aes();
    tls.session_storage = ServerSessionMemoryCache::new(SESSIONS_ACCEPTED);
    Ok(tls)
}

/// The ages of sessions, by a clock that nobody sets.
#[derive(Debug)]
struct SinceStart(Instant);

impl Default for SinceStart {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl TimeProvider for SinceStart {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.elapsed()))
    }
}

/// Accepts exactly one certificate, one that proves a PeerId. Both ends show one.
#[derive(Debug)]
struct Verifier;

fn check_only(certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
    if !others.is_empty() {
        return Err(CertificateError::NotOne.into());
    }
    Certificate::check(certificate)?;
    Ok(())
}

fn check_handshake(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    Certificate::check(certificate)?.check_handshake(signed.scheme, message, signed.signature())?;
    Ok(HandshakeSignatureValid::assertion())
}

/// TLS 1.2 is not negotiated.
fn refuse_earlier_version() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        check_only(certificate, others).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        refuse_earlier_version()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_handshake(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        check_only(certificate, others).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        refuse_earlier_version()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_handshake(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

#[cfg(test)]
mod tests;
