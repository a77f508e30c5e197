//! The engine among peers that say whatever they like, whenever they like: each byte picks what happens next. The
//! caller keeps its word: every effect that wants an answer gets one, and only those. No input breaks an invariant, no
//! step has effects without end, and when all is answered and cancelled, nothing is left to do.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lighter_engine::{
    AskFailure, BlobFailure, CachedPatch, DiskInput, Effect, EncodeFailure, Engine, FetchFailure, FetchStep, Fetched,
    ImageFound, ImageRead, Input, LayerBlob, Lie, LocalFailure, LostCause, OperatorInput, Part, PeerInput, PullId,
    QuestionId, Settings, StreamId, Wanted, WorkInput,
};
use lighter_types::{Bytes, BytesPerSecond, Card, Cause, DiffId, Effort, Link, Moment, OciDigest, PatchId, PeerId};
use lighter_wire::{
    Announcement, Answer, Arrival, Documents, FrameOrder, Holdings, ImageAnswer, ImageName, ImageRequest, Incarnation,
    LayerOffer, ListDigest, Listed, News, Offer, PatchRequest, Quote, Referable, Refusal, Request, Resume, Terms,
};

/// Few names, so that peers contradict each other about the same things.
const PEERS: u8 = 5;
const LAYERS: u8 = 8;
const PATCHES: u8 = 4;
const EFFECTS_MAX: usize = 4096;

/// The choices that are left.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    /// One of so many; the first when no choices are left.
    fn of(&mut self, count: u8) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte % count
    }

    fn is(&mut self) -> bool {
        self.of(2) == 1
    }

    fn peer(&mut self) -> PeerId {
        PeerId::new([self.of(PEERS) + 1; 32])
    }

    fn layer(&mut self) -> DiffId {
        DiffId::new([self.of(LAYERS) + 1; 32])
    }

    fn layers(&mut self) -> Vec<DiffId> {
        let count = self.of(4);
        (0..count).map(|_| self.layer()).collect()
    }

    fn patch(&mut self) -> PatchId {
        PatchId::new([self.of(PATCHES) + 1; 32])
    }

    fn digest(&mut self) -> OciDigest {
        OciDigest::new([self.of(3) + 1; 32])
    }

    /// Small, large, and beyond all measure.
    fn number(&mut self) -> u64 {
        match self.of(16) {
            0 => 0,
            1 => u64::MAX,
            2 => u64::MAX / 2,
            shift => 1 << (3 * shift - 9 + shift % 3),
        }
    }

    fn bytes(&mut self) -> Bytes {
        Bytes(self.number())
    }

    fn card(&mut self) -> Card {
        Card { diff_id: self.layer(), tar_bytes: self.bytes(), compressed_bytes: self.bytes(), tlsh: None }
    }

    fn cards(&mut self) -> Vec<Card> {
        let count = self.of(4);
        (0..count).map(|_| self.card()).collect()
    }

    fn effort(&mut self) -> Effort {
        Effort::ALL[usize::from(self.of(4))]
    }

    fn quote(&mut self) -> Quote {
        let bytes = self.bytes();
        let offer = if self.is() { Offer::Ready { patch: self.patch(), bytes } } else { Offer::Predicted { bytes } };
        let wait = Duration::from_millis(self.number() % u64::from(u32::MAX));
        Quote { offer, bases: self.layers(), wait, effort: Some(self.effort()) }
    }

    fn refusal(&mut self) -> Refusal {
        match self.of(4) {
            0 => Refusal::NotHeld,
            1 => Refusal::Busy { retry_after_ms: self.number().min(600_000) as u32 },
            2 => Refusal::Stopping,
            _ => Refusal::Failed,
        }
    }

    fn link(&mut self) -> Link {
        let rate = BytesPerSecond(self.number());
        Link { down: Some(rate), up: self.is().then_some(rate), ..Link::default() }
    }

    /// Holdings of a peer, with a digest that may be that of other layers.
    fn holdings(&mut self) -> Holdings {
        let (incarnation, version) = (Incarnation(self.of(3).into()), self.of(4).into());
        let mut holdings = Holdings::all(incarnation, version, None, self.cards());
        match self.of(4) {
            0 => holdings.list = Listed::Unchanged,
            1 => holdings.list = Listed::Difference { added: self.cards(), removed: self.layers() },
            2 => holdings.digest = ListDigest::default(),
            _ => {}
        }
        holdings
    }

    fn announcement(&mut self) -> Announcement {
        let news = match self.of(4) {
            0 => News::Full(self.cards()),
            1 => News::Difference { added: self.cards(), removed: self.layers() },
            2 => News::Heartbeat,
            _ => News::Leaving,
        };
        Announcement {
            incarnation: Incarnation(self.of(3).into()),
            version: self.of(4).into(),
            sequence: self.number(),
            site: None,
            digest: self.layers().into_iter().collect(),
            news,
        }
    }

    fn request(&mut self) -> Request {
        match self.of(6) {
            0 => Request::Holdings { known: None },
            1 => Request::Quote { target: self.layer(), bases: self.layers(), terms: Terms::default() },
            2 => {
                let name = ImageName::Manifest(self.digest());
                let list = self.is().then(ListDigest::default);
                let (known, documents, terms) = (None, self.is(), Terms::default());
                Request::Image(ImageRequest { name, known, documents, list, terms })
            }
            3 => Request::Blob { digest: self.digest(), bytes_max: self.number() as u32 },
            4 => Request::Sketches(self.layers()),
            _ => Request::Arrival { target: self.layer(), number: self.number() },
        }
    }

    fn answer(&mut self) -> Answer {
        match self.of(8) {
            0 => Answer::Holdings(self.holdings()),
            1 => Answer::Quote(self.quote()),
            2 | 3 => {
                let count = self.of(4);
                let offers =
                    (0..count).map(|_| LayerOffer { layer: self.number() as u16, quote: self.quote() }).collect();
                let documents = self.is().then(|| Documents {
                    manifest: vec![self.of(3)],
                    config: self.is().then(|| vec![1]),
                    recipes: None,
                });
                Answer::Image(Box::new(ImageAnswer { release: None, documents, offers, handovers: Vec::new() }))
            }
            4 => Answer::Blob { bytes: vec![1], config: self.is().then(|| vec![2]) },
            5 => Answer::Refused(self.refusal()),
            6 => Answer::Sketches((0..self.of(4)).map(|_| self.is().then(|| vec![4; 3])).collect()),
            _ => Answer::Arrival(match self.of(3) {
                0 => Arrival::No,
                1 => Arrival::Coming { received: self.bytes() },
                _ => Arrival::Held,
            }),
        }
    }

    fn patch_request(&mut self) -> PatchRequest {
        let order = if self.is() { FrameOrder::Up } else { FrameOrder::Down };
        let resume = self.is().then(|| Resume {
            patch: self.patch(),
            first_frame: self.number() as u32,
            settings: self.of(3).into(),
            order,
        });
        let uplink = BytesPerSecond(self.number());
        let referable = self.is().then(|| Referable { uplink, passes_on: self.is() });
        let (target, bases, have) = (self.layer(), self.layers(), self.is().then(|| self.layer()));
        PatchRequest { target, bases, have, resume, referable, terms: Terms::default() }
    }

    fn cached(&mut self, target: DiffId) -> CachedPatch {
        let (patch, bases, bytes) = (self.patch(), self.layers(), self.bytes());
        CachedPatch { patch, target, bases, bytes, effort: self.is().then(|| self.effort()) }
    }

    fn part(&mut self) -> Part {
        let (bytes, bytes_total) = (self.bytes(), self.bytes());
        let (patch, settings, frames) = (self.patch(), self.of(3).into(), self.number() as u32);
        Part { patch, settings, bases: self.layers(), frames, bytes: bytes.min(bytes_total), bytes_total }
    }

    fn local(&mut self) -> LocalFailure {
        match self.of(3) {
            0 => LocalFailure::Failed(Cause::new(std::io::Error::other("the disk"))),
            1 => LocalFailure::Panicked,
            _ => LocalFailure::Aborted,
        }
    }

    fn fetch_failure(&mut self) -> FetchFailure {
        match self.of(11) {
            0 => FetchFailure::Lost(LostCause::EndedEarly(FetchStep::Frames)),
            1 => FetchFailure::Lost(LostCause::Unusable(Cause::new(std::io::Error::other("too much")))),
            2 => FetchFailure::Refused(self.refusal()),
            3 => FetchFailure::Referred { to: self.peer(), patch: self.patch(), settings: self.of(3).into() },
            4 => FetchFailure::WrongResult { patch: self.patch(), why: Cause::new(std::io::Error::other("another")) },
            5 => FetchFailure::Lied(Lie::BaseNotOffered(self.layer())),
            6 => FetchFailure::BaseGone(self.layer()),
            7 => FetchFailure::Listed,
            8 => FetchFailure::NoRoom(LocalFailure::Aborted),
            9 => FetchFailure::Local(self.local()),
            _ => FetchFailure::Stopped,
        }
    }
}

/// The engine and its caller.
struct World {
    engine: Engine,
    now: u64,
    /// Effects that want an answer, in their order.
    open: Vec<Effect>,
    streams: Vec<(StreamId, bool)>,
    connected: [bool; PEERS as usize + 1],
    pulls: Vec<PullId>,
    next: u64,
}

impl World {
    fn step(&mut self, input: impl Into<Input>) {
        let mut effects = Vec::new();
        self.engine.step(Moment(self.now), input.into(), &mut effects);
        assert!(effects.len() <= EFFECTS_MAX, "{} effects of one step", effects.len());
        for effect in effects {
            match &effect {
                Effect::Serve { stream, .. } => {
                    let served = self.streams.iter_mut().filter(|(id, _)| id == stream);
                    served.for_each(|(_, is_served)| *is_served = true);
                }
                Effect::Refuse { stream, .. } | Effect::Refer { stream, .. } => {
                    self.streams.retain(|(id, _)| id != stream);
                }
                _ if lighter_engine::Open::asked(&effect).is_some() => self.open.push(effect),
                _ => {}
            }
        }
    }

    fn new_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn connects(&mut self, peer: PeerId) {
        if !std::mem::replace(&mut self.connected[usize::from(peer.as_bytes()[0])], true) {
            self.step(PeerInput::Connected(peer));
        }
    }

    /// Answers an effect, whatever the choices say.
    fn answer(&mut self, effect: Effect, choices: &mut Choices<'_>) {
        match effect {
            Effect::Ask { ask, .. } => {
                let failures = [AskFailure::Unreachable, AskFailure::Malformed, AskFailure::NotTrusted];
                let failure = failures[usize::from(choices.of(3))];
                let answer = if choices.is() { Ok(choices.answer()) } else { Err(failure) };
                self.step(WorkInput::Answered { ask, answer });
            }
            Effect::Fetch { fetch, request, .. } => {
                let is_tail = request.resume.is_some_and(|resume| resume.order == FrameOrder::Down);
                let result = if choices.is() && !is_tail {
                    Ok(self.fetched(request.target, choices))
                } else {
                    Err(choices.fetch_failure())
                };
                self.step(WorkInput::FetchEnded { fetch, result });
            }
            Effect::Encode { encode, target, bases, .. } => {
                let result = match choices.of(4) {
                    0 => Err(EncodeFailure::LayerGone(target)),
                    1 => Err(EncodeFailure::Local(choices.local())),
                    _ => Ok(CachedPatch { target, bases, ..choices.cached(target) }),
                };
                let took = Duration::from_millis(choices.number() >> 8);
                self.step(WorkInput::EncodeEnded { encode, took, result });
            }
            Effect::LookUpImage { question, from, .. } => {
                let found = ImageFound { layers: choices.layers(), ..ImageFound::default() };
                let found = if choices.is() { Ok(found) } else { Err(choices.local()) };
                self.step(WorkInput::ImageLookedUp { question, from, found });
            }
            Effect::ReadImage { pull, .. } => {
                let read = match choices.of(5) {
                    0 => ImageRead::Missing { digest: choices.digest(), bytes_max: 1 << 22 },
                    1 => ImageRead::Local(choices.local()),
                    _ => {
                        let layers = choices.layers();
                        let blobs = layers.iter().filter_map(|layer| {
                            let blob = LayerBlob { name: choices.layer(), bytes: choices.bytes() };
                            choices.is().then_some((*layer, blob))
                        });
                        ImageRead::Layers { blobs: blobs.collect(), sizes: BTreeMap::new(), layers: layers.clone() }
                    }
                };
                self.step(WorkInput::ImageRead { pull, read });
            }
            Effect::Unpack { layer, .. } => {
                let held = choices.is().then(|| (Card { diff_id: layer, ..choices.card() }, None));
                self.step(WorkInput::Unpacked { layer, held });
            }
            Effect::KeepBlob { pull, .. } => {
                let result = match choices.of(4) {
                    0 => Err(BlobFailure::WrongDigest),
                    1 => Err(BlobFailure::Local(choices.local())),
                    _ => Ok(()),
                };
                self.step(WorkInput::BlobKept { pull, result });
            }
            Effect::CommitImage { pull, .. } => {
                let result = if choices.is() { Ok(()) } else { Err(choices.local()) };
                self.step(WorkInput::ImageCommitted { pull, result });
            }
            other => panic!("{other:?} wants no answer"),
        }
    }

    fn fetched(&mut self, target: DiffId, choices: &mut Choices<'_>) -> Fetched {
        let card = Card { diff_id: target, ..choices.card() };
        Fetched {
            card,
            sketch: None,
            patch: choices.cached(target),
            settings: choices.of(3).into(),
            received: choices.bytes(),
            applying: Duration::from_millis(choices.number() >> 8),
            link: choices.link(),
        }
    }

    fn disk_changes(&mut self, choices: &mut Choices<'_>) {
        match choices.of(4) {
            0 => self.step(DiskInput::LayerGone(choices.layer())),
            1 => self.step(DiskInput::PatchGone(choices.patch())),
            2 => {
                let target = choices.layer();
                self.step(DiskInput::PatchHeld(choices.cached(target)));
            }
            _ => self.step(OperatorInput::SketchesWanted(choices.layers())),
        }
    }

    fn fetch_goes_on(&mut self, choices: &mut Choices<'_>) {
        let part = choices.part();
        let fetches = self.open.iter().filter_map(|effect| match effect {
            Effect::Fetch { fetch, .. } => Some(*fetch),
            _ => None,
        });
        let fetches: Vec<_> = fetches.collect();
        let Some(&fetch) = fetches.get(usize::from(choices.of(4))) else { return };
        if choices.is() {
            self.step(WorkInput::FetchProgress { fetch, part });
        } else {
            self.step(WorkInput::FetchWorking { fetch, done: part.bytes, total: Some(part.bytes_total) });
        }
    }

    /// One thing happens.
    fn happens(&mut self, choices: &mut Choices<'_>) {
        let peer = choices.peer();
        match choices.of(18) {
            0 => self.connects(peer),
            1 if std::mem::take(&mut self.connected[usize::from(peer.as_bytes()[0])]) => {
                self.step(PeerInput::Lost(peer));
            }
            2 => self.step(PeerInput::Unreachable(peer)),
            3 => self.step(PeerInput::Announced { from: peer, announcement: choices.announcement() }),
            4 => {
                let question = QuestionId(self.new_number());
                self.step(PeerInput::Asked { question, from: peer, request: choices.request() });
            }
            5 | 6 => {
                let stream = StreamId(self.new_number());
                self.streams.push((stream, false));
                self.step(PeerInput::StreamOpened { stream, from: peer, request: choices.patch_request() });
            }
            7 if !self.streams.is_empty() => {
                let index = usize::from(choices.of(255)) % self.streams.len();
                let (stream, is_served) = self.streams.swap_remove(index);
                if is_served && choices.is() {
                    self.step(PeerInput::StreamServed { stream, link: choices.link() });
                }
                self.step(PeerInput::StreamClosed(stream));
            }
            8 => self.step(PeerInput::LinkSeen { peer, link: choices.link() }),
            9 => self.step(PeerInput::StreamsAccepted { from: peer, streams: choices.number() as u32 }),
            10 => {
                let card = choices.card();
                self.step(DiskInput::LayerHeld { card, sketch: None });
            }
            11 => self.disk_changes(choices),
            12 => {
                let pull = PullId(self.new_number());
                self.pulls.push(pull);
                let wanted = Wanted::Manifest(choices.digest());
                self.step(OperatorInput::PullAsked { pull, wanted });
            }
            13 if choices.of(4) == 0 && !self.pulls.is_empty() => {
                let pull = self.pulls.remove(0);
                self.step(OperatorInput::PullCancelled(pull));
            }
            14 => {
                self.now += choices.number() % 100_000;
                self.step(Input::Tick);
            }
            15 => self.fetch_goes_on(choices),
            _ if !self.open.is_empty() => {
                let effect = self.open.remove(usize::from(choices.of(255)) % self.open.len());
                self.answer(effect, choices);
            }
            _ => {}
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let settings = Settings { encodes_max: 2, streams_max: 6, streams_per_peer_max: 3, ..Settings::default() };
    let connected = [false; PEERS as usize + 1];
    let (open, streams, pulls) = (Vec::new(), Vec::new(), Vec::new());
    let mut world = World { engine: Engine::new(settings), now: 1, open, streams, connected, pulls, next: 0 };
    world.step(DiskInput::LayersTold);
    while !choices.0.is_empty() {
        world.happens(&mut choices);
    }
    for pull in std::mem::take(&mut world.pulls) {
        world.step(OperatorInput::PullCancelled(pull));
    }
    for (stream, _) in std::mem::take(&mut world.streams) {
        world.step(PeerInput::StreamClosed(stream));
    }
    // No choices are left: each answer is the first that there is. Answers lead to no more effects without end.
    for _ in 0..EFFECTS_MAX {
        let Some(effect) = world.open.pop() else { break };
        world.answer(effect, &mut choices);
    }
    assert!(world.open.is_empty(), "{:?} comes again and again", world.open.first());
    assert_eq!(world.engine.pulls(), 0);
});
