//! The index in memory, for tests. Stricter than RocksDB: it refuses every write that breaks the rules of its column,
//! forgets on a power cut what was not synced, and fails a chosen write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Batch, Change, Column, Durability, Index, IndexError, Visit};

type Rows = BTreeMap<(Column, Vec<u8>), Vec<u8>>;

/// An index in memory. A clone is a handle on the same rows, so that a store can be closed and opened again on them.
#[derive(Clone, Default)]
pub struct MemoryIndex {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    rows: Rows,
    /// The rows as a power cut would leave them.
    durable: Rows,
    /// Writes until one fails; `None` for never.
    writes_left: Option<u64>,
}

impl MemoryIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `writes` more writes succeed and fails the one after them, once.
    pub fn fail_after(&self, writes: u64) {
        self.state().writes_left = Some(writes);
    }

    /// Forgets all that was not synced, as a power cut may.
    pub fn cut_power(&self) {
        let mut state = self.state();
        state.rows = state.durable.clone();
    }

    /// Forgets everything, as a lost folder does.
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
            .take_while(|((of, key), _)| *of == column && key.starts_with(prefix))
            .for_each(|((_, key), value)| visit(key, value));
        Ok(())
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), IndexError> {
        let mut state = self.state();
        if state.writes_left == Some(0) {
            state.writes_left = None;
            let source = "this write was told to fail".into();
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
    let column = change.column();
    let refused = |why| Err(IndexError::Refused { column: column.name(), why });
    if column.demands_sync() && durability == Durability::Lazy {
        return refused("it must be synced");
    }
    let (Change::Put { key, .. } | Change::Delete { key, .. }) = change;
    if key.is_empty() || key.len() > column.key_bytes_max() {
        return refused("the key is empty or too long");
    }
    let Change::Put { key, value, .. } = change else { return Ok(()) };
    if value.len() > column.value_bytes_max() {
        return refused("the value is too long");
    }
    if column.is_immutable() && rows.get(&(column, key.clone())).is_some_and(|held| held != value) {
        return refused("it would overwrite an immutable row with another value");
    }
    Ok(())
}
