//! Mapping files into memory, always as raw pages: no slice into them ever exists.

use std::{fs::File, io};

use memmap2::{MmapOptions, MmapRaw};

use super::file::Inode;

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

/// What is mapped at `address`.
pub(crate) fn inode_at(address: usize) -> io::Result<Inode> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let found = maps
        .lines()
        .filter_map(mapping)
        .find(|m| m.0.contains(&address));
    found
        .map(|m| m.1)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Reads a line of `/proc/self/maps`: `start-end perms offset major:minor inode path`.
fn mapping(line: &str) -> Option<(core::ops::Range<usize>, Inode)> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (major, minor) = words.nth(2)?.split_once(':')?;
    let device = nix::sys::stat::makedev(hex(major)?, hex(minor)?);
    let number = words.next()?.parse().ok()?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    Some((range, Inode { device, number }))
}
