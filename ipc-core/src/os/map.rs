//! Mapping files into memory, always as raw pages: no slice into them ever exists.

use std::{fs::File, io};

use memmap2::{MmapOptions, MmapRaw};

/// The size of a page of memory, in bytes.
pub(crate) fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(4096)
}

/// Maps the first `length` bytes of `file`, shared and writable.
pub(crate) fn shared(file: &File, length: usize) -> io::Result<MmapRaw> {
    MmapOptions::new().len(length).map_raw(file)
}

/// Maps the first `length` bytes of `file` for looking only.
pub(crate) fn read_only(file: &File, length: usize) -> io::Result<MmapRaw> {
    MmapOptions::new().len(length).map_raw_read_only(file)
}
