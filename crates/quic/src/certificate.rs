//! The certificate of a peer, checked as libp2p's TLS has it, but for its dates.
//!
//! A node makes a certificate for itself at each start. An extension has the node's public key and its signature over
//! the key of the certificate: that proves the PeerId. The handshake proves that the peer has the certificate's key.
//! The dates prove nothing: they are the same in every certificate of libp2p (1975 to 4096), nobody renews or revokes
//! them, and a clock that was never set shows 1970. `docs/decisions/0022-certificates-without-dates.md` weighs this.
//!
//! Source: the libp2p TLS specification, "Peer Authentication" and "libp2p Public Key Extension"
//! (github.com/libp2p/specs, folder `tls`); RFC 5280 for the layout; RFC 8446, section 4.2.3 for the algorithms.

use std::sync::Arc;

use libp2p::PeerId;
use libp2p::identity::PublicKey;
use noq::rustls::crypto::aws_lc_rs;
use noq::rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use noq::rustls::{self, OtherError, SignatureScheme};
use x509_parser::asn1_rs::{Any, FromDer, OctetString, Sequence};
use x509_parser::oid_registry::{self, Oid, asn1_rs::oid};
use x509_parser::prelude::X509Certificate;

/// The extension that has the node's public key and its signature.
const EXTENSION: Oid<'static> = oid!(1.3.6.1.4.1.53594.1.1);
/// The node signs this and the certificate's public key.
const SIGNED_PREFIX: &[u8] = b"libp2p-tls-handshake:";

/// An algorithm by which a certificate may be signed. Nodes and libp2p sign with the first one.
struct Algorithm {
    scheme: SignatureScheme,
    key: Oid<'static>,
    /// The named curve of the key, for algorithms with several.
    curve: Option<Oid<'static>>,
    signature: Oid<'static>,
}

/// Curves only, with hashes of 256 bits or more. The specification advises against RSA, and nobody uses it.
static ALGORITHMS: [Algorithm; 3] = [
    Algorithm {
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        key: oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY,
        curve: Some(oid_registry::OID_EC_P256),
        signature: oid_registry::OID_SIG_ECDSA_WITH_SHA256,
    },
    Algorithm {
        scheme: SignatureScheme::ECDSA_NISTP384_SHA384,
        key: oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY,
        curve: Some(oid_registry::OID_NIST_EC_P384),
        signature: oid_registry::OID_SIG_ECDSA_WITH_SHA384,
    },
    Algorithm {
        scheme: SignatureScheme::ED25519,
        key: oid_registry::OID_SIG_ED25519,
        curve: None,
        signature: oid_registry::OID_SIG_ED25519,
    },
];

/// Why a certificate proves nothing. The peer is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the peer sent another number of certificates than one")]
    NotOne,
    #[error("the certificate cannot be read")]
    Malformed,
    #[error("the certificate has an unknown critical extension")]
    UnknownExtension,
    #[error("the certificate has no libp2p extension, or two")]
    NotOneExtension,
    #[error("the certificate is signed by an algorithm that is not accepted")]
    Algorithm,
    #[error("the certificate is not signed by its own key")]
    NotSelfSigned,
    #[error("the node's key did not sign the certificate's key")]
    NotSignedByNode,
    #[error("the handshake is not signed by the certificate's key")]
    Handshake,
}

impl From<CertificateError> for rustls::Error {
    fn from(error: CertificateError) -> Self {
        Self::InvalidCertificate(rustls::CertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// A certificate that proves a PeerId.
#[derive(Debug)]
pub struct Certificate<'a> {
    x509: X509Certificate<'a>,
    scheme: SignatureScheme,
    node: PublicKey,
}

impl<'a> Certificate<'a> {
    /// Checks the certificate's own signature, and that of the node over its key.
    ///
    /// # Errors
    /// Whatever is missing or wrong.
    pub fn check(der: &'a CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (rest, x509) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let scheme = scheme(&x509)?;
        let (node, signature) = extension(&x509)?;
        let checked = Self { x509, scheme, node };
        let own = &checked.x509.signature_value;
        if own.unused_bits != 0 || !checked.has_signed(checked.x509.tbs_certificate.as_ref(), &own.data) {
            return Err(CertificateError::NotSelfSigned);
        }
        let signed = [SIGNED_PREFIX, checked.x509.public_key().raw].concat();
        if !checked.node.verify(&signed, &signature) {
            return Err(CertificateError::NotSignedByNode);
        }
        Ok(checked)
    }

    /// The PeerId of the node.
    pub fn peer_id(&self) -> PeerId {
        self.node.to_peer_id()
    }

    /// Checks a signature of the handshake by the certificate's key.
    ///
    /// # Errors
    /// If the scheme is not that of the certificate, or the signature is wrong.
    pub fn check_handshake(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CertificateError> {
        let is_signed = scheme == self.scheme && self.has_signed(message, signature);
        if is_signed { Ok(()) } else { Err(CertificateError::Handshake) }
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = &self.x509.public_key().subject_public_key;
        let is_whole = key.unused_bits == 0;
        is_whole && verifier(self.scheme).is_some_and(|by| by.verify_signature(&key.data, message, signature).is_ok())
    }
}

/// The schemes of handshakes, the preferred one first.
pub fn schemes() -> Vec<SignatureScheme> {
    ALGORITHMS.iter().map(|algorithm| algorithm.scheme).collect()
}

/// The verifier of TLS 1.3 for a scheme.
fn verifier(scheme: SignatureScheme) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    let all = aws_lc_rs::default_provider().signature_verification_algorithms.mapping;
    all.iter().find(|(of, _)| *of == scheme).and_then(|(_, by)| by.first().copied())
}

/// The scheme by which a certificate is signed. Its key is of the same.
fn scheme(x509: &X509Certificate<'_>) -> Result<SignatureScheme, CertificateError> {
    if x509.signature_algorithm != x509.tbs_certificate.signature {
        return Err(CertificateError::Malformed);
    }
    let key = &x509.public_key().algorithm;
    // A curve that is not named, but given by its numbers, is none.
    let curve = key.parameters.as_ref().map(Any::as_oid);
    let curve = curve.transpose().map_err(|_| CertificateError::Algorithm)?;
    let found = ALGORITHMS.iter().find(|known| {
        known.key == key.algorithm
            && known.curve == curve
            && known.signature == x509.signature_algorithm.algorithm
            && x509.signature_algorithm.parameters.is_none()
    });
    found.map(|known| known.scheme).ok_or(CertificateError::Algorithm)
}

/// The node's public key, and its signature over the certificate's key.
fn extension(x509: &X509Certificate<'_>) -> Result<(PublicKey, Vec<u8>), CertificateError> {
    let mut found = None;
    for extension in x509.extensions() {
        if extension.oid == EXTENSION {
            if found.replace(extension.value).is_some() {
                return Err(CertificateError::NotOneExtension);
            }
        } else if extension.critical {
            return Err(CertificateError::UnknownExtension);
        }
    }
    let value = found.ok_or(CertificateError::NotOneExtension)?;
    let (key, signature) = signed_key(value).ok_or(CertificateError::Malformed)?;
    let node = PublicKey::try_decode_protobuf(&key).map_err(|_| CertificateError::Malformed)?;
    Ok((node, signature))
}

/// A sequence of two strings of bytes.
fn signed_key(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, sequence) = Sequence::from_der(der).ok().filter(|(rest, _)| rest.is_empty())?;
    let (rest, key) = OctetString::from_der(&sequence.content).ok()?;
    let (rest, signature) = OctetString::from_der(rest).ok()?;
    rest.is_empty().then(|| (key.as_ref().to_vec(), signature.as_ref().to_vec()))
}

#[cfg(test)]
pub mod tests;
