//! The points of a trace: a call, a file below the data folder, and the number of the call on that file in its thread.
//!
//! Files without a name (`O_TMPFILE`) are left out.
//!
//! strace numbers the calls of each thread, and of the calls on a file if it is told the file. Nearly all files are
//! written by one thread, so these numbers name each call. Where threads share a file (the log of the index), the fault
//! happens in the one that comes first to the number.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The calls by which a node reads and changes files.
pub const CALLS: [&str; 18] = [
    "openat",
    "read",
    "pread64",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "fallocate",
    "ftruncate",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "rename",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
    "getdents64",
];

/// A call before which, or in place of which, the fault happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    call: &'static str,
    /// Below the data folder.
    pub path: PathBuf,
    number: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.call, self.number, self.path.display())
    }
}

impl Point {
    fn is_read(&self) -> bool {
        ["read", "pread64", "getdents64"].contains(&self.call)
    }

    /// A sync whose failure the command must tell: that of a layer, a document or a reference, or of their folders. The
    /// index is also synced for work that nobody waits for; after a sync of it that failed, it takes no writes until a
    /// restart. Patches are a cache: without one, the layer is there all the same. The releases that were seen also
    /// stand in the references of their images: their files are written later, and before such a reference goes.
    pub fn is_sync(&self) -> bool {
        let is_of_others = ["index", "patches", "releases"].iter().any(|folder| self.path.starts_with(folder));
        let is_patch = self.path.extension().is_some_and(|end| end == "patch");
        ["fsync", "fdatasync", "sync_file_range"].contains(&self.call) && !is_of_others && !is_patch
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL before the call.
    Kill,
    /// The call fails with EIO.
    Io,
    /// The call fails with ENOSPC.
    Full,
}

impl Fault {
    pub const ALL: [Self; 3] = [Self::Kill, Self::Io, Self::Full];

    /// Whether the fault can happen at this call. A kill before a read is a kill before the next change of the disk;
    /// and no read needs room.
    pub fn concerns(self, point: &Point) -> bool {
        match self {
            Self::Io => true,
            Self::Kill | Self::Full => !point.is_read(),
        }
    }

    /// Whether the node may take what it holds for damaged after the fault: a layer that cannot be read.
    pub fn loses(self, point: &Point) -> bool {
        self == Self::Io && point.is_read()
    }

    /// In strace's words.
    pub fn injection(self, point: &Point) -> String {
        let what = match self {
            Self::Kill => "signal=SIGKILL",
            Self::Io => "error=EIO",
            Self::Full => "error=ENOSPC",
        };
        format!("{}:{what}:when={}", point.call, point.number)
    }
}

/// The number of calls in a trace on files below a folder, and the points that they make.
pub fn of(trace: &str, folder: &Path) -> (usize, Vec<Point>) {
    let folder = format!("{}/", folder.display());
    let mut counts: BTreeMap<(&'static str, PathBuf, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        // The end of a call that another thread interrupted stands on a line of its own, without its arguments.
        let Some((name, arguments)) = rest.trim_start().split_once('(') else { continue };
        let Some(call) = CALLS.into_iter().find(|call| *call == name) else { continue };
        let Some((_, path)) = arguments.split_once(&folder) else { continue };
        let end = path.find(['"', '>', '\\']).unwrap_or(path.len());
        // A file that never gets a name: strace cannot choose it, and nothing of it outlives the process.
        if path.starts_with('#') {
            continue;
        }
        *counts.entry((call, PathBuf::from(&path[..end]), thread)).or_default() += 1;
    }
    let calls = counts.values().sum();
    let mut most: BTreeMap<(&'static str, PathBuf), usize> = BTreeMap::new();
    for ((call, path, _), count) in counts {
        let most = most.entry((call, path)).or_default();
        *most = count.max(*most);
    }
    let points = most
        .into_iter()
        .flat_map(|((call, path), count)| (1..=count).map(move |number| Point { call, path: path.clone(), number }));
    (calls, points.collect())
}

#[test]
fn the_points_are_the_calls_on_each_file_by_thread() {
    let trace = "7 openat(AT_FDCWD, \"/d/a\", O_RDWR) = 3</d/a>\n\
                 7 write(3</d/a>, \"x\", 1) = 1\n\
                 8 write(3</d/a>, \"x\", 1 <unfinished ...>\n\
                 7 write(3</d/a>, \"x\", 1) = 1\n\
                 8 <... write resumed>) = 1\n\
                 7 rename(\"/d/a\", \"/d/b\") = 0\n\
                 7 write(4</elsewhere>, \"x\", 1) = 1\n\
                 7 openat(AT_FDCWD, \"/d\", O_RDWR|O_TMPFILE) = 3</d/#12>(deleted)\n\
                 7 close(3</d/b>) = 0\n";
    let (calls, points) = of(trace, Path::new("/d"));
    let texts: Vec<String> = points.iter().map(Point::to_string).collect();
    assert_eq!(calls, 5);
    assert_eq!(texts, ["openat 1 of a", "rename 1 of a", "write 1 of a", "write 2 of a"]);
    assert_eq!(Fault::Io.injection(&points[3]), "write:error=EIO:when=2");
}
