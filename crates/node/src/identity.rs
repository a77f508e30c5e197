//! This node's identity: an ed25519 key in a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::{Keypair, ed25519};
use lighter_types::PeerId;
use lighter_wire::{Release, SIGNATURE_BYTES, SignedRelease};

/// The file in a node's data folder that holds its key: libp2p's protobuf encoding of the pair.
pub const KEY_FILE: &str = "identity.key";

/// Why a node's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("there is no key at {}", .0.display())]
    Missing(PathBuf),
    #[error("{} is not a key of this kind of node: an ed25519 key in libp2p's encoding", .0.display())]
    Malformed(PathBuf),
    #[error("others can read the key {} (mode {mode:o}, expected 600)", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is already there: a node keeps its identity", .0.display())]
    Exists(PathBuf),
    #[error("cannot use the key file {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A node's key.
#[derive(Clone)]
pub struct Identity {
    pair: ed25519::Keypair,
}

impl Identity {
    pub fn generate() -> Self {
        Self { pair: ed25519::Keypair::generate() }
    }

    /// Reads the key of the node whose data is in `data_dir`.
    ///
    /// # Errors
    /// If it is missing, malformed, or readable by others.
    pub fn open(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(KEY_FILE);
        let metadata = fs::metadata(&path).map_err(|error| open_error(&path, error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed { path, mode });
        }
        let bytes = fs::read(&path).map_err(|error| open_error(&path, error))?;
        let pair = Keypair::from_protobuf_encoding(&bytes).ok().and_then(|pair| pair.try_into_ed25519().ok());
        pair.map(|pair| Self { pair }).ok_or(IdentityError::Malformed(path))
    }

    /// Writes a new key into `data_dir`, which must be there. An existing key is never replaced.
    ///
    /// # Errors
    /// If there is a key, or the disk fails.
    pub fn create(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(KEY_FILE);
        let identity = Self::generate();
        write_key(&path, &identity.keypair()).map_err(|error| create_error(&path, error))?;
        Ok(identity)
    }

    pub fn keypair(&self) -> Keypair {
        self.pair.clone().into()
    }

    pub fn peer_id(&self) -> PeerId {
        PeerId::new(self.pair.public().to_bytes())
    }

    pub fn sign(&self, release: Release) -> SignedRelease {
        let made = self.pair.sign(&release.signed_bytes());
        let mut signature = [0; SIGNATURE_BYTES];
        // ed25519 signatures have 64 bytes (RFC 8032, section 5.1.6).
        signature.copy_from_slice(&made);
        SignedRelease { release, publisher: self.peer_id(), signature }
    }
}

fn open_error(path: &Path, source: io::Error) -> IdentityError {
    match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
        _ => IdentityError::Io { path: path.to_owned(), source },
    }
}

/// Writes a new file that only its owner can read.
fn write_key(path: &Path, key: &Keypair) -> io::Result<()> {
    let bytes = key.to_protobuf_encoding().map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()
}

fn create_error(path: &Path, source: io::Error) -> IdentityError {
    match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists(path.to_owned()),
        _ => IdentityError::Io { path: path.to_owned(), source },
    }
}

/// Whether the release was signed by the publisher it names.
pub fn is_signed(release: &SignedRelease) -> bool {
    ed25519::PublicKey::try_from_bytes(release.publisher.as_bytes())
        .is_ok_and(|key| key.verify(&release.release.signed_bytes(), &release.signature))
}

/// libp2p's name for a peer.
pub fn to_libp2p(peer: PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&peer.to_multihash()).ok()
}

/// Our name for a peer; `None` if its key is not ed25519.
pub fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_multihash(&peer.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_and_kept_secret() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Identity::open(folder.path()), Err(IdentityError::Missing(_))));
        let id = Identity::create(folder.path()).unwrap().peer_id();
        assert_eq!(Identity::open(folder.path()).unwrap().peer_id(), id);
        assert!(matches!(Identity::create(folder.path()), Err(IdentityError::Exists(_))));
        let path = folder.path().join(KEY_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Identity::open(folder.path()), Err(IdentityError::Exposed { mode: 0o644, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, b"junk").unwrap();
        assert!(matches!(Identity::open(folder.path()), Err(IdentityError::Malformed(_))));
    }

    #[test]
    fn names_are_libp2ps() {
        let identity = Identity::generate();
        let theirs = identity.keypair().public().to_peer_id();
        assert_eq!(theirs.to_string(), identity.peer_id().to_string());
        assert_eq!(from_libp2p(&theirs), Some(identity.peer_id()));
        assert_eq!(to_libp2p(identity.peer_id()), Some(theirs));
    }

    #[test]
    fn a_release_is_believed_only_as_it_was_signed() {
        let identity = Identity::generate();
        let manifest = lighter_types::OciDigest::new([1; 32]);
        let release = Release { reference: "a:b".parse().unwrap(), manifest, issued_s: 7, companions: None };
        let signed = identity.sign(release);
        assert!(is_signed(&signed));
        let mut other = signed.clone();
        other.release.issued_s = 8;
        assert!(!is_signed(&other));
        let mut other = signed.clone();
        other.publisher = Identity::generate().peer_id();
        assert!(!is_signed(&other));
    }
}
