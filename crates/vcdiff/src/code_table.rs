//! The default instruction code table (RFC 3284, section 5.6) and the address cache (section 5.3).

/// The instruction of one half of an instruction code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nothing,
    Add,
    Run,
    /// With an address in one of the modes 0 to 8.
    Copy(u8),
}

/// One half of an instruction code. A size of 0 means that the size follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    pub kind: Kind,
    pub size: u8,
}

const NOTHING: Half = Half { kind: Kind::Nothing, size: 0 };

/// The instructions that each of the 256 codes stands for.
pub static CODE_TABLE: [[Half; 2]; 256] = default_table();

/// Slots of the cache of near addresses.
pub const NEAR: usize = 4;
/// Blocks of 256 slots of the cache of same addresses.
pub const SAME: usize = 3;
const MODES: u8 = (2 + NEAR + SAME) as u8;
/// First mode whose address is a single byte.
const SAME_MODE: u8 = (2 + NEAR) as u8;

const fn default_table() -> [[Half; 2]; 256] {
    let mut table = [[NOTHING; 2]; 256];
    table[0][0] = Half { kind: Kind::Run, size: 0 };
    let mut code = 1;
    let mut size = 0;
    while size <= 17 {
        table[code][0] = Half { kind: Kind::Add, size };
        code += 1;
        size += 1;
    }
    let mut mode = 0;
    while mode < MODES {
        table[code][0] = Half { kind: Kind::Copy(mode), size: 0 };
        code += 1;
        let mut size = 4;
        while size <= 18 {
            table[code][0] = Half { kind: Kind::Copy(mode), size };
            code += 1;
            size += 1;
        }
        mode += 1;
    }
    let mut mode = 0;
    while mode < MODES {
        let mut add = 1;
        while add <= 4 {
            let mut copy = 4;
            while copy <= if mode < SAME_MODE { 6 } else { 4 } {
                table[code] = [Half { kind: Kind::Add, size: add }, Half { kind: Kind::Copy(mode), size: copy }];
                code += 1;
                copy += 1;
            }
            add += 1;
        }
        mode += 1;
    }
    let mut mode = 0;
    while mode < MODES {
        table[code] = [Half { kind: Kind::Copy(mode), size: 4 }, Half { kind: Kind::Add, size: 1 }];
        code += 1;
        mode += 1;
    }
    assert!(code == 256);
    table
}

/// The code of an address.
pub enum Address {
    /// A mode below 6, and a number of variable size.
    Number(u8, u64),
    /// A mode from 6 on, and one byte.
    Byte(u8, u8),
}

/// The addresses used last. Each window begins with an empty cache.
pub struct AddressCache {
    near: [u64; NEAR],
    next: usize,
    same: [u64; SAME * 256],
}

impl AddressCache {
    pub fn new() -> Self {
        Self { near: [0; NEAR], next: 0, same: [0; SAME * 256] }
    }

    /// The shortest code of `address` at position `here`; the lowest mode of several. Remembers the address.
    pub fn encode(&mut self, address: u64, here: u64) -> Address {
        let slot = (address % (SAME as u64 * 256)) as usize;
        let code = if self.same[slot] == address {
            Address::Byte(SAME_MODE + (slot / 256) as u8, (slot % 256) as u8)
        } else {
            let near = self.near.iter().zip(2u8..).filter_map(|(&near, mode)| Some((address.checked_sub(near)?, mode)));
            let best = [(address, 0), (here - address, 1)].into_iter().chain(near).min();
            let (number, mode) = best.unwrap_or((address, 0));
            Address::Number(mode, number)
        };
        self.remember(address);
        code
    }

    /// The address that a code stands for. Remembers it. `None` if the address is not below `here`.
    pub fn decode(&mut self, code: &Address, here: u64) -> Option<u64> {
        let address = match *code {
            Address::Number(0, number) => number,
            Address::Number(1, number) => here.checked_sub(number)?,
            Address::Number(mode, number) => self.near[usize::from(mode - 2)].checked_add(number)?,
            Address::Byte(mode, byte) => self.same[usize::from(mode - SAME_MODE) * 256 + usize::from(byte)],
        };
        self.remember(address);
        (address < here).then_some(address)
    }

    fn remember(&mut self, address: u64) {
        self.near[self.next] = address;
        self.next = (self.next + 1) % NEAR;
        self.same[(address % (SAME as u64 * 256)) as usize] = address;
    }
}

/// Whether addresses of this mode are a single byte.
pub fn is_byte_mode(mode: u8) -> bool {
    mode >= SAME_MODE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some lines of the table in RFC 3284, section 5.6.
    #[test]
    fn codes_stand_for_what_the_rfc_says() {
        let copy = |mode, size| Half { kind: Kind::Copy(mode), size };
        let add = |size| Half { kind: Kind::Add, size };
        for (code, expected) in [
            (0, [Half { kind: Kind::Run, size: 0 }, NOTHING]),
            (1, [add(0), NOTHING]),
            (18, [add(17), NOTHING]),
            (19, [copy(0, 0), NOTHING]),
            (20, [copy(0, 4), NOTHING]),
            (35, [copy(1, 0), NOTHING]),
            (162, [copy(8, 18), NOTHING]),
            (163, [add(1), copy(0, 4)]),
            (234, [add(4), copy(5, 6)]),
            (235, [add(1), copy(6, 4)]),
            (246, [add(4), copy(8, 4)]),
            (247, [copy(0, 4), add(1)]),
            (255, [copy(8, 4), add(1)]),
        ] {
            assert_eq!(CODE_TABLE[code], expected, "{code}");
        }
    }

    #[test]
    fn addresses_come_back() {
        let (mut encoder, mut decoder) = (AddressCache::new(), AddressCache::new());
        for (address, here) in [(5, 10), (5, 11), (700, 701), (1, 702), (69_999, 70_000), (0, 70_001), (700, 70_002)] {
            let code = encoder.encode(address, here);
            assert_eq!(decoder.decode(&code, here), Some(address));
        }
        assert_eq!(decoder.decode(&Address::Number(0, 9), 9), None);
        assert_eq!(decoder.decode(&Address::Number(1, 10), 9), None);
        assert_eq!(decoder.decode(&Address::Number(2, u64::MAX), 9), None);
    }
}
