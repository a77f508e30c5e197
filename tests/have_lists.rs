//! `lighter patch have`: the maker of a patch has none of the receiver's layers, and leaves out the files that the
//! receiver lists.

use std::fs;
use std::path::PathBuf;

use crate::support::{Run, folder, images, run};

/// A folder with the receiver's layers `old` and `other`, and the maker's `target`.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(folder());
        let file = |seed| images::noise(seed, 300_000 + seed as usize);
        let old = images::tar(&[("bin/one", &file(1)), ("bin/two", &file(2)), ("small", b"small")]);
        let other = images::tar(&[("lib/three", &file(3))]);
        let changed = [&file(2)[..150_000], b"!", &file(2)[150_000..]].concat();
        let files: [(&str, &[u8]); 4] =
            [("bin/one", &file(1)), ("bin/two", &changed), ("elsewhere/three", &file(3)), ("new", &file(4))];
        bench.put("old", &old);
        bench.put("other", &other);
        bench.put("target", &images::tar(&files));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// `lighter patch ...`, where `=name` is a file of the folder.
    fn patch(&self, args: &str) -> Run {
        let arg = |arg: &str| match arg.strip_prefix('=') {
            Some(name) => self.path(name).to_str().unwrap().to_owned(),
            None => arg.to_owned(),
        };
        run(&["patch".to_owned()].into_iter().chain(args.split(' ').map(arg)).collect::<Vec<_>>())
    }
}

#[test]
fn files_that_the_receiver_lists_are_left_out() {
    let bench = Bench::new();
    let listed = bench.patch("have --base =old --base =other --out =list -o json").ok().json();
    assert_eq!((&listed["files"], listed["list_bytes"].as_u64()), (&3.into(), Some(bench.get("list").len() as u64)));
    assert!(bench.get("list").len() < 40);
    for effort in ["fast", "default", "max"] {
        bench.patch(&format!("create --target =target --effort {effort} --out =alone")).ok();
        let created =
            bench.patch(&format!("create --target =target --have =list --effort {effort} --out =patch -o json"));
        assert_eq!(created.ok().json()["bases"][0], listed["list"]);
        // The patch has nothing of files one and three. It has all of file two, whose version differs from the list's,
        // and all of the new file.
        let (alone, patch) = (bench.get("alone").len(), bench.get("patch").len());
        assert!(alone > 1_200_000 && patch < 601_500, "{effort}: {alone}, {patch}");
        bench.patch("apply --patch =patch --have =list --base =other --base =old --out =out").ok();
        assert!(bench.get("out") == bench.get("target"), "{effort}");
    }
}

#[test]
fn a_list_adds_to_bases_that_the_maker_has() {
    let bench = Bench::new();
    bench.patch("have --base =other --out =list").ok();
    bench.patch("create --target =target --base =old --have =list --out =patch").ok();
    // The patch has the new file only.
    assert!(bench.get("patch").len() < 302_000, "{}", bench.get("patch").len());
    bench.patch("apply --patch =patch --have =list --base =old --base =other --out =out").ok();
    assert!(bench.get("out") == bench.get("target"));
    // A list without any file of the target is no base.
    bench.put("else", &images::tar(&[("else", &images::noise(9, 1000))]));
    bench.patch("have --base =else --out =list").ok();
    let created = bench.patch("create --target =target --base =old --have =list --out =patch -o json").ok().json();
    assert_eq!(created["bases"].as_array().unwrap().len(), 1);
    bench.patch("apply --patch =patch --base =old --out =out").ok();
}

#[test]
fn a_missing_list_or_base_is_named() {
    let bench = Bench::new();
    bench.patch("have --base =old --base =other --out =list").ok();
    bench.patch("create --target =target --have =list --out =patch").ok();
    bench.patch("apply --patch =patch --base =old --base =other --out =out").fails(2, &["no --base", "--have"]);
    bench.patch("apply --patch =patch --have =list --base =old --out =out").fails(2, &["1 of the 3", "every layer"]);
    bench.put("damaged", &bench.get("list")[..20]);
    bench.patch("create --target =target --have =damaged --out =out").fails(3, &["damaged", "cut off", "patch have"]);
    bench.patch("create --target =target --have =old --out =out").fails(3, &["not a have-list"]);
    bench.patch("create --target =target --have =none --out =out").fails(4, &["none"]);
    bench.patch("create --target =target --have =list --vcdiff --out =out").fails(2, &["--vcdiff"]);
    assert!(!bench.path("out").exists());
    // A different list from the patch's.
    bench.patch("have --base =old --out =list").ok();
    bench.patch("apply --patch =patch --have =list --base =old --base =other --out =out").fails(2, &["no --base"]);
}
