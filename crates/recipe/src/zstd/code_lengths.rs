//! The length of each byte's Huffman code, at most 11 bits (RFC 8878, 4.2.1).
//!
//! The rarest two nodes are joined again and again; codes that come out too long are shortened, and others pay for it.
//! Where equal counts leave a choice, it is that of klauspost's `huff0`, which follows Yann Collet's library of that
//! name.

/// The longest code.
const BITS_MAX: u8 = 11;

/// One node of the code tree, leaves first.
#[derive(Clone, Copy, Default)]
struct Node {
    count: u32,
    parent: u16,
    symbol: u8,
    bits: u8,
}

/// The length of each byte's code; 0 for bytes that do not occur. At least two bytes occur.
pub(super) fn code_lengths(counts: &[u32; 256], literals: usize) -> [u8; 256] {
    let symbols = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
    let mut leaves: Vec<Node> = (0..=255_u8)
        .zip(counts)
        .filter(|&(_, &count)| count > 0)
        .map(|(symbol, &count)| Node { count, symbol, ..Node::default() })
        .collect();
    leaves.sort_by_key(|leaf| std::cmp::Reverse(leaf.count));
    tree_depths(&mut leaves);
    shorten(&mut leaves, bits_max(symbols, literals));
    let mut lengths = [0; 256];
    for leaf in &leaves {
        lengths[usize::from(leaf.symbol)] = leaf.bits;
    }
    lengths
}

/// The longest code allowed, by the number of symbols and of literals.
fn bits_max(symbols: usize, literals: usize) -> u8 {
    let high_bit = |value: usize| value.max(1).ilog2();
    let least = (high_bit(literals) + 1).min(high_bit(symbols.saturating_sub(1)) + 2);
    let accuracy = high_bit(literals.saturating_sub(1)).saturating_sub(1);
    u32::from(BITS_MAX).min(accuracy).max(least).clamp(5, u32::from(BITS_MAX)) as u8
}

/// Joins the rarest two again and again. Leaves come sorted, the most frequent first.
fn tree_depths(leaves: &mut [Node]) {
    let count = leaves.len();
    if count < 2 {
        return;
    }
    let mut inner: Vec<Node> = Vec::with_capacity(count);
    let mut leaf = count;
    let mut oldest = 0;
    while inner.len() + 1 < count {
        let parent = inner.len() as u16;
        let mut sum = 0;
        for _ in 0..2 {
            let of_leaf = leaf.checked_sub(1).and_then(|last| leaves.get(last)).map_or(1 << 31, |node| node.count);
            let of_inner = inner.get(oldest).map_or(1 << 30, |node| node.count);
            let taken = if of_leaf < of_inner {
                leaf -= 1;
                leaves.get_mut(leaf)
            } else {
                oldest += 1;
                inner.get_mut(oldest - 1)
            };
            if let Some(node) = taken {
                node.parent = parent;
                sum += node.count;
            }
        }
        inner.push(Node { count: sum, ..Node::default() });
    }
    for index in (0..inner.len().saturating_sub(1)).rev() {
        let parent = usize::from(inner[index].parent);
        inner[index].bits = inner[parent].bits.saturating_add(1);
    }
    for node in leaves {
        node.bits = inner.get(usize::from(node.parent)).map_or(1, |parent| parent.bits.saturating_add(1));
    }
}

/// Shortens codes that are longer than `bits_max` and pays for it by longer codes for others.
fn shorten(leaves: &mut [Node], bits_max: u8) {
    let Some(last) = leaves.last() else { return };
    let longest = last.bits;
    if longest <= bits_max {
        return;
    }
    let unit = 1_i64 << (longest - bits_max);
    let mut debt = 0_i64;
    let mut end = leaves.len();
    while let Some(node) = end.checked_sub(1).and_then(|at| leaves.get_mut(at)) {
        if node.bits <= bits_max {
            break;
        }
        debt += unit - (1 << (longest - node.bits));
        node.bits = bits_max;
        end -= 1;
    }
    while end > 0 && leaves[end - 1].bits == bits_max {
        end -= 1;
    }
    debt >>= longest - bits_max;
    repay(leaves, bits_max, end, debt);
}

/// The last leaf of each length below the longest, by how much shorter it is.
type LastOfLength = [Option<usize>; BITS_MAX as usize + 2];

fn repay(leaves: &mut [Node], bits_max: u8, mut end: usize, mut debt: i64) {
    let mut last: LastOfLength = [None; BITS_MAX as usize + 2];
    let mut bits = bits_max;
    for (at, leaf) in leaves.iter().enumerate().take(end).rev() {
        if leaf.bits < bits {
            bits = leaf.bits;
            last[usize::from(bits_max - bits)] = Some(at);
        }
    }
    while debt > 0 {
        let rank = cheapest_rank(leaves, &last, debt);
        let Some(&Some(at)) = last.get(rank) else { return };
        debt -= 1 << (rank - 1);
        if last[rank - 1].is_none() {
            last[rank - 1] = Some(at);
        }
        leaves[at].bits += 1;
        last[rank] =
            at.checked_sub(1).filter(|&before| usize::from(bits_max - leaves[before].bits.min(bits_max)) == rank);
    }
    while debt < 0 {
        let at = match last[1] {
            Some(at) => at + 1,
            None => {
                while end > 0 && leaves[end - 1].bits == bits_max {
                    end -= 1;
                }
                end
            }
        };
        let Some(leaf) = leaves.get_mut(at) else { return };
        leaf.bits -= 1;
        last[1] = Some(at);
        debt += 1;
    }
}

/// How much shorter the leaf is that is made longer next.
fn cheapest_rank(leaves: &[Node], last: &LastOfLength, debt: i64) -> usize {
    let mut rank = debt.ilog2() as usize + 1;
    while rank > 1 {
        if let Some(&Some(high)) = last.get(rank) {
            match last[rank - 1] {
                None => break,
                Some(low) if leaves[high].count <= 2 * leaves[low].count => break,
                Some(_) => {}
            }
        }
        rank -= 1;
    }
    while rank <= usize::from(BITS_MAX) && last[rank].is_none() {
        rank += 1;
    }
    rank
}
