//! Handshakes in memory: what each end makes of the other's certificate.

use std::io::{Read, Write};

use libp2p::PeerId;
use noq::rustls::pki_types::PrivateKeyDer;
use noq::rustls::sign::{CertifiedKey, SingleCertAndKey};
use noq::rustls::{CipherSuite, ClientConnection, ServerConnection};

use super::*;
use crate::certificate::tests::{
    Forged, dated, key, of_another_node, sound, with_a_taken_extension, without_extension,
};

/// Shakes hands: how it ended at the client and at the server, each with the PeerId that the other proved.
fn shake_hands(client: ClientConfig, server: ServerConfig) -> (Result<PeerId, String>, Result<PeerId, String>) {
    let mut client = ClientConnection::new(Arc::new(client), "l".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let (mut client_end, mut server_end) = (Ok(()), Ok(()));
    // A handshake of TLS 1.3 takes three flights; an alert goes with one more.
    for _ in 0..4 {
        server_end =
            server_end.and(pass(&mut |out| client.write_tls(out), &mut |mut bytes| server.read_tls(&mut bytes)));
        server_end = server_end.and(server.process_new_packets().map(drop).map_err(|error| error.to_string()));
        client_end =
            client_end.and(pass(&mut |out| server.write_tls(out), &mut |mut bytes| client.read_tls(&mut bytes)));
        client_end = client_end.and(client.process_new_packets().map(drop).map_err(|error| error.to_string()));
    }
    (
        client_end.and_then(|()| proved(client.peer_certificates(), client.is_handshaking())),
        server_end.and_then(|()| proved(server.peer_certificates(), server.is_handshaking())),
    )
}

fn pass(
    write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<usize>,
    read: &mut dyn FnMut(&mut dyn Read) -> std::io::Result<usize>,
) -> Result<(), String> {
    let mut bytes = Vec::new();
    write(&mut bytes).map_err(|error| error.to_string())?;
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        read(&mut bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn proved(certificates: Option<&[CertificateDer<'static>]>, is_handshaking: bool) -> Result<PeerId, String> {
    match certificates {
        Some([certificate]) if !is_handshaking => Ok(Certificate::check(certificate).unwrap().peer_id()),
        _ => Err("the handshake did not end".to_owned()),
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Arc<SingleCertAndKey> {
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(key).unwrap();
    Arc::new(CertifiedKey::new(chain, key).into())
}

/// Both ends of this node, with other certificates.
fn ends(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> (ClientConfig, ServerConfig) {
    let node = Keypair::generate_ed25519();
    let (mut client, mut server) = (client(&node).unwrap(), server(&node).unwrap());
    client.client_auth_cert_resolver = certified(chain.clone(), key);
    server.cert_resolver = certified(chain, key);
    (client, server)
}

fn of(forged: &Forged) -> (ClientConfig, ServerConfig) {
    ends(vec![forged.der.clone()], &forged.private_key())
}

/// An honest node meets ends with such certificates, as the one that dials and as the one that is dialled.
#[track_caller]
fn check_refused((hostile_client, hostile_server): (ClientConfig, ServerConfig), why: &str) {
    let node = Keypair::generate_ed25519();
    let (ended, _) = shake_hands(client(&node).unwrap(), hostile_server);
    assert!(ended.as_ref().is_err_and(|error| error.contains(why)), "the node that dials: {ended:?}");
    let (_, ended) = shake_hands(hostile_client, server(&node).unwrap());
    assert!(ended.as_ref().is_err_and(|error| error.contains(why)), "the node that is dialled: {ended:?}");
}

#[test]
fn two_nodes_prove_their_peer_ids_to_each_other() {
    let (dialler, listener) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let ended = shake_hands(client(&dialler).unwrap(), server(&listener).unwrap());
    assert_eq!(ended, (Ok(listener.public().to_peer_id()), Ok(dialler.public().to_peer_id())));
}

#[test]
fn certificates_of_any_date_are_accepted_from_both_ends() {
    let (own, peer) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    for (from, until) in [(1960, 1970), (2090, 2099)] {
        let (dated_client, dated_server) = of(&dated(&peer, from, until));
        let (ended, _) = shake_hands(client(&own).unwrap(), dated_server);
        assert_eq!(ended, Ok(peer.public().to_peer_id()));
        let (_, ended) = shake_hands(dated_client, server(&own).unwrap());
        assert_eq!(ended, Ok(peer.public().to_peer_id()));
    }
}

#[test]
fn certificates_that_prove_nothing_are_refused_by_both_ends() {
    let peer = Keypair::generate_ed25519();
    check_refused(of(&of_another_node(&peer)), "NotSignedByNode");
    check_refused(of(&with_a_taken_extension(&peer)), "NotSignedByNode");
    check_refused(of(&without_extension()), "NotOneExtension");
    let honest = sound(&peer);
    check_refused(ends(vec![honest.der.clone(), sound(&peer).der], &honest.private_key()), "NotOne");
    check_refused(ends(vec![vec![0x30, 0].into()], &honest.private_key()), "Malformed");
}

/// A certificate can be copied by everybody who saw it; its key cannot.
#[test]
fn a_certificate_of_another_is_refused_without_its_key() {
    let stolen = sound(&Keypair::generate_ed25519());
    let own = PrivateKeyDer::try_from(key().serialize_der()).unwrap();
    check_refused(ends(vec![stolen.der], &own), "Handshake");
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let node = Keypair::generate_ed25519();
    let mut anonymous = client(&node).unwrap();
    anonymous.client_auth_cert_resolver = Arc::new(NoCertificate);
    let (_, ended) = shake_hands(anonymous, server(&node).unwrap());
    assert!(ended.as_ref().is_err_and(|error| error.contains("no certificates")), "{ended:?}");
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// All but the check of certificates and the order of the ciphers is libp2p's.
#[test]
fn the_settings_are_those_of_libp2p() {
    let node = Keypair::generate_ed25519();
    let (own, libp2p) = (client(&node).unwrap(), libp2p_tls::make_client_config(&node, None).unwrap());
    assert_eq!(own.alpn_protocols, libp2p.alpn_protocols);
    let in_order = format!("{:?}", ciphers::in_order(libp2p.crypto_provider()));
    assert_eq!(format!("{:?}", own.crypto_provider()), in_order);
    assert_eq!(own.crypto_provider().cipher_suites.len(), libp2p.crypto_provider().cipher_suites.len());
    let (own, libp2p) = (server(&node).unwrap(), libp2p_tls::make_server_config(&node).unwrap());
    assert_eq!(own.alpn_protocols, [b"libp2p"]);
    assert_eq!(own.alpn_protocols, libp2p.alpn_protocols);
    assert_eq!(format!("{:?}", own.crypto_provider()), in_order);
}

/// The cipher that two nodes take, one of which has AES in hardware or not.
fn cipher(client: ClientConfig, server: ServerConfig) -> CipherSuite {
    let mut client = ClientConnection::new(Arc::new(client), "l".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    pass(&mut |out| client.write_tls(out), &mut |mut bytes| server.read_tls(&mut bytes)).unwrap();
    server.process_new_packets().unwrap();
    server.negotiated_cipher_suite().unwrap().suite()
}

#[test]
fn aes_is_taken_where_both_processors_have_it() {
    let node = Keypair::generate_ed25519();
    let ends = || (client(&node).unwrap(), server(&node).unwrap());
    let (dialler, listener) = ends();
    let fast = CipherSuite::TLS13_AES_128_GCM_SHA256;
    let slow = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    assert_eq!(cipher(dialler, listener), if ciphers::has_aes() { fast } else { slow });
    // As a processor without AES has it.
    let libp2p = libp2p_tls::make_server_config(&node).unwrap();
    let (dialler, listener) = ends();
    let mut without =
        ServerConfig::builder_with_details(libp2p.crypto_provider().clone(), Arc::new(SinceStart::default()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(Verifier))
            .with_cert_resolver(libp2p.cert_resolver);
    without.alpn_protocols = listener.alpn_protocols;
    without.ignore_client_order = true;
    assert_eq!(cipher(dialler, without), slow);
}
