//! Repeats: bytes that no base has, but that an earlier frame of the target has. They become copies of the target.
//!
//! Each frame is compressed apart, so its compressor finds what repeats within the frame and no more. Here samples of
//! all new bytes are looked up among those of the frames before: windows of 32 bytes that a hash chooses, so the same
//! bytes are a sample wherever they stand. A window that the own frame has already is left to the compressor.

use std::io;
use std::ops::Range;

use crate::compare::{common_prefix, common_suffix};
use crate::parallel;
use crate::program::STEPS_MAX;

use super::samples::GEAR;
use super::steps::{From, Kind, Layers, Planned, STEP_COST, push};

/// Bytes that a hash covers.
const WINDOW_BYTES: usize = 32;
/// Shorter repeats cost about as much as a copy.
const REPEAT_BYTES_MIN: u64 = 32;
/// On average one window of so many is a sample, as a power of two.
const SPACING_BITS_MIN: u32 = 3;
/// Most samples that are known at a time: 32 MiB.
const SAMPLES_MAX: u64 = 4 << 20;
/// Most repeats of a frame: each adds two steps.
const REPEATS_MAX: usize = STEPS_MAX / 8;
/// Samples of so many frames are held at a time.
const FRAMES_AT_ONCE: usize = 8;
/// Bytes are compared in parts that grow up to this length.
const PART_BYTES_MAX: u64 = 64 << 10;
/// Places beyond 1 TiB are not known.
const PLACE_BITS: u32 = 40;

/// Makes copies of what an earlier frame has.
///
/// # Errors
/// The error of the target's reader.
pub fn copy_repeats(layers: &Layers<'_>, frames: &mut [Vec<Planned>], threads: usize) -> io::Result<()> {
    let new_bytes = frames.iter().flatten().filter(|step| is_new(step)).map(|step| step.bytes).sum();
    if frames.len() < 2 || new_bytes < REPEAT_BYTES_MIN {
        return Ok(());
    }
    let mut seen = Seen::new(new_bytes);
    for frames in frames.chunks_mut(FRAMES_AT_ONCE) {
        let samples = parallel::map(frames, threads, |frame| samples(layers, frame, seen.spacing_bits))?;
        for (frame, samples) in frames.iter_mut().zip(samples) {
            *frame = with_copies(layers, std::mem::take(frame), &samples, &mut seen)?;
        }
    }
    Ok(())
}

fn is_new(step: &Planned) -> bool {
    matches!(step.kind, Kind::New | Kind::Raw)
}

/// A window of new bytes: its hash, and its place in the target.
struct Sample {
    hash: u64,
    at: u64,
}

/// The samples of a frame's new bytes, in order.
fn samples(layers: &Layers<'_>, frame: &[Planned], spacing_bits: u32) -> io::Result<Vec<Sample>> {
    let mut samples: Vec<Sample> = Vec::new();
    for step in frame.iter().filter(|step| is_new(step) && step.bytes >= WINDOW_BYTES as u64) {
        let bytes = layers.read_target(step.at..step.at + step.bytes)?;
        let mut hash = 0u64;
        let mut last = None;
        for (at, byte) in bytes.iter().enumerate() {
            // A byte's part of the sum has left it 32 bytes later.
            hash = (hash << 2).wrapping_add(GEAR[usize::from(*byte)]);
            if hash >> (64 - spacing_bits) == 0 && at + 1 >= WINDOW_BYTES && last != Some(hash) {
                // The first of a run of equal windows counts.
                last = Some(hash);
                samples.push(Sample { hash, at: step.at + (at + 1 - WINDOW_BYTES) as u64 });
            }
        }
    }
    Ok(samples)
}

/// Where samples were seen last.
struct Seen {
    spacing_bits: u32,
    /// A part of the hash, and the place, one more than it is; 0 where nothing was seen.
    slots: Vec<u64>,
}

impl Seen {
    fn new(new_bytes: u64) -> Self {
        let spacing_bits = (SPACING_BITS_MIN..40).find(|bits| new_bytes >> bits <= SAMPLES_MAX).unwrap_or(40);
        Self { spacing_bits, slots: vec![0; (new_bytes >> spacing_bits).next_power_of_two() as usize] }
    }

    /// The place where a sample was seen last. From now on it is the sample's own place.
    fn replace(&mut self, sample: &Sample) -> Option<u64> {
        let mixed = sample.hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slot = (mixed % self.slots.len() as u64) as usize;
        let tag = mixed >> PLACE_BITS << PLACE_BITS;
        let place = sample.at + 1;
        let known = self.slots[slot];
        if place >> PLACE_BITS == 0 {
            self.slots[slot] = tag | place;
        }
        let is_known = known != 0 && known >> PLACE_BITS << PLACE_BITS == tag;
        is_known.then(|| (known & ((1 << PLACE_BITS) - 1)).saturating_sub(1))
    }
}

/// The steps of a frame, in which what an earlier frame has is copied.
fn with_copies(
    layers: &Layers<'_>,
    frame: Vec<Planned>,
    samples: &[Sample],
    seen: &mut Seen,
) -> io::Result<Vec<Planned>> {
    let start = frame.first().map_or(0, |step| step.at);
    let mut steps = Vec::with_capacity(frame.len());
    let mut samples = samples.iter().peekable();
    let mut repeats = 0;
    for step in frame {
        if !is_new(&step) {
            push(&mut steps, step);
            continue;
        }
        let end = step.at + step.bytes;
        let mut rest = Some(step);
        while let Some(sample) = samples.next_if(|sample| sample.at < end) {
            let Some(from) = seen.replace(sample) else { continue };
            let Some(open) = rest.as_ref().filter(|rest| rest.at <= sample.at && repeats < REPEATS_MAX) else {
                continue;
            };
            // A repeat from within the own frame is left to the compressor.
            if from + WINDOW_BYTES as u64 > start {
                continue;
            }
            let found = longest(layers, &(open.at..end), sample.at, from, start)?;
            if let Some((range, from)) = found.filter(|(range, _)| range.end - range.start >= REPEAT_BYTES_MIN) {
                repeats += 1;
                rest = rest.and_then(|rest| copied(rest, &range, from, &mut steps));
            }
        }
        rest.into_iter().for_each(|rest| push(&mut steps, rest));
    }
    Ok(steps)
}

/// Adds a step up to the end of a range, which is copied. Returns what is left of it.
fn copied(step: Planned, range: &Range<u64>, from: u64, steps: &mut Vec<Planned>) -> Option<Planned> {
    let before = step.split(range.start - step.at).map(|(before, _)| before);
    before.into_iter().for_each(|before| push(steps, before));
    let kind = Kind::Copy(From::Target(from));
    push(steps, Planned { kind, at: range.start, bytes: range.end - range.start, cost: STEP_COST });
    step.split(range.end - step.at).map(|(_, left)| left)
}

/// The longest range around `at`, within `free`, that equals the target's bytes around `from`, which end by `end`; and
/// where these begin.
fn longest(
    layers: &Layers<'_>,
    free: &Range<u64>,
    at: u64,
    from: u64,
    end: u64,
) -> io::Result<Option<(Range<u64>, u64)>> {
    let ahead = equal_parts((free.end - at).min(end - from), |done, bytes| {
        let [one, other] = read_both(layers, at + done, from + done, bytes)?;
        Ok(common_prefix(&one, &other))
    })?;
    let back = equal_parts((at - free.start).min(from), |done, bytes| {
        let [one, other] = read_both(layers, at - done - bytes, from - done - bytes, bytes)?;
        Ok(common_suffix(&one, &other))
    })?;
    Ok((ahead > 0).then(|| (at - back..at + ahead, from - back)))
}

fn read_both(layers: &Layers<'_>, at: u64, from: u64, bytes: u64) -> io::Result<[Vec<u8>; 2]> {
    Ok([layers.read_target(at..at + bytes)?, layers.read_target(from..from + bytes)?])
}

/// How many bytes are equal, at most `most`. `equal` says how many of the bytes of a part are.
fn equal_parts(most: u64, mut equal: impl FnMut(u64, u64) -> io::Result<usize>) -> io::Result<u64> {
    let (mut done, mut part) = (0, 256);
    while done < most {
        let bytes = part.min(most - done);
        let found = equal(done, bytes)? as u64;
        done += found;
        if found < bytes {
            break;
        }
        part = (part * 4).min(PART_BYTES_MAX);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use lighter_types::ReadAt;

    use super::super::tests::noise;
    use super::*;

    fn new(at: u64, bytes: u64) -> Planned {
        Planned { kind: Kind::New, at, bytes, cost: bytes }
    }

    /// The copies that are made of frames of new bytes, and how many bytes they copy. Every step stands where the one
    /// before ends, and every copy has the bytes of its place and comes from an earlier frame.
    fn copies(target: &[u8], ends: &[usize]) -> Vec<(u64, u64, u64)> {
        let layers = Layers::new(&target as &dyn ReadAt, Vec::new());
        let starts = [0].into_iter().chain(ends.iter().copied());
        let mut frames: Vec<Vec<Planned>> =
            starts.zip(ends).map(|(start, end)| vec![new(start as u64, (end - start) as u64)]).collect();
        copy_repeats(&layers, &mut frames, 2).unwrap();
        let mut copies = Vec::new();
        let mut at = 0;
        for frame in &frames {
            let start = frame[0].at;
            for step in frame {
                assert_eq!(step.at, at);
                at += step.bytes;
                if let Kind::Copy(From::Target(from)) = step.kind {
                    assert!(from + step.bytes <= start, "{step:?} of the frame at {start}");
                    let [one, other] = [from, step.at].map(|at| &target[at as usize..(at + step.bytes) as usize]);
                    assert_eq!(one, other);
                    copies.push((from, step.at, step.bytes));
                }
            }
        }
        assert_eq!(at, target.len() as u64);
        copies
    }

    #[test]
    fn new_bytes_of_an_earlier_frame_are_copied() {
        let mut target = noise(1, 300_000);
        target.extend_from_within(100_000..150_000);
        target.extend(noise(2, 10_000));
        assert_eq!(copies(&target, &[200_000, 360_000]), [(100_000, 300_000, 50_000)]);
    }

    #[test]
    fn a_repeat_within_a_frame_is_left_to_its_compressor() {
        let mut target = noise(1, 100_000);
        target.extend_from_within(..50_000);
        assert_eq!(copies(&target, &[150_000]), []);
        // The second half of the third frame is in the first frame, and in the first half of the third.
        let part = noise(3, 20_000);
        let target = [&part[..], &noise(4, 20_000), &part, &part].concat();
        assert_eq!(copies(&target, &[20_000, 40_000, 80_000]), [(0, 40_000, 20_000)]);
    }

    #[test]
    fn a_repeat_over_many_frames_is_copied_frame_by_frame() {
        let part = noise(5, 40_000);
        let target = [&part[..], &part].concat();
        let copied = copies(&target, &[10_000, 25_000, 40_000, 52_000, 70_000, 80_000]);
        assert_eq!(copied.iter().map(|(_, _, bytes)| bytes).sum::<u64>(), 40_000);
        assert!(copied.iter().all(|(from, at, _)| from + 40_000 == *at), "{copied:?}");
    }

    #[test]
    fn bytes_of_one_value_are_copied_in_few_steps() {
        let target = vec![0; 4 << 20];
        let ends: Vec<usize> = (1..=4).map(|frame| frame << 20).collect();
        assert!(copies(&target, &ends).len() <= ends.len(), "at most one for each frame");
    }

    #[test]
    fn steps_that_are_not_new_stay() {
        let target = [noise(1, 1000), noise(1, 1000)].concat();
        let layers = Layers::new(&target as &dyn ReadAt, vec![&target as &dyn ReadAt]);
        let kept = Planned { kind: Kind::Match(From::Address(0)), ..new(1000, 1000) };
        let mut frames = vec![vec![new(0, 1000)], vec![kept.clone()]];
        copy_repeats(&layers, &mut frames, 1).unwrap();
        assert_eq!(frames, [vec![new(0, 1000)], vec![kept]]);
    }
}
