//! Measures encoding and applying: `measure fast|default|max|vcdiff TARGET [BASE]...` prints bytes and seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use lighter_patch::{Effort, Method, ReadAt, Settings, Source, apply_frame, encode};
use lighter_types::{Bytes, DiffId};

struct FileAt(File, u64);

impl FileAt {
    fn open(path: &str) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self(file, bytes))
    }
}

impl ReadAt for FileAt {
    fn len(&self) -> Bytes {
        Bytes(self.1)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [method, target, bases @ ..] = arguments.as_slice() else {
        return Err("usage: measure fast|default|max|vcdiff TARGET [BASE]...".into());
    };
    let method = match method.as_str() {
        "fast" => Method::Delta(Effort::Fast),
        "default" => Method::Delta(Effort::Default),
        "max" => Method::Delta(Effort::Max),
        _ => Method::Vcdiff,
    };
    // Names only have to differ here.
    let name = |path: &str| DiffId::new(*blake3::hash(path.as_bytes()).as_bytes());
    let target_file = FileAt::open(target)?;
    let base_files = bases.iter().map(|base| FileAt::open(base)).collect::<io::Result<Vec<_>>>()?;
    let sources: Vec<Source<'_>> = bases
        .iter()
        .zip(&base_files)
        .map(|(path, file)| Source { diff_id: name(path), bytes: file as &dyn ReadAt })
        .collect();
    let target_source = Source { diff_id: name(target), bytes: &target_file };
    let threads = std::env::var("LIGHTER_THREADS").ok().map_or(Ok(2), |text| text.parse())?;
    let settings = Settings { threads, method, ..Settings::default() };
    let start = Instant::now();
    let patch = encode(&target_source, &sources, &settings, &|_| ControlFlow::Continue(()))?;
    let encode_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let bases: Vec<&dyn ReadAt> = patch
        .header
        .bases()
        .iter()
        .filter_map(|base| sources.iter().find(|source| source.diff_id == base.diff_id))
        .map(|source| source.bytes)
        .collect();
    let mut apply_s = 0.0;
    let (mut buffer, mut wanted) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut offset = 0;
    for (payload, index) in patch.payloads.iter().zip(0..) {
        let begun = Instant::now();
        let mut range = apply_frame(&patch.header, index, payload, &bases)?;
        apply_s += begun.elapsed().as_secs_f64();
        loop {
            let begun = Instant::now();
            let count = range.read(&patch.header, &bases, &mut buffer)?;
            apply_s += begun.elapsed().as_secs_f64();
            if count == 0 {
                break;
            }
            target_file.read_exact_at(&mut wanted[..count], offset)?;
            assert!(buffer[..count] == wanted[..count], "frame {index} is wrong near {offset}");
            offset += count as u64;
        }
    }
    assert_eq!(offset, target_file.1);
    let _ = start;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    println!(
        "{} bytes, {} frames, encode {encode_s:.2} s, apply {apply_s:.2} s ({:.0} MB/s), peak {}",
        patch.bytes().0,
        patch.payloads.len(),
        offset as f64 / apply_s / 1e6,
        peak.trim()
    );
    Ok(())
}
