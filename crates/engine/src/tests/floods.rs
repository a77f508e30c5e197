//! Peers that open far more than any honest node does.

use super::{peer, step};
use crate::{Effect, Engine, Input, Offence, PeerInput, Settings};

/// Tells the engine of streams that a peer opened, and returns who is cut off.
fn accept(engine: &mut Engine, now: u64, from: u8, streams: u32) -> Vec<Effect> {
    let effects = step(engine, now, Input::Peer(PeerInput::StreamsAccepted { from: peer(from), streams }));
    effects.into_iter().filter(|effect| matches!(effect, Effect::CutOff { .. })).collect()
}

#[test]
fn a_flood_of_streams_without_a_message_is_cut_off_once() {
    let settings = Settings::default();
    let flood = Effect::CutOff { peer: peer(1), lasting: settings.cut_off, offence: Offence::Flood };
    let mut engine = Engine::new(settings);
    let window = Settings::FLOOD_WINDOW.as_millis() as u64;
    let most = Settings::MESSAGES_MAX * 10;
    for now in [1, 1 + window, 1 + 2 * window] {
        assert_eq!(accept(&mut engine, now, 1, most), []);
    }
    assert_eq!(accept(&mut engine, 2 + 2 * window, 2, most), [], "each peer has its own count");
    assert_eq!(accept(&mut engine, 2 + 2 * window, 1, 1), [flood]);
    assert_eq!(accept(&mut engine, 2 + 2 * window, 1, u32::MAX), []);
}
