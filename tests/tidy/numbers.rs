//! Numbers in documents are the constants of the code.
//!
//! Each claim is a phrase as it stands in a document, with `{}` for each number, and the constants in its place. The
//! phrase must be in the document with the constants' values, whatever line breaks it has. Whoever changes a constant
//! finds the document by the failure, and the other way round.

use std::fs;
use std::time::Duration;

use lighter_engine::Settings;
use lighter_wire::Message;

use super::check;
use crate::support::repository;

/// A phrase of a document, and the values of its numbers.
struct Claim {
    document: &'static str,
    phrase: &'static str,
    values: Vec<String>,
}

fn claim<const N: usize>(document: &'static str, phrase: &'static str, values: [String; N]) -> Claim {
    Claim { document, phrase, values: values.to_vec() }
}

/// `16384` as `16,384`.
fn number(value: impl TryInto<u64>) -> String {
    let digits = value.try_into().unwrap_or_else(|_| panic!("a number over 64 bits")).to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn kib(value: impl TryInto<u64>) -> String {
    in_units(value, 1 << 10, "KiB")
}

fn mib(value: impl TryInto<u64>) -> String {
    in_units(value, 1 << 20, "MiB")
}

fn in_units(value: impl TryInto<u64>, unit: u64, name: &str) -> String {
    let value = value.try_into().unwrap_or_else(|_| panic!("a number over 64 bits"));
    assert!(value.is_multiple_of(unit), "{value} is no whole number of {name}");
    format!("{} {name}", number(value / unit))
}

/// `0.5 s`, `20 s`, `10 min`.
fn time(value: Duration) -> String {
    if value.as_secs() >= 120 && value.as_secs().is_multiple_of(60) {
        return format!("{} min", value.as_secs() / 60);
    }
    format!("{} s", value.as_secs_f64())
}

fn wire() -> Vec<Claim> {
    use lighter_wire::{
        ADDRESS_BYTES_MAX, ADDRESSES_MAX, Announcement, Answer, BLOB_BYTES_MAX, HOLDINGS_MAX, PatchReply, PatchRequest,
        Request, SKETCH_BYTES_MAX, SKETCHES_MAX, SignedRelease,
    };
    let document = "docs/WIRE.md";
    let (cards, sketches) = (number(HOLDINGS_MAX), number(SKETCHES_MAX));
    let bases = number(lighter_types::BASES_MAX);
    vec![
        claim(
            document,
            "| announcement | {} | {} cards, {} removed layers |",
            [number(Announcement::BYTES_MAX), cards.clone(), cards.clone()],
        ),
        claim(
            document,
            "| request | {} | {} bases, {} sketches |",
            [number(Request::BYTES_MAX), bases.clone(), sketches.clone()],
        ),
        claim(
            document,
            "| answer | {} + 48 KiB | {} cards, {} bases, {} of documents, 1 MiB of recipes, {} sketches of {} bytes |",
            [
                mib(Answer::BYTES_MAX - (48 << 10)),
                cards,
                bases.clone(),
                mib(BLOB_BYTES_MAX),
                sketches,
                number(SKETCH_BYTES_MAX),
            ],
        ),
        claim(document, "| signed release | {} |", [number(SignedRelease::BYTES_MAX)]),
        claim(document, "| patch request | {} | {} bases |", [number(PatchRequest::BYTES_MAX), bases]),
        claim(
            document,
            "| patch reply | {} | {} addresses of {} bytes |",
            [number(PatchReply::BYTES_MAX), number(ADDRESSES_MAX), number(ADDRESS_BYTES_MAX)],
        ),
    ]
}

fn patch() -> Vec<Claim> {
    use lighter_patch::{
        DELTA_TARGET_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, FRAME_TARGET_BYTES_MAX, FRAMES_MAX, HAVE_FILES_MAX,
        HAVE_LIST_BYTES_MAX, HEADER_BYTES_MAX, VERSION,
    };
    let document = "docs/PATCH.md";
    let bases = number(lighter_types::BASES_MAX);
    vec![
        claim(document, "| 8 | 2 | version: {} |", [number(VERSION)]),
        claim(document, "the number of bases: 0 to {} |", [bases.clone()]),
        claim(document, "the number of frames: 0 to {} |", [number(FRAMES_MAX as u64)]),
        claim(document, "{} x 40 + {} x 42 = {} bytes", [bases, number(FRAMES_MAX as u64), number(HEADER_BYTES_MAX)]),
        claim(
            document,
            "1 to {}; with codec 3, 1 to {} |",
            [number(FRAME_TARGET_BYTES_MAX), number(DELTA_TARGET_BYTES_MAX)],
        ),
        claim(document, "length of its payload: 1 to {} |", [number(FRAME_PAYLOAD_BYTES_MAX)]),
        claim(document, "files: 0 to {}", [number(HAVE_FILES_MAX)]),
        claim("docs/WIRE.md", "at most {} |", [number(HAVE_LIST_BYTES_MAX)]),
        claim("docs/TRAFFIC.md", "bases (up to {})", [number(Settings::OFFERED_BASES_MAX)]),
        claim(
            "docs/TRAFFIC.md",
            "{} of payload and {} of target",
            [mib(FRAME_PAYLOAD_BYTES_MAX), in_units(DELTA_TARGET_BYTES_MAX, 1 << 30, "GiB")],
        ),
    ]
}

fn store() -> Vec<Claim> {
    use lighter_store::{
        BLOB_BYTES_MAX, IMAGE_LAYERS_MAX, PATCH_BASES_MAX, RELEASE_RECORD_BYTES_MAX, SCHEMA, SKETCH_BYTES_MAX,
        STATE_BYTES_MAX, STATE_KEY_BYTES_MAX,
    };
    let document = "docs/STORE.md";
    vec![
        claim(document, "| `meta` | `schema` | u32: {} |", [number(SCHEMA)]),
        claim(document, "at most {} each", [mib(BLOB_BYTES_MAX)]),
        claim(document, "| `sketches` | DiffId, 32 | at most {}", [kib(SKETCH_BYTES_MAX)]),
        claim(document, "| `states` | 1 to {} bytes", [number(STATE_KEY_BYTES_MAX)]),
        claim(document, "from the node | at most {} from the node |", [kib(STATE_BYTES_MAX)]),
        claim(document, "bases, at most {} |", [number(PATCH_BASES_MAX)]),
        claim(document, "lowest first, at most {} |", [IMAGE_LAYERS_MAX.to_string()]),
        claim(document, "release record, at most {} bytes |", [RELEASE_RECORD_BYTES_MAX.to_string()]),
    ]
}

fn timers() -> Vec<Claim> {
    let document = "docs/ENGINE.md";
    vec![
        claim(document, "| gather | {} |", [time(Settings::GATHER)]),
        claim(document, "| resolve grace | {} |", [time(Settings::RESOLVE_GRACE)]),
        claim(document, "| ask again | {} |", [time(Settings::ASK_AGAIN)]),
        claim(document, "| sketch timeout | {} |", [time(Settings::SKETCH_TIMEOUT)]),
        claim(document, "| sketch again | {} |", [time(Settings::SKETCH_AGAIN)]),
        claim(document, "| arrival timeout | {} |", [time(Settings::ARRIVAL_TIMEOUT)]),
        claim(document, "| connect | {} |", [time(Settings::CONNECT_MAX)]),
        claim(document, "| less than {} in this time is a stall", [kib(Settings::STALL_BYTES)]),
        claim(document, "| working at most | {} |", [time(Settings::WORKING_MAX)]),
        claim(
            document,
            "| backoff | {}, doubled {} times at most",
            [time(Settings::BACKOFF), number(Settings::BACKOFF_DOUBLINGS)],
        ),
        claim(document, "| busy backoff | the same, doubled {} times at most |", [number(Settings::BUSY_DOUBLINGS)]),
        claim(
            document,
            "| lists kept | {} after a change, every {} at most |",
            [time(Settings::KEEP_SOON), time(Settings::KEEP_EVERY)],
        ),
        claim(document, "| flood window | {} |", [time(Settings::FLOOD_WINDOW)]),
    ]
}

fn caps() -> Vec<Claim> {
    let document = "docs/ENGINE.md";
    vec![
        claim(
            document,
            "parts on disk known | {}; {}; 1,024 |",
            [number(Settings::PULLS_MAX), number(Settings::TARGETS_MAX)],
        ),
        claim(document, "| encodes queued | {} |", [number(Settings::ENCODES_QUEUED_MAX)]),
        claim(document, "| peers whose encoding time is counted | {} |", [number(Settings::ACCOUNTS_MAX)]),
        claim(
            document,
            "| patches whose relays are known; relays of one | {}; {} |",
            [number(Settings::SPREADS_MAX), number(Settings::RELAYS_MAX)],
        ),
        claim(document, "beside them | {} |", [number(Settings::STREAMS_WAITING_MAX)]),
        claim(document, "| patches in the cache that are known | {} |", [number(Settings::PATCHES_MAX)]),
        claim(
            document,
            "16,384 (setting); {}; {} |",
            [number(Settings::LAYERS_PER_PEER_MAX), number(Settings::CARDS_MAX)],
        ),
        claim(
            document,
            "asked for or given up | {}; {}; {} |",
            [number(Settings::OWN_SKETCHES_MAX), number(Settings::SKETCHES_MAX), number(Settings::SKETCHES_ASKED_MAX)],
        ),
        claim(
            document,
            "| lists of peers remembered or on disk; layers in them | {}; {} |",
            [number(Settings::LISTS_MAX), number(Settings::LISTED_MAX)],
        ),
        claim(document, "| changes of the own list that are kept | {} |", [number(Settings::CHANGES_MAX)]),
        claim(
            document,
            "| calibrations of encoders; of lineages; paces; links | {}; {}; 2; {} |",
            [number(Settings::CALIBRATIONS_MAX), number(Settings::LINEAGES_MAX), number(Settings::LINKS_MAX)],
        ),
        claim(
            document,
            "| bases of a patch; bases offered | {}; {} |",
            [number(Settings::PATCH_BASES_MAX), number(Settings::OFFERED_BASES_MAX)],
        ),
        claim(document, "for a plan | {}; {} |", [number(Settings::SHORTLIST_MAX), number(Settings::POOLS_MAX)]),
    ]
}

fn images_and_sketches() -> Vec<Claim> {
    use lighter_image::{
        ARTIFACT_BYTES_MAX, COMPANIONS_BYTES_MAX, COMPANIONS_MAX, INDEX_DEPTH_MAX, INDEX_ENTRIES_MAX, LAYERS_MAX,
    };
    use lighter_similarity::SKETCH_BYTES_MAX;
    vec![
        claim("docs/PREDICTION.md", "at most {} bytes; on the corpus", [number(SKETCH_BYTES_MAX)]),
        claim(
            "docs/IMAGES.md",
            "| at most {}, {}, {} |",
            [INDEX_DEPTH_MAX, INDEX_ENTRIES_MAX, LAYERS_MAX].map(|value| number(value as u64)),
        ),
        claim("docs/IMAGES.md", "| bytes of an artifact | {} |", [mib(ARTIFACT_BYTES_MAX.0)]),
        claim("docs/IMAGES.md", "| bytes of all companions | {}, in memory", [mib(COMPANIONS_BYTES_MAX.0)]),
        claim("docs/IMAGES.md", "| documents and blobs | {} |", [number(COMPANIONS_MAX as u64)]),
    ]
}

/// Line breaks and runs of spaces as one space, so that a phrase is found wherever its lines break.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the text says what is claimed; if not, the phrase that it lacks.
fn lacks(text: &str, claim: &Claim) -> Option<String> {
    assert_eq!(claim.phrase.matches("{}").count(), claim.values.len(), "{}", claim.phrase);
    let mut parts = claim.phrase.split("{}");
    let mut phrase = parts.next().unwrap_or_default().to_owned();
    for (value, part) in claim.values.iter().zip(parts) {
        phrase.push_str(value);
        phrase.push_str(part);
    }
    (!on_one_line(text).contains(&phrase)).then(|| format!("{}:1: does not say {phrase:?}", claim.document))
}

#[test]
fn numbers_in_documents_are_the_constants() {
    let claims: Vec<Claim> =
        [wire(), patch(), store(), timers(), caps(), images_and_sketches()].into_iter().flatten().collect();
    let read = |claim: &Claim| fs::read_to_string(repository().join(claim.document)).unwrap();
    check("numbers in documents", &claims.iter().filter_map(|claim| lacks(&read(claim), claim)).collect::<Vec<_>>());
}

#[test]
fn another_number_is_found() {
    let of = |value: usize| claim("docs/X.md", "at most {} peers", [number(value)]);
    assert_eq!(lacks("at most\n16,384 peers", &of(16_384)), None);
    assert_eq!(
        lacks("at most 16,384 peers", &of(16_385)),
        Some("docs/X.md:1: does not say \"at most 16,385 peers\"".to_owned())
    );
    assert_eq!(
        [time(Duration::from_millis(500)), time(Duration::from_secs(600)), mib(1u64 << 22)],
        ["0.5 s", "10 min", "4 MiB"]
    );
}
