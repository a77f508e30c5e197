//! The command `lighter patch` on plain files, without a node.
//!
//! The tests run the binary as a user does. Patches must rebuild their targets; wrong bases, damaged patches and
//! unwritable outputs must be refused with the right exit code and leave no output behind; VCDIFF must go to and from
//! the stock xdelta3, which these tests need (`apt install xdelta3`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Run, finish, folder, images, repository, run};

/// A folder of files.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(folder())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs `patch create` on files of the folder. Writes the file `patch`.
    fn create(&self, target: &str, bases: &[&str], more: &[&str]) -> Run {
        let (target, out) = (self.path(target), self.path("patch"));
        self.patch(&["create", "--target", &target, "--out", &out], bases, more)
    }

    /// Runs `patch apply` on the file `patch`. Writes the file `out`.
    fn apply(&self, bases: &[&str]) -> Run {
        let (patch, out) = (self.path("patch"), self.path("out"));
        self.patch(&["apply", "--patch", &patch, "--out", &out], bases, &[])
    }

    fn patch(&self, args: &[&str], bases: &[&str], more: &[&str]) -> Run {
        let mut all = vec!["patch".to_owned()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        for base in bases {
            all.extend(["--base".to_owned(), self.path(base)]);
        }
        all.extend(more.iter().map(|arg| (*arg).to_owned()));
        run(&all)
    }
}

/// Makes a patch and applies it. The result must be the target, and the patch at most this large.
fn check_round_trip(target: &[u8], bases: &[&[u8]], patch_bytes_max: usize) {
    let bench = Bench::new();
    bench.put("target", target);
    let names: Vec<String> = (0..bases.len()).map(|index| format!("base{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (name, base) in names.iter().zip(bases) {
        bench.put(name, base);
    }
    bench.create("target", &names, &[]).ok();
    let reversed: Vec<&str> = names.iter().rev().copied().collect();
    bench.apply(&reversed).ok();
    assert!(bench.get("out") == target, "the target of {} bytes was rebuilt wrongly", target.len());
    let found = bench.get("patch").len();
    assert!(found <= patch_bytes_max, "a patch of {found} bytes, at most {patch_bytes_max} expected");
    let shown = run(&["-o", "json", "patch", "show", &bench.path("patch")]).ok().json();
    assert_eq!(shown["patch_bytes"], found);
    assert_eq!(shown["target"], images::sha256(target));
}

#[test]
fn patches_rebuild_their_targets() {
    let (first, second) = images::two_releases(3, 4 << 20);
    check_round_trip(&second, &[&first], second.len() / 20);
    check_round_trip(&first, &[&second], first.len() / 10);
    check_round_trip(&second, &[], second.len() * 3 / 4);
}

#[test]
fn empty_and_tiny_files_are_patched() {
    let noise = images::noise(4, 100_000);
    check_round_trip(b"", &[], 200);
    check_round_trip(b"", &[&noise], 200);
    check_round_trip(&noise, &[b""], noise.len() + 200);
    check_round_trip(b"x", &[b"y"], 200);
    check_round_trip(&noise, &[&noise], 500);
    check_round_trip(&vec![0; 20 << 20], &[], 20_000);
    // Stock xdelta3 needs as many bytes, because it copies from the source only once.
    check_round_trip(&[&noise[..], &noise[..]].concat(), &[&noise], noise.len() + 500);
}

#[test]
fn several_bases_serve_one_patch() {
    let parts: Vec<Vec<u8>> = (0..3).map(|seed| images::noise(seed, 3 << 20)).collect();
    let two = [&parts[1][..], &parts[0][..], b"and more"].concat();
    check_round_trip(&two, &[&parts[0], &parts[1]], two.len() / 100);
    let three = [&parts[1][..], &parts[0][..], &parts[2][..], b"and more"].concat();
    check_round_trip(&three, &[&parts[0], &parts[1], &parts[2]], three.len() / 100);
}

#[test]
fn a_new_file_that_occurs_twice_is_sent_once() {
    let (old, new) = (images::noise(5, 1 << 20), images::noise(6, 3_000_001));
    let target = images::tar(&[("a/old", &old), ("a/new", &new), ("b/new", &new), ("c/new", &new)]);
    check_round_trip(&target, &[&images::tar(&[("a/old", &old)])], new.len() + 1000);
    check_round_trip(&target, &[], old.len() + new.len() + 1000);
}

#[test]
fn the_same_input_makes_the_same_patch_on_any_number_of_threads() {
    let bench = Bench::new();
    let (base, target) = images::two_releases(5, 20 << 20);
    bench.put("base", &base);
    bench.put("target", &target);
    let mut patches = Vec::new();
    for threads in ["1", "2", "2", "3"] {
        bench.create("target", &["base"], &["--threads", threads]).ok();
        patches.push(bench.get("patch"));
    }
    assert!(patches.windows(2).all(|pair| pair[0] == pair[1]), "patches differ");
}

#[test]
fn an_effort_is_chosen_for_a_link_and_its_receivers() {
    let bench = Bench::new();
    bench.put("base", &images::noise(1, 2 << 20));
    bench.put("target", &[images::noise(1, 1 << 20), images::noise(2, 300 << 10)].concat());
    assert_eq!(chosen_effort(&bench, "64 kbit/s", "1"), "max");
    assert_ne!(chosen_effort(&bench, "unlimited", "1"), "max");
    assert_eq!(chosen_effort(&bench, "100 Mbit/s", "100000"), "max");
    for (more, text) in [
        (&["--effort", "auto"][..], "--rate"),
        (&["--rate", "1 Mbit/s"], "--effort auto"),
        (&["--effort", "auto", "--rate", "fast"], "20 Mbit/s"),
        (&["--effort", "auto", "--rate", "1 Mbit/s", "--receivers", "0"], "--receivers"),
    ] {
        bench.create("target", &["base"], more).fails(2, &[text]);
    }
}

/// The effort that `auto` chooses. The patch must be the same as with that effort by name.
fn chosen_effort(bench: &Bench, rate: &str, receivers: &str) -> String {
    let auto = ["--effort", "auto", "--rate", rate, "--receivers", receivers, "-o", "json"];
    let created = bench.create("target", &["base"], &auto).ok().json();
    let patch = bench.get("patch");
    let effort = created["effort"].as_str().unwrap().to_owned();
    bench.create("target", &["base"], &["--effort", &effort]).ok();
    assert!(patch == bench.get("patch"), "not the patch of effort {effort}");
    assert!(created["predicted_bytes"].as_u64().unwrap() > 100_000);
    effort
}

#[test]
fn a_wrong_or_missing_base_is_named() {
    let bench = Bench::new();
    let (base, target) = images::two_releases(6, 1 << 20);
    bench.put("base", &base);
    bench.put("target", &target);
    bench.put("other", b"something else");
    bench.create("target", &["base"], &[]).ok();
    let id = images::sha256(&base);
    bench.apply(&["other"]).fails(2, &[&id, "--base", "patch show"]);
    bench.apply(&[]).fails(2, &[&id]);
    // A base of the right length but with other bytes. Only the result shows that it is wrong.
    let alike: Vec<u8> = base.iter().map(|byte| byte ^ 1).collect();
    bench.put("alike", &alike);
    bench.apply(&["alike"]).fails(2, &[&id, "--base", "patch show"]);
    assert!(!bench.names().iter().any(|name| name.starts_with("out")), "{:?}", bench.names());
    bench.apply(&["alike", "base"]).ok();
    bench.apply(&["nowhere"]).fails(4, &[&bench.path("nowhere")]);
    bench.apply(&["other", "base"]).ok();
    assert!(bench.get("out") == target);
    bench.create("target", &["base", "base"], &[]).fails(2, &[&id, "twice"]);
    bench.create("nowhere", &["base"], &[]).fails(4, &[&bench.path("nowhere")]);
    let nine: Vec<String> = (0..9).map(|index| format!("many{index}")).collect();
    for name in &nine {
        bench.put(name, name.as_bytes());
    }
    bench.create("target", &nine.iter().map(String::as_str).collect::<Vec<_>>(), &[]).fails(2, &["9 bases", "8"]);
    bench.create("target", &["base"], &["--memory", "1 MiB"]).fails(2, &["memory"]);
    bench.create("target", &["base"], &["--threads", "0"]).fails(2, &["threads"]);
}

/// Damage of each kind at each kind of place must be found and named, and leave no output behind.
#[test]
fn a_damaged_patch_is_refused_and_leaves_nothing() {
    [&[][..], &["--vcdiff"]].into_iter().for_each(damage_a_patch);
}

fn damage_a_patch(options: &[&str]) {
    let bench = Bench::new();
    let (base, target) = images::two_releases(7, 2 << 20);
    bench.put("base", &base);
    bench.put("target", &target);
    bench.create("target", &["base"], options).ok();
    let good = bench.get("patch");
    let header =
        run(&["-o", "json", "patch", "show", &bench.path("patch")]).ok().json()["header_bytes"].as_u64().unwrap();
    let header = header as usize;
    let name = bench.path("patch");
    let names = bench.names();
    let check = |damage: &str, bytes: &[u8]| {
        bench.put("patch", bytes);
        let ended = bench.apply(&["base"]);
        assert_eq!(ended.code, 3, "{damage}: {ended:?}");
        ended.fails(3, &[&name]);
        assert_eq!(bench.names(), names, "{damage}");
        let exported = run(&["patch", "export", "--vcdiff", "--patch", &name, "--out", &bench.path("vcdiff")]);
        // Code 2: the header is intact, but the patch is no VCDIFF.
        assert!([0, 2, 3].contains(&exported.code), "{damage}: {exported:?}");
        if exported.code == 0 {
            fs::remove_file(bench.path("vcdiff")).unwrap();
        }
        assert_eq!(bench.names(), names, "{damage}");
    };
    let payload = good.len() - header;
    for length in [0, 1, 7, 8, 20, header / 2, header - 1, header, header + 1, header + payload / 2, good.len() - 1] {
        check(&format!("cut at {length}"), &good[..length]);
    }
    let step = (good.len() / 60).max(1);
    for place in (0..header).step_by(3).chain((header..good.len()).step_by(step)).chain([good.len() - 1]) {
        for bit in [0, 7] {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << bit;
            // Applying a patch does not use the settings in its header, so a flipped bit there changes nothing.
            bench.put("patch", &bytes);
            if bench.apply(&["base"]).code == 0 {
                assert!(place < header, "bit {bit} of byte {place} of the payload is not checked");
                assert!(bench.get("out") == target, "bit {bit} of byte {place} changed the target");
                fs::remove_file(bench.path("out")).unwrap();
            } else if bench.apply(&["base"]).code == 2 {
                // The flipped bit is in the id of a base, so the patch asks for another file.
                assert!(place < header, "bit {bit} of byte {place}");
                bench.apply(&["base"]).fails(2, &["reads base"]);
            } else {
                check(&format!("bit {bit} of byte {place}"), &bytes);
            }
        }
    }
    check("another file", &images::noise(1, 5000));
    check("a byte more", &[&good[..], b"x"].concat());
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let bench = Bench::new();
    let target = bench.put("target", &images::text(1, 100_000));
    bench.create("target", &[], &[]).ok();
    let patch = bench.path("patch");
    // Even root cannot write to these.
    for (out, code) in [("/proc/self/out", 4), ("/dev/null/out", 6), (&*format!("{target}/out"), 6)] {
        run(&["patch", "apply", "--patch", &patch, "--out", out]).fails(code, &[out]);
        run(&["patch", "create", "--target", &target, "--out", out]).fails(code, &[out]);
        run(&["patch", "export", "--vcdiff", "--patch", &patch, "--out", out]).fails(code, &[out]);
    }
    let folder = bench.path("folder");
    fs::create_dir(&folder).unwrap();
    let names = bench.names();
    run(&["patch", "apply", "--patch", &patch, "--out", &folder]).fails(6, &[&folder]);
    assert_eq!(bench.names(), names);
    // A limit of 8 KiB for files stands for a full disk. The limit's signal is ignored, as for a node under systemd.
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", script, "sh"]).arg(crate::support::lighter());
    let big = bench.path("out");
    finish(limited.args(["patch", "apply", "--patch", &patch, "--out", &big])).fails(6, &[&big, "File too large"]);
    assert_eq!(bench.names(), names);
}

#[test]
fn an_input_is_not_overwritten() {
    let bench = Bench::new();
    let content = images::text(1, 100_000);
    let (target, base) = (bench.put("target", &content), bench.put("base", &content));
    bench.create("target", &["base"], &[]).ok();
    let patch = bench.path("patch");
    let kept = bench.get("patch");
    let other_name = bench.path("other-name");
    fs::hard_link(&target, &other_name).unwrap();
    for out in [&target, &other_name, &base] {
        run(&["patch", "create", "--target", &target, "--base", &base, "--out", out]).fails(2, &[out, "--out"]);
    }
    for out in [&patch, &base] {
        run(&["patch", "apply", "--patch", &patch, "--base", &base, "--out", out]).fails(2, &[out, "--out"]);
    }
    run(&["patch", "export", "--vcdiff", "--patch", &patch, "--out", &patch]).fails(2, &[&patch, "--out"]);
    run(&["patch", "have", "--base", &base, "--out", &base]).fails(2, &[&base, "--out"]);
    assert!(bench.get("target") == content && bench.get("base") == content && bench.get("patch") == kept);
}

#[test]
fn a_device_a_pipe_and_a_link_stay_what_they_are() {
    use std::os::unix::fs::FileTypeExt;

    let bench = Bench::new();
    let content = images::text(1, 100_000);
    let target = bench.put("target", &content);
    bench.create("target", &[], &[]).ok();
    let patch = bench.path("patch");
    run(&["patch", "create", "--target", &target, "--out", "/dev/null"]).ok();
    run(&["patch", "apply", "--patch", &patch, "--out", "/dev/null"]).ok();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    // Bytes for a device are held until all are made: an error names the place that they do not fit in.
    let mut without_room = Command::new(crate::support::lighter());
    without_room.env("TMPDIR", bench.path("nowhere")).args(["patch", "apply", "--patch", &patch, "--out", "/dev/null"]);
    let failed = without_room.output().unwrap();
    let message = String::from_utf8(failed.stderr).unwrap();
    assert!(failed.status.code() == Some(6) && message.contains("nowhere") && message.contains("TMPDIR"), "{message}");

    let pipe = bench.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read(pipe).unwrap())
    };
    run(&["patch", "apply", "--patch", &patch, "--out", &pipe]).ok();
    assert!(reader.join().unwrap() == content);
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

    for (link, named) in [("link", "there"), ("dangling", "not-yet")] {
        bench.put("there", b"old");
        let link = bench.path(link);
        std::os::unix::fs::symlink(named, &link).unwrap();
        run(&["patch", "apply", "--patch", &patch, "--out", &link]).ok();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && bench.get(named) == content, "{named}");
    }
}

/// Runs the stock tool.
fn xdelta3(args: &[&str]) {
    let ran = Command::new("xdelta3").args(args).output().expect("xdelta3 is installed (apt install xdelta3)");
    assert!(ran.status.success(), "xdelta3 {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn stock_xdelta3_decodes_exported_patches() {
    let (first, second) = images::two_releases(8, 20 << 20);
    let noise = images::noise(9, 50_000);
    let pairs: [(&[u8], Option<&[u8]>); 5] =
        [(&second, Some(&first)), (&noise, None), (&noise, Some(&noise)), (b"abc", Some(b"abcd")), (&first, None)];
    for (target, base) in pairs {
        let bench = Bench::new();
        bench.put("target", target);
        let bases: &[&str] = if base.is_some() { &["base"] } else { &[] };
        bench.put("base", base.unwrap_or_default());
        bench.create("target", bases, &["--vcdiff"]).ok();
        let (patch, vcdiff, out, base) =
            (bench.path("patch"), bench.path("vcdiff"), bench.path("out"), bench.path("base"));
        let exported = run(&["patch", "export", "--vcdiff", "--patch", &patch, "--out", &vcdiff]).ok();
        assert!(exported.stderr.contains("xdelta3 -d"), "{exported:?}");
        match bases {
            [] => xdelta3(&["-d", "-f", &vcdiff, &out]),
            _ => xdelta3(&["-d", "-f", "-B", "1073741824", "-s", &base, &vcdiff, &out]),
        }
        assert!(bench.get("out") == target, "{} bytes", target.len());
        // The command in the hint has no -B.
        if !bases.is_empty() {
            xdelta3(&["-d", "-f", "-s", &base, &vcdiff, &out]);
            assert!(bench.get("out") == target, "{} bytes", target.len());
        }
    }
}

#[test]
fn patches_of_stock_xdelta3_are_imported() {
    let bench = Bench::new();
    let (first, second) = images::two_releases(10, 20 << 20);
    let (base, target) = (bench.put("base", &first), bench.put("target", &second));
    let (vcdiff, out) = (bench.path("vcdiff"), bench.path("out"));
    let import = || run(&["patch", "import", "--vcdiff", &vcdiff, "--base", &base, "--out", &out]);
    for level in ["-1", "-9"] {
        xdelta3(&["-e", "-f", level, "-S", "none", "-B", "67108864", "-s", &base, &target, &vcdiff]);
        import().ok();
        assert!(bench.get("out") == second, "{level}");
        fs::remove_file(&out).unwrap();
    }
    let good = bench.get("vcdiff");
    for length in [0, 3, good.len() / 2, good.len() - 1] {
        bench.put("vcdiff", &good[..length]);
        import().fails(3, &[&vcdiff]);
        assert!(!PathBuf::from(&out).exists(), "cut at {length}");
    }
    let mut refused = 0;
    for place in (0..good.len()).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[place] ^= 16;
        bench.put("vcdiff", &bytes);
        let ended = import();
        if ended.code == 0 {
            // VCDIFF has a checksum of each window. Only bytes outside of it may change unnoticed.
            assert!(bench.get("out") == second, "byte {place} changed the target unseen");
            fs::remove_file(&out).unwrap();
        } else {
            ended.fails(3, &[&vcdiff]);
            refused += 1;
        }
        assert!(!PathBuf::from(&out).exists(), "byte {place}");
    }
    assert!(refused > 30, "{refused}");
    bench.put("vcdiff", &good);
    let other = bench.put("other", &images::noise(1, first.len()));
    run(&["patch", "import", "--vcdiff", &vcdiff, "--base", &other, "--out", &out]).fails(3, &[&vcdiff]);
    // Lighter cannot decode secondary compression, and names it in the refusal.
    xdelta3(&["-e", "-f", "-9", "-S", "djw", "-s", &base, &target, &vcdiff]);
    import().fails(3, &[&vcdiff, "secondary"]);
}

/// xdelta3 writes the names of the files into an application header before the first window.
#[test]
fn a_vcdiff_file_cut_in_its_application_header_is_refused() {
    let bench = Bench::new();
    let (base, target) = (bench.put("base", b"one two three four"), bench.put("target", b"one two three five"));
    let (vcdiff, out) = (bench.path("vcdiff"), bench.path("out"));
    xdelta3(&["-e", "-f", "-S", "none", "-A=names", "-s", &base, &target, &vcdiff]);
    let good = bench.get("vcdiff");
    assert_eq!(&good[6..11], b"names", "this test assumes this layout");
    for length in [5, 6, 8, 10] {
        bench.put("vcdiff", &good[..length]);
        run(&["patch", "import", "--vcdiff", &vcdiff, "--base", &base, "--out", &out]).fails(3, &[&vcdiff]);
        assert!(!PathBuf::from(&out).exists(), "cut at {length}");
    }
}

#[test]
fn a_patch_of_another_container_version_is_refused_with_both_versions() {
    let bench = Bench::new();
    let fixture = repository().join("crates/patch/tests/fixtures/v2/default.patch");
    let mut patch = fs::read(fixture).unwrap();
    patch[8] = 1;
    let path = bench.put("old.patch", &patch);
    let words = ["patch container version 1; this program reads version 2", "update the older of the two"];
    run(&["patch", "show", &path]).fails(3, &words);
}
