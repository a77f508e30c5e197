//! Measures encoding and applying: `measure TARGET [BASE]...` prints bytes, seconds and peak memory.
//!
//! `measure export PATCH OUT` writes it as VCDIFF, to be decoded by the stock tool.
//!
//! `measure apply TARGET PATCH [BASE]...` applies a patch file that the first form wrote to `LIGHTER_PATCH_OUT`, with the
//! bases read from their files by position, so that its peak memory is that of applying alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use lighter_patch::vcdiff::export_vcdiff;
use lighter_patch::{CodecId, Frame, Header, ReadAt, Settings, Source, apply_frame, encode};
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
    match arguments.split_first() {
        Some((first, rest)) if first == "apply" => measure_apply(rest),
        Some((first, rest)) if first == "export" => export(rest),
        Some((target, bases)) => measure_encode(target, bases),
        None => Err("usage: measure [apply] TARGET [PATCH] [BASE]...".into()),
    }
}

fn measure_encode(target: &str, bases: &[String]) -> Result<(), Box<dyn Error>> {
    // Names only have to differ here.
    let name = |path: &str| DiffId::new(*blake3::hash(path.as_bytes()).as_bytes());
    let target_file = FileAt::open(target)?;
    let base_files = bases.iter().map(|base| FileAt::open(base)).collect::<io::Result<Vec<_>>>()?;
    let sources = bases
        .iter()
        .zip(&base_files)
        .map(|(path, file)| Source { diff_id: name(path), bytes: file as &dyn ReadAt })
        .collect::<Vec<_>>();
    let target_source = Source { diff_id: name(target), bytes: &target_file };
    let threads = std::env::var("LIGHTER_THREADS").ok().map_or(Ok(2), |text| text.parse())?;
    let xdelta3_level = std::env::var("LIGHTER_XDELTA3_LEVEL").ok().map_or(Ok(9), |text| text.parse())?;
    let settings = Settings { threads, xdelta3_level, ..Settings::default() };
    let start = Instant::now();
    let patch = encode(&target_source, &sources, &settings, &|_| ControlFlow::Continue(()))?;
    let seconds = start.elapsed().as_secs_f64();
    let count = |codec| patch.header.frames().iter().filter(|frame| frame.codec == codec).count();
    println!(
        "encode: {} bytes of {} in {seconds:.2} s, {} frames ({} stored, {} zstd, {} vcdiff), largest payload {}, peak {}",
        patch.bytes().0,
        target_file.1,
        patch.payloads.len(),
        count(CodecId::STORED),
        count(CodecId::ZSTD),
        count(CodecId::VCDIFF),
        patch.payloads.iter().map(Vec::len).max().unwrap_or(0),
        peak()?,
    );
    if let Ok(path) = std::env::var("LIGHTER_PATCH_OUT") {
        let mut file = File::create(path)?;
        patch.write_to(&mut file)?;
        file.flush()?;
    }
    Ok(())
}

fn measure_apply(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [target, patch, bases @ ..] = arguments else {
        return Err("usage: measure apply TARGET PATCH [BASE]...".into());
    };
    let mut patch = File::open(patch)?;
    let header = Header::read_from(&mut patch)?;
    let files = bases.iter().map(|base| FileAt::open(base)).collect::<io::Result<Vec<_>>>()?;
    let bases: Vec<&dyn ReadAt> = files.iter().map(|file| file as &dyn ReadAt).collect();
    let mut expected = File::open(target)?;
    let mut seconds = 0.0;
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    let mut wanted = vec![0; 1 << 16];
    for (frame, index) in header.frames().iter().zip(0..) {
        payload.resize(frame.payload_bytes as usize, 0);
        patch.read_exact(&mut payload)?;
        let start = Instant::now();
        apply_frame(&header, index, &payload, &bases, &mut out)?;
        seconds += start.elapsed().as_secs_f64();
        for found in out.chunks(1 << 16) {
            expected.read_exact(&mut wanted[..found.len()])?;
            if found != &wanted[..found.len()] {
                return Err(format!("frame {index} is wrong").into());
            }
        }
    }
    let rate = header.target_bytes().0 as f64 / seconds / 1e6;
    println!("apply: {} bytes in {seconds:.3} s, {rate:.0} MB/s, peak {}", header.target_bytes().0, peak()?);
    Ok(())
}

fn export(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [patch, out] = arguments else { return Err("usage: measure export PATCH OUT".into()) };
    let mut patch = File::open(patch)?;
    let header = Header::read_from(&mut patch)?;
    let mut out = io::BufWriter::new(File::create(out)?);
    let payload = &mut |frame: &Frame| {
        let mut payload = vec![0; frame.payload_bytes as usize];
        patch.read_exact(&mut payload)?;
        Ok(payload)
    };
    Ok(export_vcdiff(&header, payload, &mut out)?)
}

/// `VmHWM` of this process.
fn peak() -> io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    Ok(line.trim().to_owned())
}
