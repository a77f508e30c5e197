//! `registry-mirrors` of Docker's `daemon.json`.
//!
//! The source is Docker's dockerd reference, "Daemon configuration file". The file is edited as text, so that its order
//! and its form stay; the result is parsed and compared with what it must mean.

use serde_json::{Map, Value, json};

use super::edit::EditError;
use crate::args::Endpoint;

const KEY: &str = "registry-mirrors";

/// The file with the endpoint as the first mirror.
pub fn edit(original: Option<&str>, endpoint: &Endpoint) -> Result<String, EditError> {
    let entry = format!("\"{KEY}\": [\"{endpoint}\"]");
    let Some(text) = original.filter(|text| !text.trim().is_empty()) else { return Ok(format!("{{\n  {entry}\n}}\n")) };
    let mut expected = parse(text)?;
    let old = expected.get(KEY).map(|mirrors| mirrors.as_array().cloned());
    let new = match &old {
        Some(None) => return Err(EditError::new(format!("its {KEY} is no list"), entry)),
        Some(Some(mirrors)) if has(mirrors, endpoint) => return Ok(text.to_owned()),
        Some(Some(_)) => value_of_key(text).map(|at| with_first(text, at + 1, &format!("\"{endpoint}\""))),
        None => text.find('{').map(|at| with_first(text, at + 1, &entry)),
    };
    let mirrors = [vec![json!(endpoint.to_string())], old.flatten().unwrap_or_default()].concat();
    expected.insert(KEY.to_owned(), Value::Array(mirrors));
    match new {
        Some(new) if parse(&new).as_ref() == Ok(&expected) => Ok(new),
        Some(_) | None => Err(EditError::new("it has a form that is not known", entry)),
    }
}

/// Whether this file makes Docker ask the endpoint.
pub fn points(text: &str, endpoint: &Endpoint) -> Result<bool, EditError> {
    if text.trim().is_empty() {
        return Ok(false);
    }
    Ok(parse(text)?.get(KEY).and_then(Value::as_array).is_some_and(|mirrors| has(mirrors, endpoint)))
}

fn has(mirrors: &[Value], endpoint: &Endpoint) -> bool {
    let wanted = endpoint.to_string();
    mirrors.iter().filter_map(Value::as_str).any(|mirror| mirror.trim_end_matches('/') == wanted)
}

fn parse(text: &str) -> Result<Map<String, Value>, EditError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(EditError::unreadable("JSON object", "it has another value")),
        Err(error) => Err(EditError::unreadable("JSON", error)),
    }
}

/// The list or the object that opens before `at`, with one element more, written like the one that was the first.
fn with_first(text: &str, at: usize, element: &str) -> String {
    let (before, after) = text.split_at(at);
    let content = after.trim_start();
    let space = &after[..after.len() - content.len()];
    if content.starts_with(['}', ']']) {
        let (open, close) = if content.starts_with('}') { ("\n  ", "\n") } else { ("", "") };
        return format!("{before}{open}{element}{close}{content}");
    }
    let between = if space.is_empty() { " " } else { "" };
    format!("{before}{space}{element},{between}{after}")
}

/// The offset of the value of [`KEY`] in the outermost object of valid JSON.
fn value_of_key(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let end = end_of_string(bytes, at)?;
                let behind = text[end..].trim_start();
                let is_key = depth == 1 && behind.starts_with(':');
                if is_key && serde_json::from_str::<String>(&text[at..end]).is_ok_and(|key| key == KEY) {
                    let value = behind[1..].trim_start();
                    return Some(text.len() - value.len());
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The offset behind the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(original: Option<&str>, expected: &str) {
        let endpoint: Endpoint = "http://127.0.0.1:4480".parse().unwrap();
        let new = edit(original, &endpoint).unwrap();
        assert_eq!(new, expected);
        assert!(points(&new, &endpoint).unwrap());
        assert_eq!(edit(Some(&new), &endpoint).unwrap(), new);
    }

    #[test]
    fn the_node_is_the_first_mirror_and_all_else_stays() {
        let alone = "{\n  \"registry-mirrors\": [\"http://127.0.0.1:4480\"]\n}\n";
        check(None, alone);
        check(Some(" \n"), alone);
        check(Some("{}\n"), alone);
        check(
            Some("{\n    \"log-driver\": \"local\",\n    \"a\": {\"registry-mirrors\": []}\n}"),
            "{\n    \"registry-mirrors\": [\"http://127.0.0.1:4480\"],\n    \"log-driver\": \"local\",\n    \
             \"a\": {\"registry-mirrors\": []}\n}",
        );
        check(
            Some("{\"a\":\"\\\"{[\",\"registry-mirrors\":[\"https://m.example\"]}"),
            "{\"a\":\"\\\"{[\",\"registry-mirrors\":[\"http://127.0.0.1:4480\", \"https://m.example\"]}",
        );
        check(
            Some("{\"registry-mirrors\": [\n  \"https://m.example\"\n]}"),
            "{\"registry-mirrors\": [\n  \"http://127.0.0.1:4480\",\n  \"https://m.example\"\n]}",
        );
        check(Some("{\"registry-mirrors\": [ ]}"), "{\"registry-mirrors\": [\"http://127.0.0.1:4480\"]}");
    }

    #[test]
    fn a_mirror_with_a_slash_at_its_end_is_the_same() {
        let text = "{\"registry-mirrors\": [\"http://127.0.0.1:4480/\"]}";
        let endpoint = "http://127.0.0.1:4480".parse().unwrap();
        assert_eq!(edit(Some(text), &endpoint).unwrap(), text);
    }

    #[test]
    fn a_file_that_is_no_configuration_is_refused() {
        let endpoint = "http://127.0.0.1:4480".parse().unwrap();
        // A key that stands twice: Docker takes the last.
        let twice = "{\"registry-mirrors\": [], \"registry-mirrors\": [\"https://m.example\"]}";
        for text in ["[]", "{", "{\"registry-mirrors\": \"x\"}", "{} // mine", twice] {
            assert!(edit(Some(text), &endpoint).is_err(), "{text}");
        }
    }
}
