//! Large and odd inputs: pairs of tars of which public reports say that a tool of patches took hours, ran out of memory
//! or made a patch of the whole. A seed makes them, so they are the same on every machine.
//!
//! Each kind has a usual size, and any percentage of it. Contents are written as they are made; the largest content is
//! one file in memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;

const MIB: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OddInput {
    /// 300 MiB of noise in one file: 77 bytes more near its start, and 50 changes.
    Shifted,
    /// 500 files of 1 MiB of noise, three changes in each.
    Edited,
    /// 200 MiB of log lines that are alike: the first is gone, and 2,000 are new.
    Log,
    /// 200 MiB of one line: another line in the middle.
    OneLine,
    /// 64 MiB of two letters: rotated, and 1,500 changes.
    TwoLetters,
    /// 200,000 small files with numbers for names: 1 % changed, gone, new.
    Numbered,
    /// 10,000 small files below another folder and in another order.
    Renamed,
    /// 5,000 files of one name and length in as many folders, all of which are new.
    Alike,
    /// 256 MiB of zeros: 100 bytes are something else.
    Zeros,
    /// 128 MiB of database pages of 4 KiB: one in 16 has another counter and some other rows.
    Pages,
    /// 64 MiB of records of 128 bytes: one in 500 has another number.
    Records,
    /// 128 MiB of noise in blocks of 64 KiB: the blocks in another order.
    Shuffled,
    /// 64 MiB of noise: the target is other noise.
    Unrelated,
    /// 64 MiB of noise: the target is the base.
    Same,
}

impl OddInput {
    /// Writes both tars at a percentage of the usual size.
    pub fn write(self, percent: u32, base: &Path, target: &Path) -> io::Result<()> {
        let (mut base, mut target) = (Tar::create(base)?, Tar::create(target)?);
        let both = [&mut base, &mut target];
        let scaled = |usual: usize| (usual * percent as usize / 100).max(1);
        match self {
            Self::Shifted => shifted(both, scaled(300) * MIB),
            Self::Edited => edited(both, scaled(500)),
            Self::Log => log(both, scaled(200) * MIB),
            Self::OneLine => one_line(both, scaled(200) * MIB),
            Self::TwoLetters => two_letters(both, scaled(64) * MIB),
            Self::Numbered => numbered(both, scaled(200_000)),
            Self::Renamed => renamed(both, scaled(10_000)),
            Self::Alike => alike(both, scaled(5_000)),
            Self::Zeros => zeros(both, scaled(256) * MIB),
            Self::Pages => pages(both, scaled(128) * MIB),
            Self::Records => records(both, scaled(64) * MIB),
            Self::Shuffled => shuffled(both, scaled(128) * MIB),
            Self::Unrelated => {
                let [base, target] = both;
                base.file("blob", &Random(61).bytes(scaled(64) * MIB))?;
                target.file("blob", &Random(62).bytes(scaled(64) * MIB))
            }
            Self::Same => {
                let content = Random(63).bytes(scaled(64) * MIB);
                both.into_iter().try_for_each(|tar| tar.file("blob", &content))
            }
        }?;
        base.finish()?;
        target.finish()
    }
}

fn shifted([base, target]: [&mut Tar; 2], bytes: usize) -> io::Result<()> {
    let mut content = Random(11).bytes(bytes);
    base.file("srv/blob", &content)?;
    content.splice(5_000..5_000, 0..77);
    Random(12).change(&mut content, 50, 8);
    target.file("srv/blob", &content)
}

fn edited([base, target]: [&mut Tar; 2], files: usize) -> io::Result<()> {
    for index in 0..files {
        let (path, mut random) = (format!("srv/part-{index}"), Random(1_000 + index as u64));
        let mut content = random.bytes(MIB);
        base.file(&path, &content)?;
        random.change(&mut content, 3, 8);
        target.file(&path, &content)?;
    }
    Ok(())
}

fn log([base, target]: [&mut Tar; 2], bytes: usize) -> io::Result<()> {
    let (mut old, mut new, mut random) = (Vec::with_capacity(bytes), Vec::with_capacity(bytes), Random(21));
    let mut job = 0_u64;
    while old.len() < bytes {
        let (hour, minute, second) = (job / 90_000 % 24, job / 1_500 % 60, job / 25 % 60);
        let line =
            format!("Mar 07 {hour:02}:{minute:02}:{second:02} worker[{}]: request {job:08} answered 200\n", job % 7);
        old.extend_from_slice(line.as_bytes());
        if job > 0 {
            new.extend_from_slice(line.as_bytes());
        }
        // About 2,000 over the whole file, whatever its size.
        if random.below(bytes as u64 / line.len() as u64) < 2_000 {
            writeln!(new, "Mar 07 {hour:02}:{minute:02}:{second:02} worker[3]: slow, {} ms", random.below(30_000))?;
        }
        job += 1;
    }
    base.file("var/log/worker.log", &old)?;
    target.file("var/log/worker.log", &new)
}

fn one_line([base, target]: [&mut Tar; 2], bytes: usize) -> io::Result<()> {
    let line = b"the quick brown fox jumps over the lazy dog 0123\n";
    let mut content = line.repeat(bytes / line.len());
    base.file("lines", &content)?;
    let middle = content.len() / line.len() / 2 * line.len();
    content.splice(middle..middle, *b"one line that is not like the others\n");
    target.file("lines", &content)
}

fn two_letters([base, target]: [&mut Tar; 2], bytes: usize) -> io::Result<()> {
    let mut random = Random(31);
    let mut content = random.bytes(bytes);
    content.iter_mut().for_each(|byte| *byte = b'a' + (*byte & 1));
    base.file("letters", &content)?;
    content.rotate_left(54_321 % bytes);
    for _ in 0..1_500 {
        let at = random.below(bytes as u64) as usize;
        content[at] ^= b'a' ^ b'b';
    }
    target.file("letters", &content)
}

/// The content of a small file: 40 to 340 bytes that its number and its version tell apart.
fn small(index: usize, version: u32) -> Vec<u8> {
    let length = 40 + index * 6_151 % 300;
    format!("item {index} of version {version}: ").into_bytes().into_iter().cycle().take(length).collect()
}

fn numbered([base, target]: [&mut Tar; 2], files: usize) -> io::Result<()> {
    for index in 0..files {
        let path = format!("usr/share/items/{}/{index}", index / 128);
        base.file(&path, &small(index, 1))?;
        match index % 100 {
            17 => {}
            42 => target.file(&path, &small(index, 2))?,
            _ => target.file(&path, &small(index, 1))?,
        }
    }
    (0..files / 100).try_for_each(|index| target.file(&format!("usr/share/items/new/{index}"), &small(index, 3)))
}

fn renamed([base, target]: [&mut Tar; 2], files: usize) -> io::Result<()> {
    let mut order: Vec<usize> = (0..files).collect();
    order.iter().try_for_each(|&index| base.file(&renamed_path("5.1", index), &small(index, 1)))?;
    Random(41).shuffle(&mut order);
    order.iter().try_for_each(|&index| target.file(&renamed_path("5.2", index), &small(index, 1)))
}

fn renamed_path(version: &str, index: usize) -> String {
    format!("opt/suite-{version}/share/{}/{index}", index / 64)
}

fn alike([base, target]: [&mut Tar; 2], files: usize) -> io::Result<()> {
    let body = "class Model(Base):\n    def save(self):\n        return self.store(self)\n".repeat(6);
    for index in 0..files {
        let content = format!("from .m{:08x} import Base\n{body}# {index:08}\n", Random(index as u64).next() >> 32);
        base.file(&format!("site/old{index}/__init__.py"), content.as_bytes())?;
        target.file(&format!("site/new{index}/__init__.py"), format!("{content}# next\n").as_bytes())?;
    }
    Ok(())
}

fn zeros([base, target]: [&mut Tar; 2], bytes: usize) -> io::Result<()> {
    let mut content = vec![0; bytes];
    base.file("disk", &content)?;
    Random(51).change(&mut content, 100, 1);
    target.file("disk", &content)
}

fn pages([base, target]: [&mut Tar; 2], bytes: usize) -> io::Result<()> {
    const PAGE: usize = 4096;
    let mut random = Random(52);
    let mut content = vec![0; bytes / PAGE * PAGE];
    for (number, page) in content.chunks_mut(PAGE).enumerate() {
        page[..8].copy_from_slice(&(number as u64).to_le_bytes());
        // Rows to three quarters of the page; the rest is free.
        for row in page[64..PAGE * 3 / 4].chunks_mut(48) {
            row.iter_mut()
                .zip(format!("row {:08} of somebody in some town", random.below(100_000_000)).bytes())
                .for_each(|(to, from)| *to = from);
        }
    }
    base.file("var/lib/data", &content)?;
    for page in content.chunks_mut(PAGE) {
        if random.below(16) == 0 {
            page[8..16].copy_from_slice(&random.next().to_le_bytes());
            let at = 64 + 48 * random.below(60) as usize;
            page[at..at + 12].copy_from_slice(format!("row {:08}", random.below(100_000_000)).as_bytes());
        }
    }
    target.file("var/lib/data", &content)
}

fn records([base, target]: [&mut Tar; 2], bytes: usize) -> io::Result<()> {
    let mut random = Random(53);
    let (mut old, mut new) = (Vec::with_capacity(bytes), Vec::with_capacity(bytes));
    while old.len() < bytes {
        let (key, amount) = (random.next(), random.below(1_000_000));
        let changed = if random.below(500) == 0 { random.below(1_000_000) } else { amount };
        for (content, amount) in [(&mut old, amount), (&mut new, changed)] {
            writeln!(content, "{key:016x};{amount:08};{:-<100}", "a field that is mostly empty")?;
        }
    }
    base.file("records.csv", &old)?;
    target.file("records.csv", &new)
}

fn shuffled([base, target]: [&mut Tar; 2], bytes: usize) -> io::Result<()> {
    let content = Random(54).bytes(bytes);
    base.file("blocks", &content)?;
    let mut blocks: Vec<&[u8]> = content.chunks(64 << 10).collect();
    Random(55).shuffle(&mut blocks);
    target.file("blocks", &blocks.concat())
}

/// A tar that is written entry by entry.
struct Tar(BufWriter<File>);

impl Tar {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(MIB, File::create(path)?)))
    }

    /// Adds a file. Its header is written alone, so that a large content is not copied.
    fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let mut header = lighter_tar::entry(path, b'0', &[], "");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        lighter_tar::seal(&mut header);
        self.0.write_all(&header)?;
        self.0.write_all(content)?;
        let padding = content.len().next_multiple_of(512) - content.len();
        self.0.write_all(&[0; 512][..padding])
    }

    /// Ends the tar with two blocks of zeros.
    fn finish(mut self) -> io::Result<()> {
        self.0.write_all(&[0; 1024])?;
        self.0.flush()
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// Writes other bytes at random places.
    fn change(&mut self, content: &mut [u8], places: usize, bytes: usize) {
        for _ in 0..places {
            let at = self.below((content.len() - bytes) as u64) as usize;
            let other = self.bytes(bytes);
            content[at..at + bytes].copy_from_slice(&other);
        }
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
