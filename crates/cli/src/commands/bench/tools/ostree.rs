//! OSTree: a static delta from the commit of the base's tree to the commit of the target's. It brings a tree, not a
//! tar: the trees of both ends are compared as `ostree export` writes them. It takes no device nodes.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::{Files, Step, Way};

pub(super) struct Ostree;

/// Both ends have the same commits, so that a run differs from no other.
const TIME: &str = "2000-01-01 00:00:00 +0000";

fn provider(files: &Files<'_>) -> PathBuf {
    files.scratch.join("provider")
}

fn node(files: &Files<'_>) -> PathBuf {
    files.scratch.join("node")
}

/// The file with the name of the target's commit.
fn commit_name(files: &Files<'_>) -> PathBuf {
    files.scratch.join("commit")
}

fn ostree(repository: &PathBuf, arguments: &[&dyn AsRef<OsStr>]) -> Step {
    let mut step = Step::stock("ostree", arguments);
    step.command.arg("--repo").arg(repository);
    step
}

fn commit(files: &Files<'_>, branch: &str, tar: &PathBuf) -> Step {
    let mut tree = OsStr::new("--tree=tar=").to_owned();
    tree.push(tar);
    let arguments: [&dyn AsRef<OsStr>; 7] =
        [&"commit", &"--branch", &branch, &"--tar-autocreate-parents", &"--timestamp", &TIME, &tree];
    ostree(&provider(files), &arguments)
}

impl Way for Ostree {
    fn name(&self) -> &'static str {
        "OSTree delta"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["ostree"]
    }

    fn prepare(&self, files: &Files<'_>) -> Vec<Step> {
        vec![
            ostree(&provider(files), &[&"init", &"--mode=archive"]),
            ostree(&node(files), &[&"init", &"--mode=bare-user"]),
            commit(files, "base", &files.joined_base),
            ostree(&node(files), &[&"pull-local", &provider(files), &"base"]),
        ]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        let mut filename = OsStr::new("--filename=").to_owned();
        filename.push(&files.patch);
        let options: [&dyn AsRef<OsStr>; 7] = [
            &"static-delta",
            &"generate",
            &"--from=base",
            &"--to=target",
            &"--inline",
            &"--min-fallback-size=0",
            &filename,
        ];
        vec![
            commit(files, "target", &files.pair.target).into_file(&commit_name(files)),
            ostree(&provider(files), &options),
        ]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        vec![ostree(&node(files), &[&"static-delta", &"apply-offline", &files.patch])]
    }

    fn check(&self, files: &Files<'_>) -> Option<(Vec<Step>, PathBuf)> {
        let expected = files.scratch.join("expected");
        // A commit that cannot be read has no export, which fails the check.
        let commit = std::fs::read_to_string(commit_name(files)).unwrap_or_default();
        let steps = vec![
            ostree(&provider(files), &[&"export", &"target"]).into_file(&expected),
            ostree(&node(files), &[&"export", &commit.trim()]).into_file(&files.rebuilt),
        ];
        Some((steps, expected))
    }
}
