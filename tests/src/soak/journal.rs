//! What a worker did, in a file that outlives it.
//!
//! A producer writes how many messages it *begun* to put and how many puts returned; a consumer what it got, after the get
//! returned. A store that a killed process retired is there, in order, so the journal never says less than what happened
//! before the last entry.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Entries that a journal has room for.
pub const ENTRIES: usize = 1 << 18;
const HEAD: usize = 8;
const BYTES: usize = (HEAD + ENTRIES) * size_of::<AtomicU64>();

/// The words before the entries.
#[derive(Debug, Clone, Copy)]
enum Word {
    /// Producer: the first sequence number that it has not yet begun to put.
    Begun,
    /// Producer: the first sequence number whose put has not returned.
    Acked,
    /// Consumer: how many messages the get in progress may take; 0 between gets.
    Asked,
    /// Consumer: [`Word::Count`] when the get in progress began.
    Before,
    /// Consumer: how many entries there are.
    Count,
    /// 0 before the queue is open, 1 while it is, 2 once it is about to be closed.
    Stage,
    /// Not 0: the supervisor asks a producer to end.
    Stop,
}

/// A worker's journal, mapped.
#[derive(Debug)]
pub struct Journal(NonNull<AtomicU64>);

impl Journal {
    /// Makes an empty one. Its file is sparse.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        file.set_len(BYTES as u64)?;
        Self::map(&file)
    }

    /// Opens that of `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::map(&File::options().read(true).write(true).open(path)?)
    }

    fn map(file: &File) -> io::Result<Self> {
        let length = NonZeroUsize::new(BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping aliases nothing in this process.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Self(start.cast()))
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: `map` mapped so many words, which live as long as self, and atomics may be written by others.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), HEAD + ENTRIES) }
    }

    fn get(&self, word: Word) -> u64 {
        self.words()[word as usize].load(Ordering::Acquire)
    }

    fn set(&self, word: Word, value: u64) {
        // Release keeps the order of the journal's stores, also against the stores to the queue.
        self.words()[word as usize].store(value, Ordering::Release);
    }

    // ---- what a producer writes

    /// Sequence numbers below `end` may be put from now on.
    pub fn begin_put(&self, end: u64) {
        self.set(Word::Begun, end);
    }

    /// All puts below `end` returned, none above was done.
    pub fn end_put(&self, end: u64) {
        self.set(Word::Acked, end);
        self.set(Word::Begun, end);
    }

    /// The first sequence number that was not begun.
    pub fn begun(&self) -> u64 {
        self.get(Word::Begun)
    }

    /// The first sequence number whose put did not return.
    pub fn acked(&self) -> u64 {
        self.get(Word::Acked)
    }

    // ---- what a consumer writes

    /// A get of up to `most` messages begins. False if the journal has no room for them.
    pub fn begin_get(&self, most: usize) -> bool {
        let count = self.get(Word::Count);
        self.set(Word::Before, count);
        self.set(Word::Asked, most as u64);
        count as usize + most <= ENTRIES
    }

    /// Notes a message that a get returned.
    pub fn note(&self, id: u64) {
        let count = self.get(Word::Count);
        self.words()[HEAD + count as usize].store(id, Ordering::Release);
        self.set(Word::Count, count + 1);
    }

    /// The get is over and its messages are noted.
    pub fn end_get(&self) {
        self.set(Word::Asked, 0);
    }

    /// How many messages a get in progress may have taken that are not noted.
    pub fn in_hand(&self) -> u64 {
        let noted = self.count().saturating_sub(self.get(Word::Before));
        self.get(Word::Asked).saturating_sub(noted)
    }

    /// How many messages a get in progress asked for.
    pub fn asked(&self) -> u64 {
        self.get(Word::Asked)
    }

    /// How many messages are noted.
    pub fn count(&self) -> u64 {
        self.get(Word::Count)
    }

    /// What is noted, in the order in which it was got.
    pub fn entries(&self) -> impl Iterator<Item = u64> + '_ {
        let count = self.count() as usize;
        let noted = &self.words()[HEAD..HEAD + count.min(ENTRIES)];
        noted.iter().map(|word| word.load(Ordering::Relaxed))
    }

    // ---- life

    /// The worker has the queue open.
    pub fn set_attached(&self) {
        self.set(Word::Stage, 1);
    }

    /// The worker is about to leave the queue.
    pub fn set_leaving(&self) {
        self.set(Word::Stage, 2);
    }

    /// Whether the worker was certainly attached.
    pub fn is_attached(&self) -> bool {
        self.get(Word::Stage) == 1
    }

    /// Asks a producer to end after the put in progress.
    pub fn ask_to_stop(&self) {
        self.set(Word::Stop, 1);
    }

    /// Whether the worker was asked to end.
    pub fn is_asked_to_stop(&self) -> bool {
        self.get(Word::Stop) != 0
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and no reference outlives self.
        let _ = unsafe { munmap(self.0.cast(), BYTES) };
    }
}
