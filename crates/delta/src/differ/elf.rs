//! The parts of an ELF file that have references, and where it is loaded. Other files, and files that cannot be read as
//! ELF, have none.

use std::io::{self, Read, Seek, SeekFrom};

use lighter_types::ReadAt;
use object::LittleEndian;
use object::elf;
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use crate::moves::{Kind, Load, UNLOADED};

/// The image of an executable, a library or a kernel module.
pub struct Image {
    pub machine: Machine,
    pub loads: Vec<Load>,
    /// In the order of their places in the file.
    pub sections: Vec<Section>,
    /// Where it ends in memory.
    pub end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
}

/// A section of the file, with the kind of its references, if it has some.
pub struct Section {
    pub name: Vec<u8>,
    pub offset: u64,
    pub bytes: u64,
    pub address: u64,
    pub kind: Option<Kind>,
    /// The section that its references count from.
    pub base: usize,
}

type Header = elf::FileHeader64<LittleEndian>;
type SectionEntry = elf::SectionHeader64<LittleEndian>;

/// The image of the file at a range of a layer, if it is one that is known.
pub fn image(layer: &dyn ReadAt, start: u64, bytes: u64) -> Option<Image> {
    let mut magic = [0; 20];
    if bytes < 64 || layer.read_exact_at(&mut magic, start).is_err() || !magic.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let machine = match elf::Machine(u16::from_le_bytes([magic[18], magic[19]])) {
        elf::EM_X86_64 => Machine::X86_64,
        elf::EM_AARCH64 => Machine::Aarch64,
        _ => return None,
    };
    let file = ReadCache::new(Within { layer, start, bytes, at: 0 });
    let header = Header::parse(&file).ok()?;
    let mut loads = Vec::new();
    let mut end = 0;
    for segment in header.program_headers(LittleEndian, &file).ok()? {
        if segment.p_type(LittleEndian) == elf::PT_LOAD {
            let (offset, bytes) = segment.file_range(LittleEndian);
            let address = segment.p_vaddr(LittleEndian);
            end = end.max(address.checked_add(segment.p_memsz(LittleEndian))?);
            loads.push(Load { offset, bytes, address });
        }
    }
    let sections = header.sections(LittleEndian, &file).ok()?;
    let mut found = Vec::new();
    for entry in sections.iter() {
        let (offset, section_bytes) = entry.file_range(LittleEndian).unwrap_or_default();
        let is_within = offset.checked_add(section_bytes).is_some_and(|end| end <= bytes);
        let name = sections.section_name(LittleEndian, entry).unwrap_or_default();
        let mut address = entry.sh_addr(LittleEndian);
        let is_loaded = entry.sh_flags(LittleEndian).contains(elf::SHF_ALLOC);
        let kind = kind(machine, entry, name).filter(|_| is_within);
        if !is_loaded {
            address = UNLOADED.wrapping_add(offset);
            if kind.is_some() || entry.sh_type(LittleEndian) == elf::SHT_STRTAB {
                loads.push(Load { offset, bytes: section_bytes, address });
            }
        }
        let own = found.len();
        let base = match kind {
            Some(Kind::Symbols | Kind::Relocations) => entry.sh_link(LittleEndian) as usize,
            _ => own,
        };
        found.push(Section { name: name.to_vec(), offset, bytes: section_bytes, address, kind, base });
    }
    // A broken file may state what lies beyond its end, or twice.
    loads.retain(|load| load.offset.checked_add(load.bytes).is_some_and(|end| end <= bytes));
    loads.sort_by_key(|load| load.offset);
    loads.dedup_by(|next, load| next.offset < load.offset + load.bytes);
    (end <= UNLOADED).then_some(Image { machine, loads, sections: found, end })
}

/// The kind of the references in a section.
fn kind(machine: Machine, section: &SectionEntry, name: &[u8]) -> Option<Kind> {
    let flags = section.sh_flags(LittleEndian);
    Some(match (section.sh_type(LittleEndian), name) {
        (_, b".eh_frame_hdr") => Kind::Table,
        (_, b".eh_frame") => Kind::Frames,
        (elf::SHT_PROGBITS, _) if flags.contains(elf::SHF_EXECINSTR) => match machine {
            Machine::X86_64 => Kind::X86_64,
            Machine::Aarch64 => Kind::Aarch64,
        },
        (elf::SHT_PROGBITS, b".rodata") => Kind::Jumps,
        (elf::SHT_DYNSYM | elf::SHT_SYMTAB, _) => Kind::Symbols,
        (elf::SHT_RELA, _) => Kind::Relocations,
        (elf::SHT_PROGBITS, _) if flags.contains(elf::SHF_WRITE) => Kind::Pointers,
        (elf::SHT_DYNAMIC | elf::SHT_INIT_ARRAY | elf::SHT_FINI_ARRAY | elf::SHT_PREINIT_ARRAY, _) => Kind::Pointers,
        _ => return None,
    })
}

/// A range of a layer, as a file.
struct Within<'a> {
    layer: &'a dyn ReadAt,
    start: u64,
    bytes: u64,
    at: u64,
}

impl Read for Within<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (buffer.len() as u64).min(self.bytes.saturating_sub(self.at)) as usize;
        self.layer.read_exact_at(&mut buffer[..count], self.start + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Within<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
