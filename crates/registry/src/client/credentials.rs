//! User names and passwords: from docker's `config.json`, its credential helpers, or a file with a password.
//!
//! Sources: docker's reference, "docker login", "Credential stores" and "Credential helpers"; the protocol of
//! docker-credential-helpers (`get`: the server's address on standard input, JSON on standard output).

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::reference::{DOCKER_HUB, registry_name};
use super::settings::Credentials;

/// The largest `config.json` or file with a password.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The longest output of a helper.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// A helper must be done within this time; those of clouds ask a server.
const HELPER_MAX: Duration = Duration::from_secs(15);
/// The name of Docker Hub in `config.json` and for helpers.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name with which a helper says that its secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Credentials for a registry. They are not printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Password {
        username: String,
        password: String,
    },
    /// A token that a realm changes into another one (OAuth 2, `refresh_token`).
    IdentityToken(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// Why configured credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not docker's config.json", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{} has an entry for {host} that is not base64 of name:password", path.display())]
    Entry { path: PathBuf, host: String },
    #[error("cannot run the credential helper {program}")]
    Run { program: String, source: io::Error },
    #[error("the credential helper {program} {problem}")]
    Helper { program: String, problem: String },
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Reads the credentials for a registry; `None` if the file has none for it. Dropping the future ends a helper.
///
/// # Errors
/// A file cannot be read or is malformed; a helper fails, takes too long or says too much.
pub(super) async fn read(credentials: &Credentials, host: &str) -> Result<Option<Login>, CredentialsError> {
    match credentials {
        Credentials::Password { username, password_file } => {
            let password = read_file(password_file).await?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            Ok(Some(Login::Password { username: username.clone(), password }))
        }
        Credentials::DockerConfig(path) => {
            let text = read_file(path).await?;
            let config: DockerConfig =
                serde_json::from_str(&text).map_err(|source| CredentialsError::Json { path: path.clone(), source })?;
            of_config(config, path, registry_name(host)).await
        }
    }
}

async fn of_config(config: DockerConfig, path: &Path, host: &str) -> Result<Option<Login>, CredentialsError> {
    let keys = keys(host);
    if let Some(helper) = keys.iter().find_map(|key| config.cred_helpers.get(key)) {
        return ask_helper(helper, &keys[0]).await;
    }
    if !config.creds_store.is_empty() {
        return ask_helper(&config.creds_store, &keys[0]).await;
    }
    match keys.iter().find_map(|key| config.auths.get(key)) {
        Some(entry) => {
            of_entry(entry).ok_or_else(|| CredentialsError::Entry { path: path.to_owned(), host: host.to_owned() })
        }
        None => Ok(None),
    }
}

/// The names under which `config.json` may have a registry; the first is the one that helpers know.
fn keys(host: &str) -> Vec<String> {
    if host == DOCKER_HUB {
        return vec![DOCKER_HUB_KEY.to_owned(), "index.docker.io".to_owned(), DOCKER_HUB.to_owned()];
    }
    vec![host.to_owned(), format!("https://{host}"), format!("https://{host}/"), format!("https://{host}/v1/")]
}

/// The login of an entry, none of an empty one; `None` for a malformed one.
fn of_entry(entry: &Entry) -> Option<Option<Login>> {
    if !entry.identitytoken.is_empty() {
        return Some(Some(Login::IdentityToken(entry.identitytoken.clone())));
    }
    if entry.auth.is_empty() {
        let (username, password) = (entry.username.clone(), entry.password.clone());
        return Some((!username.is_empty()).then_some(Login::Password { username, password }));
    }
    let decoded = String::from_utf8(STANDARD.decode(&entry.auth).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(Some(Login::Password { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() }))
}

async fn ask_helper(name: &str, server: &str) -> Result<Option<Login>, CredentialsError> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let program = format!("docker-credential-{name}");
    if is_name { ask_program(&program, server).await } else { Err(failed(&program, "has a name that is no program's")) }
}

fn failed(program: &str, problem: &str) -> CredentialsError {
    CredentialsError::Helper { program: program.to_owned(), problem: problem.to_owned() }
}

async fn ask_program(program: &str, server: &str) -> Result<Option<Login>, CredentialsError> {
    let failed = |problem: &str| failed(program, problem);
    let ended = timeout(HELPER_MAX, run_helper(program, server)).await;
    let ended = ended.map_err(|_| failed(&format!("did not answer within {} s", HELPER_MAX.as_secs())))?;
    let run_error = |source| CredentialsError::Run { program: program.to_owned(), source };
    let (is_success, output) = ended.map_err(run_error)?;
    if output.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(failed("says more than 64 KiB"));
    }
    if !is_success {
        // The protocol has no code for it: helpers print one of these lines.
        let is_none = ["credentials not found", "no credentials"].iter().any(|line| contains(&output, line));
        return if is_none { Ok(None) } else { Err(failed("failed")) };
    }
    let answer: HelperAnswer = serde_json::from_slice(&output).map_err(|_| failed("gives no username and secret"))?;
    Ok(Some(match answer {
        HelperAnswer { username, secret } if username == TOKEN_USER => Login::IdentityToken(secret),
        HelperAnswer { username, secret } => Login::Password { username, password: secret },
    }))
}

fn contains(output: &[u8], line: &str) -> bool {
    String::from_utf8_lossy(output).to_ascii_lowercase().contains(line)
}

/// Runs a helper: whether it succeeded, and at most a byte more than [`OUTPUT_BYTES_MAX`] of its output.
async fn run_helper(program: &str, server: &str) -> io::Result<(bool, Vec<u8>)> {
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read is judged by what it says.
        let _ = input.write_all(format!("{server}\n").as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut output).await?;
    }
    if output.len() as u64 > OUTPUT_BYTES_MAX {
        return Ok((false, output));
    }
    Ok((child.wait().await?.success(), output))
}

async fn read_file(path: &Path) -> Result<String, CredentialsError> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_small(&owned)).await;
    let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
    read.map_err(|source| CredentialsError::Read { path: path.to_owned(), source })
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)? as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
