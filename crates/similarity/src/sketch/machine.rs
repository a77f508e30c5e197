//! Hides the numbers in machine code that a linker rewrites when code moves: distances and parts of addresses.
//!
//! This is no disassembly. A decision looks at a few bytes, wherever they stand, so the same code is hidden in the same
//! way at every place. A mistake is the same in both layers.
//!
//! - **x86**: four bytes behind the opcode of a call or a jump, or behind a ModRM byte that stands for a distance from
//!   the instruction. The distance must be one that [`is_high`] knows the end of. Bytes of a hidden number are no
//!   opcodes.
//! - **AArch64**: the numbers in calls, jumps, `ADRP`, additions of a number to 64 bits, loads and stores of 32, 64 and
//!   128 bits with a number, and `MOVZ`, because Cython moves the numbers of lines. An instruction is a word, and words
//!   stand at multiples of four bytes. Text has no bytes over 7f; each of these words has one among its last two.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapter 2; Arm Architecture
//! Reference Manual for A-profile, chapter C4.

/// The bytes that a decision looks at behind its first one, or one less.
pub(super) const OPERAND_BYTES: usize = 5;

/// The processor that a file has code for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    X86,
    Aarch64,
}

/// Whether a byte ends an address or a distance in an executable: one of up to 64 MiB.
pub(super) fn is_high(byte: u8) -> bool {
    byte.wrapping_add(4) < 8
}

impl Machine {
    /// The machine of a file that begins like this, if it is an executable that is known: little-endian ELF.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        const LITTLE_ENDIAN: u8 = 1;
        let is_elf = start.starts_with(b"\x7fELF") && start.get(5) == Some(&LITTLE_ENDIAN);
        match start.get(18..20).filter(|_| is_elf)? {
            [3 | 62, 0] => Some(Self::X86),
            [183, 0] => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// Sets numbers to zero from `from` on. Returns the place up to which all numbers are found: at most
    /// [`OPERAND_BYTES`] before the end, or behind it.
    pub(super) fn hide(self, code: &mut [u8], from: usize) -> usize {
        match self {
            Self::X86 => hide_x86(code, from),
            Self::Aarch64 => hide_aarch64(code, from),
        }
    }
}

fn hide_x86(code: &mut [u8], from: usize) -> usize {
    let mut at = from;
    while let Some([opcode, second, ..]) = code.get(at..=at + OPERAND_BYTES) {
        let opcode_bytes = match OPCODES[usize::from(*opcode)] {
            Opcode::Other => 0,
            Opcode::Distance => 1,
            Opcode::Escape => 2 * usize::from(second & 0xf0 == 0x80),
        };
        let number = at + opcode_bytes..at + opcode_bytes + 4;
        at += 1;
        if opcode_bytes > 0 && is_high(code[number.end - 1]) {
            at = number.end;
            code[number].fill(0);
        }
    }
    at
}

/// The meaning that an x86 byte may have for the bytes behind it.
#[derive(Clone, Copy)]
enum Opcode {
    Other,
    /// A distance follows.
    Distance,
    /// Behind 0f, a distance follows an opcode of 8x: a jump if something holds.
    Escape,
}

const OPCODES: [Opcode; 256] = {
    let mut opcodes = [Opcode::Other; 256];
    let mut byte = 0;
    while byte < opcodes.len() {
        if byte == 0xe8 || byte == 0xe9 || byte & 0xc7 == 5 {
            opcodes[byte] = Opcode::Distance;
        }
        byte += 1;
    }
    opcodes[0x0f] = Opcode::Escape;
    opcodes
};

fn hide_aarch64(code: &mut [u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = code.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        let instruction = u32::from_le_bytes(*word);
        *word = (instruction & fixed_bits(instruction)).to_le_bytes();
        at += 4;
    }
    at
}

/// The bits of an instruction that stay when code moves.
fn fixed_bits(instruction: u32) -> u32 {
    const CALL_OR_JUMP: u32 = 0xfc00_0000;
    const ADRP: u32 = 0x9f00_001f;
    const WITH_NUMBER: u32 = 0xffc0_03ff;
    const CONSTANT: u32 = 0xffe0_001f;
    match instruction >> 24 {
        0x94..=0x97 | 0x14..=0x17 => CALL_OR_JUMP,
        0x90 | 0xb0 | 0xd0 | 0xf0 => ADRP,
        0x91 if instruction & 0x0080_0000 == 0 => WITH_NUMBER,
        0xb9 | 0xbd | 0xf9 | 0xfd => WITH_NUMBER,
        0x3d if instruction & 0x0080_0000 != 0 => WITH_NUMBER,
        0x52 | 0xd2 if instruction & 0x0080_0000 != 0 => CONSTANT,
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(machine: Machine, code: &[u8]) -> Vec<u8> {
        let mut code = [code, &[0x55; OPERAND_BYTES]].concat();
        machine.hide(&mut code, 0);
        code.truncate(code.len() - OPERAND_BYTES);
        code
    }

    fn header(machine: u8) -> Vec<u8> {
        let mut start = b"\x7fELF\x02\x01\x01".to_vec();
        start.resize(18, 0);
        [&start[..], &[machine, 0]].concat()
    }

    #[test]
    fn elf_files_name_their_machine() {
        let known = [3, 62, 183].map(|machine| Machine::of(&header(machine)).is_some());
        assert_eq!(known, [true; 3]);
        assert!(Machine::of(&header(40)).is_none(), "32-bit Arm is not known");
        assert!(Machine::of(&header(62)[..18]).is_none() && Machine::of(b"#!/bin/sh\n# a script").is_none());
        let mut big_endian = header(62);
        big_endian[5] = 2;
        assert!(Machine::of(&big_endian).is_none());
    }

    #[test]
    fn distances_on_x86_are_hidden() {
        // call, jne, lea rax; a call whose distance no library has; a load of a constant.
        let code = b"\xe8\x11\x22\x33\x00\x0f\x85\x44\x55\x66\xff\x48\x8d\x05\x77\x88\x99\x02\xe8\x11\x22\x33\x44\xb8\x11\x22\x33\x00";
        let shown = b"\xe8\0\0\0\0\x0f\x85\0\0\0\0\x48\x8d\x05\0\0\0\0\xe8\x11\x22\x33\x44\xb8\x11\x22\x33\x00";
        assert_eq!(hidden(Machine::X86, code), shown);
    }

    #[test]
    fn numbers_on_aarch64_are_hidden() {
        let instructions = [
            (0x9412_3456_u32, 0x9400_0000_u32), // bl
            (0x1723_4567, 0x1400_0000),         // b
            (0xd012_3460, 0x9000_0000),         // adrp x0
            (0x910a_bc20, 0x9100_0020),         // add x0, x1, #687
            (0xf942_1c41, 0xf940_0041),         // ldr x1, [x2, #1080]
            (0x3dc0_a022, 0x3dc0_0022),         // ldr q2, [x1, #640]
            (0x528d_3f75, 0x5280_0015),         // mov w21, #27131
            (0x1a02_0020, 0x1a02_0020),         // adc w0, w1, w2
        ];
        let bytes = |which: fn((u32, u32)) -> u32| instructions.map(|pair| which(pair).to_le_bytes()).concat();
        assert_eq!(hidden(Machine::Aarch64, &bytes(|(code, _)| code)), bytes(|(_, shown)| shown));
    }

    #[test]
    fn pieces_are_hidden_as_the_whole_is() {
        let code: Vec<u8> = (0..4096u32).map(|at| (at.wrapping_mul(at) >> 3) as u8).collect();
        for machine in [Machine::X86, Machine::Aarch64] {
            let whole = hidden(machine, &code);
            let mut pieces = Vec::new();
            let mut done = 0;
            for piece in code.chunks(100) {
                pieces.extend(piece);
                done = machine.hide(&mut pieces, done);
                assert!(done + OPERAND_BYTES >= pieces.len());
            }
            pieces.extend([0x55; OPERAND_BYTES]);
            machine.hide(&mut pieces, done);
            assert!(pieces.starts_with(&whole));
        }
    }
}
