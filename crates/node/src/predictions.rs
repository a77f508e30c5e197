//! The basis of predictions on disk. Sketches lie beside their layers. Calibrations and paces are node state: a row of
//! 12 bytes for each rule and each setting of an encoder, one for each layer that came by a patch, and two rows of 4.
//!
//! A row that cannot be read counts as absent: plans are then made without it.

use lighter_engine::{Rule, Scope, Settings, Work};
use lighter_similarity::{Calibration, Sketch};
use lighter_store::{Store, StoreError};
use lighter_types::{DiffId, Pace};

const ENCODERS: &str = "calibration/";
const LINEAGES: &[u8] = b"lineage/";
const PACES: [(Work, &[u8]); 2] = [(Work::Encode, b"pace"), (Work::Apply, b"pace/apply")];
const RULES: [(Rule, &str); 3] = [(Rule::Tlsh, "tlsh"), (Rule::Sketch, "sketch"), (Rule::Quote, "quote")];

/// The sketch that is kept of a held layer.
pub fn sketch(store: &Store, layer: &DiffId) -> Option<Sketch> {
    let bytes = store.sketch(layer).ok()??;
    Sketch::from_bytes(&bytes).ok()
}

/// Everything that was kept by [`keep`].
pub fn kept(store: &Store) -> Vec<(Scope, Calibration)> {
    let read = |prefix: &[u8], scope: fn(&[u8]) -> Option<Scope>, most| {
        let states = store.states(prefix).unwrap_or_default();
        let read = move |(key, value): (Vec<u8>, Vec<u8>)| Some((scope(&key)?, calibration(&value)?));
        states.into_iter().filter_map(read).take(most)
    };
    let encoders = read(ENCODERS.as_bytes(), encoder, Settings::CALIBRATIONS_MAX);
    encoders.chain(read(LINEAGES, lineage, Settings::LINEAGES_MAX)).collect()
}

/// Keeps what was learned. A peer chooses the settings that its patches name, so rows are capped as they are in memory.
/// Rows of layers that are gone go.
///
/// # Errors
/// Those of the store's index.
pub fn keep(store: &Store, scope: Scope, calibration: &Calibration) -> Result<(), StoreError> {
    let (prefix, key, most) = match scope {
        Scope::Encoder(rule, settings) => (ENCODERS.as_bytes(), key(rule, settings), Settings::CALIBRATIONS_MAX),
        Scope::Lineage(layer) => (LINEAGES, [LINEAGES, layer.as_bytes()].concat(), Settings::LINEAGES_MAX),
    };
    let is_held = |key: &[u8]| match lineage(key) {
        Some(Scope::Lineage(layer)) => store.card(&layer).is_some(),
        Some(Scope::Encoder(..)) | None => true,
    };
    let others = store.states(prefix)?.into_iter().map(|(other, _)| other).filter(|other| *other != key);
    let (held, gone): (Vec<_>, Vec<_>) = others.partition(|other| is_held(other));
    for other in held.iter().skip(most - 1).chain(&gone) {
        store.delete_state(other)?;
    }
    store.put_state(&key, &calibration.to_parts().map(u32::to_le_bytes).concat())
}

/// The paces that the node measured.
pub fn kept_paces(store: &Store) -> Vec<(Work, Pace)> {
    PACES.into_iter().filter_map(|(work, key)| Some((work, kept_pace(store, key)?))).collect()
}

fn kept_pace(store: &Store, key: &[u8]) -> Option<Pace> {
    let value = store.state(key).ok()??;
    Pace::from_part(u32::from_le_bytes(value.try_into().ok()?))
}

/// Keeps a pace over what was kept before.
///
/// # Errors
/// Those of the store's index.
pub fn keep_pace(store: &Store, work: Work, pace: Pace) -> Result<(), StoreError> {
    let (_, key) = PACES[work as usize];
    store.put_state(key, &pace.to_part().to_le_bytes())
}

fn key(rule: Rule, settings: u32) -> Vec<u8> {
    let name = RULES.iter().find(|(of, _)| *of == rule).map_or("", |(_, name)| name);
    format!("{ENCODERS}{name}/{settings}").into_bytes()
}

/// The scope of a row below [`ENCODERS`].
fn encoder(key: &[u8]) -> Option<Scope> {
    let (name, settings) = std::str::from_utf8(key).ok()?.strip_prefix(ENCODERS)?.split_once('/')?;
    let &(rule, _) = RULES.iter().find(|(_, of)| *of == name)?;
    Some(Scope::Encoder(rule, settings.parse().ok()?))
}

/// The scope of a row below [`LINEAGES`].
fn lineage(key: &[u8]) -> Option<Scope> {
    Some(Scope::Lineage(DiffId::new(key.strip_prefix(LINEAGES)?.try_into().ok()?)))
}

fn calibration(value: &[u8]) -> Option<Calibration> {
    let (parts, rest) = value.as_chunks::<4>();
    let parts: [[u8; 4]; 3] = parts.try_into().ok().filter(|_| rest.is_empty())?;
    Calibration::from_parts(parts.map(u32::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use lighter_store::{Options, UnixSeconds};
    use lighter_types::{Bytes, Card};
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn kept_values_come_back_up_to_the_cap() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_memory(folder.path(), Options::default()).unwrap();
        let of = Scope::Encoder;
        let mut calibration = Calibration::default();
        calibration.learn(Bytes(1000), Bytes(1500));
        keep(&store, of(Rule::Sketch, 7), &calibration).unwrap();
        assert_eq!(kept(&store), [(of(Rule::Sketch, 7), calibration)]);
        store.put_state(b"calibration/sketch/8", &[0; 12]).unwrap();
        store.put_state(b"calibration/other/8", &[1; 12]).unwrap();
        assert_eq!(kept(&store), [(of(Rule::Sketch, 7), calibration)], "the others cannot be");
        assert_eq!(kept_paces(&store), []);
        let paces = [(Work::Encode, Pace::from_part(2000).unwrap()), (Work::Apply, Pace::from_part(3000).unwrap())];
        for (work, pace) in paces {
            keep_pace(&store, work, pace).unwrap();
        }
        assert_eq!(kept_paces(&store), paces);
        store.put_state(b"pace", b"no").unwrap();
        assert_eq!(kept_paces(&store), paces[1..]);
        for settings in 0..99 {
            keep(&store, of(Rule::Quote, settings), &calibration).unwrap();
        }
        assert!(kept(&store).contains(&(of(Rule::Quote, 98), calibration)));
        assert!(store.states(ENCODERS.as_bytes()).unwrap().len() <= Settings::CALIBRATIONS_MAX);
    }

    #[test]
    fn the_row_of_a_lineage_goes_with_its_layer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_memory(folder.path(), Options::default()).unwrap();
        let calibration = Calibration::default();
        let held = held(&store, b"a layer");
        for layer in [DiffId::new([1; 32]), held] {
            keep(&store, Scope::Lineage(layer), &calibration).unwrap();
        }
        assert_eq!(kept(&store), [(Scope::Lineage(held), calibration)]);
        keep(&store, Scope::Encoder(Rule::Sketch, 1), &calibration).unwrap();
        assert_eq!(kept(&store).len(), 2, "each kind has rows of its own");
    }

    /// A layer in the store.
    fn held(store: &Store, bytes: &[u8]) -> DiffId {
        let diff_id = DiffId::new(Sha256::digest(bytes).into());
        let mut writer = store.create_layer(diff_id, Bytes(bytes.len() as u64)).unwrap();
        writer.append(bytes).unwrap();
        let tar_bytes = Bytes(bytes.len() as u64);
        writer.finish(Card { diff_id, tar_bytes, compressed_bytes: tar_bytes, tlsh: None }, UnixSeconds(1)).unwrap();
        diff_id
    }
}
