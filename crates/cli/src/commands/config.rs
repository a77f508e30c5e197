//! `lighter config`.

use std::path::Path;

use lighter_node::config::{self, ConfigError, Layered, key_parts};
use tracing_subscriber::EnvFilter;

use crate::args::{ConfigCommand, ConfigSource};
use crate::exit::{Failure, Kind};
use crate::output::{Output, table};

pub fn run(command: ConfigCommand, output: &Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file } => {
            load(&ConfigSource { config: Some(file.clone()), set: Vec::new() })?;
            let note = format!("{} is right", file.display());
            output.done(&Checked { file: file.display().to_string() }, note)
        }
        ConfigCommand::Show { file, origin: false, set } => show(&load(&ConfigSource { config: file, set })?, output),
        ConfigCommand::Show { file, origin: true, set } => {
            show_origins(&load(&ConfigSource { config: file, set })?, output)
        }
    }
}

/// The result of `config check`.
#[derive(serde::Serialize)]
struct Checked {
    file: String,
}

/// The configuration that a command is to use.
pub fn load(source: &ConfigSource) -> Result<Layered, Failure> {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let layered = config::load(source.config.as_deref(), environment, &source.set).map_err(|error| failure(&error))?;
    // The library does not know the logger's grammar.
    if let Err(error) = EnvFilter::try_new(&layered.config.log.filter) {
        let origin = layered.origins.get("log.filter").map(ToString::to_string).unwrap_or_default();
        let message = format!("{origin}: log.filter: {error}");
        return Err(Failure::new(Kind::Config, message).hint("write a level, or as in \"info,lighter_node=debug\""));
    }
    Ok(layered)
}

fn failure(error: &ConfigError) -> Failure {
    let kind = match error {
        ConfigError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::NotFound,
        ConfigError::Read { .. }
        | ConfigError::Syntax { .. }
        | ConfigError::UnknownKey { .. }
        | ConfigError::BadValue { .. }
        | ConfigError::BadFlag(_) => Kind::Config,
    };
    let failure = Failure::from_error(kind, error);
    match error {
        ConfigError::UnknownKey { nearest: Some(key), .. } => failure.hint(format!("did you mean {key:?}?")),
        ConfigError::BadFlag(_) => failure.hint("write section.key=value, as in --set network.mdns=true"),
        ConfigError::Read { .. } => failure,
        ConfigError::Syntax { .. } | ConfigError::UnknownKey { .. } | ConfigError::BadValue { .. } => {
            failure.hint("configs/node.toml documents every key; `lighter node init` writes a copy")
        }
    }
}

/// One key of the configuration in force.
#[derive(serde::Serialize)]
struct Row {
    key: String,
    value: serde_json::Value,
    origin: String,
}

/// The configuration as TOML or JSON.
fn show(layered: &Layered, output: &Output) -> Result<(), Failure> {
    let text = toml::to_string(&layered.config).map_err(|error| Failure::from_error(Kind::Other, &error))?;
    output.value(&layered.config, |_| text.trim_end().to_owned())
}

/// A row for each key, with the origin of its value.
fn show_origins(layered: &Layered, output: &Output) -> Result<(), Failure> {
    let values = serde_json::to_value(&layered.config).map_err(|error| Failure::from_error(Kind::Other, &error))?;
    let mut rows = Vec::new();
    for (key, origin) in &layered.origins {
        let value = values.pointer(&format!("/{}", key_parts(key).join("/"))).cloned().unwrap_or_default();
        rows.push(Row { key: key.clone(), value, origin: origin.to_string() });
    }
    output.rows(&rows, |rows| {
        let mut table = table(&["key", "value", "origin"]);
        for row in rows {
            table.add_row([&row.key, &row.value.to_string(), &row.origin]);
        }
        table
    })
}

/// An absolute form of a path, for a node that has another working folder.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| Failure::file("find", path, &error))?;
    absolute.into_os_string().into_string().map_err(|path| {
        Failure::new(Kind::Usage, format!("{} is not UTF-8, so no request to the node can name it", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_named_only_where_a_key_or_a_value_is_wrong() {
        let path = || Path::new("node.toml").to_owned();
        let denied = ConfigError::Read { path: path(), source: std::io::ErrorKind::PermissionDenied.into() };
        assert_eq!(failure(&denied).hint_text(), None);
        let syntax = ConfigError::Syntax { path: path(), what: "x".to_owned() };
        assert!(failure(&syntax).hint_text().is_some_and(|hint| hint.contains("configs/node.toml")));
        let flag = failure(&ConfigError::BadFlag("x".to_owned()));
        assert!(flag.hint_text().is_some_and(|hint| hint.contains("section.key=value")));
    }
}
