//! Sets of bases: the patch from the set that a node chooses by sketches, over that from the best set that is found by
//! making patches.
//!
//! The search begins with the base of the smallest patch, and adds the base that makes it smallest, as long as it
//! becomes smaller. It tries the bases with the smallest patches of their own.

use lighter_similarity::choose_bases;
use serde::Serialize;

use super::super::statistics::{largest, mean, regret};
use super::layer::Layer;
use super::patches::Patches;
use crate::exit::Failure;
use crate::output::{right, table};

/// Most bases of a set: a node asks for patches from as many.
const BASES_MAX: usize = lighter_engine::Settings::PATCH_BASES_MAX;
/// The search tries so many bases of each target.
const TRIED_BASES: usize = 6;

/// A target, with both sets.
#[derive(Debug, Serialize)]
pub struct SetRow {
    target: String,
    chosen: Vec<String>,
    chosen_bytes: u64,
    best: Vec<String>,
    best_bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct SetScores {
    rows: Vec<SetRow>,
    /// Bytes from the chosen set over those from the better one of both, over targets.
    regret_mean: Option<f64>,
    regret_worst: Option<f64>,
}

/// Tries sets for each target, with every other layer as a base. `alone` has the bytes from each base alone.
pub fn scores(layers: &[Layer], alone: &[Vec<u64>], patches: &mut Patches<'_>) -> Result<SetScores, Failure> {
    let mut rows = Vec::new();
    for (index, (target, alone)) in layers.iter().zip(alone).enumerate() {
        let others: Vec<usize> = (0..layers.len()).filter(|&other| other != index).collect();
        let pool: Vec<_> = others.iter().map(|&other| (&layers[other].card, Some(&layers[other].sketch))).collect();
        let chosen = choose_bases(&target.card, Some(&target.sketch), &pool, BASES_MAX).indices;
        let chosen: Vec<usize> = chosen.into_iter().map(|place| others[place]).collect();
        let place = format!("set {} of {}", index + 1, layers.len());
        let mut bytes = |set: &[usize]| match *set {
            [base] => Ok(alone[base]),
            _ => patches.bytes(target, &set.iter().map(|&base| &layers[base]).collect::<Vec<_>>(), &place),
        };
        let chosen_bytes = bytes(&chosen)?;
        let mut tried = others;
        tried.sort_by_key(|&base| alone[base]);
        tried.truncate(TRIED_BASES);
        let (best, best_bytes) = grown(&tried, &mut bytes)?;
        let names = |set: &[usize]| set.iter().map(|&base| layers[base].name.clone()).collect();
        let (chosen, best) = (names(&chosen), names(&best));
        rows.push(SetRow { target: target.name.clone(), chosen, chosen_bytes, best, best_bytes });
    }
    let regrets: Vec<f64> = rows.iter().filter_map(|row| regret(&[row.chosen_bytes, row.best_bytes], 0)).collect();
    Ok(SetScores { rows, regret_mean: mean(regrets.iter().copied()), regret_worst: largest(regrets.iter().copied()) })
}

/// The best set that the search finds, and its bytes. `tried` has the bases in the order of their bytes alone.
fn grown<E>(tried: &[usize], bytes: &mut impl FnMut(&[usize]) -> Result<u64, E>) -> Result<(Vec<usize>, u64), E> {
    let mut best: Vec<usize> = tried.iter().take(1).copied().collect();
    let mut best_bytes = bytes(&best)?;
    while best.len() < BASES_MAX {
        let mut next: Option<(u64, Vec<usize>)> = None;
        for &base in tried.iter().filter(|base| !best.contains(base)) {
            let set = [best.as_slice(), &[base]].concat();
            let found = bytes(&set)?;
            if next.as_ref().is_none_or(|(least, _)| found < *least) {
                next = Some((found, set));
            }
        }
        match next {
            Some((found, set)) if found < best_bytes => (best, best_bytes) = (set, found),
            _ => break,
        }
    }
    Ok((best, best_bytes))
}

impl SetScores {
    pub fn text(&self) -> String {
        let mut rows = table(&["target", "chosen by sketch", "patch bytes", "best found", "patch bytes"]);
        for row in &self.rows {
            rows.add_row([
                row.target.as_str().into(),
                row.chosen.join(", ").into(),
                right(row.chosen_bytes),
                row.best.join(", ").into(),
                right(row.best_bytes),
            ]);
        }
        let [mean, worst] = [self.regret_mean, self.regret_worst].map(super::number);
        format!("sets of bases:\n{rows}\nregret: mean {mean}, worst {worst}")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_set_grows_as_long_as_the_patch_becomes_smaller() {
        // Base 1 is best alone. Base 2 saves nothing, bases 0 and 3 do, and after them nothing does.
        let mut tried = Vec::new();
        let mut bytes = |set: &[usize]| {
            tried.push(set.to_vec());
            let saved: u64 = set.iter().map(|base| [30, 0, 0, 10][*base]).sum();
            Ok::<_, Infallible>(100 - saved)
        };
        let Ok(found) = grown(&[1, 0, 2, 3], &mut bytes);
        assert_eq!(found, (vec![1, 0, 3], 60));
        assert_eq!(tried.last(), Some(&vec![1, 0, 3, 2]));
        assert_eq!(tried.len(), 1 + 3 + 2 + 1);
    }
}
