//! Plain English, as far as a program can tell: how sentences open, and how long comment lines are.
//!
//! A sentence begins where a comment block, a paragraph or a list item begins, and behind a full stop, a question mark
//! or a colon that a space follows. Blocks of code and headings have no sentences.

use super::source::{Source, sources};
use super::{check, documents};

const COLUMNS_MAX: usize = 120;

/// No sentence opens with these words.
const OPENINGS_BARRED: [&str; 3] = ["Who", "Whom", "Of"];

/// A sentence's first line, and its words.
fn sentences(first_line: usize, lines: &[&str]) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut is_code = false;
    let mut begins = true;
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim();
        is_code ^= line.starts_with("```");
        if is_code || line.starts_with("```") || line.is_empty() || line.starts_with('#') {
            begins = true;
            continue;
        }
        let bullet = ["- ", "* ", "> "].into_iter().find_map(|mark| line.strip_prefix(mark));
        let number = line.split_once(". ").filter(|(number, _)| number.bytes().all(|digit| digit.is_ascii_digit()));
        begins |= bullet.is_some() || number.is_some() || line.starts_with('|');
        let line = bullet.or(number.map(|(_, rest)| rest)).unwrap_or(line);
        for word in line.split_whitespace() {
            match found.last_mut() {
                Some((_, sentence)) if !begins => {
                    sentence.push(' ');
                    sentence.push_str(word);
                }
                _ => found.push((first_line + index, word.to_owned())),
            }
            begins = word.ends_with(['.', '?', '!', ':']) || word.ends_with(".)") || word == "|";
        }
    }
    found
}

/// Sentences that open with a barred word, or with *What* without being a question.
fn badly_opened(name: &str, first_line: usize, lines: &[&str]) -> Vec<String> {
    let is_bad = |sentence: &str| {
        let opening = sentence.trim_start_matches(|c: char| !c.is_alphanumeric()).split(|c: char| !c.is_alphabetic());
        let opening = opening.into_iter().next().unwrap_or_default();
        OPENINGS_BARRED.contains(&opening) || opening == "What" && !sentence.ends_with('?')
    };
    let bad = sentences(first_line, lines).into_iter().filter(|(_, sentence)| is_bad(sentence));
    bad.map(|(line, sentence)| format!("{name}:{line}: {}", sentence.chars().take(60).collect::<String>())).collect()
}

fn badly_opened_in(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for block in source.blocks() {
        let lines: Vec<&str> = block.lines.iter().map(String::as_str).collect();
        problems.extend(badly_opened(&source.name, block.line, &lines));
    }
    problems
}

fn wide_comments(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut problems = Vec::new();
    for comment in source.comments.iter().filter(|comment| !comment.is_trailing) {
        let columns = lines[comment.line - 1].chars().count();
        if columns > COLUMNS_MAX {
            problems.push(format!("{}:{}: {columns} columns, at most {COLUMNS_MAX}", source.name, comment.line));
        }
    }
    problems
}

/// Names of functions that open with a relative pronoun: a test's name says what holds, subject first.
fn badly_named(source: &Source) -> Vec<String> {
    let lines = source.code.lines().enumerate();
    let bad = lines.filter(|(_, line)| ["fn who_", "fn what_", "fn whom_"].iter().any(|name| line.contains(name)));
    bad.map(|(index, line)| format!("{}:{}: {}", source.name, index + 1, line.trim())).collect()
}

/// Advice in the libraries: hints for operators stand in the command line alone.
fn advice(source: &Source) -> Vec<String> {
    let is_library = source.name.starts_with("crates/") && !source.name.starts_with("crates/cli/");
    let lines = source.text.lines().enumerate().filter(|_| is_library);
    let advice = ["did you mean", "hint: ", "please report", "write it with", "is this the right"];
    let bad =
        lines.filter(|(_, line)| !line.trim_start().starts_with("//") && advice.iter().any(|text| line.contains(text)));
    bad.map(|(index, line)| format!("{}:{}: {}", source.name, index + 1, line.trim())).collect()
}

#[test]
fn names_of_functions_open_with_their_subject() {
    let problems: Vec<String> = sources().iter().flat_map(badly_named).collect();
    check("names of functions", &problems);
}

#[test]
fn hints_stand_in_the_command_line_alone() {
    let problems: Vec<String> = sources().iter().flat_map(advice).collect();
    check("advice in libraries", &problems);
}

#[test]
fn comments_open_sentences_with_their_subject() {
    let problems: Vec<String> = sources().iter().flat_map(badly_opened_in).collect();
    check("openings in comments", &problems);
}

#[test]
fn documents_open_sentences_with_their_subject() {
    let mut problems = Vec::new();
    for (name, text) in documents() {
        problems.extend(badly_opened(&name, 1, &text.lines().collect::<Vec<_>>()));
    }
    check("openings in documents", &problems);
}

#[test]
fn comment_lines_are_at_most_120_columns() {
    let problems: Vec<String> = sources().iter().flat_map(wide_comments).collect();
    check("comment columns", &problems);
}

#[test]
fn the_checks_of_english_can_fail() {
    let bad = "/// Who asks is told. Of these, one\n/// remains. What is left?\n///\n/// What is told.\nfn f() {}\n";
    let found = badly_opened_in(&Source::new("x.rs", bad));
    assert_eq!(found, ["x.rs:1: Who asks is told.", "x.rs:1: Of these, one remains.", "x.rs:4: What is told."]);
    let good =
        "/// The peer that asks. One of these remains.\n///\n/// ```text\n/// Who\n/// ```\nlet x = \"// Who\";\n";
    assert!(badly_opened_in(&Source::new("x.rs", good)).is_empty());
    assert_eq!(badly_named(&Source::new("x.rs", "fn who_asks() {}\nfn whole() {}\n")), ["x.rs:1: fn who_asks() {}"]);
    let told = "#[error(\"no key; did you mean it?\")]\n";
    assert_eq!(advice(&Source::new("crates/node/src/x.rs", told)).len(), 1);
    assert!(advice(&Source::new("crates/cli/src/x.rs", told)).is_empty());
    let wide = format!("/// {}\nlet x = \"{}\";\n", "a".repeat(117), "b".repeat(130));
    assert_eq!(wide_comments(&Source::new("x.rs", &wide)), ["x.rs:1: 121 columns, at most 120"]);
}
