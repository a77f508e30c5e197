//! Certificates that a peer could send: sound ones of any date, and forged ones.
//!
//! `rcgen` makes them, with an extension of our own making; handshakes with them are in the tests of `tls`. Each is
//! wrong in one thing only.

use libp2p::identity::Keypair;
use noq::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, date_time_ymd};

use super::*;

const EXTENSION_PARTS: &[u64] = &[1, 3, 6, 1, 4, 1, 53594, 1, 1];

/// A certificate that a peer could send, and its key.
pub struct Forged {
    pub der: CertificateDer<'static>,
    key: KeyPair,
}

impl Forged {
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

pub fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// The extension of a node with the public key of `node`, signed by `signer` over `key`.
fn extension_of(node: &Keypair, signer: &Keypair, key: &KeyPair) -> CustomExtension {
    let signature = signer.sign(&[SIGNED_PREFIX, &key.public_key_der()].concat()).unwrap();
    let strings = [octets(&node.public().encode_protobuf()), octets(&signature)].concat();
    let mut extension = CustomExtension::from_oid_content(EXTENSION_PARTS, tagged(0x30, &strings));
    extension.set_criticality(true);
    extension
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    tagged(0x04, bytes)
}

/// DER of fewer than 128 bytes.
fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A certificate of `node` with these extensions, signed by its own key.
fn self_signed(extensions: Vec<CustomExtension>, key: KeyPair) -> Forged {
    let der = params(extensions).self_signed(&key).unwrap().into();
    Forged { der, key }
}

fn params(extensions: Vec<CustomExtension>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = extensions;
    params
}

/// A certificate that is as it should be.
pub fn sound(node: &Keypair) -> Forged {
    let key = key();
    self_signed(vec![extension_of(node, node, &key)], key)
}

/// A certificate of the node `node` that another node made: everything but the node's signature is right.
pub fn of_another_node(node: &Keypair) -> Forged {
    let (key, other) = (key(), Keypair::generate_ed25519());
    self_signed(vec![extension_of(node, &other, &key)], key)
}

/// A certificate whose extension is of another certificate of the same node.
pub fn with_a_taken_extension(node: &Keypair) -> Forged {
    let taken = extension_of(node, node, &key());
    self_signed(vec![taken], key())
}

pub fn without_extension() -> Forged {
    self_signed(Vec::new(), key())
}

/// A certificate that is valid from the beginning of one year to that of another.
pub fn dated(node: &Keypair, from: i32, until: i32) -> Forged {
    let key = key();
    let mut params = params(vec![extension_of(node, node, &key)]);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let der = params.self_signed(&key).unwrap().into();
    Forged { der, key }
}

fn check(der: &[u8]) -> Result<PeerId, CertificateError> {
    Certificate::check(&CertificateDer::from(der)).map(|certificate| certificate.peer_id())
}

#[test]
fn a_certificate_of_libp2p_proves_the_peer_id() {
    let node = Keypair::generate_ed25519();
    let (der, _) = libp2p_tls::certificate::generate(&node).unwrap();
    assert_eq!(check(&der), Ok(node.public().to_peer_id()));
    assert_eq!(check(&sound(&node).der), Ok(node.public().to_peer_id()));
}

#[test]
fn dates_do_not_count() {
    let node = Keypair::generate_ed25519();
    for (from, until) in [(1960, 1970), (1975, 1976), (2090, 2099), (2030, 2020)] {
        let forged = dated(&node, from, until);
        assert!(libp2p_tls::certificate::parse(&forged.der).is_err(), "{from} to {until}: libp2p looks at the clock");
        assert_eq!(check(&forged.der), Ok(node.public().to_peer_id()), "{from} to {until}");
    }
}

/// The specification's first test vector, and its fourth.
#[test]
fn the_vectors_of_the_specification_are_judged_as_it_says() {
    let sound = include_str!("fixtures/ed25519.hex");
    let peer: PeerId = "12D3KooWJRSrypvnpHgc6ZAgyCni4KcSmbV7uGRaMw5LgMKT18fq".parse().unwrap();
    assert_eq!(check(&bytes(sound)), Ok(peer));
    let invalid = include_str!("fixtures/invalid.hex");
    assert_eq!(check(&bytes(invalid)), Err(CertificateError::NotSignedByNode));
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

#[test]
fn a_certificate_that_another_key_signed_is_refused() {
    let node = Keypair::generate_ed25519();
    let (subject, issuer) = (key(), key());
    let extension = extension_of(&node, &node, &subject);
    let issuer_certificate = params(Vec::new()).self_signed(&issuer).unwrap();
    let der = params(vec![extension]).signed_by(&subject, &issuer_certificate, &issuer).unwrap();
    assert_eq!(check(der.der()), Err(CertificateError::NotSelfSigned));
}

#[test]
fn an_extension_that_the_node_did_not_sign_for_this_key_is_refused() {
    let node = Keypair::generate_ed25519();
    assert_eq!(check(&of_another_node(&node).der), Err(CertificateError::NotSignedByNode));
    assert_eq!(check(&with_a_taken_extension(&node).der), Err(CertificateError::NotSignedByNode));
}

#[test]
fn there_is_exactly_one_extension_and_no_unknown_critical_one() {
    let node = Keypair::generate_ed25519();
    assert_eq!(check(&without_extension().der), Err(CertificateError::NotOneExtension));
    let key = key();
    let own = extension_of(&node, &node, &key);
    let twice = params(vec![own.clone(), own.clone()]).self_signed(&key).unwrap();
    assert_eq!(check(twice.der()), Err(CertificateError::NotOneExtension));
    let mut other = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 53594, 1, 9], vec![5, 0]);
    let unknown = params(vec![own.clone(), other.clone()]).self_signed(&key).unwrap();
    assert_eq!(check(unknown.der()), Ok(node.public().to_peer_id()));
    other.set_criticality(true);
    let critical = params(vec![own, other]).self_signed(&key).unwrap();
    assert_eq!(check(critical.der()), Err(CertificateError::UnknownExtension));
}

#[test]
fn an_extension_that_is_no_pair_of_strings_is_refused() {
    let node = Keypair::generate_ed25519();
    let key = key();
    let strings = [octets(&node.public().encode_protobuf()), octets(&[1; 64])].concat();
    for content in [
        Vec::new(),
        tagged(0x30, &octets(&node.public().encode_protobuf())),
        tagged(0x30, &[strings.clone(), octets(&[])].concat()),
        [tagged(0x30, &strings), vec![0]].concat(),
        tagged(0x31, &strings),
        tagged(0x30, &[octets(&[8, 9, 18, 0]), octets(&[1; 64])].concat()),
    ] {
        let extension = CustomExtension::from_oid_content(EXTENSION_PARTS, content.clone());
        let der = params(vec![extension]).self_signed(&key).unwrap();
        assert_eq!(check(der.der()), Err(CertificateError::Malformed), "{content:02x?}");
    }
}

#[test]
fn the_accepted_algorithms_are_three() {
    let node = Keypair::generate_ed25519();
    for (algorithm, scheme) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, SignatureScheme::ECDSA_NISTP384_SHA384),
        (&rcgen::PKCS_ED25519, SignatureScheme::ED25519),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let forged = self_signed(vec![extension_of(&node, &node, &key)], key);
        let certificate = Certificate::check(&forged.der).unwrap();
        assert_eq!(certificate.peer_id(), node.public().to_peer_id());
        assert_eq!(certificate.scheme, scheme);
        // The scheme of the handshake is that of the certificate, and the signature is looked at.
        for other in schemes() {
            assert_eq!(certificate.check_handshake(other, b"", &[]), Err(CertificateError::Handshake));
        }
    }
    assert_eq!(schemes().len(), 3);
    let rsa = include_str!("fixtures/rsa.hex");
    assert_eq!(check(&bytes(rsa)), Err(CertificateError::Algorithm));
}

#[test]
fn no_flipped_bit_and_no_truncation_proves_another_peer_id() {
    let node = Keypair::generate_ed25519();
    let der = sound(&node).der;
    // The head of the certificate has four bytes, and is not signed.
    let (_, x509) = X509Certificate::from_der(&der).unwrap();
    let signed = 4..4 + x509.tbs_certificate.as_ref().len();
    for bit in 0..der.len() * 8 {
        let mut flipped = der.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let checked = check(&flipped);
        let is_same = checked == Ok(node.public().to_peer_id()) && !signed.contains(&(bit / 8));
        assert!(checked.is_err() || is_same, "bit {bit}: {checked:?}");
    }
    for length in 0..der.len() {
        assert!(check(&der[..length]).is_err(), "{length} bytes");
    }
    assert_eq!(check(&[&der, &[0][..]].concat()), Err(CertificateError::Malformed));
}
