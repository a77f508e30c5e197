//! The tree of modules: which file is which module, and what each module's names stand for.
//!
//! A root is a file that Cargo builds by itself: `src/lib.rs`, `src/main.rs`, a file of a crate's `tests/` or
//! `examples/`, the `main.rs` of a folder there, and the roots that `tests/Cargo.toml` and `tests/fuzz/Cargo.toml`
//! name. From a root, `mod name;` leads to `name.rs` or `name/mod.rs`, below the folder of the file that says so. A
//! file that no root leads to is never built.
//!
//! A path is followed through modules and through `use` declarations, so that an item counts as the module's that has
//! it, not as the module's that exports it once more.

use std::collections::{BTreeMap, BTreeSet};

use super::check;
use super::source::{Source, sources};

/// A module's place: the root's file, and the names from there.
pub type Path = Vec<String>;

/// One module that is a file.
pub struct Module<'a> {
    pub path: Path,
    pub source: &'a Source,
    /// The names that `use` declarations give here: the name, and the path that it stands for.
    pub names: BTreeMap<String, Path>,
    /// Every path that the code goes through, with its line.
    pub paths: Vec<(usize, Path)>,
}

/// The modules of all roots.
pub struct Tree<'a> {
    pub modules: BTreeMap<Path, Module<'a>>,
    /// Files that a root leads to.
    pub reached: BTreeSet<&'a str>,
}

/// Whether Cargo builds this file by itself.
fn is_root(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    matches!(
        parts.as_slice(),
        ["crates", _, "src", "lib.rs" | "main.rs"]
            | ["crates", _, "tests" | "examples", _]
            | ["crates", _, "tests" | "examples", _, "main.rs"]
            | ["tests", "main.rs"]
            | ["tests", "shared", "lib.rs"]
            | ["tests", "bench", "main.rs"]
            | ["tests", "fuzz", "targets", _]
    )
}

impl<'a> Tree<'a> {
    pub fn new(sources: &'a [Source]) -> Self {
        let by_name: BTreeMap<&str, &Source> = sources.iter().map(|source| (source.name.as_str(), source)).collect();
        let mut tree = Self { modules: BTreeMap::new(), reached: BTreeSet::new() };
        for root in sources.iter().filter(|source| is_root(&source.name)) {
            tree.add(root, vec![root.name.clone()], &by_name);
        }
        tree
    }

    fn add(&mut self, source: &'a Source, path: Path, by_name: &BTreeMap<&str, &'a Source>) {
        self.reached.insert(&source.name);
        let folder = match source.name.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder,
            Some((folder, _)) if path.len() == 1 => folder,
            _ => source.name.trim_end_matches(".rs"),
        };
        for child in declared(&source.code) {
            let files = [format!("{folder}/{child}.rs"), format!("{folder}/{child}/mod.rs")];
            if let Some(file) = files.iter().find_map(|file| by_name.get(file.as_str())) {
                self.add(file, [path.as_slice(), &[child]].concat(), by_name);
            }
        }
        let (names, paths) = names_and_paths(source, &path);
        self.modules.insert(path.clone(), Module { path, source, names, paths });
    }

    /// The module that has what `path` names.
    pub fn owner(&self, path: &[String]) -> Option<&Module<'a>> {
        self.follow(path, 0)
    }

    fn follow(&self, path: &[String], depth: usize) -> Option<&Module<'a>> {
        let known = (1..=path.len()).rev().find_map(|length| self.modules.get(&path[..length]))?;
        let rest = &path[known.path.len()..];
        match rest.first().and_then(|name| known.names.get(name)) {
            // The depth keeps names that stand for each other from going on for ever.
            Some(other) if depth < 8 => {
                let whole = [other.as_slice(), &rest[1..]].concat();
                self.follow(&whole, depth + 1).or(Some(known))
            }
            _ => Some(known),
        }
    }
}

/// The names behind `mod` that a semicolon follows.
fn declared(code: &str) -> Vec<String> {
    let words = code.split("mod ").skip(1);
    let names = words.filter_map(|rest| rest.split_once(';')).map(|(name, _)| name.trim());
    let is_name = |name: &&str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    names.filter(|name| !name.is_empty()).filter(is_name).map(str::to_owned).collect()
}

/// The names that the file's `use` declarations give, and all paths within the crate. The tests at the file's end are
/// left out.
fn names_and_paths(source: &Source, module: &[String]) -> (BTreeMap<String, Path>, Vec<(usize, Path)>) {
    let lines = source.code_lines();
    let code = lines.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
    let children: BTreeSet<String> = declared(&code).into_iter().collect();
    let mut names = BTreeMap::new();
    let mut paths = Vec::new();
    let mut left = code.clone();
    for (start, _) in code.match_indices("use ") {
        let before = code[..start].rsplit('\n').next().unwrap_or_default().trim();
        let Some(length) = code[start..].find(';').filter(|_| before.is_empty() || before.starts_with("pub")) else {
            continue;
        };
        let line = code[..start].matches('\n').count() + 1;
        for (path, name) in expanded(&code[start + 4..start + length]) {
            if let Some(path) = absolute(&path, module, &children) {
                paths.push((line, path.clone()));
                names.insert(name, path);
            }
        }
        // The declaration is done: its paths are not looked for once more.
        let blank: String = code[start..start + length].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        left.replace_range(start..start + length, &blank);
    }
    for (index, line) in left.lines().enumerate() {
        for path in written(line) {
            // `layout::open` through `use crate::layout;` is met at the declaration.
            if let Some(path) = absolute(&path, module, &children) {
                paths.push((index + 1, path));
            }
        }
    }
    (names, paths)
}

/// The paths with `::` on a line of code.
fn written(line: &str) -> Vec<Path> {
    let words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let paths = words.filter(|word| word.contains("::") && !word.starts_with(':'));
    paths.map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()).collect()
}

/// The path from the root, if it is one within the crate.
fn absolute(path: &[String], module: &[String], children: &BTreeSet<String>) -> Option<Path> {
    let mut place = match path.first()?.as_str() {
        "crate" => module[..1].to_vec(),
        "self" => module.to_vec(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        name if children.contains(name) => [module, &[name.to_owned()]].concat(),
        _ => return None,
    };
    let mut rest = &path[1..];
    while rest.first().is_some_and(|part| part == "super") {
        place.pop()?;
        rest = &rest[1..];
    }
    place.extend(rest.iter().cloned());
    (!place.is_empty()).then_some(place)
}

/// The paths of a `use` declaration, groups taken apart, each with the name that it gives.
fn expanded(declaration: &str) -> Vec<(Path, String)> {
    let text = declaration.trim();
    if let Some((prefix, group)) = text.split_once('{') {
        let prefix: Path =
            prefix.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let inner = group.trim_end().strip_suffix('}').unwrap_or(group);
        let mut found = Vec::new();
        for part in split_group(inner) {
            for (path, name) in expanded(part) {
                let is_self = path.first().is_some_and(|part| part == "self");
                let rest = if is_self { &path[1..] } else { &path[..] };
                let whole = [prefix.as_slice(), rest].concat();
                let own = whole.last().cloned().unwrap_or_default();
                found.push((whole, if is_self && rest.is_empty() && name == "self" { own } else { name }));
            }
        }
        return found;
    }
    let (path, renamed) = text.split_once(" as ").map_or((text, None), |(path, name)| (path, Some(name.trim())));
    let path: Path = path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let name = renamed.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    if path.is_empty() { Vec::new() } else { vec![(path, name)] }
}

/// The parts of a group, at its commas.
fn split_group(inner: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&inner[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn forgotten(sources: &[Source]) -> Vec<String> {
    let tree = Tree::new(sources);
    let lost = sources.iter().filter(|source| !tree.reached.contains(source.name.as_str()));
    lost.map(|source| format!("{}:1: no root leads to this file: it is never built", source.name)).collect()
}

#[test]
fn every_file_is_a_module() {
    let sources = sources();
    assert!(sources.iter().filter(|source| is_root(&source.name)).count() > 12);
    check("forgotten files", &forgotten(&sources));
}

#[test]
fn a_forgotten_file_is_found() {
    let sources = [
        Source::new("crates/a/src/lib.rs", "mod b;\n// mod c;\n"),
        Source::new("crates/a/src/b.rs", "mod d;\n#[cfg(test)]\nmod tests;\n"),
        Source::new("crates/a/src/b/d.rs", ""),
        Source::new("crates/a/src/b/tests.rs", ""),
        Source::new("crates/a/src/c.rs", ""),
        Source::new("crates/a/tests/whole.rs", "mod common;\n"),
        Source::new("crates/a/tests/common/mod.rs", ""),
        Source::new("crates/a/tests/common/rest.rs", ""),
    ];
    let names: Vec<String> =
        forgotten(&sources).iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["crates/a/src/c.rs", "crates/a/tests/common/rest.rs"]);
}

#[test]
fn declarations_are_taken_apart() {
    let found = expanded("crate::{a, b::{self, c as d, e::{f, g}}}");
    let shown: Vec<String> = found.iter().map(|(path, name)| format!("{}={name}", path.join("."))).collect();
    assert_eq!(shown, ["crate.a=a", "crate.b=b", "crate.b.c=d", "crate.b.e.f=f", "crate.b.e.g=g"]);
}
