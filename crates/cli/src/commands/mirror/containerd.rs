//! containerd's `certs.d/HOST/hosts.toml`: a table for each host that is asked before the registry, in their order.
//!
//! The source is containerd's own page on registry hosts. A file that is there is edited as text, so that its comments
//! and its order stay; the result is parsed and compared with what it must mean.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::edit::EditError;
use crate::args::{Endpoint, RegistryHost};

const CAPABILITIES: [&str; 2] = ["pull", "resolve"];

/// The folder of a registry below `certs.d`.
pub fn folder(registry: &RegistryHost) -> &str {
    if registry.is_all() { "_default" } else { registry.as_str() }
}

/// The file with the endpoint as the first host.
pub fn edit(
    original: Option<&str>,
    endpoint: &Endpoint,
    registries: &BTreeSet<RegistryHost>,
) -> Result<String, EditError> {
    let table = table_of(endpoint);
    let Some(text) = original else {
        // Without a server, containerd asks the registry that the image names.
        let named = registries.iter().find(|registry| !registry.is_all());
        let server = named.map(|registry| format!("server = {:?}\n\n", registry.server())).unwrap_or_default();
        return Ok(format!("{server}{table}"));
    };
    let old = parse(text)?;
    if hosts(&old).contains(&endpoint.to_string()) {
        return Ok(text.to_owned());
    }
    let new = with_table(text, &table);
    let mut expected = old.clone();
    let host = expected.entry("host").or_insert_with(|| Value::Table(Table::new()));
    let capabilities = CAPABILITIES.map(|capability| Value::String(capability.to_owned())).to_vec();
    let entry = Table::from_iter([("capabilities".to_owned(), Value::Array(capabilities))]);
    if let Some(host) = host.as_table_mut() {
        host.insert(endpoint.to_string(), Value::Table(entry));
    }
    match parse(&new) {
        Ok(found) if found == expected && (hosts(&old).is_empty() || first_header(text).is_some()) => Ok(new),
        Ok(_) | Err(_) => Err(EditError::new("its hosts are not written as tables ([host.\"URL\"])", table)),
    }
}

/// Whether this file makes containerd ask the endpoint.
pub fn points(text: &str, endpoint: &Endpoint) -> Result<bool, EditError> {
    Ok(hosts(&parse(text)?).contains(&endpoint.to_string()))
}

/// Whether the CRI plugin of a `config.toml` reads folders of registries.
pub fn has_config_path(config: &str) -> bool {
    fn is_set(value: &Value) -> bool {
        let Some(table) = value.as_table() else { return false };
        let path = table.get("registry").and_then(|registry| registry.get("config_path"));
        path.and_then(Value::as_str).is_some_and(|path| !path.is_empty()) || table.values().any(is_set)
    }
    config.parse::<Table>().is_ok_and(|config| is_set(&Value::Table(config)))
}

fn table_of(endpoint: &Endpoint) -> String {
    let [pull, resolve] = CAPABILITIES;
    format!("[host.\"{endpoint}\"]\n  capabilities = [\"{pull}\", \"{resolve}\"]\n")
}

fn parse(text: &str) -> Result<Table, EditError> {
    text.parse::<Table>().map_err(|error| EditError::unreadable("TOML", error.message()))
}

fn hosts(file: &Table) -> BTreeSet<String> {
    let hosts = file.get("host").and_then(Value::as_table);
    hosts.map(|hosts| hosts.keys().map(|host| host.trim_end_matches('/').to_owned()).collect()).unwrap_or_default()
}

/// The offset of the first host's table.
fn first_header(text: &str) -> Option<usize> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("[host.") {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}

/// The file with one table more, before the other hosts.
fn with_table(text: &str, table: &str) -> String {
    match first_header(text) {
        Some(offset) => format!("{}{table}\n{}", &text[..offset], &text[offset..]),
        None if text.is_empty() || text.ends_with('\n') => format!("{text}\n{table}"),
        None => format!("{text}\n\n{table}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        "http://127.0.0.1:4480".parse().unwrap()
    }

    fn check(original: Option<&str>, registry: &str, expected: &str) {
        let registry = if registry == "*" { RegistryHost::all() } else { registry.parse().unwrap() };
        let new = edit(original, &endpoint(), &BTreeSet::from([registry.clone()])).unwrap();
        assert_eq!(new, expected);
        assert!(points(&new, &endpoint()).unwrap());
        assert_eq!(edit(Some(&new), &endpoint(), &BTreeSet::from([registry])).unwrap(), new);
    }

    const HOST: &str = "[host.\"http://127.0.0.1:4480\"]\n  capabilities = [\"pull\", \"resolve\"]\n";

    #[test]
    fn the_node_is_the_first_host_and_all_else_stays() {
        check(None, "registry.example", &format!("server = \"https://registry.example\"\n\n{HOST}"));
        check(None, "docker.io", &format!("server = \"https://registry-1.docker.io\"\n\n{HOST}"));
        check(None, "*", HOST);
        let other = "[host.\"https://mirror.example\"]\n  skip_verify = true # why\n";
        check(
            Some(&format!("server = \"x\"\n# ours\n{other}")),
            "a.b",
            &format!("server = \"x\"\n# ours\n{HOST}\n{other}"),
        );
        check(Some("server = \"x\""), "a.b", &format!("server = \"x\"\n\n{HOST}"));
    }

    #[test]
    fn a_file_that_cannot_be_edited_safely_is_refused() {
        let registries = BTreeSet::from(["a.b".parse().unwrap()]);
        for text in [
            "server = ",
            "host = { \"https://m.example\" = { skip_verify = true } }",
            "host.\"https://m.example\".skip_verify = true",
            "[ host . \"https://m.example\" ]\nskip_verify = true",
            "x = \"\"\"\n[host.\"\"\"\n",
            "host = 1",
        ] {
            assert!(edit(Some(text), &endpoint(), &registries).is_err(), "{text}");
        }
    }

    #[test]
    fn the_path_of_the_cri_plugin_is_found_in_both_versions_of_its_configuration() {
        assert!(has_config_path(
            "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\""
        ));
        assert!(has_config_path("[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/x'"));
        for config in
            ["", "x", "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"", "config_path = \"/x\""]
        {
            assert!(!has_config_path(config), "{config}");
        }
    }
}
