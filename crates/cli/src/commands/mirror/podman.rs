//! `registries.conf.d/lighter.conf` of podman, buildah, skopeo and CRI-O: a file of our own.
//!
//! The source is containers-registries.conf(5) and containers-registries.conf.d(5). A registry that two files name has
//! the settings of the file that is read last, and not of both. So a registry that another file names is refused.

use std::collections::BTreeSet;
use std::fmt::Write;

use toml::{Table, Value};

use super::edit::EditError;
use crate::args::{Endpoint, RegistryHost};

/// The file, with a mirror for each registry.
pub fn edit(
    original: Option<&str>,
    endpoint: &Endpoint,
    registries: &BTreeSet<RegistryHost>,
) -> Result<String, EditError> {
    let mut text = String::new();
    for registry in registries {
        let separator = if text.is_empty() { "" } else { "\n" };
        let _ = write!(
            text,
            "{separator}[[registry]]\nprefix = \"{registry}\"\nlocation = \"{registry}\"\n\n[[registry.mirror]]\n\
             location = \"{}\"\ninsecure = {}\n",
            mirror(endpoint, registry),
            endpoint.is_plain()
        );
    }
    match original {
        Some(there) if there != text => Err(EditError::new("`lighter mirror` did not write it", text)),
        Some(_) | None => Ok(text),
    }
}

/// The registries for which this file makes podman ask the endpoint.
pub fn pointed(text: &str, endpoint: &Endpoint) -> Result<Vec<RegistryHost>, EditError> {
    let file = parse(text)?;
    let asks = |entry: &Value, registry: &RegistryHost| {
        let mirrors = entry.get("mirror").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        mirrors.iter().any(|found| found.get("location").and_then(Value::as_str) == Some(&mirror(endpoint, registry)))
    };
    let found = entries(&file).iter().filter_map(|entry| {
        let registry: RegistryHost = prefix(entry)?.parse().ok()?;
        asks(entry, &registry).then_some(registry)
    });
    Ok(found.collect())
}

/// Those of the registries that a file has settings for.
pub fn named(text: &str, registries: &BTreeSet<RegistryHost>) -> Result<Vec<RegistryHost>, EditError> {
    let file = parse(text)?;
    let prefixes: BTreeSet<&str> = entries(&file).iter().filter_map(prefix).collect();
    Ok(registries.iter().filter(|registry| prefixes.contains(registry.as_str())).cloned().collect())
}

/// The repositories of a registry at the node are those below its name.
pub fn mirror(endpoint: &Endpoint, registry: &RegistryHost) -> String {
    format!("{}/{registry}", endpoint.authority())
}

fn parse(text: &str) -> Result<Table, EditError> {
    text.parse::<Table>().map_err(|error| EditError::unreadable("TOML", error.message()))
}

fn entries(file: &Table) -> &[Value] {
    file.get("registry").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn prefix(entry: &Value) -> Option<&str> {
    entry.get("prefix").or_else(|| entry.get("location"))?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        "http://127.0.0.1:4480".parse().unwrap()
    }

    fn hosts(hosts: &[&str]) -> BTreeSet<RegistryHost> {
        hosts.iter().map(|host| host.parse().unwrap()).collect()
    }

    #[test]
    fn each_registry_has_the_node_as_its_mirror() {
        let text = edit(None, &endpoint(), &hosts(&["registry.example", "docker.io"])).unwrap();
        assert!(
            text.starts_with("[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\n[[registry.mirror]]\n")
        );
        assert!(text.contains("location = \"127.0.0.1:4480/registry.example\"\ninsecure = true\n"));
        assert_eq!(pointed(&text, &endpoint()).unwrap(), Vec::from_iter(hosts(&["registry.example", "docker.io"])));
        assert_eq!(pointed(&text, &"http://127.0.0.1:1".parse().unwrap()).unwrap(), []);
        assert_eq!(edit(Some(&text), &endpoint(), &hosts(&["registry.example", "docker.io"])).unwrap(), text);
        assert!(edit(Some("# mine\n"), &endpoint(), &hosts(&["a.b"])).is_err());
    }

    #[test]
    fn registries_that_other_files_name_are_found() {
        let other = "unqualified-search-registries = [\"docker.io\"]\n[[registry]]\nlocation = \"a.b\"\nblocked = true\n\
                     [[registry]]\nprefix = \"c.d\"\nlocation = \"e.f\"\n";
        assert_eq!(
            named(other, &hosts(&["a.b", "c.d", "e.f", "docker.io"])).unwrap(),
            Vec::from_iter(hosts(&["a.b", "c.d"]))
        );
        assert!(named("[[registry", &hosts(&["a.b"])).is_err());
    }
}
