//! A real registry (Debian's docker-registry) as a child process, and skopeo to fill it.
//!
//! The machine chooses the port: the registry says in its log where it listens.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lighter_tests::images::ImageFiles;

use super::{folder, loopback, until};

const START_LIMIT: Duration = Duration::from_secs(30);
/// `ann` with the password `secret`, by bcrypt: docker-registry takes no other hash.
const HTPASSWD: &str = "ann:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A running registry. Dropping it kills the process.
pub struct RegistryProcess {
    child: Child,
    folder: tempfile::TempDir,
    /// Host and port.
    pub host: String,
    is_private: bool,
}

impl RegistryProcess {
    /// A registry over plain HTTP for everybody.
    pub fn start() -> Self {
        let folder = folder();
        let config = config(folder.path(), "");
        Self::spawn(folder, &config, false)
    }

    /// A registry over HTTPS that wants [`HTPASSWD`]. Its certificate is `ca.crt` in [`Self::path`].
    pub fn start_private() -> Self {
        let folder = folder();
        let certified = rcgen::generate_simple_self_signed([loopback()]).expect("a certificate");
        fs::create_dir(folder.path().join("certs")).expect("a folder");
        let certificate = folder.path().join("certs/ca.crt");
        fs::write(&certificate, certified.cert.pem()).expect("a certificate's file");
        let key = folder.path().join("key.pem");
        fs::write(&key, certified.key_pair.serialize_pem()).expect("a key's file");
        let htpasswd = folder.path().join("htpasswd");
        fs::write(&htpasswd, HTPASSWD).expect("a file of passwords");
        let tls = format!(
            "  tls: {{ certificate: {}, key: {} }}\nauth: {{ htpasswd: {{ realm: test, path: {} }} }}\n",
            certificate.display(),
            key.display(),
            htpasswd.display()
        );
        let config = config(folder.path(), &tls);
        Self::spawn(folder, &config, true)
    }

    fn spawn(folder: tempfile::TempDir, config: &str, is_private: bool) -> Self {
        let (path, log) = (folder.path().join("config.yml"), folder.path().join("log"));
        fs::write(&path, config).expect("a configuration");
        let output = File::create(&log).expect("a log");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a log")).stderr(output);
        let mut child = command.spawn().expect("docker-registry, which `make test` installs");
        let host = until("the registry's address", START_LIMIT, || {
            let text = fs::read_to_string(&log).expect("a log");
            if let Some(status) = child.try_wait().expect("the child's status") {
                panic!("docker-registry ended with {status}:\n{text}");
            }
            let rest = text.split("listening on ").nth(1)?;
            let end = rest.find(['"', ','])?;
            Some(rest[..end].to_owned())
        });
        Self { child, folder, host, is_private }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How often the log has a text.
    pub fn logged(&self, text: &str) -> usize {
        fs::read_to_string(self.path("log")).expect("a log").matches(text).count()
    }

    /// Pushes a layout as `name` with skopeo, and returns the digest of the manifest that the registry has.
    pub fn push(&self, files: &ImageFiles, name: &str) -> String {
        let layout = self.path(&format!("layout-{}", name.replace(['/', ':'], "-")));
        files.write_to(&layout);
        let to = format!("docker://{}/{name}", self.host);
        let from = format!("oci:{}", layout.display());
        let access = |prefix: &str| match self.is_private {
            true => vec![
                format!("--{prefix}cert-dir={}", self.path("certs").display()),
                format!("--{prefix}creds=ann:secret"),
            ],
            false => vec![format!("--{prefix}tls-verify=false")],
        };
        let copy = ["copy".to_owned(), "-q".to_owned()].into_iter().chain(access("dest-")).chain([from, to.clone()]);
        skopeo(copy.collect());
        let inspect = ["inspect".to_owned(), "--raw".to_owned()].into_iter().chain(access("")).chain([to]);
        lighter_tests::images::sha256(&skopeo(inspect.collect()))
    }
}

impl Drop for RegistryProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(folder: &Path, more: &str) -> String {
    format!(
        "version: 0.1\nlog: {{ level: info, fields: {{}} }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
         http:\n  addr: {}:0\n{more}",
        folder.join("data").display(),
        loopback()
    )
}

fn skopeo(args: Vec<String>) -> Vec<u8> {
    let output = Command::new("skopeo").args(&args).output().expect("skopeo, which `make test` installs");
    assert!(output.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
