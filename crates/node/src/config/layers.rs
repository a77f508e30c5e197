//! Puts a configuration together from its sources and says where each value came from.
//!
//! The sources, weakest first: the defaults, the file, the environment, the command line. They are merged as TOML
//! tables; the origin of each key is kept beside its value, so that an error names the source to change.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, UpstreamHost};

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A mistake in a configuration: what is wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not TOML: {what}", path.display())]
    Syntax { path: PathBuf, what: String },
    /// `nearest` is the known key that looks most like it.
    #[error("{place}: unknown key {key:?}")]
    UnknownKey { place: String, key: String, nearest: Option<String> },
    #[error("{place}: {key}: {what}")]
    BadValue { place: String, key: String, what: String },
    #[error("{0:?} is not a setting of the form section.key=value")]
    BadFlag(String),
}

/// A configuration, and the origin of each of its keys (`section.key`), in the order of keys.
#[derive(Clone, Debug)]
pub struct Layered {
    pub config: Config,
    pub origins: BTreeMap<String, Origin>,
}

/// One value on its way in.
struct Given {
    key: String,
    value: Value,
    origin: Origin,
    place: String,
}

/// Reads a configuration: defaults, then `file`, then `environment` (only names that start with `LIGHTER_` count, and
/// those the command line uses itself are skipped), then `flags` of the form `section.key=value`.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[String],
) -> Result<Layered, ConfigError> {
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let known: Vec<String> = flatten(&defaults).into_iter().map(|(key, _)| key).collect();
    let mut given = Vec::new();
    if let Some(path) = file {
        given.extend(from_file(path)?);
    }
    given.extend(from_environment(environment, &known)?);
    given.extend(flags.iter().map(|flag| from_flag(flag)).collect::<Result<Vec<_>, _>>()?);

    let mut merged = defaults.clone();
    let mut origins: BTreeMap<String, Origin> = known.iter().map(|key| (key.clone(), Origin::Default)).collect();
    let mut places = BTreeMap::new();
    for Given { key, value, origin, place } in given {
        let of_host = keys_of_host(&key);
        if !known.contains(&key) && !of_host.contains(&key) {
            let nearest = nearest(&key, known.iter().chain(&of_host));
            return Err(ConfigError::UnknownKey { place, key, nearest });
        }
        let mut alone = defaults.clone();
        set(&mut alone, &key, value.clone());
        if let Err(error) = Config::deserialize_from(alone) {
            return Err(ConfigError::BadValue { place, key, what: error });
        }
        set(&mut merged, &key, value);
        origins.insert(key.clone(), origin);
        places.insert(key, place);
    }
    let config = Config::deserialize_from(merged).map_err(|what| ConfigError::BadValue {
        place: "configuration".to_owned(),
        key: "all".to_owned(),
        what,
    })?;
    let wrong = config.check().map_err(|(key, what)| (key.to_owned(), what));
    if let Err((key, what)) = wrong.and_then(|()| config.check_upstream()) {
        let place = places.remove(&key).unwrap_or_else(|| "default".to_owned());
        return Err(ConfigError::BadValue { place, key, what });
    }
    Ok(Layered { config, origins })
}

impl Config {
    fn deserialize_from(table: Table) -> Result<Self, String> {
        table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }
}

fn from_file(path: &Path) -> Result<Vec<Given>, ConfigError> {
    let text = read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| ConfigError::Syntax { path: path.to_owned(), what: error.to_string() })?;
    let mut given = Vec::new();
    for (key, value) in flatten(&table) {
        let place = format!("{}:{}", path.display(), line_of(&text, &key));
        given.push(Given { place, origin: Origin::File(path.to_owned()), key, value });
    }
    Ok(given)
}

/// A longer file is no configuration: the whole template has 20 KB.
const FILE_BYTES_MAX: u64 = 4 << 20;

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let count = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if count as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Names that are LIGHTER_... and not keys: the command line's own.
const NOT_KEYS: [&str; 3] = ["LIGHTER_CONFIG", "LIGHTER_SOCKET", "LIGHTER_OUTPUT"];

fn from_environment(
    environment: impl IntoIterator<Item = (String, String)>,
    known: &[String],
) -> Result<Vec<Given>, ConfigError> {
    let mut given = Vec::new();
    for (name, text) in environment {
        if !name.starts_with("LIGHTER_") || NOT_KEYS.contains(&name.as_str()) {
            continue;
        }
        let Some(key) = known.iter().find(|key| variable(key) == name) else {
            let variables: Vec<String> = known.iter().map(|key| variable(key)).collect();
            let nearest = nearest(&name, variables.iter());
            return Err(ConfigError::UnknownKey { place: "environment".to_owned(), key: name, nearest });
        };
        let place = format!("environment {name}");
        given.push(Given { key: key.clone(), value: value(&text), origin: Origin::Environment(name), place });
    }
    Ok(given)
}

fn from_flag(flag: &str) -> Result<Given, ConfigError> {
    let (key, text) = flag.split_once('=').ok_or_else(|| ConfigError::BadFlag(flag.to_owned()))?;
    let place = format!("--set {key}");
    Ok(Given { key: key.trim().to_owned(), value: value(text), origin: Origin::CommandLine, place })
}

fn variable(key: &str) -> String {
    format!("LIGHTER_{}", key.replace('.', "_").to_uppercase())
}

/// A TOML value; what is none is text.
fn value(text: &str) -> Value {
    let read: Option<Value> = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    read.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut keys = Vec::new();
    for (name, value) in table {
        let name = part(name);
        match value {
            Value::Table(section) => {
                keys.extend(flatten(section).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => keys.push((name, value.clone())),
        }
    }
    keys
}

/// A part of a key as TOML writes it: in quotes if it has other characters than a bare key may have, as hosts do.
pub(super) fn part(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.to_owned() } else { format!("\"{name}\"") }
}

/// The parts of a key, without quotes.
pub fn key_parts(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for character in key.chars() {
        match (character, parts.last_mut()) {
            ('"', _) => is_quoted = !is_quoted,
            ('.', _) if !is_quoted => parts.push(String::new()),
            (character, Some(last)) => last.push(character),
            (_, None) => {}
        }
    }
    parts
}

/// The keys that the host of a key below `upstream` may have; none of any other key.
fn keys_of_host(key: &str) -> Vec<String> {
    let parts = key_parts(key);
    let ["upstream", host, _] = parts.iter().map(String::as_str).collect::<Vec<_>>()[..] else { return Vec::new() };
    let known = Table::try_from(UpstreamHost::default()).unwrap_or_default();
    // A key may be written with quotes that it does not need.
    let section = key.rsplit_once('.').map_or("", |(section, _)| section);
    let sections = [section.to_owned(), format!("upstream.{}", part(host))];
    sections.iter().flat_map(|section| known.keys().map(move |name| format!("{section}.{name}"))).collect()
}

fn set(table: &mut Table, key: &str, value: Value) {
    let mut parts = key_parts(key);
    let Some(name) = parts.pop() else { return };
    let mut table = table;
    for section in parts {
        // Hosts below `upstream` are not among the defaults.
        let below = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(below) = below else { return };
        table = below;
    }
    table.insert(name, value);
}

fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let candidates = known.map(|candidate| (similarity(key, candidate), candidate));
    let best = candidates.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.6).then(|| best.1.clone())
}

/// How alike two keys are, from 0 to 1. The right key in the wrong section counts, too.
fn similarity(one: &str, other: &str) -> f64 {
    let alike = strsim::normalized_damerau_levenshtein;
    alike(one, other).max(alike(last_part(one), last_part(other)) * 0.95)
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or_default()
}

/// The line of a key in the file, 1 if it is written in a way that is not found.
fn line_of(text: &str, key: &str) -> usize {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut current = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.rsplit_once(']').map_or(header, |(name, _)| name);
            header.trim_start_matches('[').trim_end_matches(']').trim().clone_into(&mut current);
            // A list of tables.
            if line.starts_with("[[") && current == key {
                return number + 1;
            }
        }
        let starts = line.split(['=', '.']).next().unwrap_or_default().trim().trim_matches('"');
        let dotted = line.split('=').next().unwrap_or_default().replace(' ', "");
        if (current == section && starts == name) || (current.is_empty() && dotted == key) {
            return number + 1;
        }
    }
    1
}
