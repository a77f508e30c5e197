//! Holds the source to DESIGN.md's rooms and STYLE.md's habits: by reading it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{repository, run};

/// Which crates of ours each crate may depend on outside its tests, and whether it must keep from the machine.
const RINGS: [(&str, u8, &[&str]); 13] = [
    ("types", 0, &[]),
    ("tar", 0, &[]),
    ("cabac", 0, &[]),
    ("similarity", 1, &["types", "tar"]),
    ("patch", 1, &["types", "tar"]),
    ("wire", 1, &["types"]),
    ("image", 1, &["types", "tar", "similarity"]),
    ("api", 1, &["types"]),
    ("engine", 2, &["types", "similarity", "wire"]),
    ("sim", 2, &["types", "similarity", "wire", "engine"]),
    ("store", 3, &["types"]),
    ("node", 3, &["types", "similarity", "patch", "wire", "image", "api", "engine", "store"]),
    ("cli", 4, &["types", "similarity", "patch", "wire", "image", "api", "engine", "sim", "store", "node"]),
];

/// Packages that rings 0 to 2 never reach, whatever lies between.
const PACKAGES_BARRED: [&str; 6] = ["tokio", "libp2p", "rocksdb", "async-std", "mio", "socket2"];

/// What rings 0 to 2 do not say: the file system, the network, the clock, chance.
const WORDS_BARRED: [&str; 13] = [
    "std::fs",
    "std::net",
    "std::os::unix",
    "std::process",
    "env::var",
    "tokio::",
    "libp2p::",
    "rocksdb::",
    "SystemTime::now",
    "Instant::now",
    "thread_rng",
    "rand::rng()",
    "getrandom",
];

/// Files that may use `unsafe`: the binding to libxdelta3; allocators that count, and waiting for a child with its
/// resource usage, in what measures and is not shipped.
const UNSAFE_ALLOWED: [&str; 5] = [
    "crates/patch/src/xdelta3.rs",
    "crates/patch/tests/memory.rs",
    "crates/engine/examples/planning.rs",
    "tests/bench/process.rs",
    "tests/bench/nodes.rs",
];

const LINES_MAX: usize = 400;

/// All files with this ending below a folder, without build products, in order.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().to_string_lossy().into_owned()
}

/// Every Rust file of ours with its path in the repository: crates/ and tests/. The bindgen stand-in is a build tool
/// after another crate's interface.
fn sources() -> Vec<(String, String)> {
    let root = repository();
    let paths = [files(&root.join("crates"), ".rs"), files(&root.join("tests"), ".rs")].concat();
    let read = |path: &PathBuf| (name_of(path), fs::read_to_string(path).unwrap());
    paths.iter().map(read).filter(|(name, _)| !name.starts_with("crates/patch/bindgen/")).collect()
}

/// Whether a file is tests, examples or benchmarks from end to end.
fn is_test_file(name: &str) -> bool {
    name.starts_with("tests/")
        || name.ends_with("/tests.rs")
        || ["/tests/", "/examples/", "/benches/"].iter().any(|folder| name.contains(folder))
        || ["crates/image/src/testing.rs"].contains(&name)
}

/// A file's lines of code with their numbers: comments left out, and all from the first `#[cfg(test)] mod ... {` on.
fn code_lines(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let end = (0..lines.len()).find(|&index| {
        lines[index].trim() == "#[cfg(test)]"
            && lines.get(index + 1).is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
    });
    let code = lines.into_iter().enumerate().take(end.unwrap_or(usize::MAX));
    code.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(index, line)| (index + 1, line)).collect()
}

fn check(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// A crate's manifest.
fn manifest(path: &Path) -> toml::Table {
    fs::read_to_string(path).unwrap().parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn keys(table: Option<&toml::Value>) -> Vec<String> {
    table.and_then(toml::Value::as_table).map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn crates_depend_on_lower_rings_only() {
    let root = repository();
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    for (name, _, allowed) in RINGS {
        known.insert(name.to_owned());
        let manifest = manifest(&root.join("crates").join(name).join("Cargo.toml"));
        let mut sections = vec![manifest.get("dependencies"), manifest.get("build-dependencies")];
        let targets = manifest.get("target").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        sections.extend(targets.values().map(|target| target.get("dependencies")));
        for dependency in sections.into_iter().flat_map(keys) {
            if let Some(ours) = dependency.strip_prefix("lighter-")
                && !allowed.contains(&ours)
            {
                problems.push(format!("crates/{name} depends on {ours}; DESIGN.md lets it use {allowed:?}"));
            }
        }
    }
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !known.contains(&name) {
            problems.push(format!("crates/{name} is in no ring: add it to RINGS in tests/tidy.rs"));
        }
    }
    check(&problems);
}

/// Follows Cargo.lock, which also has development dependencies of our own crates: those are taken from the manifests.
#[test]
fn rings_0_to_2_do_not_reach_the_machine_through_any_package() {
    let root = repository();
    let lock = manifest(&root.join("Cargo.lock"));
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap().to_owned();
        let dependencies = package.get("dependencies").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let names = dependencies.iter().filter_map(toml::Value::as_str);
        // "name", "name version": several versions of one package are taken for one, which can only find more.
        graph.entry(name).or_default().extend(names.filter_map(|name| name.split(' ').next()).map(str::to_owned));
    }
    let mut problems = Vec::new();
    for (name, _, _) in RINGS.iter().filter(|(_, ring, _)| *ring <= 2) {
        let own = manifest(&root.join("crates").join(name).join("Cargo.toml"));
        let mut waiting: Vec<(String, String)> =
            keys(own.get("dependencies")).into_iter().map(|name| (name.clone(), name)).collect();
        let mut seen = BTreeSet::new();
        while let Some((package, way)) = waiting.pop() {
            if PACKAGES_BARRED.contains(&package.as_str()) {
                problems.push(format!("crates/{name} reaches {package}: {way}"));
            }
            if package.starts_with("lighter-") || !seen.insert(package.clone()) {
                // Ours are looked at by themselves.
                continue;
            }
            let next = graph.get(&package).cloned().unwrap_or_default();
            waiting.extend(next.into_iter().map(|next| (next.clone(), format!("{way} > {next}"))));
        }
    }
    check(&problems);
}

#[test]
fn rings_0_to_2_do_not_touch_files_network_clock_or_chance() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        let ring = RINGS.iter().find(|(ring, _, _)| name.starts_with(&format!("crates/{ring}/")));
        if ring.is_none_or(|(_, ring, _)| *ring > 2) || !name.contains("/src/") || is_test_file(&name) {
            continue;
        }
        for (number, line) in code_lines(&text) {
            for word in WORDS_BARRED.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{name}:{number}: {word}"));
            }
        }
    }
    check(&problems);
}

#[test]
fn files_open_with_their_purpose_and_are_short() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        if !text.starts_with("//!") {
            problems.push(format!("{name}: does not open with //!"));
        }
        let lines = text.lines().count();
        if !is_test_file(&name) && lines > LINES_MAX {
            problems.push(format!("{name}: {lines} lines, at most {LINES_MAX}"));
        }
    }
    check(&problems);
}

#[test]
fn nothing_is_left_undone_or_unsafe() {
    // In two parts, so that this file does not find itself.
    let left = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let mut problems = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            for word in left.iter().filter(|word| line.contains(word.as_str())) {
                problems.push(format!("{name}:{}: {word}", number + 1));
            }
        }
        for (number, line) in code_lines(&text) {
            let uses = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| line.contains(form));
            if uses && !UNSAFE_ALLOWED.contains(&name.as_str()) && name != "tests/tidy.rs" {
                problems.push(format!("{name}:{number}: unsafe"));
            }
        }
    }
    check(&problems);
}

/// Paths in backticks: `crates/x`, `docs/y.md`. A path with a placeholder (`<`, `*`, `{`) is not looked for.
fn paths_in(text: &str) -> Vec<(usize, String)> {
    let rooms = ["crates/", "docs/", "configs/", "tests/", "simulations/", ".ci/"];
    let mut paths = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2) {
            for word in quoted.split_whitespace() {
                let path = word.trim_matches(|c: char| "\"',;:()".contains(c)).trim_end_matches('.');
                let plain = !path.contains(['<', '*', '{', '$', '=']);
                if plain && rooms.iter().any(|room| path.starts_with(room)) {
                    let path = path.split(['#', ':']).next().unwrap_or_default();
                    paths.push((number + 1, path.to_owned()));
                }
            }
        }
    }
    paths
}

#[test]
fn documents_name_only_what_is_there() {
    let root = repository();
    let mut documents = files(&root.join("docs"), ".md");
    documents
        .extend(["README.md", "CHANGELOG.md"].map(|name| root.join(name)).into_iter().filter(|path| path.exists()));
    let mut problems = Vec::new();
    let mut looked_at = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for (number, path) in paths_in(&text) {
            looked_at += 1;
            if !root.join(&path).exists() {
                problems.push(format!("{}:{number}: there is no {path}", name_of(&document)));
            }
        }
        // [text](path) within the repository.
        for (number, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                let is_path = !target.is_empty() && !target.contains("://");
                if is_path && !document.parent().unwrap().join(target).exists() {
                    problems.push(format!("{}:{}: there is no {target}", name_of(&document), number + 1));
                }
            }
        }
    }
    check(&problems);
    assert!(looked_at > 0, "no path in any document");
}

#[test]
fn comments_name_only_documents_that_are_there() {
    let root = repository();
    let mut problems = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//")) {
            let words = line.split(|c: char| c.is_whitespace() || "()`,;\"".contains(c));
            for word in words.map(|word| word.trim_end_matches(['.', ':'])) {
                if (word.starts_with("docs/") || word.starts_with("configs/"))
                    && word.len() > "configs/".len()
                    && !word.contains('*')
                    && !root.join(word).exists()
                    // Examples of such names stand in this file.
                    && name != "tests/tidy.rs"
                {
                    problems.push(format!("{name}:{}: there is no {word}", number + 1));
                }
            }
        }
    }
    check(&problems);
}

#[test]
fn every_test_file_is_a_module() {
    let main = fs::read_to_string(repository().join("tests/main.rs")).unwrap();
    let modules: BTreeSet<&str> =
        main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    let mut problems = Vec::new();
    for entry in fs::read_dir(repository().join("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs")
            && module != "main"
            && !modules.contains(module)
        {
            problems.push(format!("tests/{name} is not a module of tests/main.rs: it is never run"));
        }
    }
    check(&problems);
}

#[test]
fn every_configuration_is_right() {
    let found = files(&repository().join("configs"), ".toml");
    assert!(found.len() >= 3, "{found:?}");
    for path in found {
        run(&["config", "check", path.to_str().unwrap()]).ok();
    }
}
