//! This node's identity: an ed25519 key in a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::{Keypair, ed25519};
use lighter_types::PeerId;
use lighter_wire::{Cosignature, Handover, Release, SIGNATURE_BYTES, SignedHandover, SignedRelease};

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
        let signature = self.signature(&release.signed_bytes());
        SignedRelease { release, publisher: self.peer_id(), signature, cosignatures: Vec::new() }
    }

    /// Adds a signature to a release of another publisher.
    pub fn cosign(&self, release: &mut SignedRelease) {
        let signature = self.signature(&release.release.signed_bytes());
        release.cosignatures.push(Cosignature { publisher: self.peer_id(), signature });
    }

    /// Signs a handover, which this key must make.
    pub fn hand_over(&self, handover: Handover) -> SignedHandover {
        let signature = self.signature(&handover.signed_bytes());
        SignedHandover { handover, signature }
    }

    fn signature(&self, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let made = self.pair.sign(bytes);
        let mut signature = [0; SIGNATURE_BYTES];
        // ed25519 signatures have 64 bytes (RFC 8032, section 5.1.6).
        signature.copy_from_slice(&made);
        signature
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

/// Whether this key made the signature over these bytes.
pub fn has_signed(key: PeerId, bytes: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    ed25519::PublicKey::try_from_bytes(key.as_bytes()).is_ok_and(|key| key.verify(bytes, signature))
}

/// Whether the key that a handover takes the right from signed it.
pub fn is_handed_over(signed: &SignedHandover) -> bool {
    has_signed(signed.handover.from, &signed.handover.signed_bytes(), &signed.signature)
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
        let release =
            Release { reference: "a:b".parse().unwrap(), manifest, issued_s: 7, companions: None, bounds: None };
        let signed = identity.sign(release);
        let is_signed =
            |signed: &SignedRelease| has_signed(signed.publisher, &signed.release.signed_bytes(), &signed.signature);
        assert!(is_signed(&signed));
        let mut other = signed.clone();
        other.release.issued_s = 8;
        assert!(!is_signed(&other));
        let mut other = signed.clone();
        other.publisher = Identity::generate().peer_id();
        assert!(!is_signed(&other));
    }
}
