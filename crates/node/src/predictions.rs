//! The basis of predictions on disk. Sketches lie beside their layers. Calibrations and paces are node state: a row of
//! 12 bytes for each rule and each setting of an encoder, and two rows of 4.
//!
//! A row that cannot be read counts as absent: plans are then made without it.

use lighter_engine::{Rule, Settings, Work};
use lighter_similarity::{Calibration, Sketch};
use lighter_store::{Store, StoreError};
use lighter_types::{DiffId, Pace};

const STATE_PREFIX: &str = "calibration/";
const PACES: [(Work, &[u8]); 2] = [(Work::Encode, b"pace"), (Work::Apply, b"pace/apply")];
const RULES: [(Rule, &str); 3] = [(Rule::Tlsh, "tlsh"), (Rule::Sketch, "sketch"), (Rule::Quote, "quote")];

/// The sketch that is kept of a held layer.
pub fn sketch(store: &Store, layer: &DiffId) -> Option<Sketch> {
    let bytes = store.sketch(layer).ok()??;
    Sketch::from_bytes(&bytes).ok()
}

/// Everything that was kept by [`keep`].
pub fn kept(store: &Store) -> Vec<(Rule, u32, Calibration)> {
    let states = store.states(STATE_PREFIX.as_bytes()).unwrap_or_default();
    states.iter().filter_map(|(key, value)| read(key, value)).take(Settings::CALIBRATIONS_MAX).collect()
}

/// Keeps what was learned. A peer chooses the settings that its patches name, so rows are capped as they are in memory.
///
/// # Errors
/// Those of the store's index.
pub fn keep(store: &Store, rule: Rule, settings: u32, calibration: &Calibration) -> Result<(), StoreError> {
    let key = key(rule, settings);
    let others = store.states(STATE_PREFIX.as_bytes())?.into_iter().map(|(other, _)| other);
    let others: Vec<Vec<u8>> = others.filter(|other| *other != key.as_bytes()).collect();
    for other in others.iter().skip(Settings::CALIBRATIONS_MAX - 1) {
        store.delete_state(other)?;
    }
    store.put_state(key.as_bytes(), &calibration.to_parts().map(u32::to_le_bytes).concat())
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

fn key(rule: Rule, settings: u32) -> String {
    let name = RULES.iter().find(|(of, _)| *of == rule).map_or("", |(_, name)| name);
    format!("{STATE_PREFIX}{name}/{settings}")
}

fn read(key: &[u8], value: &[u8]) -> Option<(Rule, u32, Calibration)> {
    let (name, settings) = std::str::from_utf8(key).ok()?.strip_prefix(STATE_PREFIX)?.split_once('/')?;
    let &(rule, _) = RULES.iter().find(|(_, of)| *of == name)?;
    let (parts, rest) = value.as_chunks::<4>();
    let parts: [[u8; 4]; 3] = parts.try_into().ok().filter(|_| rest.is_empty())?;
    Some((rule, settings.parse().ok()?, Calibration::from_parts(parts.map(u32::from_le_bytes))?))
}

#[cfg(test)]
mod tests {
    use lighter_store::Options;
    use lighter_types::Bytes;

    use super::*;

    #[test]
    fn kept_values_come_back_up_to_the_cap() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_memory(folder.path(), Options::default()).unwrap();
        let mut calibration = Calibration::default();
        calibration.learn(Bytes(1000), Bytes(1500));
        keep(&store, Rule::Sketch, 7, &calibration).unwrap();
        assert_eq!(kept(&store), [(Rule::Sketch, 7, calibration)]);
        store.put_state(b"calibration/sketch/8", &[0; 12]).unwrap();
        store.put_state(b"calibration/other/8", &[1; 12]).unwrap();
        assert_eq!(kept(&store), [(Rule::Sketch, 7, calibration)], "the others cannot be");
        assert_eq!(kept_paces(&store), []);
        let paces = [(Work::Encode, Pace::from_part(2000).unwrap()), (Work::Apply, Pace::from_part(3000).unwrap())];
        for (work, pace) in paces {
            keep_pace(&store, work, pace).unwrap();
        }
        assert_eq!(kept_paces(&store), paces);
        store.put_state(b"pace", b"no").unwrap();
        assert_eq!(kept_paces(&store), paces[1..]);
        for settings in 0..99 {
            keep(&store, Rule::Quote, settings, &calibration).unwrap();
        }
        assert!(kept(&store).contains(&(Rule::Quote, 98, calibration)));
        assert!(store.states(STATE_PREFIX.as_bytes()).unwrap().len() <= Settings::CALIBRATIONS_MAX);
    }
}
