//! Sizes of blocks: each is at most a quarter larger than the one below, or the next whole part of a chunk.

/// Bytes of the unit in which blocks are placed and named.
pub(super) const GRAIN: usize = 16;
/// What small blocks may measure.
const SMALL: [usize; 18] = [
    32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896,
];
/// Into how many a chunk is divided for large ones.
const PARTS: [usize; 18] = [
    64, 56, 48, 40, 32, 28, 24, 20, 16, 14, 12, 10, 8, 6, 5, 4, 3, 2,
];

/// Number of a size, from 1 on. Smaller is a smaller block.
pub(super) type Class = u8;

/// The sizes of one heap. They follow from the size of its chunks.
#[derive(Debug)]
pub(super) struct Classes {
    /// In bytes, ascending.
    sizes: Vec<usize>,
    /// Class for each number of grains up to the largest small block.
    small: Vec<Class>,
    /// Bytes of a chunk's own header.
    header: usize,
    chunk_bytes: usize,
}

impl Classes {
    pub(super) fn of(chunk_bytes: usize) -> Self {
        let header = header_bytes(chunk_bytes);
        let area = chunk_bytes - header;
        let mut sizes: Vec<usize> = SMALL.into_iter().filter(|size| *size <= area / 4).collect();
        let parts = PARTS.into_iter().chain([1]);
        for size in parts.map(|parts| area / parts / GRAIN * GRAIN) {
            if sizes.last().is_none_or(|last| size > *last) {
                sizes.push(size);
            }
        }
        let small_grains = SMALL[SMALL.len() - 1] / GRAIN;
        let class_of = |bytes| sizes.partition_point(|size| *size < bytes) as Class + 1;
        let small = (0..=small_grains).map(|grains| class_of(grains * GRAIN));
        Self {
            small: small.collect(),
            sizes,
            header,
            chunk_bytes,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The class of the smallest block with so many bytes.
    #[inline]
    pub(super) fn fitting(&self, bytes: usize) -> Option<Class> {
        if let Some(class) = self.small.get(bytes.div_ceil(GRAIN)) {
            return Some(*class);
        }
        let at = self.sizes.partition_point(|size| *size < bytes);
        (at < self.sizes.len()).then_some(at as Class + 1)
    }

    /// Bytes of a block; `None` for what is no class.
    #[inline]
    pub(super) fn size(&self, class: Class) -> Option<usize> {
        self.sizes.get(usize::from(class).checked_sub(1)?).copied()
    }

    /// Bytes of the largest block: a chunk has one.
    pub(super) fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or(0)
    }

    /// Bytes of the largest block of which a chunk has more than one.
    pub(super) fn largest_part(&self) -> usize {
        let count = self.sizes.len();
        self.sizes.get(count.wrapping_sub(2)).copied().unwrap_or(0)
    }

    /// How many blocks of `size` bytes a chunk has.
    pub(super) fn per_chunk(&self, size: usize) -> usize {
        (self.chunk_bytes - self.header) / size
    }

    pub(super) fn header(&self) -> usize {
        self.header
    }
}

/// Bytes at the start of a chunk: a bit for each block that it may have.
pub(super) fn header_bytes(chunk_bytes: usize) -> usize {
    (chunk_bytes / 256).max(GRAIN)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_wastes_at_most_a_third_and_a_chunk_has_room_for_its_bits() {
        for chunk in [4096, 8192, 16384, 32768, 65536] {
            let classes = Classes::of(chunk);
            for bytes in 1..=classes.largest_part() {
                let class = classes.fitting(bytes).unwrap();
                let size = classes.size(class).unwrap();
                let count = classes.per_chunk(size);
                let share = (chunk - classes.header()) / count;
                assert!(size >= bytes, "{bytes} in {size}");
                assert!(
                    share * 10 <= bytes * 16 + 320,
                    "{bytes} take {share} of {chunk}"
                );
                assert!(count <= classes.header() * 8, "{count} blocks of {size}");
                assert!(class == 1 || classes.size(class - 1).unwrap() < bytes);
            }
            assert_eq!(classes.largest(), chunk - classes.header());
            assert_eq!(classes.fitting(classes.largest() + 1), None);
            assert!(classes.count() < 64);
        }
    }
}
