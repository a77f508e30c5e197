//! Gossip by hand: the messages of gossipsub on a stream of the peer's own (the specification of libp2p's pubsub).
//!
//! So a peer can repeat what others signed, sign as often as it likes, and send what is no message.

use futures::AsyncWriteExt;
use libp2p::PeerId;
use libp2p::identity::Keypair;
use tokio::sync::mpsc;

/// A field of protobuf that has a length.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &varint(bytes.len())[..], bytes].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A frame on the stream: its length, and a message of gossipsub with this field.
fn framed(number: u8, bytes: &[u8]) -> Vec<u8> {
    let field = field(number, bytes);
    [varint(field.len()), field].concat()
}

/// A frame with a message, as [`signed`] makes it.
pub fn frame(message: &[u8]) -> Vec<u8> {
    framed(2, message)
}

/// Signs an announcement, with a number that no other one of the key has.
pub fn signed(key: &Keypair, number: u64, announcement: &[u8]) -> Vec<u8> {
    let from = key.public().to_peer_id().to_bytes();
    let topic = lighter_wire::ANNOUNCE_TOPIC.as_bytes();
    let parts = [(1, &from[..]), (2, announcement), (3, &number.to_be_bytes()), (4, topic)];
    let message: Vec<u8> = parts.iter().flat_map(|(number, bytes)| field(*number, bytes)).collect();
    let signature = key.sign(&[b"libp2p-pubsub:", &message[..]].concat()).expect("a key that signs");
    [message, field(5, &signature)].concat()
}

/// Writes to the victim's gossip stream.
pub struct Publisher {
    key: Keypair,
    frames: mpsc::UnboundedSender<Vec<u8>>,
}

impl Publisher {
    /// Opens the stream and subscribes; calls `ends` if the victim ends the stream. Dropping it ends the stream.
    pub fn start(
        control: lighter_streams::Control,
        victim: PeerId,
        key: Keypair,
        ends: impl FnOnce() + Send + 'static,
    ) -> Self {
        let (frames, mut to_write) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            let Ok(mut stream) = control.open(victim).await else { return };
            let subscribe = [&[1 << 3, 1][..], &field(2, lighter_wire::ANNOUNCE_TOPIC.as_bytes())].concat();
            let mut next = Some(framed(1, &subscribe));
            while let Some(bytes) = next {
                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                    return ends();
                }
                next = to_write.recv().await;
            }
        });
        Self { key, frames }
    }

    pub fn publish(&self, announcement: &[u8]) {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        self.send(frame(&signed(&self.key, NUMBER.fetch_add(1, Ordering::Relaxed), announcement)));
    }

    /// Sends bytes. Nothing happens if the victim ended the stream.
    pub fn send(&self, bytes: Vec<u8>) {
        let _ = self.frames.send(bytes);
    }
}
