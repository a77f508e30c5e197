//! Files, names, moved files, lines, references double, and the steps of the search hardly do more.

use lighter_types::{Bytes, Effort, File, ReadAt};

use super::evidence::Evidence;
use super::{Drafted, Files, Layers, Search, plan};
use crate::work::counted;

/// A layer that lists its files.
#[derive(Default)]
struct Listed {
    bytes: Vec<u8>,
    files: Vec<File>,
}

impl Listed {
    fn of(files: impl Iterator<Item = (String, Vec<u8>)>) -> Self {
        let mut layer = Self::default();
        for (path, content) in files {
            let at = layer.bytes.len() as u64;
            layer.files.push(File { path: path.into_bytes(), at, bytes: content.len() as u64 });
            layer.bytes.extend(content);
            layer.bytes.resize(layer.bytes.len().next_multiple_of(512), 0);
        }
        layer
    }
}

impl ReadAt for Listed {
    fn len(&self) -> Bytes {
        Bytes(self.bytes.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.bytes.read_exact_at(buffer, offset)
    }

    fn files(&self) -> Option<&[File]> {
        Some(&self.files)
    }
}

/// Bytes without repetition.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// The most that the steps grow to, of all efforts, where the size of a base and its target doubles; in percent.
fn growth(pair: fn(u64) -> [Listed; 2]) -> u64 {
    let steps = |effort, size| {
        let [base, target] = pair(size);
        counted::of(|| {
            let mut layers = Layers::new(&target, vec![&base]);
            // So little memory that long contents are among them.
            let search = Search::new(effort, 4 << 20, 1);
            let files = Files::of(&layers, 1).unwrap();
            let drafted = Drafted::new(&layers, &files, 1).unwrap();
            assert!(!plan(&mut layers, drafted, &search).unwrap().is_empty());
        })
    };
    let growth = |effort| {
        let [once, twice] = [steps(effort, 1), steps(effort, 2)];
        assert!(once > 1000, "{once} steps: nothing was counted");
        100 * twice / once
    };
    Effort::WITH_BASES.map(growth).into_iter().max().unwrap()
}

const MOST: u64 = 250;

#[test]
fn steps_grow_with_files_that_changed() {
    let pair = |size: u64| {
        let content = |n: u64, version: u8| [&noise(n, 700)[..], &[version; 9], &noise(n + 1, 200)].concat();
        [1, 2].map(|version| Listed::of((0..2000 * size).map(|n| (format!("app/{n}.bin"), content(n, version)))))
    };
    assert!(growth(pair) < MOST, "{}", growth(pair));
}

#[test]
fn steps_grow_with_files_of_one_name() {
    let pair = |size: u64| {
        let file = |top: &str, n: u64| {
            let more = if top == "n" { "# v2\n" } else { "" };
            (
                format!("site/{top}{n}/__init__.py"),
                format!("from m{n} import *\ndef run():\n return {n}\n{more}").into(),
            )
        };
        ["m", "n"].map(|top| Listed::of((0..1500 * size).map(|n| file(top, n))))
    };
    assert!(growth(pair) < MOST, "{}", growth(pair));
}

#[test]
fn steps_grow_with_files_that_moved() {
    let pair = |size: u64| {
        let file = |top: &str, n: u64| (format!("{top}/lib/p{}/f{n}", n / 100), noise(n, 30 + n as usize % 400));
        ["opt/tool-3.1", "opt/tool-3.2"].map(|top| Listed::of((0..3000 * size).map(|n| file(top, n))))
    };
    assert!(growth(pair) < MOST, "{}", growth(pair));
}

#[test]
fn steps_grow_with_lines_that_look_alike() {
    let pair = |size: u64| {
        let log = |extra: bool| {
            let line = |n: u64| match extra && n % 500 == 7 {
                true => format!("08:00:00 WARN  job took {n} ms\n08:01:02 INFO  job {n:09} done, code=0 ok\n"),
                false => format!("08:01:02 INFO  job {n:09} done, code=0 ok\n"),
            };
            Listed::of(std::iter::once(("log".to_owned(), (0..50_000 * size).map(line).collect::<String>().into())))
        };
        [log(false), log(true)]
    };
    assert!(growth(pair) < MOST, "{}", growth(pair));
}

#[test]
fn steps_grow_with_references() {
    let steps = |size: u64| {
        counted::of(|| {
            let mut evidence = Evidence::default();
            for n in 0..50_000 * size {
                let place = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                // Most moved as their part of the file did; some are no references.
                evidence.add(place, if n % 5 == 0 { n } else { place >> 12 << 4 });
            }
            assert!(evidence.moves().len() > 100);
        })
    };
    let growth = 100 * steps(2) / steps(1);
    assert!(growth < MOST, "{growth}");
}
