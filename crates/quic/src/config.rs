//! The settings of the transport, and the settings of QUIC that follow from them.

use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq::crypto::{CryptoError, HmacKey};
use noq::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};

use crate::congestion::ControllerConfig;
use crate::{Error, tls};

/// The settings; `default()` suits a link of up to 20 Mbit/s at 600 ms.
#[derive(Clone, Debug)]
pub struct Config {
    /// A handshake that takes longer fails.
    pub handshake_timeout: Duration,
    /// With so many handshakes of peers that came under way, a peer must show first that packets reach its address (a
    /// retry, RFC 9000, section 8.1.2): one round trip more. A flood from made-up addresses takes up no more than
    /// these.
    pub unproven_max: usize,
    /// A connection from which nothing came for this long is lost. The shorter of both ends' settings holds.
    pub idle_timeout: Duration,
    /// An idle connection sends a packet after this time, so that NAT bindings stay and the idle timeout never fires.
    /// The end that was dialled waits a fifth longer, or both ends would send one each at the same time.
    pub keep_alive: Duration,
    /// Streams that the peer may have open at a time.
    pub streams_max: u32,
    /// Bytes that the peer may send on a stream before they are read.
    pub stream_window: u32,
    /// The same, on all streams of a connection.
    pub connection_window: u32,
    /// Bytes that a connection keeps until the peer acknowledges them.
    pub send_window: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            unproven_max: 16,
            // A link may be away for most of a minute, or lose a keep-alive and what repeats it.
            idle_timeout: Duration::from_secs(60),
            // Many NATs forget a UDP binding after 30 s (RFC 4787 asks for two minutes).
            keep_alive: Duration::from_secs(25),
            streams_max: 256,
            // 20 Mbit/s x 600 ms are 1.5 MB; a quarter more is for the round trip of the window's own update.
            stream_window: 2 << 20,
            connection_window: 3 << 20,
            send_window: 3 << 20,
        }
    }
}

/// The search for the path's MTU asks for the largest size first, and in the middle once if that gets lost. noq's own
/// steps are 20: it sends five datagrams of 1.4 KB on every connection, in both directions.
const MTU_STEP: u16 = 127;
/// Where the largest size gets lost, it is tried again after this time. noq's ten minutes cost 0.6 MB a day.
const MTU_AGAIN: Duration = Duration::from_secs(4 * 3600);

/// Packets that a peer may get before it acknowledges them, if it knows the extension and no packet is missing
/// (draft-ietf-quic-ack-frequency). As QUIC has it, there is an acknowledgement for every other packet: 400 kbit/s
/// below 20 Mbit/s. More packets would hide the rate of the first window (`congestion`).
const PACKETS_UNACKNOWLEDGED: u32 = 9;

/// Datagrams of connections that wait to be accepted: of one, of all; and how many may wait.
const INCOMING_BUFFER: u64 = 64 << 10;
const INCOMING_BUFFER_ALL: u64 = 4 << 20;
const INCOMING_MAX: usize = 256;

/// The settings of QUIC that endpoints are made of.
#[derive(Clone)]
pub struct Settings {
    pub client: ClientConfig,
    pub server: ServerConfig,
    pub endpoint: EndpointConfig,
    pub handshake_timeout: Duration,
    pub unproven_max: usize,
}

impl Settings {
    /// # Errors
    /// If the identity gives no certificate.
    pub fn new(config: &Config, keys: &Keypair) -> Result<Self, Error> {
        fn certificate(error: impl std::fmt::Display) -> Error {
            Error::Certificate(error.to_string())
        }
        let dialled = Config { keep_alive: config.keep_alive * 6 / 5, ..config.clone() };
        let (transport, dialled) = (Arc::new(transport(config)), Arc::new(transport(&dialled)));
        let crypto = QuicClientConfig::try_from(tls::client(keys)?).map_err(certificate)?;
        let mut client = ClientConfig::new(Arc::new(crypto));
        client.transport_config(transport);
        let crypto = QuicServerConfig::try_from(tls::server(keys)?).map_err(certificate)?;
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(dialled)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFER_ALL);
        let secret = keys.derive_secret(b"lighter quic stateless reset").ok_or_else(|| certificate("no secret"))?;
        let mut endpoint = EndpointConfig::new(Arc::new(ResetKey(secret)));
        endpoint.supported_versions(vec![1]);
        let Config { handshake_timeout, unproven_max, .. } = *config;
        Ok(Self { client, server, endpoint, handshake_timeout, unproven_max })
    }
}

fn transport(config: &Config) -> TransportConfig {
    let idle_ms = u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.minimum_change(MTU_STEP).interval(MTU_AGAIN);
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(PACKETS_UNACKNOWLEDGED));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(config.streams_max.into())
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(config.keep_alive))
        .max_idle_timeout(Some(VarInt::from_u32(idle_ms).into()))
        .allow_spin(false)
        .mtu_discovery_config(Some(mtu))
        .ack_frequency_config(Some(acknowledgements))
        // Where noq-proto 1.4 sends several datagrams at once, the second probe after a timeout gets a datagram as
        // short as the first. A request for another acknowledgement frequency may not fit, and the process aborts.
        .enable_segmentation_offload(false)
        .stream_receive_window(config.stream_window.into())
        .receive_window(config.connection_window.into())
        .send_window(config.send_window.into())
        .congestion_controller_factory(Arc::new(ControllerConfig));
    transport
}

/// Signs the tokens by which a node that restarted tells peers that their connections are gone. Its key follows from
/// the identity, so that it is the same after the restart.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // blake3 compares hashes in constant time.
        let is_signature =
            blake3::Hash::from_slice(signature).is_ok_and(|hash| blake3::keyed_hash(&self.0, data) == hash);
        if is_signature { Ok(()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_key_knows_its_own_signatures_only() {
        let key = ResetKey([1; 32]);
        let mut signature = [0; 32];
        key.sign(b"token", &mut signature);
        assert!(key.verify(b"token", &signature).is_ok());
        assert!(key.verify(b"other", &signature).is_err());
        assert!(ResetKey([2; 32]).verify(b"token", &signature).is_err());
        assert!(key.verify(b"token", &signature[1..]).is_err());
    }

    /// With segmentation offload, storms of 60 nodes aborted a node in every run.
    #[test]
    fn each_datagram_has_the_room_of_the_path() {
        let settings = format!("{:?}", transport(&Config::default()));
        assert!(settings.contains("enable_segmentation_offload: false"), "{settings}");
    }
}
