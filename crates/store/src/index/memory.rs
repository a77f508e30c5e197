//! The index in memory, for tests. It is stricter than RocksDB: it refuses every write that breaks the rules of its
//! column. It can simulate a power cut, which loses all writes that were not synced, and fail a chosen write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Batch, Change, Column, Durability, Index, IndexError, Visit};

type Rows = BTreeMap<(Column, Vec<u8>), Vec<u8>>;

/// An index in memory. A clone is a handle to the same rows, so that a test can close a store and open it again.
#[derive(Clone, Default)]
pub struct MemoryIndex {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    rows: Rows,
    /// The rows that survive a power cut.
    durable: Rows,
    /// The number of writes before one fails; `None` if none fails.
    writes_left: Option<u64>,
}

impl MemoryIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `writes` more writes succeed, and then fails one write.
    pub fn fail_after(&self, writes: u64) {
        self.state().writes_left = Some(writes);
    }

    /// Loses all writes that were not synced, as a power cut may.
    pub fn cut_power(&self) {
        let mut state = self.state();
        state.rows = state.durable.clone();
    }

    /// Loses all rows, like a deleted folder.
    pub fn lose(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for MemoryIndex {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.state().rows.get(&(column, key.to_vec())).cloned())
    }

    fn scan(&self, column: Column, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
        let state = self.state();
        state
            .rows
            .range((column, prefix.to_vec())..)
            .take_while(|((row_column, key), _)| *row_column == column && key.starts_with(prefix))
            .for_each(|((_, key), value)| visit(key, value));
        Ok(())
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), IndexError> {
        let mut state = self.state();
        if state.writes_left == Some(0) {
            state.writes_left = None;
            let source = "a test made this write fail".into();
            return Err(IndexError::Failed { path: PathBuf::from("memory"), source });
        }
        let mut rows = state.rows.clone();
        for change in batch.changes() {
            check(&rows, change, durability)?;
            match change.clone() {
                Change::Put { column, key, value } => drop(rows.insert((column, key), value)),
                Change::Delete { column, key } => drop(rows.remove(&(column, key))),
            }
        }
        state.rows = rows;
        if durability == Durability::Synced {
            state.durable = state.rows.clone();
        }
        state.writes_left = state.writes_left.map(|left| left - 1);
        Ok(())
    }
}

fn check(rows: &Rows, change: &Change, durability: Durability) -> Result<(), IndexError> {
    match broken_rule(rows, change, durability) {
        Some(why) => Err(IndexError::Refused { column: change.column().name(), why }),
        None => Ok(()),
    }
}

/// The rule of its column that a change breaks, if there is one.
fn broken_rule(rows: &Rows, change: &Change, durability: Durability) -> Option<&'static str> {
    let column = change.column();
    if column.demands_sync() && durability == Durability::Lazy {
        return Some("the write must be synced");
    }
    let (Change::Put { key, .. } | Change::Delete { key, .. }) = change;
    if key.is_empty() || key.len() > column.key_bytes_max() {
        return Some("the key is empty or too long");
    }
    let Change::Put { key, value, .. } = change else { return None };
    if value.len() > column.value_bytes_max() {
        return Some("the value is too long");
    }
    if column.is_immutable() && rows.get(&(column, key.clone())).is_some_and(|held| held != value) {
        return Some("the write would replace an immutable row by another value");
    }
    None
}
