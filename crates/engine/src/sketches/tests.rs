//! The caps.

use lighter_similarity::SketchBuilder;

use super::*;

fn id(number: u32) -> DiffId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    DiffId::new(id)
}

fn sketch() -> Sketch {
    let mut builder = SketchBuilder::new();
    builder.push(b"some content that is long enough for a window");
    builder.finish()
}

#[test]
fn beyond_the_cap_the_first_sketch_goes() {
    let mut sketches = Sketches::default();
    let max = Settings::SKETCHES_MAX as u32;
    (0..max + 3).for_each(|number| sketches.keep(id(number), sketch(), PeerId::new([1; 32])));
    assert_eq!(sketches.kept.len(), Settings::SKETCHES_MAX);
    assert!(sketches.get(id(2)).is_none() && sketches.get(id(3)).is_some());
}

#[test]
fn beyond_the_cap_nobody_is_asked_until_something_was_given_up() {
    let mut sketches = Sketches::default();
    for number in 0..Settings::SKETCHES_ASKED_MAX as u32 {
        let retry_at = Some(Moment(100 + u64::from(number)));
        sketches.asked.insert(id(number), Asked { retry_at, ..Asked::default() });
    }
    let other = id(u32::MAX);
    assert!(sketches.is_settled(other, Moment(99)));
    sketches.forget_given_up(Moment(100));
    assert!(!sketches.is_settled(other, Moment(100)) && sketches.is_settled(id(1), Moment(100)));
}

#[test]
fn a_sketch_without_content_counts_as_none() {
    let mut sketches = Sketches::default();
    sketches.keep(id(1), SketchBuilder::new().finish(), PeerId::new([1; 32]));
    assert!(sketches.get(id(1)).is_none() && sketches.is_settled(id(1), Moment(1)));
}
