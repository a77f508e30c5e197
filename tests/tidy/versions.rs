//! docs/VERSIONS.md names every version of a format that the code has, with its value.
//!
//! A row of its tables has the version in the second column and the constant in the third, as `crate::NAME`. Constants
//! are read from the sources, because most of them are private. A constant is a version by its name: it ends in
//! VERSION, SCHEMA, PROTOCOL or TOPIC. The fourth column names folders of fixtures, which documents.rs looks for.

use std::collections::BTreeMap;
use std::fs;

use super::check;
use super::source::{Source, sources};
use crate::support::repository;

const DOCUMENT: &str = "docs/VERSIONS.md";
const ENDINGS: [&str; 4] = ["VERSION", "SCHEMA", "PROTOCOL", "TOPIC"];

/// Every constant outside tests: `crate::NAME`, its value as written, and where. A name that a crate has twice has
/// both.
fn constants(sources: &[Source]) -> BTreeMap<String, Vec<(String, String)>> {
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(name) = source.name.strip_prefix("crates/").and_then(|rest| rest.split('/').next()) else { continue };
        for (number, code) in source.code_lines() {
            // The code has no literals: the value is taken from the text.
            let text = source.text.lines().nth(number - 1).unwrap_or_default();
            let words = code
                .trim_start()
                .trim_start_matches("pub ")
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub(super) ");
            let Some((constant, _)) = words.strip_prefix("const ").and_then(|rest| rest.split_once(':')) else {
                continue;
            };
            let value = text.split_once(" = ").map_or("", |(_, value)| value.trim_end_matches(';'));
            let place = format!("{}:{number}", source.name);
            found.entry(format!("{name}::{constant}")).or_default().push((plain(value), place));
        }
    }
    found
}

/// A literal without its quotes and its zero byte.
fn plain(value: &str) -> String {
    value.trim_start_matches(['*', 'b']).trim_matches('"').trim_end_matches("\\0").to_owned()
}

/// The rows that name a constant: its line, the version, the constant.
fn rows(document: &str) -> Vec<(usize, String, String)> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>();
    let lines = document.lines().enumerate().map(|(index, line)| (index + 1, cells(line)));
    let named = lines.filter(|(_, cells)| cells.len() > 4 && cells[3].contains("::"));
    named.map(|(line, cells)| (line, cells[2].clone(), cells[3].clone())).collect()
}

fn differences(document: &str, sources: &[Source]) -> Vec<String> {
    let constants = constants(sources);
    let rows = rows(document);
    let mut problems = Vec::new();
    for (line, version, constant) in &rows {
        match constants.get(constant).map(Vec::as_slice) {
            Some([(value, _)]) if value == version => {}
            Some([(value, place)]) => problems.push(format!("{DOCUMENT}:{line}: {version}, and {place} has {value}")),
            Some(several) => problems.push(format!("{DOCUMENT}:{line}: {constant} is there {} times", several.len())),
            None => problems.push(format!("{DOCUMENT}:{line}: there is no {constant}")),
        }
    }
    for (constant, places) in &constants {
        let is_version = ENDINGS.iter().any(|ending| constant.ends_with(ending));
        if is_version && !rows.iter().any(|(_, _, named)| named == constant) {
            problems.push(format!("{}: {constant} is in no table of {DOCUMENT}", places[0].1));
        }
    }
    problems
}

#[test]
fn every_format_is_named_with_its_version() {
    let document = fs::read_to_string(repository().join(DOCUMENT)).unwrap();
    assert!(rows(&document).len() > 10);
    check("versions", &differences(&document, &sources()));
}

#[test]
fn another_version_is_found() {
    let source = "const ASK_PROTOCOL: &str = \"/ask/2\";\npub const SCHEMA: u32 = 3;\nconst MAGIC: [u8; 2] = *b\"X1\";\n// const OLD_VERSION: u8 = 1;\n";
    let sources = [Source::new("crates/x/src/lib.rs", source)];
    let document = |ask: &str| {
        format!(
            "| ask | `{ask}` | `x::ASK_PROTOCOL` | none |\n| store | 3 | `x::SCHEMA` | |\n| file | `X1` | `x::MAGIC` | |\n"
        )
    };
    assert!(differences(&document("/ask/2"), &sources).is_empty());
    assert_eq!(
        differences(&document("/ask/1"), &sources),
        ["docs/VERSIONS.md:1: /ask/1, and crates/x/src/lib.rs:1 has /ask/2"]
    );
    let partial = "| ask | `/ask/2` | `x::ASK_PROTOCOL` | none |\n| old | 1 | `x::OLD_VERSION` | |\n";
    assert_eq!(
        differences(partial, &sources),
        [
            "docs/VERSIONS.md:2: there is no x::OLD_VERSION",
            "crates/x/src/lib.rs:2: x::SCHEMA is in no table of docs/VERSIONS.md"
        ]
    );
}
