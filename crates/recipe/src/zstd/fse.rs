//! Finite state entropy: from counts to a normalised distribution, its description, and the coding tables.
//!
//! The format is RFC 8878, 4.1; which of the many valid distributions is taken (rounding, table size) is klauspost's
//! rule, which follows that of Yann Collet's FSE library. Symbols here are codes of at most 53 values.

use super::bits::BitWriter;

/// Room for every alphabet that is coded here.
pub(super) const SYMBOLS: usize = 64;
/// The smallest size of a table, as a power of two.
const LOG_MIN: u32 = 5;
/// The largest size of a table, as a power of two.
const LOG_MAX: u32 = 8;

/// How a symbol changes the state.
#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    bits_delta: u32,
    state_delta: i32,
}

/// A coding table and the distribution that it is made of.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) log: u32,
    /// Number of symbols, up to the last one used.
    pub(super) symbols: usize,
    pub(super) shares: [i16; SYMBOLS],
    states: [u16; 1 << LOG_MAX],
    steps: [Step; SYMBOLS],
}

/// Where an encoder stands in a table.
#[derive(Clone, Copy)]
pub(super) struct State(u32);

/// Counts of symbols, and how many symbols there are up to the last one used.
#[derive(Clone)]
pub(super) struct Counts {
    pub(super) counts: [u32; SYMBOLS],
    pub(super) symbols: usize,
    pub(super) total: u32,
}

impl Counts {
    pub(super) fn new(counts: [u32; SYMBOLS]) -> Self {
        Self {
            symbols: counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1),
            total: counts.iter().sum(),
            counts,
        }
    }

    pub(super) fn of(codes: &[u8]) -> Self {
        let mut counts = [0_u32; SYMBOLS];
        for &code in codes {
            count(&mut counts, code);
        }
        Self::new(counts)
    }

    pub(super) fn used(&self) -> &[u32] {
        self.counts.get(..self.symbols).unwrap_or_default()
    }

    pub(super) fn largest(&self) -> u32 {
        self.counts.iter().copied().max().unwrap_or(0)
    }
}

/// Counts one more of a code.
#[inline(always)]
pub(super) fn count(counts: &mut [u32; SYMBOLS], code: u8) {
    let count = &mut counts[usize::from(code) % SYMBOLS];
    *count = count.wrapping_add(1);
}

fn high_bit(value: u32) -> u32 {
    value.max(1).ilog2()
}

/// The size of the table for so many symbols: `log_wanted` at most unless the alphabet needs more. `source_bits` is the
/// bit length of the count that the rule looks at, which differs between sequences and weights.
pub(super) fn table_log(counts: &Counts, log_wanted: u32, source_bits: u32) -> u32 {
    let alphabet_bits = high_bit(counts.symbols.saturating_sub(1) as u32) + 2;
    let least = source_bits.min(alphabet_bits);
    // The subtraction wraps in the original for three or fewer symbols, and then the wanted size stays.
    let accuracy = high_bit(counts.total.saturating_sub(1)).checked_sub(2).unwrap_or(log_wanted);
    log_wanted.min(accuracy).max(least).clamp(LOG_MIN, LOG_MAX)
}

impl Table {
    /// The table for `counts`, of which at least two are not 0. `None` if no distribution is found, which has not been
    /// seen.
    pub(super) fn of_counts(counts: &Counts, log: u32) -> Option<Self> {
        let shares = normalise(counts, log)?;
        Self::of_shares(shares, counts.symbols, log)
    }

    /// The table for a distribution whose shares add up to the table's size; -1 is a share below one.
    pub(super) fn of_shares(shares: [i16; SYMBOLS], symbols: usize, log: u32) -> Option<Self> {
        let size = 1_usize << log;
        let used = shares.get(..symbols)?;
        let slots = spread(used, size)?;
        let mut firsts = [0_usize; SYMBOLS];
        let mut first = 0;
        for (place, &share) in firsts.iter_mut().zip(used) {
            *place = first;
            first += usize::from(share.unsigned_abs());
        }
        let mut table = Self { log, symbols, shares, states: [0; 1 << LOG_MAX], steps: [Step::default(); SYMBOLS] };
        for (slot, &symbol) in slots.iter().take(size).enumerate() {
            let place = firsts.get_mut(usize::from(symbol))?;
            *table.states.get_mut(*place)? = (size + slot) as u16;
            *place += 1;
        }
        let mut total = 0_i32;
        for (step, &share) in table.steps.iter_mut().zip(used) {
            match share {
                0 => {}
                -1 | 1 => {
                    step.bits_delta = (log << 16) - (1 << log);
                    step.state_delta = total - 1;
                    total += 1;
                }
                _ => {
                    let bits = log.saturating_sub(high_bit(u32::from(share.unsigned_abs()).saturating_sub(1)));
                    step.bits_delta = (bits << 16).wrapping_sub(u32::from(share.unsigned_abs()) << bits);
                    step.state_delta = total - i32::from(share);
                    total += i32::from(share);
                }
            }
        }
        Some(table)
    }

    /// The state that codes `symbol` and costs no bits itself.
    #[inline(always)]
    pub(super) fn start(&self, symbol: u8) -> State {
        let step = self.steps[usize::from(symbol) % SYMBOLS];
        let bits = step.bits_delta.wrapping_add(1 << 15) >> 16;
        let value = (bits << 16).wrapping_sub(step.bits_delta) >> bits;
        State(self.state((value as i32).wrapping_add(step.state_delta)))
    }

    #[inline(always)]
    fn state(&self, index: i32) -> u32 {
        u32::from(self.states[index as usize % (1 << LOG_MAX)])
    }

    /// Codes `symbol`: writes at most eight bits.
    #[inline(always)]
    pub(super) fn encode(&self, state: &mut State, symbol: u8, writer: &mut BitWriter) {
        let step = self.steps[usize::from(symbol) % SYMBOLS];
        let bits = state.0.wrapping_add(step.bits_delta) >> 16;
        writer.add(u64::from(state.0 & ((1 << (bits & 15)) - 1)), bits);
        state.0 = self.state(((state.0 >> (bits & 15)) as i32).wrapping_add(step.state_delta));
    }

    /// Writes the state, from which a decoder starts.
    pub(super) fn write_state(&self, state: State, writer: &mut BitWriter) {
        writer.add(u64::from(state.0 & ((1 << self.log) - 1)), self.log);
    }

    /// The estimated bits for symbols of these counts; `None` if the table has no code for one of them.
    pub(super) fn estimate_bits(&self, counts: &Counts) -> Option<u32> {
        if self.symbols < counts.symbols {
            return None;
        }
        let worst = (self.log + 1) << 8;
        let mut cost = 0_u32;
        for ((&count, &share), step) in counts.used().iter().zip(&self.shares).zip(&self.steps) {
            if count == 0 {
                continue;
            }
            let least = step.bits_delta >> 16;
            let threshold = (least + 1) << 16;
            let above = threshold.wrapping_sub(step.bits_delta.wrapping_add(1 << self.log));
            let bits = ((least + 1) << 8).wrapping_sub(above.wrapping_shl(8) >> self.log);
            if share == 0 || bits > worst {
                return None;
            }
            cost = cost.wrapping_add(count.wrapping_mul(bits));
        }
        Some(cost >> 8)
    }

    /// A bound on the bits of [`Self::describe`], the one that klauspost's choice of tables counts with.
    pub(super) fn description_bits(&self) -> u32 {
        (((self.symbols as u32 * self.log) >> 3) + 3) * 8
    }

    /// Appends the distribution's description (RFC 8878, 4.1.1).
    pub(super) fn describe(&self, writer: &mut BitWriter, out: &mut Vec<u8>) {
        let mut shares = self.shares.iter().take(self.symbols).peekable();
        let mut remaining = (1_i32 << self.log) + 1;
        let mut threshold = 1_i32 << self.log;
        let mut bits = self.log + 1;
        writer.clear();
        writer.add(u64::from(self.log - LOG_MIN), 4);
        while remaining > 1 {
            let Some(&share) = shares.next() else { break };
            let share = i32::from(share);
            let above = 2 * threshold - 1 - remaining;
            remaining -= share.abs();
            let mut value = share + 1;
            if value >= threshold {
                value += above;
            }
            writer.add(value as u64, bits - u32::from(value < above));
            writer.flush();
            if share == 0 {
                let mut zeros = 0;
                while shares.next_if(|&&share| share == 0).is_some() {
                    zeros += 1;
                }
                while zeros >= 3 {
                    zeros -= 3;
                    writer.add(3, 2);
                    writer.flush();
                }
                writer.add(zeros, 2);
                writer.flush();
            }
            while remaining < threshold && threshold > 1 {
                bits -= 1;
                threshold >>= 1;
            }
        }
        writer.pad();
        out.extend_from_slice(writer.bytes());
    }
}

/// Shares that add up to the table's size, near to the counts.
fn normalise(counts: &Counts, log: u32) -> Option<[i16; SYMBOLS]> {
    /// How far a small share is rounded up, from FSE's table of that name.
    const REST_TO_BEAT: [u64; 8] = [0, 473_195, 504_333, 520_860, 550_000, 700_000, 750_000, 830_000];
    let scale = 62 - log;
    let step = (1_u64 << 62) / u64::from(counts.total.max(1));
    let unit = 1_u64 << (scale - 20);
    let low = counts.total >> log;
    let mut shares = [0_i16; SYMBOLS];
    let mut left = 1_i16 << log;
    let (mut largest, mut largest_share) = (0, 0);
    for (symbol, &count) in counts.used().iter().enumerate() {
        if count == 0 {
            continue;
        }
        if count <= low {
            shares[symbol] = -1;
            left -= 1;
            continue;
        }
        let exact = u64::from(count).wrapping_mul(step);
        let mut share = exact >> scale;
        if let Some(&rest) = REST_TO_BEAT.get(share as usize)
            && exact - (share << scale) > unit * rest
        {
            share += 1;
        }
        let share = share as i16;
        if share > largest_share {
            (largest, largest_share) = (symbol, share);
        }
        shares[symbol] = share;
        left -= share;
    }
    if -left >= shares[largest] >> 1 {
        return normalise_slowly(counts, log);
    }
    shares[largest] += left;
    Some(shares)
}

/// The second method, for counts where rounding up takes too much from the largest share.
fn normalise_slowly(counts: &Counts, log: u32) -> Option<[i16; SYMBOLS]> {
    const OPEN: i16 = -2;
    let low = counts.total >> log;
    let mut low_one = (counts.total * 3) >> (log + 1);
    let mut total = counts.total;
    let mut given = 0_u32;
    let mut shares = [0_i16; SYMBOLS];
    for (share, &count) in shares.iter_mut().zip(counts.used()) {
        *share = match count {
            0 => 0,
            count if count <= low => -1,
            count if count <= low_one => 1,
            _ => OPEN,
        };
        if matches!(*share, 1 | -1) {
            given += 1;
            total -= count;
        }
    }
    let mut left = (1_u32 << log).checked_sub(given)?;
    if total.checked_div(left)? > low_one {
        low_one = (total * 3) / (left * 2);
        for (share, &count) in shares.iter_mut().zip(counts.used()) {
            if *share == OPEN && count <= low_one {
                *share = 1;
                given += 1;
                total -= count;
            }
        }
        left = (1_u32 << log).checked_sub(given)?;
    }
    if given == counts.symbols as u32 + 1 {
        let most = counts.used().iter().rposition(|&count| count == counts.largest())?;
        shares[most] += left as i16;
        return Some(shares);
    }
    if total == 0 {
        let used = shares.get_mut(..counts.symbols)?;
        if !used.iter().any(|&share| share > 0) {
            return None;
        }
        while left > 0 {
            for share in used.iter_mut().filter(|share| **share > 0) {
                if left > 0 {
                    left -= 1;
                    *share += 1;
                }
            }
        }
        return Some(shares);
    }
    let step_log = 62 - log;
    let middle = (1_u64 << (step_log - 1)) - 1;
    let step = ((1_u64 << step_log) * u64::from(left) + middle) / u64::from(total);
    let mut position = middle;
    for (share, &count) in shares.iter_mut().zip(counts.used()) {
        if *share == OPEN {
            let end = position.wrapping_add(u64::from(count).wrapping_mul(step));
            let weight = (end >> step_log).saturating_sub(position >> step_log);
            if weight < 1 {
                return None;
            }
            *share = weight as i16;
            position = end;
        }
    }
    Some(shares)
}

/// Which symbol each slot of a table of `size` has; `None` unless the shares add up to the size.
fn spread(shares: &[i16], size: usize) -> Option<[u8; 1 << LOG_MAX]> {
    let sum: usize = shares.iter().map(|share| usize::from(share.unsigned_abs())).sum();
    if sum != size {
        return None;
    }
    let mut slots = [0_u8; 1 << LOG_MAX];
    let mut top = size;
    for (symbol, _) in shares.iter().enumerate().filter(|&(_, &share)| share == -1) {
        top -= 1;
        *slots.get_mut(top)? = symbol as u8;
    }
    let step = (size >> 1) + (size >> 3) + 3;
    let mut position = 0;
    for (symbol, &share) in shares.iter().enumerate() {
        for _ in 0..share.max(0) {
            *slots.get_mut(position)? = symbol as u8;
            position = (position + step) % size;
            while position >= top && top > 0 {
                position = (position + step) % size;
            }
        }
    }
    Some(slots)
}
