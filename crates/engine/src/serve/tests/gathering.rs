//! Requests for a long patch that is there: they wait a moment for each other.

use super::*;

/// Ten seconds of its uplink.
const LONG: u64 = 100 << 20;
const UPLINK: u64 = 10 << 20;
const BEGIN: Moment = Moment(1_000);

/// A node that has a patch of this length of layer 1, and these connected peers.
fn server(bytes: u64, peers: std::ops::Range<u8>) -> Server {
    let mut server = Server::new();
    for name in peers {
        server.core.directory.connected(PeerId::new([name; 32]), BEGIN);
    }
    server.serve.patch_held(patch(11, 1, &[], bytes));
    server
}

impl Server {
    fn at(&mut self, now: Moment, act: impl FnOnce(&mut Serve, &mut Step<'_>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        act(&mut self.serve, &mut Step { now, core: &mut self.core, effects: &mut effects });
        effects
    }

    fn ask(&mut self, now: Moment, from: u8, resume: Option<Resume>) -> Vec<Effect> {
        let referable = Some(Referable { uplink: BytesPerSecond(UPLINK), passes_on: true });
        let (target, terms) = (id(1), Terms::default());
        let request = PatchRequest { target, bases: Vec::new(), have: None, resume, referable, terms };
        let (stream, from) = (StreamId(self.next), PeerId::new([from; 32]));
        self.next += 1;
        let opened = Opened { stream, from, request: &request, coming: Coming::No };
        self.at(now, |serve, step| serve.stream_opened(opened, step))
    }

    fn advance(&mut self, now: Moment) -> Vec<Effect> {
        self.at(now, Serve::advance)
    }
}

fn sent_and_referred(effects: &[Effect]) -> (usize, usize) {
    let count = |is: fn(&Effect) -> bool| effects.iter().filter(|effect| is(effect)).count();
    (count(|effect| matches!(effect, Effect::Serve { .. })), count(|effect| matches!(effect, Effect::Refer { .. })))
}

#[test]
fn requests_for_a_long_patch_that_is_there_are_answered_together() {
    let mut server = server(LONG, 1..9);
    assert_eq!(server.serve.next_deadline(), None);
    assert_eq!(server.ask(BEGIN, 1, None), [working(0, 0)]);
    let closes = server.serve.next_deadline().unwrap();
    let window = closes.since(BEGIN);
    assert!(window <= Settings::GATHER_MAX && window >= Duration::from_secs(10) / 33, "{window:?}");
    for name in 2..8 {
        assert_eq!(server.ask(Moment(BEGIN.0 + u64::from(name)), name, None), [working(u64::from(name) - 1, 0)]);
    }
    assert_eq!(server.serve.next_deadline(), Some(closes), "a later request does not move the window");
    assert_eq!(server.advance(Moment(closes.0 - 1)), []);
    let given = server.advance(closes);
    assert_eq!(sent_and_referred(&given), (1, 6), "one copy leaves, and the others get it from each other: {given:?}");
    assert_eq!((server.advance(closes), server.serve.next_deadline()), (vec![], None));
    assert_eq!(server.ask(closes, 8, None), [working(7, 0)], "a later request opens another window");
}

#[test]
fn a_request_that_nobody_could_wait_with_is_answered_at_once() {
    let at_once = [serve(0, 11, 0)];
    assert_eq!(server(LONG, 1..2).ask(BEGIN, 1, None), at_once, "no other peer");
    assert_eq!(server(1 << 20, 1..9).ask(BEGIN, 1, None), at_once, "a short patch");
    let resume = Resume { patch: PatchId::new([11; 32]), first_frame: 7, settings: 1, order: FrameOrder::Up };
    assert_eq!(server(LONG, 1..9).ask(BEGIN, 1, Some(resume)), [serve(0, 11, 7)], "a part of it is there");
    let mut alone = server(LONG, 1..9);
    alone.core.settings.copies_max = 0;
    assert_eq!(alone.ask(BEGIN, 1, None), at_once, "nobody is referred");
    let mut last = server(LONG, 1..3);
    tell_holdings(&mut last, 2..3, &[1]);
    assert_eq!(last.ask(BEGIN, 1, None), at_once, "the other peer has the layer");
}

#[test]
fn a_stream_that_ends_and_a_patch_that_goes_leave_the_window() {
    let mut server = server(LONG, 1..9);
    server.ask(BEGIN, 1, None);
    server.at(BEGIN, |serve, step| serve.stream_closed(StreamId(0), step));
    assert_eq!(server.serve.next_deadline(), None, "nobody waits");
    server.ask(BEGIN, 2, None);
    server.serve.patch_gone(PatchId::new([11; 32]));
    let closes = server.serve.next_deadline().unwrap();
    assert_eq!(server.advance(closes), [working(1, 0), encode(0, 1, &[])], "it is made anew");
}
