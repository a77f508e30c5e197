//! Documents and comments name only what is there: paths in backticks, links, and every `*.md`.
//!
//! A document's name may stand as it is from the repository's root, from the folder of the document that names it, or
//! from `docs/`. The change log is not looked at for names in plain words: it tells of what was.

use std::path::Path;

use super::source::{Source, sources};
use super::{check, documents};
use crate::support::repository;

/// Paths in backticks: a crate, a document. A path with a placeholder (`<`, `*`, `{`) is not looked for.
fn paths_in(text: &str) -> Vec<(usize, String)> {
    let rooms = ["crates/", "docs/", "configs/", "tests/", "simulations/", ".ci/"];
    let mut paths = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in line.split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
            let path = word.trim_matches(|c: char| "\"',;:()".contains(c)).trim_end_matches('.');
            let is_plain = !path.contains(['<', '*', '{', '$', '=']);
            if is_plain && rooms.iter().any(|room| path.starts_with(room)) {
                let path = path.split(['#', ':']).next().unwrap_or_default();
                paths.push((index + 1, path.to_owned()));
            }
        }
    }
    paths
}

/// The targets of `[text](path)` within the repository.
fn links_in(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !target.is_empty() && !target.contains("://") {
                links.push((index + 1, target.to_owned()));
            }
        }
    }
    links
}

/// Words that end in `.md`, and paths below docs/ and configs/.
fn names_in(line: &str) -> Vec<String> {
    let words = line.split(|c: char| c.is_whitespace() || "()[]`',;\"".contains(c));
    let words = words.map(|word| word.split('#').next().unwrap_or_default().trim_end_matches(['.', ':']));
    let is_below = |word: &str, folder: &str| word.len() > folder.len() && word.starts_with(folder);
    let is_name =
        |word: &&str| word.len() > 3 && word.ends_with(".md") || is_below(word, "docs/") || is_below(word, "configs/");
    words.filter(is_name).filter(|word| !word.contains(['*', '<', '{'])).map(str::to_owned).collect()
}

/// Whether a document of this name is there, for a text in the folder `beside`.
fn is_there(name: &str, beside: &Path) -> bool {
    let root = repository();
    name.contains("://")
        || [root.clone(), root.join(beside), root.join("docs")].iter().any(|folder| folder.join(name).exists())
}

fn absent_in_document(name: &str, text: &str) -> Vec<String> {
    let folder = Path::new(name).parent().unwrap();
    let mut problems = Vec::new();
    let paths = paths_in(text).into_iter().filter(|(_, path)| !repository().join(path).exists());
    let links = links_in(text).into_iter().filter(|(_, target)| !repository().join(folder).join(target).exists());
    problems.extend(paths.chain(links).map(|(line, path)| format!("{name}:{line}: there is no {path}")));
    if name != "CHANGELOG.md" {
        let names = text
            .lines()
            .enumerate()
            .flat_map(|(index, line)| names_in(line).into_iter().map(move |word| (index, word)));
        let absent = names.filter(|(_, word)| !is_there(word, folder));
        problems.extend(absent.map(|(index, word)| format!("{name}:{}: there is no {word}", index + 1)));
    }
    problems.sort();
    problems.dedup();
    problems
}

fn absent_in_comments(source: &Source) -> Vec<String> {
    let folder = Path::new(&source.name).parent().unwrap();
    let mut problems = Vec::new();
    for comment in &source.comments {
        let absent = names_in(&comment.text).into_iter().filter(|word| !is_there(word, folder));
        problems.extend(absent.map(|word| format!("{}:{}: there is no {word}", source.name, comment.line)));
    }
    problems
}

#[test]
fn documents_name_only_what_is_there() {
    let documents = documents();
    assert!(documents.iter().any(|(_, text)| !paths_in(text).is_empty()), "no path in any document");
    let problems: Vec<String> = documents.iter().flat_map(|(name, text)| absent_in_document(name, text)).collect();
    check("names in documents", &problems);
}

#[test]
fn comments_name_only_documents_that_are_there() {
    let problems: Vec<String> = sources().iter().flat_map(absent_in_comments).collect();
    check("names in comments", &problems);
}

#[test]
fn absent_names_are_found() {
    let text = "See `crates/nothing/src/lib.rs`, [this](NOTHING.md#x), STYLE-OF.md and\n`docs/<name>.md`, `docs/WIRE.md`, WIRE.md.\n";
    let found = absent_in_document("docs/X.md", text);
    assert_eq!(
        found,
        [
            "docs/X.md:1: there is no NOTHING.md",
            "docs/X.md:1: there is no STYLE-OF.md",
            "docs/X.md:1: there is no crates/nothing/src/lib.rs"
        ]
    );
    let source =
        Source::new("crates/x/src/lib.rs", "//! As DESIGN-OF.md says, and docs/WIRE.md.\nlet x = \"OTHER.md\";\n");
    assert_eq!(absent_in_comments(&source), ["crates/x/src/lib.rs:1: there is no DESIGN-OF.md"]);
}
