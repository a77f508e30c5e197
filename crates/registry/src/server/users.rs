//! Users of a server: an htpasswd file with bcrypt hashes, and the `Authorization` header of RFC 7617.
//!
//! A client sends its password with each request, and bcrypt takes a tenth of a second. So a password that was right is
//! remembered, as a keyed hash that only this process can compute, until the file changes. Few passwords are checked at
//! a time: guesses cost their sender time, and this machine two threads.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Passwords that are checked at a time.
const CHECKS_MAX: usize = 2;
/// Users of one file, and its size: a line has about 80 bytes.
const USERS_MAX: usize = 10_000;
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Right passwords that are remembered.
const REMEMBERED_MAX: usize = 1024;
/// The most work of one hash: 2^14 rounds take about a second. htpasswd makes 2^5 unless told otherwise.
const COST_MAX: u32 = 14;
/// bcrypt reads so many bytes of a password.
const PASSWORD_BYTES_MAX: usize = 72;
/// The hash of a password that nobody knows. A name that is in no file takes as long as one that is.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuJvCXRIrHZ2IZIkTfMG6bYbbFSQvXgUi";

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}: {problem}", path.display())]
    Line { path: PathBuf, line: usize, problem: &'static str },
    #[error("this machine gives no random bytes")]
    Random,
}

/// See the module.
pub struct Users {
    path: PathBuf,
    hashes: RwLock<Arc<BTreeMap<String, String>>>,
    checks: Semaphore,
    /// Keyed hashes of names and passwords that were right.
    right: Mutex<BTreeSet<[u8; 32]>>,
    /// A secret of this process.
    key: [u8; 32],
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is no `name:hash` with a bcrypt hash; if this machine gives no randomness.
    pub fn open(path: &Path) -> Result<Self, UsersError> {
        let hashes = read(path)?;
        let mut key = [0; 32];
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random.fill(&mut key).map_err(|_| UsersError::Random)?;
        Ok(Self {
            path: path.to_owned(),
            hashes: RwLock::new(Arc::new(hashes)),
            checks: Semaphore::new(CHECKS_MAX),
            right: Mutex::default(),
            key,
        })
    }

    /// Reads the file again. If it has changed, passwords are checked anew.
    ///
    /// # Errors
    /// As [`Self::open`]; then the users stay as they were.
    pub fn reload(&self) -> Result<(), UsersError> {
        let hashes = read(&self.path)?;
        let mut known = self.hashes.write().unwrap_or_else(PoisonError::into_inner);
        if **known != hashes {
            *known = Arc::new(hashes);
            self.right.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        Ok(())
    }

    pub fn has(&self, name: &str) -> bool {
        self.hashes().contains_key(name)
    }

    fn hashes(&self) -> Arc<BTreeMap<String, String>> {
        self.hashes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The user whose name and password the header has. `None` if they are wrong. Dropping the future gives up.
    pub async fn authenticate(&self, authorization: &str) -> Option<String> {
        let (name, password) = basic(authorization)?;
        let hashes = self.hashes();
        let hash = hashes.get(&name).cloned();
        let fingerprint = self.fingerprint(&name, &password, hash.as_deref());
        if self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(&fingerprint) {
            return Some(name);
        }
        let _place = self.checks.acquire().await.ok()?;
        let is_known = hash.is_some();
        let check = move || bcrypt::verify(password, hash.as_deref().unwrap_or(NOBODY)).unwrap_or(false);
        let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false) && is_known;
        if !is_right {
            return None;
        }
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= REMEMBERED_MAX {
            right.clear();
        }
        right.insert(fingerprint);
        Some(name)
    }

    /// Over the hash of the file too: a password that was changed is not remembered.
    fn fingerprint(&self, name: &str, password: &str, hash: Option<&str>) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        for part in [name, password, hash.unwrap_or_default()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

/// Whether a header names nobody: podman sends an empty name where it has no credentials.
pub fn is_anonymous(authorization: Option<&str>) -> bool {
    authorization.is_none_or(|header| basic(header).is_some_and(|(name, _)| name.is_empty()))
}

/// The name and the password of a header (RFC 7617, section 2).
fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    let is_short = password.len() <= PASSWORD_BYTES_MAX && !password.contains('\0');
    is_short.then(|| (name.to_owned(), password.to_owned()))
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, UsersError> {
    let failed = |source| UsersError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let mut hashes = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |problem| UsersError::Line { path: path.to_owned(), line: index + 1, problem };
        let (name, hash) = line.split_once(':').ok_or_else(|| wrong("it is not name:hash"))?;
        let parts: bcrypt::HashParts =
            hash.parse().map_err(|_| wrong("its hash is not bcrypt's: make it with htpasswd -B"))?;
        if parts.get_cost() > COST_MAX {
            return Err(wrong("its hash has a cost over 14"));
        }
        if name.is_empty() || name == "*" {
            return Err(wrong("its name is empty or *"));
        }
        if hashes.len() >= USERS_MAX {
            return Err(wrong("the file has more than 10000 users"));
        }
        hashes.insert(name.to_owned(), hash.to_owned());
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bcrypt of "secret" with the least cost.
    fn line(name: &str, password: &str) -> String {
        format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn header(name: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
    }

    #[tokio::test]
    async fn users_are_known_by_their_passwords_until_the_file_changes() {
        let file = file(&format!("# people\n{}{}", line("ann", "secret"), line("bob", "other:one")));
        let users = Users::open(file.path()).unwrap();
        for _ in 0..2 {
            assert_eq!(users.authenticate(&header("ann", "secret")).await.as_deref(), Some("ann"));
        }
        assert_eq!(users.authenticate(&header("bob", "other:one")).await.as_deref(), Some("bob"));
        for wrong in [header("ann", "other:one"), header("eve", "secret"), header("", ""), "Bearer x".to_owned()] {
            assert_eq!(users.authenticate(&wrong).await, None, "{wrong}");
        }
        std::fs::write(file.path(), line("ann", "new")).unwrap();
        users.reload().unwrap();
        assert_eq!(users.authenticate(&header("ann", "secret")).await, None);
        assert_eq!(users.authenticate(&header("ann", "new")).await.as_deref(), Some("ann"));
        assert!(!users.has("bob"));
        // A file that cannot be read changes nothing.
        std::fs::write(file.path(), "ann\n").unwrap();
        assert!(users.reload().is_err() && users.has("ann"));
    }

    #[test]
    fn the_hash_of_nobody_can_be_compared() {
        assert!(!bcrypt::verify("", NOBODY).unwrap());
    }

    #[test]
    fn other_files_are_told_by_line() {
        for (text, problem) in [
            ("ann\n", ":1: it is not name:hash"),
            ("\nann:$apr1$x$y\n", ":2: its hash is not bcrypt's"),
            (&line("ann", "x").replace("$04$", "$31$"), ":1: its hash has a cost over 14"),
            (&line("*", "x"), ":1: its name is empty or *"),
        ] {
            let Err(error) = Users::open(file(text).path()) else { panic!("{text} is read") };
            assert!(error.to_string().contains(problem), "{error}");
        }
        assert!(Users::open(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn nobody_is_no_header_or_an_empty_name() {
        assert!(is_anonymous(None) && is_anonymous(Some(&header("", ""))));
        assert!(!is_anonymous(Some(&header("ann", ""))) && !is_anonymous(Some("Bearer x")));
    }
}
