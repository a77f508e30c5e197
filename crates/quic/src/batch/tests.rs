//! Batches over a socket that notes what it is given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use super::*;

/// The lengths of the datagrams of each call.
type Calls = Vec<Vec<usize>>;

#[derive(Debug, Default)]
struct Socket {
    calls: Mutex<Calls>,
    is_full: AtomicBool,
    has_no_segmentation: bool,
}

#[derive(Debug)]
struct NotingSender(Arc<Socket>);

impl UdpSender for NotingSender {
    fn poll_send(self: Pin<&mut Self>, transmit: &Transmit<'_>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.is_full.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        self.0.calls.lock().unwrap().push(transmit.contents.chunks(segment).map(<[u8]>::len).collect());
        Poll::Ready(Ok(()))
    }

    fn max_transmit_segments(&self) -> NonZeroUsize {
        NonZeroUsize::new(if self.0.has_no_segmentation { 1 } else { 64 }).unwrap()
    }
}

/// A task that sends these datagrams in each of its turns, and ends with the last.
struct Sending {
    sender: BatchingSender,
    turns: Vec<Vec<(u16, usize)>>,
}

impl Future for Sending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.turns.is_empty() {
            return Poll::Ready(());
        }
        while let Some(&(port, length)) = self.turns[0].first() {
            if send(&mut self.sender, (port, length), cx).is_pending() {
                return Poll::Pending;
            }
            self.turns[0].remove(0);
        }
        self.turns.remove(0);
        if self.turns.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn send(sender: &mut BatchingSender, (port, length): (u16, usize), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let contents = vec![0; length];
    let destination = SocketAddr::from(([127, 0, 0, 1], port));
    let transmit = Transmit { destination, ecn: None, contents: &contents, segment_size: None, src_ip: None };
    Pin::new(sender).poll_send(&transmit, cx)
}

fn sender(socket: &Arc<Socket>) -> BatchingSender {
    BatchingSender(Arc::new(Mutex::new(Batch::new(Box::pin(NotingSender(socket.clone()))))))
}

fn turn(socket: &Arc<Socket>, turns: Vec<Vec<(u16, usize)>>) -> Turn {
    Turn { task: Some(Box::pin(Sending { sender: sender(socket), turns })), unsent: Vec::new() }
}

fn calls(socket: &Socket) -> Calls {
    std::mem::take(&mut socket.calls.lock().unwrap())
}

/// The calls that one turn with these datagrams ends with.
fn check(datagrams: &[(u16, usize)], expected: &[&[usize]]) {
    let socket = Arc::new(Socket::default());
    let mut turn = turn(&socket, vec![datagrams.to_vec()]);
    assert!(Pin::new(&mut turn).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(calls(&socket), expected);
}

#[test]
fn datagrams_of_one_length_go_in_one_call() {
    check(&[(1, 1452); 3], &[&[1452, 1452, 1452]]);
    check(&[(1, 40)], &[&[40]]);
    check(&[], &[]);
}

#[test]
fn a_shorter_datagram_ends_a_call() {
    check(&[(1, 1452), (1, 1452), (1, 300), (1, 300), (1, 300)], &[&[1452, 1452, 300], &[300, 300]]);
}

#[test]
fn a_longer_datagram_begins_a_call() {
    check(&[(1, 300), (1, 1452), (1, 1452)], &[&[300], &[1452, 1452]]);
}

/// The kernel refuses a probe that is longer than the interface takes, and whatever goes with it.
#[test]
fn a_probe_goes_alone() {
    check(&[(1, 1200), (1, 1200), (1, 1452), (1, 1200), (1, 1200)], &[&[1200, 1200], &[1452], &[1200, 1200]]);
}

#[test]
fn datagrams_to_different_peers_go_in_different_calls() {
    check(&[(1, 100), (1, 100), (2, 100), (1, 100)], &[&[100, 100], &[100], &[100]]);
}

#[test]
fn a_call_is_within_the_kernels_limits() {
    check(&[(1, 100); 65], &[&[100; 64], &[100]]);
    check(&[(1, 9000); 7], &[&[9000; 6], &[9000]]);
}

#[test]
fn without_segmentation_each_datagram_goes_at_once() {
    let socket = Arc::new(Socket { has_no_segmentation: true, ..Socket::default() });
    let mut turn = turn(&socket, vec![vec![(1, 100); 2]]);
    assert!(Pin::new(&mut turn).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(calls(&socket), [[100], [100]]);
}

/// An endpoint answers a handshake outside of its own tasks, too.
#[test]
fn outside_a_turn_each_datagram_goes_at_once() {
    let socket = Arc::new(Socket::default());
    let mut sender = sender(&socket);
    for _ in 0..2 {
        assert!(send(&mut sender, (1, 100), &mut Context::from_waker(Waker::noop())).is_ready());
    }
    assert_eq!(calls(&socket), [[100], [100]]);
}

#[test]
fn each_turn_ends_with_all_sent() {
    let socket = Arc::new(Socket::default());
    let mut turn = turn(&socket, vec![vec![(1, 100); 2], vec![(1, 100); 3]]);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut turn).poll(&mut cx).is_pending());
    assert_eq!(calls(&socket), [[100; 2]]);
    assert!(Pin::new(&mut turn).poll(&mut cx).is_ready());
    assert_eq!(calls(&socket), [[100; 3]]);
}

/// The task ends in its first turn, and its datagrams wait; the wrapper ends with them.
#[test]
fn datagrams_that_a_full_socket_does_not_take_go_later_and_in_order() {
    let socket = Arc::new(Socket::default());
    socket.is_full.store(true, Ordering::Relaxed);
    let mut turn = turn(&socket, vec![vec![(1, 100), (1, 100), (1, 200), (1, 50)]]);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut turn).poll(&mut cx).is_pending());
    assert!(Pin::new(&mut turn).poll(&mut cx).is_pending());
    assert!(calls(&socket).is_empty());
    socket.is_full.store(false, Ordering::Relaxed);
    assert!(Pin::new(&mut turn).poll(&mut cx).is_ready());
    assert_eq!(calls(&socket), [vec![100, 100], vec![200], vec![50]]);
}

#[test]
fn a_task_that_panics_leaves_no_turn_behind() {
    let task = Box::pin(async { panic!("on purpose") });
    let mut turn = Turn { task: Some(task), unsent: Vec::new() };
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = Pin::new(&mut turn).poll(&mut Context::from_waker(Waker::noop()));
    }));
    assert!(polled.is_err());
    assert!(TURN.take().is_none());
}
