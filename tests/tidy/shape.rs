//! The shape of files and functions: how long they are, and how a file opens.
//!
//! A file opens with `//!`, and with three lines of it where it has more than 200 lines. Tests in the file count with
//! it. A function's length is the lines from `fn` to its closing brace; a function of a trait without a body has none.

use super::check;
use super::source::{Source, sources};

const LINES_MAX: usize = 400;
const TEST_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// A longer file explains its method before its code.
const EXPLAINED_FROM: usize = 200;
const EXPLANATION_LINES_MIN: usize = 3;

/// Files that may use `unsafe`: the binding to libxdelta3; allocators that count, waiting for a child with its resource
/// usage, and creating a TUN device, in programs that measure and are not shipped.
const UNSAFE_ALLOWED: [&str; 6] = ["/xdelta3.rs", "/memory.rs", "/planning.rs", "/process.rs", "/nodes.rs", "/tun.rs"];

fn badly_opened(source: &Source) -> Option<String> {
    let opening = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    let wanted = if source.lines() > EXPLAINED_FROM { EXPLANATION_LINES_MIN } else { 1 };
    let (name, lines) = (&source.name, source.lines());
    (opening < wanted).then(|| format!("{name}:1: {lines} lines, and {opening} of //!; at least {wanted}"))
}

fn too_long(source: &Source) -> Option<String> {
    let lines_max = if source.is_test() { TEST_LINES_MAX } else { LINES_MAX };
    let lines = source.lines();
    (lines > lines_max).then(|| format!("{}:{lines_max}: {lines} lines, at most {lines_max}", source.name))
}

/// Each function: its first line, its name, its lines.
pub fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let code = source.code.as_bytes();
    let mut found = Vec::new();
    for (start, _) in source.code.match_indices("fn ") {
        let is_in_word = start > 0 && (code[start - 1].is_ascii_alphanumeric() || code[start - 1] == b'_');
        let rest = &source.code[start + 3..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if is_in_word || name.is_empty() {
            continue;
        }
        if let Some(lines) = body_lines(rest) {
            found.push((source.code[..start].matches('\n').count() + 1, name, lines));
        }
    }
    found
}

/// The lines up to the brace that closes the first one; `None` if a semicolon comes before any.
fn body_lines(code: &str) -> Option<usize> {
    let mut depth = 0;
    let mut brackets = 0;
    for (index, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' if depth == 0 => brackets += 1,
            b')' | b']' if depth == 0 => brackets -= 1,
            b';' if depth == 0 && brackets == 0 => return None,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(code[..index].matches('\n').count() + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn long_functions(source: &Source) -> Vec<String> {
    let long = functions(source).into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
    let name = &source.name;
    long.map(|(line, function, lines)| {
        format!("{name}:{line}: {function}: {lines} lines, at most {FUNCTION_LINES_MAX}")
    })
    .collect()
}

fn undone_or_unsafe(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let is_allowed = UNSAFE_ALLOWED.iter().any(|name| source.name.ends_with(name));
    for (index, line) in source.code.lines().enumerate() {
        let undone = ["todo!", "unimplemented!", "dbg!"].into_iter().filter(|word| line.contains(word));
        problems.extend(undone.map(|word| format!("{}:{}: {word}", source.name, index + 1)));
        let is_unsafe =
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| line.contains(form));
        if is_unsafe && !is_allowed {
            problems.push(format!("{}:{}: unsafe", source.name, index + 1));
        }
    }
    problems
}

#[test]
fn files_open_with_their_purpose() {
    check("openings of files", &sources().iter().filter_map(badly_opened).collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    check("lines of files", &sources().iter().filter_map(too_long).collect::<Vec<_>>());
}

#[test]
fn functions_are_short() {
    check("lines of functions", &sources().iter().flat_map(long_functions).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_undone_or_unsafe() {
    check("undone or unsafe", &sources().iter().flat_map(undone_or_unsafe).collect::<Vec<_>>());
}

#[test]
fn the_checks_of_shape_can_fail() {
    let source = |name: &str, text: &str| Source::new(name, text);
    assert!(badly_opened(&source("a.rs", "fn f() {}\n")).is_some());
    assert!(badly_opened(&source("a.rs", "//! One line.\n")).is_none());
    assert!(badly_opened(&source("a.rs", &format!("//! One line.\n{}", "\n".repeat(200)))).is_some());
    assert!(too_long(&source("a.rs", &"\n".repeat(401))).is_some());
    assert!(too_long(&source("tests/a.rs", &"\n".repeat(401))).is_none());
    let long = format!("trait T {{\n    fn g(x: [u8; 4]);\n}}\n\nfn f() {{\n{}}}\n", "    let x = \"}\";\n".repeat(69));
    assert_eq!(long_functions(&source("a.rs", &long)), ["a.rs:5: f: 71 lines, at most 70"]);
    let left = "// todo!\nfn f() { todo!() }\nunsafe fn g() {}\n";
    assert_eq!(undone_or_unsafe(&source("a.rs", left)), ["a.rs:2: todo!", "a.rs:3: unsafe"]);
}
