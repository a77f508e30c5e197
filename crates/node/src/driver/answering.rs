//! Questions of peers, and the memory that their answers take until they are sent.
//!
//! A question is told to the engine when the largest answer to it has room: in the share of its peer, and in all.
//! Others of that peer wait behind it, in their order; the peers take turns. When the answer is there, it takes the
//! room that it needs, and gives that back when it is sent or cannot be. A question whose peer gave it up, or left,
//! waits no more.
//!
//! Libp2p tells the end of each question once, at the latest when its time is over (`timing.ask_timeout_s`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use libp2p::request_response::{InboundRequestId, ResponseChannel};
use lighter_engine::QuestionId;
use lighter_types::PeerId;
use lighter_wire::{Answer, Documents, HOLDINGS_MAX, Listed, Message, Request, SKETCH_BYTES_MAX};

use crate::shares::{Share, Shares};

/// Memory of the answers that are made or sent.
const BYTES_MAX: usize = 64 << 20;
/// A peer may have one in so many of the bytes that are free: one document of 4 MiB at a time, whose copies take 12
/// MiB.
const PART_OF_A_PEER: usize = 4;
/// An answer is there up to so many times while it is put into bytes: itself, its layout, and the bytes.
const COPIES: usize = 3;
/// Bytes of a card in memory, more than in a message.
const CARD_BYTES: usize = 96;

/// A layer's offer with its quote, in memory.
const OFFER_BYTES: usize = 512;
/// Bytes of an answer beside what it carries.
const OTHER_BYTES: usize = 1024;

/// See the module. A request and its channel are libp2p's; the tests have their own.
pub struct Answering<R = InboundRequestId, C = ResponseChannel<Answer>> {
    shares: Shares,
    /// Questions that are not told to the engine yet, each peer's in their order. No peer is here without one.
    waiting: BTreeMap<PeerId, VecDeque<(QuestionId, Request)>>,
    /// The peers in `waiting`: the next one comes first.
    turns: VecDeque<PeerId>,
    /// Every question that libp2p has not ended.
    open: BTreeMap<QuestionId, Open<C>>,
    by_request: HashMap<R, QuestionId>,
}

/// A question as libp2p knows it.
pub struct Way<R, C> {
    pub request: R,
    pub channel: C,
}

struct Open<C> {
    from: PeerId,
    /// Until the answer is given.
    channel: Option<C>,
    /// Absent while the question waits.
    share: Option<Share>,
}

impl<R, C> Default for Answering<R, C> {
    fn default() -> Self {
        Self {
            shares: Shares::new(BYTES_MAX, PART_OF_A_PEER),
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
            open: BTreeMap::new(),
            by_request: HashMap::new(),
        }
    }
}

impl<R: Copy + Eq + Hash, C> Answering<R, C> {
    /// A peer asks, and may have an answer.
    pub fn add(&mut self, question: QuestionId, from: PeerId, request: Request, way: Way<R, C>) {
        self.add_open(question, from, way);
        let waiting = self.waiting.entry(from).or_default();
        if waiting.is_empty() {
            self.turns.push_back(from);
        }
        waiting.push_back((question, request));
    }

    /// A peer asks, and gets its answer without the engine.
    pub fn add_open(&mut self, question: QuestionId, from: PeerId, way: Way<R, C>) {
        let Way { request, channel } = way;
        self.by_request.insert(request, question);
        self.open.insert(question, Open { from, channel: Some(channel), share: None });
    }

    /// Takes a question that is to be told to the engine now.
    pub fn take_ready(&mut self) -> Option<(QuestionId, PeerId, Request)> {
        for _ in 0..self.turns.len() {
            let from = self.turns.pop_front()?;
            let waiting = self.waiting.get_mut(&from)?;
            let share = waiting.front().and_then(|(_, request)| self.shares.take(from, largest(request)));
            let ready = share.is_some().then(|| waiting.pop_front()).flatten();
            if waiting.is_empty() {
                self.waiting.remove(&from);
            } else {
                self.turns.push_back(from);
            }
            if let Some((question, request)) = ready {
                if let Some(open) = self.open.get_mut(&question) {
                    open.share = share;
                }
                return Some((question, from, request));
            }
        }
        None
    }

    /// The way back for an answer; `None` if nobody waits for it any more.
    pub fn answer(&mut self, question: QuestionId, answer: &Answer) -> Option<C> {
        let open = self.open.get_mut(&question)?;
        if let Some(share) = &mut open.share {
            share.shrink(COPIES * bytes(answer));
        }
        open.channel.take()
    }

    /// The answer to this request is sent, or nobody waits for it any more.
    pub fn ended(&mut self, request: R) {
        let Some(open) = self.by_request.remove(&request).and_then(|question| self.open.remove(&question)) else {
            return;
        };
        if open.share.is_some() {
            return;
        }
        let Some(waiting) = self.waiting.get_mut(&open.from) else { return };
        waiting.retain(|(question, _)| self.open.contains_key(question));
        if waiting.is_empty() {
            self.waiting.remove(&open.from);
            self.turns.retain(|peer| *peer != open.from);
        }
    }

    /// Entries in all maps, and the bytes that are taken.
    #[cfg(test)]
    fn held(&self) -> (usize, usize) {
        let entries = self.waiting.len() + self.turns.len() + self.open.len() + self.by_request.len();
        (entries, self.shares.held().1)
    }
}

/// The memory that the largest answer to a question takes.
fn largest(request: &Request) -> usize {
    let bytes = match request {
        Request::Holdings { .. } => OTHER_BYTES + HOLDINGS_MAX * CARD_BYTES,
        Request::Image(_) | Request::Blob { .. } => Answer::BYTES_MAX,
        Request::Sketches(layers) => OTHER_BYTES + layers.len() * SKETCH_BYTES_MAX,
        Request::Quote { .. } | Request::Arrival { .. } => OTHER_BYTES,
    };
    COPIES * bytes
}

/// The bytes that an answer takes.
fn bytes(answer: &Answer) -> usize {
    let carried = match answer {
        Answer::Holdings(holdings) => match &holdings.list {
            Listed::Unchanged => 0,
            Listed::Difference { added, removed } => (added.len() + removed.len()) * CARD_BYTES,
            Listed::All(cards) => cards.len() * CARD_BYTES,
        },
        Answer::Image(image) => {
            let documents = image.documents.as_ref().map_or(0, |documents| {
                let Documents { manifest, config, recipes } = documents;
                manifest.len() + length(config.as_ref()) + length(recipes.as_ref())
            });
            documents + image.offers.len() * OFFER_BYTES
        }
        Answer::Blob { bytes, config } => bytes.len() + length(config.as_ref()),
        Answer::Sketches(sketches) => sketches.iter().map(|sketch| length(sketch.as_ref())).sum(),
        Answer::Quote(_) | Answer::Refused(_) | Answer::Arrival(_) => 0,
    };
    OTHER_BYTES + carried
}

fn length(bytes: Option<&Vec<u8>>) -> usize {
    bytes.map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use lighter_types::OciDigest;
    use lighter_wire::{BLOB_BYTES_MAX, Refusal};

    use super::*;

    const LOUD: PeerId = PeerId::new([1; 32]);
    const CONFIG_BYTES: usize = 3 << 20;

    /// A question for a document; request and channel have its number.
    fn ask(answering: &mut Answering<u64, u64>, number: u64, from: PeerId) {
        let request = Request::Blob { digest: OciDigest::new([7; 32]), bytes_max: BLOB_BYTES_MAX as u32 };
        answering.add(QuestionId(number), from, request, Way { request: number, channel: number });
    }

    fn ready(answering: &mut Answering<u64, u64>) -> Vec<u64> {
        std::iter::from_fn(|| answering.take_ready()).map(|(question, _, _)| question.0).collect()
    }

    fn config() -> Answer {
        Answer::Blob { bytes: vec![0; CONFIG_BYTES], config: None }
    }

    /// The most that is taken while 480 questions for a document of 3 MiB are answered, as one peer asked them. It had
    /// made a node take 759 MB.
    #[test]
    fn many_questions_of_a_peer_take_the_memory_of_a_few() {
        let mut answering = Answering::default();
        (0..480).for_each(|number| ask(&mut answering, number, LOUD));
        let (mut told, mut most) = (VecDeque::from(ready(&mut answering)), 0);
        let mut order = Vec::new();
        while let Some(number) = told.pop_front() {
            most = most.max(answering.held().1);
            assert_eq!(answering.answer(QuestionId(number), &config()), Some(number));
            most = most.max(answering.held().1);
            answering.ended(number);
            order.push(number);
            told.extend(ready(&mut answering));
        }
        assert_eq!(order, (0..480).collect::<Vec<u64>>());
        assert!(most <= COPIES * Answer::BYTES_MAX, "{most}");
        assert_eq!(answering.held(), (0, 0));
    }

    #[test]
    fn a_peer_with_many_questions_delays_no_other() {
        let mut answering = Answering::default();
        (0..100).for_each(|number| ask(&mut answering, number, LOUD));
        assert_eq!(ready(&mut answering), [0]);
        for name in 2..5 {
            ask(&mut answering, 100 + u64::from(name), PeerId::new([name; 32]));
        }
        assert_eq!(ready(&mut answering), [102, 103, 104]);
        let arrival = Request::Arrival { target: lighter_types::DiffId::new([9; 32]), number: 1 };
        let small = PeerId::new([9; 32]);
        answering.add(QuestionId(200), small, arrival, Way { request: 200, channel: 200 });
        assert_eq!(ready(&mut answering), [200], "a small answer has room beside large ones");
        assert!(answering.held().1 <= BYTES_MAX);
    }

    #[test]
    fn a_question_that_was_given_up_leaves_nothing() {
        let mut answering = Answering::default();
        (0..3).for_each(|number| ask(&mut answering, number, LOUD));
        assert_eq!(ready(&mut answering), [0]);
        // Two that wait, one of them in the middle, and one whose answer is being made.
        for number in [1, 2, 0] {
            answering.ended(number);
        }
        assert_eq!(answering.held(), (0, 0));
        assert_eq!(answering.answer(QuestionId(0), &config()), None);
        answering.ended(0);
    }

    #[test]
    fn an_answer_without_the_engine_takes_no_turn() {
        let mut answering = Answering::default();
        answering.add_open(QuestionId(1), LOUD, Way { request: 1, channel: 5 });
        assert!(ready(&mut answering).is_empty());
        assert_eq!(answering.answer(QuestionId(1), &Answer::Refused(Refusal::NotHeld)), Some(5));
        answering.ended(1);
        assert_eq!(answering.held(), (0, 0));
    }
}
