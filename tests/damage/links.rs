//! Links and names that lead out of the image, and special files in the place of a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Victim, sample};
use crate::support::images::{Media, tar_entry};
use crate::support::until;

#[test]
fn links_that_lead_out_of_a_folder() {
    let mut victim = Victim::new();
    let files = sample(Media::Plain);
    let layer = files.layer_path(0);
    let secret = victim.folder("secret");
    fs::write(&secret, &files.0[&layer]).unwrap();
    // Links to a file outside, to itself, and to a folder outside.
    let dir = victim.folder("linked");
    files.write_to(&dir);
    fs::remove_file(dir.join(&layer)).unwrap();
    symlink(&secret, dir.join(&layer)).unwrap();
    victim.refuses("a link out", &dir, 3, &[&layer, "link out of the layout"]);
    fs::remove_file(dir.join(&layer)).unwrap();
    symlink(layer.rsplit('/').next().unwrap(), dir.join(&layer)).unwrap();
    victim.refuses("a link to itself", &dir, 3, &[&layer]);
    let outside = victim.folder("outside");
    fs::rename(dir.join("blobs"), &outside).unwrap();
    symlink(&outside, dir.join("blobs")).unwrap();
    victim.refuses("a folder elsewhere", &dir, 3, &["link out of the layout"]);
    fs::remove_file(dir.join("blobs")).unwrap();
    fs::create_dir_all(dir.join(&layer)).unwrap();
    victim.refuses("a folder for a file", &dir, 3, &[]);

    victim.finish();
}

/// A pipe or a device in the place of a file must not block imports. Nobody writes into the pipe.
#[test]
fn special_files_do_not_block_imports() {
    let mut victim = Victim::new();
    let files = sample(Media::Plain);
    let layer = files.layer_path(0);
    let dir = victim.folder("layout");
    files.write_to(&dir);
    fs::remove_file(dir.join(&layer)).unwrap();
    let archive = victim.folder("archive.tar");
    for path in [&dir.join(&layer), &archive] {
        assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    }
    for path in [&dir, &archive, Path::new("/dev/zero")] {
        let import = ["image", "import", path.to_str().unwrap(), "--name", "demo/app:1"];
        let mut client = victim.node().cli_command();
        let mut client = client.args(import).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let what = format!("the import of {}", path.display());
        let status = until(&what, Duration::from_secs(5), || client.try_wait().unwrap());
        assert!([2, 3].contains(&status.code().unwrap()), "{what}: {status}");
    }
    victim.finish();
}

#[test]
fn links_and_names_that_lead_out_of_an_archive() {
    let mut victim = Victim::new();
    let files = sample(Media::Plain);
    let layer = files.layer_path(0);
    let others = files.0.iter().filter(|(path, _)| **path != layer);
    let others: Vec<u8> = others.flat_map(|(path, bytes)| tar_entry(path, b'0', bytes, "")).collect();
    let end = vec![0; 1024];
    for (kind, target) in [(b'2', "../../../../secret"), (b'2', "/etc/passwd"), (b'1', "../secret"), (b'2', &*layer)] {
        let link = tar_entry(&layer, kind, b"", target);
        let damage = format!("link {} to {target}", kind as char);
        victim.refuses_archive(&damage, &[&others[..], &link, &end].concat(), 3, &[&layer]);
    }
    let climbing = tar_entry(&format!("../{layer}"), b'0', &files.0[&layer], "");
    victim.refuses_archive("a name with ..", &[&others[..], &climbing, &end].concat(), 3, &[]);
    let device = tar_entry(&layer, b'3', b"", "");
    victim.refuses_archive("a device", &[&others[..], &device, &end].concat(), 3, &[&layer]);
    let twice = tar_entry(&layer, b'0', &files.0[&layer], "");
    victim.refuses_archive("one name twice", &[&others[..], &twice, &twice, &end].concat(), 3, &[&layer]);
    victim.finish();
}
