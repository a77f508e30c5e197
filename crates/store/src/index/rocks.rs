//! The index on disk: RocksDB with one column family per column, configured for few small rows and little memory.
//!
//! Sources: RocksDB's options.h and its wiki page "Memory usage in RocksDB". docs/decisions/0004-rocksdb.md has the
//! measurements.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction,
    ErrorKind, IteratorMode, Options, WriteBatch, WriteOptions,
};

use super::{Batch, Change, Column, Durability, Index, IndexError, Visit};

/// The size of a memtable. The rows of 10,000 layers take about 1 MiB.
const WRITE_BUFFER_BYTES: usize = 1 << 20;
/// The size of all memtables together.
const WRITE_BUFFERS_BYTES: usize = 4 << 20;
const BLOCK_CACHE_BYTES: usize = 2 << 20;
/// The most log that a restart may have to read again.
const WAL_BYTES_MAX: u64 = 8 << 20;
const FILES_OPEN_MAX: i32 = 64;
/// A write waits this many times for the flush of tables before it fails: two seconds in total. A working disk needs a
/// few milliseconds.
const STALL_WAITS: u32 = 100;
/// The length of each wait.
const STALL_WAIT: Duration = Duration::from_millis(20);

/// The texts of RocksDB's errors when another process, or this one, has the index open.
const LOCKED: [&str; 2] = ["Resource temporarily unavailable", "lock hold by current process"];

/// An index in a folder of its own. Only one process can have it open.
///
/// When the disk is full, writes fail and reads still work. RocksDB checks the free space every five seconds and
/// accepts writes again when there is room.
pub struct RocksIndex {
    db: DB,
    path: PathBuf,
}

impl RocksIndex {
    /// Opens the index in `path`, or creates an empty one there.
    ///
    /// # Errors
    /// `Busy` when another process has the index open, `Damaged` when RocksDB cannot decode the files, `Full` or
    /// `Failed` when the disk or the permissions refuse.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        Ok(Self { db: open_database(path)?, path: path.to_owned() })
    }

    fn family(&self, column: Column) -> Result<&ColumnFamily, IndexError> {
        let column = column.name();
        self.db.cf_handle(column).ok_or(IndexError::Refused { column, why: "the column has no column family" })
    }

    fn failure(&self, source: rocksdb::Error) -> IndexError {
        failure(&self.path, source)
    }
}

impl Index for RocksIndex {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.db.get_cf(self.family(column)?, key).map_err(|source| self.failure(source))
    }

    fn scan(&self, column: Column, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
        for row in self.db.iterator_cf(self.family(column)?, IteratorMode::From(prefix, Direction::Forward)) {
            let (key, value) = row.map_err(|source| self.failure(source))?;
            if !key.starts_with(prefix) {
                break;
            }
            visit(&key, &value);
        }
        Ok(())
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), IndexError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        // Otherwise a write waits forever while RocksDB cannot flush tables to a full disk.
        options.set_no_slowdown(true);
        let mut waits_left = STALL_WAITS;
        loop {
            let mut writes = WriteBatch::default();
            for change in batch.changes() {
                let family = self.family(change.column())?;
                match change {
                    Change::Put { key, value, .. } => writes.put_cf(family, key, value),
                    Change::Delete { key, .. } => writes.delete_cf(family, key),
                }
            }
            match self.db.write_opt(writes, &options) {
                Err(stall) if stall.kind() == ErrorKind::Incomplete && waits_left > 0 => waits_left -= 1,
                written => return written.map_err(|source| self.failure(source)),
            }
            std::thread::sleep(STALL_WAIT);
        }
    }
}

fn open_database(path: &Path) -> Result<DB, IndexError> {
    let options = database_options();
    // A newer version may have more columns. RocksDB opens a database only if all its columns are named. The schema
    // check then refuses the folder with a clear message.
    let existing = if path.join("CURRENT").exists() {
        DB::list_cf(&options, path).map_err(|source| failure(path, source))?
    } else {
        Vec::new()
    };
    let names = Column::ALL.map(Column::name).into_iter().map(str::to_owned);
    let names: BTreeSet<String> = names.chain(existing).collect();
    let block_cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let columns = names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, column_options(&block_cache)));
    DB::open_cf_descriptors(&options, path, columns).map_err(|source| failure(path, source))
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(FILES_OPEN_MAX);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    // A torn record at the end of the log was never acknowledged. RocksDB reports damage before it.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

fn column_options(block_cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(block_cache);
    table.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(4);
    options
}

/// Classifies an error of RocksDB. Only the error's text distinguishes a held lock and a full disk from other I/O
/// errors.
fn failure(path: &Path, source: rocksdb::Error) -> IndexError {
    let path = path.to_owned();
    let text = source.to_string();
    let kind = source.kind();
    let source = source.into();
    match kind {
        ErrorKind::Corruption | ErrorKind::InvalidArgument => IndexError::Damaged { path, source },
        ErrorKind::IOError if LOCKED.iter().any(|words| text.contains(words)) => IndexError::Busy { path, source },
        // RocksDB could not flush a table. On a working disk this happens only when the disk is full.
        ErrorKind::Incomplete => IndexError::Full { path, source },
        _ if text.contains("No space left") => IndexError::Full { path, source },
        // RocksDB reports a missing SST file as an I/O error.
        ErrorKind::IOError if text.contains("No such file") => IndexError::Damaged { path, source },
        _ => IndexError::Failed { path, source },
    }
}
