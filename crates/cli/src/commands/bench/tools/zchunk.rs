//! zchunk: one file of chunks that are compressed alone, with their digests in its header. The wire carries the header
//! and the chunks that the base's file lacks, as `zck_delta_size` counts them. `unzck` decodes the whole file: zchunk's
//! client that keeps the chunks of an old file needs a web server.

use std::io;
use std::path::PathBuf;

use super::{Files, Step, Way};

pub(super) struct Zchunk;

fn base(files: &Files<'_>) -> PathBuf {
    files.scratch.join("base.zck")
}

fn count(files: &Files<'_>) -> PathBuf {
    files.scratch.join("count")
}

impl Way for Zchunk {
    fn name(&self) -> &'static str {
        "zchunk"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["zck", "zck_delta_size", "unzck"]
    }

    fn prepare(&self, files: &Files<'_>) -> Vec<Step> {
        vec![Step::stock("zck", &[&"-o", &base(files), &files.joined_base])]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        vec![
            Step::stock("zck", &[&"-o", &files.patch, &files.pair.target]),
            Step::stock("zck_delta_size", &[&base(files), &files.patch]).into_file(&count(files)),
        ]
    }

    fn wire_bytes(&self, files: &Files<'_>) -> io::Result<u64> {
        let said = std::fs::read_to_string(count(files))?;
        parse(&said).ok_or_else(|| io::Error::other(format!("zck_delta_size said {:?}", said.trim())))
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        vec![Step::stock("unzck", &[&"-c", &files.patch]).into_file(&files.rebuilt)]
    }
}

fn parse(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("Would download "))?;
    line.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_bytes_is_read() {
        assert_eq!(parse("Would download 3719001 of 6933758 bytes\nMatched 179 of 375 chunks\n"), Some(3_719_001));
        assert_eq!(parse("Matched 179 of 375 chunks\n"), None);
        assert_eq!(parse("Would download some bytes\n"), None);
    }
}
