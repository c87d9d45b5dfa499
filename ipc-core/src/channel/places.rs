//! Where the cells of a ring are: which one an index has, and what lies between two.
//!
//! Neighbours in the order of a queue are not neighbours in memory. Were they, the processor would recognise the walk over the
//! cells and fetch the next ones before their time: a consumer's copy of a line that its producer is about to write, and the
//! other way round. Each costs a second transfer of the line. (Measured on Zen 4, claims and messages of 64 B without the library
//! around them, 1,024 cells, distant cores: a round trip takes 2.1 times as long as a mailbox's with cells in a row, and
//! 1.2 times with scattered ones; a stream of messages goes three times as fast.)
//!
//! The largest power of two of cells that there are is scattered by multiplying with an odd number (of which the golden
//! ratio makes large jumps) and by folding the upper half of the bits into the lower, both of which can be undone: so no two indices share
//! a cell. What is left over is scattered in the same way, as a smaller ring behind the first.

/// Words between two cells, of which nobody uses any: the processor fetches a line's neighbour along with it, and must not
/// take the next cell's first line from its producer so.
pub(in crate::channel) const GAP_WORDS: usize = 8;

/// Odd, and the golden ratio's part of 2³².
const STEP: usize = 0x9e37_79b1;

/// Where the cells of a ring are.
#[derive(Debug, Clone, Copy)]
pub(in crate::channel) struct Places {
    capacity: usize,
    /// Of the largest power of two that is not greater than the capacity: itself less one, and half its bits.
    mask: usize,
    fold: u32,
}

impl Places {
    pub(in crate::channel) fn new(capacity: usize) -> Self {
        let bits = capacity.checked_ilog2().unwrap_or(0);
        Self {
            capacity,
            mask: (1 << bits) - 1,
            fold: fold(bits),
        }
    }

    /// The cell of `index`. One that has none gets a place beside all cells.
    #[inline]
    pub(in crate::channel) fn of(self, index: usize) -> usize {
        if index <= self.mask {
            scatter(index, self.mask, self.fold)
        } else {
            self.of_rest(index)
        }
    }

    /// As [`Self::of`], behind the largest power of two. The highest bit in which the index is less than the capacity is the size of
    /// its part, and the bits above are where that begins.
    fn of_rest(self, index: usize) -> usize {
        if index >= self.capacity {
            return index;
        }
        let bits = (index ^ self.capacity).ilog2();
        let mask = (1 << bits) - 1;
        index & !mask | scatter(index & mask, mask, fold(bits))
    }
}

fn fold(bits: u32) -> u32 {
    bits.div_ceil(2)
}

#[inline]
fn scatter(index: usize, mask: usize, fold: u32) -> usize {
    let spread = index.wrapping_mul(STEP) & mask;
    spread ^ spread >> fold
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_cell_of_its_own() {
        for capacity in (1..200).chain([255, 1_000, 1_023, 1_024, 1_025, 4_096, 100_000]) {
            let places = Places::new(capacity);
            let mut is_taken = vec![false; capacity];
            for index in 0..capacity {
                let place = places.of(index);
                assert!(
                    place < capacity && !is_taken[place],
                    "{index} of {capacity}"
                );
                is_taken[place] = true;
            }
        }
    }

    #[test]
    fn an_index_beside_all_cells_has_none() {
        for capacity in [1, 3, 5, 1_000, (1 << 31) - 1] {
            let places = Places::new(capacity);
            for index in capacity..capacity.next_power_of_two() {
                assert!(places.of(index) >= capacity, "{index} of {capacity}");
            }
        }
    }

    #[test]
    fn steps_in_a_large_ring_are_long_and_not_the_same() {
        let places = Places::new(1_024);
        let steps: Vec<isize> = (1..1_024)
            .map(|i| places.of(i) as isize - places.of(i - 1) as isize)
            .collect();
        let is_short = |step: &&isize| step.abs() < 16;
        assert!(steps.iter().filter(is_short).count() < 64);
        let is_repeated = |pair: &&[isize]| pair[0] == pair[1];
        assert!(steps.windows(2).filter(is_repeated).count() < 64);
    }
}
