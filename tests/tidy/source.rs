//! A Rust file as the checks read it: code and comments apart.
//!
//! One pass over the bytes finds comments, texts and characters. `code` is the file with all of these replaced by
//! spaces: a word that is found there is code, at the same line and column as in the file. Comments are kept by line;
//! comment lines that follow each other are one block, because a sentence may go over several lines.
//!
//! The pass knows nested block comments, raw texts, byte texts, and a lifetime from a character. It knows no macros: a
//! macro's body counts as code.

use std::fs;
use std::path::Path;

use super::{files, name_of};
use crate::support::repository;

/// A Rust file of the repository.
pub struct Source {
    /// Its path in the repository.
    pub name: String,
    pub text: String,
    /// The text without comments and literals, every line as long as before.
    pub code: String,
    pub comments: Vec<Comment>,
}

/// The comment on one line, or the part of a block comment on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// From 1.
    pub line: usize,
    /// With its slashes.
    pub text: String,
    /// Whether code stands before it on its line.
    pub is_trailing: bool,
}

/// Comment lines that follow each other, without their slashes.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    pub line: usize,
    pub lines: Vec<String>,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        Self { name: name.to_owned(), text: text.to_owned(), code, comments }
    }

    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether the file is tests, examples or benchmarks from end to end.
    pub fn is_test(&self) -> bool {
        let folders = ["/tests/", "/examples/", "/benches/"];
        self.name.starts_with("tests/")
            || self.name.ends_with("/tests.rs")
            || self.name == "crates/image/src/testing.rs"
            || folders.iter().any(|folder| self.name.contains(folder))
    }

    /// The code's lines with their numbers, up to the tests at the end of the file.
    pub fn code_lines(&self) -> Vec<(usize, &str)> {
        let lines: Vec<&str> = self.code.lines().collect();
        let is_test = |index: &usize| {
            let next = lines.get(index + 1).copied().unwrap_or_default();
            lines[*index].trim() == "#[cfg(test)]" && next.starts_with("mod ") && next.trim_end().ends_with('{')
        };
        let end = (0..lines.len()).find(is_test).unwrap_or(lines.len());
        lines[..end].iter().enumerate().map(|(index, line)| (index + 1, *line)).collect()
    }

    /// The comments as blocks. A trailing comment is a block of its own; so is each of `//`, `///` and `//!`.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut before: Option<(&Comment, &str)> = None;
        for comment in &self.comments {
            let (mark, words) = mark_of(&comment.text);
            let follows = before.is_some_and(|(last, last_mark)| {
                last.line + 1 == comment.line && last_mark == mark && !last.is_trailing && !comment.is_trailing
            });
            match blocks.last_mut() {
                Some(block) if follows => block.lines.push(words.to_owned()),
                _ => blocks.push(Block { line: comment.line, lines: vec![words.to_owned()] }),
            }
            before = Some((comment, mark));
        }
        blocks
    }
}

/// Every Rust file below `crates/` and `tests/`. The stand-in for bindgen is written after another crate's interface.
pub fn sources() -> Vec<Source> {
    let root = repository();
    let paths = [files(&root.join("crates"), ".rs"), files(&root.join("tests"), ".rs")].concat();
    let read = |path: &Path| Source::new(&name_of(path), &fs::read_to_string(path).unwrap());
    paths.iter().map(|path| read(path)).filter(|source| !source.name.contains("/bindgen/")).collect()
}

/// The slashes before a comment's words, and the words.
fn mark_of(text: &str) -> (&str, &str) {
    let marks = ["///", "//!", "//", "/**", "/*!", "/*"];
    let mark = marks.into_iter().find(|mark| text.starts_with(mark)).unwrap_or_default();
    (mark, text[mark.len()..].trim_end_matches("*/").trim_end())
}

/// The code, and the comments by line.
fn split(text: &str) -> (String, Vec<Comment>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut comments = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = at + literal_or_comment(rest, at.checked_sub(1).map(|before| bytes[before]));
        if end == at {
            at += 1;
            continue;
        }
        if rest.starts_with(b"//") || rest.starts_with(b"/*") {
            comments.extend(comment_lines(text, at, end));
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    (String::from_utf8(code).unwrap(), comments)
}

/// The lines of the comment at `start..end`.
fn comment_lines(text: &str, start: usize, end: usize) -> Vec<Comment> {
    let first = text[..start].matches('\n').count() + 1;
    let before = text[..start].rsplit('\n').next().unwrap_or_default();
    let is_trailing = !before.trim().is_empty();
    let lines = text[start..end].lines().enumerate();
    lines.map(|(index, line)| Comment { line: first + index, text: line.trim().to_owned(), is_trailing }).collect()
}

/// How many bytes the comment, text or character at the beginning of `rest` has; 0 if there is none.
fn literal_or_comment(rest: &[u8], before: Option<u8>) -> usize {
    let is_in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, b'"'),
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        [b'\'', first, ..] => {
            let width = std::str::from_utf8(&rest[1..rest.len().min(5)]).map_or_else(
                |error| if error.valid_up_to() == 0 { 1 } else { character_bytes(*first) },
                |_| character_bytes(*first),
            );
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        [b'r', ..] | [b'b', b'r', ..] if !is_in_word => raw(rest),
        _ => 0,
    }
}

fn character_bytes(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// From one quote to the next that no backslash stands before.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw(rest: &[u8]) -> usize {
    let prefix = rest.iter().position(|&byte| byte != b'b' && byte != b'r').unwrap_or(rest.len());
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = &rest[prefix + hashes + 1..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    (prefix + hashes + 1 + length + end.len()).min(rest.len())
}

#[test]
fn code_and_comments_are_told_apart() {
    let text = "let a = \"// no\"; // yes\nlet b = r#\"/* \" no */\"#; /* two\nlines */ let c = '\"';\nfn d<'a>(x: &'a str) {}\n";
    let source = Source::new("x.rs", text);
    let words: Vec<(usize, &str)> = source.comments.iter().map(|found| (found.line, found.text.as_str())).collect();
    assert_eq!(words, [(1, "// yes"), (2, "/* two"), (3, "lines */")]);
    assert_eq!(source.code.len(), text.len());
    assert!(source.code.contains("fn d<'a>(x: &'a str) {}"), "{}", source.code);
    assert!(!source.code.contains("no") && source.code.contains("let c ="), "{}", source.code);
}

#[test]
fn comment_lines_that_follow_each_other_are_a_block() {
    let source = Source::new("x.rs", "/// One\n/// two.\n// Three.\nlet x = 1; // four\n// five\n");
    let blocks: Vec<(usize, usize)> = source.blocks().iter().map(|block| (block.line, block.lines.len())).collect();
    assert_eq!(blocks, [(1, 2), (3, 1), (4, 1), (5, 1)]);
}
