//! Blobs: breaks that are resumed, and lies about length, range and digest.
//!
//! `outcome` serves one blob of 100,000 bytes by two closures: one for the first request, one for those behind it. It
//! checks that what arrives whole is the blob.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::network::{Asked, Network, Reply, Then, download, noise};
use crate::client::error::Failure;

const BYTES: usize = 100_000;

fn range_start(asked: &Asked) -> usize {
    let range = asked.header("range").map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap());
    range.map_or(0, |start| start.parse().unwrap())
}

fn partial(bytes: &[u8], start: usize) -> Reply {
    let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
    Reply::new(&format!("206 Partial Content\nContent-Range: {range}"), &bytes[start..])
}

/// The whole length is promised, and so many bytes come.
fn half(bytes: &[u8], count: usize, then: Then) -> Reply {
    Reply::raw(&format!("200 OK\nContent-Length: {}", bytes.len()), &bytes[..count], then)
}

/// The outcome for a blob whose first request is answered by `first`, and later ones by `later`; and the requests.
async fn outcome(
    first: impl Fn(&[u8]) -> Reply + Send + Sync + 'static,
    later: impl Fn(&[u8], &Asked) -> Reply + Send + Sync + 'static,
) -> (Result<(), Failure>, Vec<Asked>) {
    let bytes = noise(BYTES);
    let (served, count) = (bytes.clone(), AtomicUsize::new(0));
    let network = Network::new(move |asked| match count.fetch_add(1, Ordering::Relaxed) {
        0 => first(&served),
        _ => later(&served, asked),
    });
    let found = download(&network.plain_client(&["r.example"]), &bytes).await;
    let found = found.map(|found| assert!(found == bytes)).map_err(|error| {
        assert!(error.to_string().starts_with("cannot get blob sha256:"), "{error}");
        error.failure
    });
    (found, network.asked())
}

fn never(_: &[u8], asked: &Asked) -> Reply {
    panic!("asked once more: {asked:?}")
}

#[tokio::test(start_paused = true)]
async fn a_whole_blob_is_asked_for_once() {
    let (found, asked) = outcome(Reply::ok, never).await;
    found.unwrap();
    assert!(asked[0].header("range").is_none() && asked[0].header("authorization").is_none());
    assert!(asked[0].path().starts_with("/v2/a/b/blobs/sha256:"));
    // Without a length in the answer.
    let chunked = |bytes: &[u8]| {
        let body = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n0\r\n\r\n"].concat();
        Reply::raw("200 OK\nTransfer-Encoding: chunked", &body, Then::Stay)
    };
    outcome(chunked, never).await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_empty_blob_is_read() {
    let network = Network::new(|_| Reply::ok(b""));
    assert_eq!(download(&network.plain_client(&["r.example"]), b"").await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn half_a_body_is_resumed_where_it_broke() {
    let (found, asked) =
        outcome(|bytes| half(bytes, 40_000, Then::Close), |bytes, asked| partial(bytes, range_start(asked))).await;
    found.unwrap();
    assert_eq!(asked.iter().map(range_start).collect::<Vec<_>>(), [0, 40_000]);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_is_resumed_elsewhere() {
    let started = Instant::now();
    let (found, asked) =
        outcome(|bytes| half(bytes, 40_000, Then::Hang), |bytes, asked| partial(bytes, range_start(asked))).await;
    found.unwrap();
    assert_eq!(asked.iter().map(range_start).collect::<Vec<_>>(), [0, 40_000]);
    assert_eq!(started.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_ranges_is_read_from_its_start() {
    let (found, asked) = outcome(|bytes| half(bytes, 40_000, Then::Close), |bytes, _| Reply::ok(bytes)).await;
    found.unwrap();
    assert_eq!(asked.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_bytes_after_a_break_are_found_at_the_end() {
    let other = |bytes: &[u8], asked: &Asked| {
        let mut other = bytes.to_vec();
        other[90_000] ^= 1;
        partial(&other, range_start(asked))
    };
    let (found, _) = outcome(|bytes| half(bytes, 40_000, Then::Close), other).await;
    assert!(matches!(found, Err(Failure::Wrong { what: "sha256 of the blob", .. })), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_range_that_was_not_asked_for_is_refused() {
    for range in ["bytes 0-99999/100000", "bytes 40000-99998/100000", "bytes 40000-99999/100001", "bytes */100000", "x"]
    {
        let reply =
            move |bytes: &[u8], _: &Asked| Reply::new(&format!("206 X\nContent-Range: {range}"), &bytes[40_000..]);
        let (found, asked) = outcome(|bytes| half(bytes, 40_000, Then::Close), reply).await;
        assert!(matches!(found, Err(Failure::Wrong { what: "Content-Range", .. })), "{range}: {found:?}");
        assert_eq!(asked.len(), 2);
    }
    let without = |bytes: &[u8], _: &Asked| Reply::new("206 X", &bytes[40_000..]);
    let (found, _) = outcome(|bytes| half(bytes, 40_000, Then::Close), without).await;
    assert!(matches!(found, Err(Failure::Wrong { what: "Content-Range", .. })));
    let (found, _) = outcome(|bytes| partial(bytes, 0), never).await;
    assert!(matches!(found, Err(Failure::Protocol { .. })));
}

#[tokio::test(start_paused = true)]
async fn lies_about_the_length_are_told() {
    for count in [0, 1, BYTES - 1] {
        let (found, _) = outcome(move |bytes| Reply::ok(&bytes[..count]), never).await;
        assert!(matches!(found, Err(Failure::Wrong { what: "Content-Length of the blob", .. })), "{count}: {found:?}");
    }
    let longer = |bytes: &[u8]| Reply::ok(&[bytes, b"x"].concat());
    assert!(matches!(outcome(longer, never).await.0, Err(Failure::Wrong { .. })));
    // Without a length, the end of the connection is the end of the body.
    let longer = |bytes: &[u8]| Reply::raw("200 OK", &[bytes, b"x"].concat(), Then::Close);
    let (found, _) = outcome(longer, never).await;
    assert!(matches!(found, Err(Failure::Wrong { what: "the blob's bytes", .. })), "{found:?}");
    let shorter = |bytes: &[u8]| Reply::raw("200 OK", &bytes[..40_000], Then::Close);
    let (found, asked) = outcome(shorter, |bytes, asked| partial(bytes, range_start(asked))).await;
    found.unwrap();
    assert_eq!(asked.iter().map(range_start).collect::<Vec<_>>(), [0, 40_000]);
}

#[tokio::test(start_paused = true)]
async fn a_lie_about_the_digest_is_told_and_not_asked_for_again() {
    let flipped = |bytes: &[u8]| {
        let mut other = bytes.to_vec();
        other[5] ^= 1;
        Reply::ok(&other)
    };
    let (found, _) = outcome(flipped, never).await;
    assert!(matches!(found, Err(Failure::Wrong { what: "sha256 of the blob", .. })), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn breaks_without_progress_end_after_five() {
    let (found, asked) = outcome(
        |bytes| half(bytes, 40_000, Then::Close),
        |_, _| Reply::raw("206 X\nContent-Range: bytes 40000-99999/100000\nContent-Length: 60000", b"", Then::Close),
    )
    .await;
    assert!(matches!(found, Err(Failure::Broken { .. })), "{found:?}");
    assert_eq!(asked.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_break_after_much_progress_is_not_counted() {
    let bytes = noise(9 << 20);
    let served = bytes.clone();
    let network = Network::new(move |asked| {
        let start = range_start(asked);
        let end = (start + (1 << 20)).min(served.len());
        let head = if start == 0 {
            format!("200 OK\nContent-Length: {}", served.len())
        } else {
            let (last, whole) = (served.len() - 1, served.len());
            format!("206 X\nContent-Range: bytes {start}-{last}/{whole}\nContent-Length: {}", whole - start)
        };
        Reply::raw(&head, &served[start..end], Then::Close)
    });
    assert!(download(&network.plain_client(&["r.example"]), &bytes).await.unwrap() == bytes);
    assert_eq!(network.asked().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn busy_registries_are_asked_again_after_their_own_time() {
    let busy = |_: &[u8]| Reply::new("429 X\nRetry-After: 7", b"slow down");
    let started = Instant::now();
    let (found, asked) = outcome(busy, |bytes, _| Reply::ok(bytes)).await;
    found.unwrap();
    assert_eq!((started.elapsed().as_secs(), asked.len()), (7, 2));
    // As a date, which counts from the answer's own.
    let dated = |_: &[u8]| {
        let head = "503 X\nDate: Sun, 06 Nov 1994 08:49:37 GMT\nRetry-After: Sun, 06 Nov 1994 08:49:49 GMT";
        Reply::new(head, b"")
    };
    let started = Instant::now();
    outcome(dated, |bytes, _| Reply::ok(bytes)).await.0.unwrap();
    assert_eq!(started.elapsed().as_secs(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_more_than_a_minute_is_told_at_once() {
    let started = Instant::now();
    let (found, _) = outcome(|_| Reply::new("429 X\nRetry-After: 21600", b""), never).await;
    let Err(failure) = found else { panic!("it came") };
    assert_eq!(failure.to_string(), "it answers with status 429 and asks to wait 21600 s");
    assert_eq!(started.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_server_pass_or_end_after_five() {
    for status in [500, 502, 503, 408] {
        let (found, asked) = outcome(move |_| Reply::status(status), |bytes, _| Reply::ok(bytes)).await;
        found.unwrap();
        assert_eq!(asked.len(), 2, "{status}");
    }
    let (found, asked) = outcome(|_| Reply::status(500), |_, _| Reply::status(500)).await;
    assert!(matches!(found, Err(Failure::Status { status: 500, .. })));
    assert_eq!(asked.len(), 5);
    let (found, asked) = outcome(|_| Reply::status(400), never).await;
    assert!(matches!(found, Err(Failure::Status { status: 400, .. })));
    assert_eq!(asked.len(), 1);
}
