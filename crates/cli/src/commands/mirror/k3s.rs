//! `mirrors` of k3s' `registries.yaml`.
//!
//! The source is k3s' documentation, "Private registry configuration". The file is edited as text, so that its comments
//! and its order stay. The result is parsed by yaml-rust2 and compared with what it must mean: a file in a form that
//! the edit does not know is refused, and its owner gets the lines to add.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use super::edit::EditError;
use crate::args::{Endpoint, RegistryHost};

/// The file with the endpoint as the first of each registry.
pub fn edit(
    original: Option<&str>,
    endpoint: &Endpoint,
    registries: &BTreeSet<RegistryHost>,
) -> Result<String, EditError> {
    let text = original.unwrap_or_default();
    let old = parse(text)?;
    let by_hand =
        || format!("mirrors:\n{}", registries.iter().map(|name| entry("  ", name, endpoint)).collect::<String>());
    let mut new = text.to_owned();
    let mut expected = old.clone();
    for registry in registries {
        let current = parse(&new)?;
        if asks(&current, registry, endpoint) {
            continue;
        }
        let refused = |problem: &str| EditError::new(format!("its entry for {registry} {problem}"), by_hand());
        let mirrors = current.get("mirrors").and_then(Value::as_object);
        new = match mirrors.and_then(|mirrors| mirrors.get(registry.as_str())) {
            Some(_) => with_endpoint(&new, registry, endpoint).ok_or_else(|| refused("has another form"))?,
            None => with_registry(&new, &current, registry, endpoint),
        };
        expect(&mut expected, registry, endpoint).ok_or_else(|| refused("is no mapping"))?;
    }
    match parse(&new) {
        Ok(found) if found == expected => Ok(new),
        Ok(_) | Err(_) => Err(EditError::new("its mirrors are not written as an indented block", by_hand())),
    }
}

/// The registries for which this file makes k3s ask the endpoint.
pub fn pointed(text: &str, endpoint: &Endpoint) -> Result<Vec<RegistryHost>, EditError> {
    let file = parse(text)?;
    let names = file.get("mirrors").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let registries = names.filter_map(|name| match name.as_str() {
        "*" => Some(RegistryHost::all()),
        name => name.parse().ok(),
    });
    Ok(registries.filter(|registry| asks(&file, registry, endpoint)).collect())
}

/// The whole file as JSON, which has no order of keys. Null for a file without content.
fn parse(text: &str) -> Result<Value, EditError> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| EditError::unreadable("YAML", error))?;
    match documents.as_slice() {
        [] => Ok(Value::Null),
        [document] => to_json(document).ok_or_else(|| EditError::unreadable("plain YAML", "it has aliases")),
        _ => Err(EditError::unreadable("YAML of one document", "it has several")),
    }
}

fn to_json(yaml: &Yaml) -> Option<Value> {
    Some(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(value) => json!(value),
        Yaml::Integer(value) => json!(value),
        Yaml::Real(text) => json!(["real", text]),
        Yaml::String(text) => json!(text),
        Yaml::Array(values) => Value::Array(values.iter().map(to_json).collect::<Option<_>>()?),
        Yaml::Hash(entries) => {
            let entries = entries.iter().map(|(key, value)| Some((key.as_str()?.to_owned(), to_json(value)?)));
            Value::Object(entries.collect::<Option<_>>()?)
        }
        Yaml::Alias(_) | Yaml::BadValue => return None,
    })
}

fn asks(file: &Value, registry: &RegistryHost, endpoint: &Endpoint) -> bool {
    let wanted = endpoint.to_string();
    let endpoints = file["mirrors"][registry.as_str()]["endpoint"].as_array();
    endpoints.is_some_and(|all| all.iter().filter_map(Value::as_str).any(|one| one.trim_end_matches('/') == wanted))
}

/// Adds the endpoint to what a file means.
fn expect(file: &mut Value, registry: &RegistryHost, endpoint: &Endpoint) -> Option<()> {
    make_mapping(file);
    let mirrors = file.as_object_mut()?.entry("mirrors").or_insert(Value::Null);
    make_mapping(mirrors);
    let of_registry = mirrors.as_object_mut()?.entry(registry.as_str()).or_insert(Value::Null);
    make_mapping(of_registry);
    let endpoints = of_registry.as_object_mut()?.entry("endpoint").or_insert_with(|| json!([]));
    endpoints.as_array_mut()?.insert(0, json!(endpoint.to_string()));
    Some(())
}

/// Makes an empty mapping of a key without a value, which stands for one.
fn make_mapping(value: &mut Value) {
    if value.is_null() {
        *value = json!({});
    }
}

/// A registry's lines below `mirrors:`.
fn entry(indent: &str, registry: &RegistryHost, endpoint: &Endpoint) -> String {
    format!("{indent}\"{registry}\":\n{indent}  endpoint:\n{indent}    - \"{endpoint}\"\n")
}

/// The file with one registry more.
fn with_registry(text: &str, file: &Value, registry: &RegistryHost, endpoint: &Endpoint) -> String {
    let ended = if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    if file.get("mirrors").is_none() {
        return format!("{ended}mirrors:\n{}", entry("  ", registry, endpoint));
    }
    let lines: Vec<&str> = ended.split_inclusive('\n').collect();
    let Some(at) = lines.iter().position(|line| is_key(line, "mirrors") && indent_of(line).is_empty()) else {
        return ended.clone();
    };
    let child = lines[at + 1..].iter().find(|line| is_content(line)).map_or("", |line| indent_of(line));
    let indent = if child.is_empty() { "  " } else { child };
    let (before, after) = lines.split_at(at + 1);
    format!("{}{}{}", before.concat(), entry(indent, registry, endpoint), after.concat())
}

/// The file with an endpoint more for a registry that has a list of them.
fn with_endpoint(text: &str, registry: &RegistryHost, endpoint: &Endpoint) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mirrors = lines.iter().position(|line| is_key(line, "mirrors") && indent_of(line).is_empty())?;
    let at = mirrors + 1 + lines[mirrors + 1..].iter().position(|line| is_key(line, registry.as_str()))?;
    let list = at + 1 + lines[at + 1..].iter().position(|line| is_key(line, "endpoint"))?;
    let first = list + 1 + lines[list + 1..].iter().position(|line| is_content(line))?;
    let indent = lines[first].trim_start().starts_with("- ").then(|| indent_of(lines[first]))?;
    let (before, after) = lines.split_at(first);
    Some(format!("{}{indent}- \"{endpoint}\"\n{}", before.concat(), after.concat()))
}

/// Whether a line is a key, perhaps in quotes, with nothing behind it but a comment.
fn is_key(line: &str, key: &str) -> bool {
    let line = line.trim();
    let names = [format!("{key}:"), format!("\"{key}\":"), format!("'{key}':")];
    let rest = names.iter().find_map(|name| line.strip_prefix(name.as_str()));
    rest.is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with('#'))
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

fn indent_of(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches(' ').len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        "http://127.0.0.1:4480".parse().unwrap()
    }

    fn hosts(hosts: &[&str]) -> BTreeSet<RegistryHost> {
        hosts.iter().map(|host| if *host == "*" { RegistryHost::all() } else { host.parse().unwrap() }).collect()
    }

    fn check(original: Option<&str>, registries: &[&str], expected: &str) {
        let new = edit(original, &endpoint(), &hosts(registries)).unwrap();
        assert_eq!(new, expected);
        assert!(hosts(registries).iter().all(|host| pointed(&new, &endpoint()).unwrap().contains(host)));
        assert_eq!(edit(Some(&new), &endpoint(), &hosts(registries)).unwrap(), new);
    }

    const ALL: &str = "mirrors:\n  \"*\":\n    endpoint:\n      - \"http://127.0.0.1:4480\"\n";

    #[test]
    fn the_node_is_the_first_endpoint_and_all_else_stays() {
        check(None, &["*"], ALL);
        check(Some("# mine\n"), &["*"], &format!("# mine\n{ALL}"));
        let configs = "configs:\n  a.b:\n    auth: { username: x, password: 1.5 }";
        check(Some(configs), &["*"], &format!("{configs}\n{ALL}"));
        check(
            Some(
                "mirrors: # all of them\n    # why\n    c.d:\n        endpoint:\n        # first\n        - https://m\n",
            ),
            &["a.b", "c.d"],
            "mirrors: # all of them\n    \"a.b\":\n      endpoint:\n        - \"http://127.0.0.1:4480\"\n    # why\n    \
             c.d:\n        endpoint:\n        # first\n        - \"http://127.0.0.1:4480\"\n        - https://m\n",
        );
        check(Some("mirrors:\n"), &["a.b"], "mirrors:\n  \"a.b\":\n    endpoint:\n      - \"http://127.0.0.1:4480\"\n");
    }

    #[test]
    fn a_file_that_cannot_be_edited_safely_is_refused() {
        for text in [
            "mirrors: { a.b: { endpoint: [https://m] } }\n",
            "mirrors:\n  a.b: { endpoint: [https://m] }\n",
            "mirrors:\n  a.b:\n    endpoint: [https://m]\n",
            "{}\n",
            "mirrors: [\n",
            "mirrors:\n  x: &x {}\n  y: *x\n---\na: 1\n",
            "- a\n",
            // The first `endpoint` behind the registry is another's.
            "mirrors:\n  a.b:\n    rewrite: {}\n  c.d:\n    endpoint:\n      - https://m\n",
        ] {
            assert!(edit(Some(text), &endpoint(), &hosts(&["a.b"])).is_err(), "{text}");
        }
    }
}
