//! What a parent and a child tell each other: memory without a name, which goes with the last of the two.
//!
//! It is read and written by system calls and never mapped, so that nothing the other one does to it can hurt: who cuts it short makes
//! a read fail.
//!
//! # Layout
//!
//! ```text
//! 0          8         12  16      24             32                 40              48              56      60  64       64 + order
//! ┌──────────┬─────────┬───┬───────┬──────────────┬──────────────────┬───────────────┬───────────────┬───────┬───┬────────┬───────────┬────────┐
//! │"ipc-proc"│ version │ 0 │ nonce │ order length │ arguments length │ report offset │ report length │ state │ 0 │ order  │ arguments │ report │
//! ├──────────┴─────────┴───┴───────┴──────────────┴──────────────────┼───────────────┴───────────────┴───────┼───┴────────┴───────────┼────────┤
//! │ parent                                                           │ child                                 │ parent                 │ child  │
//! └──────────────────────────────────────────────────────────────────┴───────────────────────────────────────┴────────────────────────┴────────┘
//! ```
//!
//! # If a process dies
//!
//! The parent reads what the child wrote only once the child has ended. The child writes the report first, and then its place and its state:
//! killed before that, it has returned nothing.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::os::{child, clock, file};

const NAME: &CStr = c"ipc-process";
const MAGIC: u64 = u64::from_le_bytes(*b"ipc-proc");
const VERSION: u32 = 1;
const HEADER: u64 = 64;
const REPORT: u64 = 40;
const STATE: u64 = 56;
/// What is no longer is read without a look at what memory there is.
const SHORT: usize = 4096 - HEADER as usize;
/// Arguments so long are given back to the system once they are decoded.
const LONG: usize = 64 << 10;

/// How far a child has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum State {
    Sent = 0,
    /// By `init`.
    Begun = 1,
    Returned = 2,
    Panicked = 3,
    Failed = 4,
}

impl State {
    fn of(number: u32) -> Option<Self> {
        let all = [
            Self::Sent,
            Self::Begun,
            Self::Returned,
            Self::Panicked,
            Self::Failed,
        ];
        all.into_iter().find(|state| *state as u32 == number)
    }
}

/// What happens to a process when the one that started it ends without having ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum ParentDeath {
    /// It goes on. The default, but of daemons.
    #[default]
    Continue,
    /// It is sent `SIGTERM`, which it may handle.
    Terminate,
    /// It is killed. The default of daemons.
    Kill,
}

/// What a child is to do and to know.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Order {
    /// Device and number of the program's file.
    pub(super) program: (u64, u64),
    pub(super) function: String,
    /// Where the function's record is; see [`crate::os::image`].
    pub(super) distance: usize,
    pub(super) name: String,
    /// Which child of which child it is.
    pub(super) identity: Vec<u32>,
    pub(super) is_daemon: bool,
    pub(super) parent_death: ParentDeath,
    pub(super) parent_name: String,
    pub(super) parent_pid: u32,
    /// In the child, the parent's process descriptor; in the parent, this memory.
    pub(super) number: i32,
    /// In the child, what it writes to once it has taken its arguments.
    pub(super) taken: Option<i32>,
    pub(super) directory: Option<PathBuf>,
    pub(super) command_name: Vec<u8>,
    pub(super) log_level: u8,
}

/// The memory, as both sides have it.
#[derive(Debug)]
pub(super) struct Letter {
    file: File,
    nonce: u64,
}

impl Letter {
    /// An empty one. The order needs its number.
    pub(super) fn new() -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Only a number: it orders nothing.
        let nonce = clock::monotonic_ns() ^ COUNT.fetch_add(1, Ordering::Relaxed).rotate_right(16);
        Ok(Self {
            file: child::memory(NAME)?,
            nonce,
        })
    }

    pub(super) fn number(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// What nobody else's has.
    pub(super) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Writes the parent's part.
    pub(super) fn send(&self, order: &Order, arguments: &[u8]) -> io::Result<()> {
        let order = postcard::to_stdvec(order).map_err(io::Error::other)?;
        let mut head = Vec::with_capacity(HEADER as usize + order.len());
        head.extend(MAGIC.to_ne_bytes());
        head.extend(VERSION.to_ne_bytes());
        head.extend([0; 4]);
        head.extend(self.nonce.to_ne_bytes());
        head.extend((order.len() as u64).to_ne_bytes());
        head.extend((arguments.len() as u64).to_ne_bytes());
        head.resize(HEADER as usize, 0);
        head.extend(&order);
        self.file.write_all_at(&head, 0)?;
        self.file.write_all_at(arguments, head.len() as u64)
    }

    /// The letter behind a descriptor that this process was given, if it is that.
    pub(super) fn received(number: i32, nonce: u64) -> Option<Self> {
        let mut head = [0; HEADER as usize];
        child::look_into(number, &mut head).ok()?;
        if !is_header(&head, nonce) {
            return None;
        }
        let file = File::from(child::passed(number)?);
        Some(Self { file, nonce })
    }

    /// Whether its descriptor still is this letter's.
    pub(super) fn is_open(&self) -> bool {
        self.header().is_ok_and(|head| is_header(&head, self.nonce))
    }

    /// The same letter by way of the process that sent it.
    pub(super) fn by_way_of(parent: u32, number: i32, nonce: u64) -> io::Result<Self> {
        let file = file::open_of_process(parent, number)?;
        let letter = Self { file, nonce };
        match letter.is_open() {
            true => Ok(letter),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The order and the arguments.
    pub(super) fn read(&self) -> io::Result<(Order, Vec<u8>)> {
        let head = self.header()?;
        let (order, arguments) = (word(&head, 24), word(&head, 32));
        let mut both = self.part(HEADER, order.saturating_add(arguments))?;
        let parted = postcard::from_bytes(&both[..order as usize]).map_err(io::Error::other)?;
        both.drain(..order as usize);
        Ok((parted, both))
    }

    /// Whether nobody has begun what it orders.
    pub(super) fn is_new(&self) -> bool {
        let head = self.header();
        head.is_ok_and(|head| State::of(word(&head, 56) as u32) == Some(State::Sent))
    }

    pub(super) fn set_state(&self, state: State) -> io::Result<()> {
        self.file.write_all_at(&(state as u32).to_ne_bytes(), STATE)
    }

    /// Gives back the memory of long arguments, which nobody reads again.
    pub(super) fn forget_arguments(&self, length: usize) {
        if length >= LONG
            && let Ok(head) = self.header()
        {
            let _ = file::punch(&self.file, behind_order(&head), word(&head, 32)); // only memory
        }
    }

    /// Writes how it ended, `state` last.
    pub(super) fn report(&self, state: State, report: &[u8]) -> io::Result<()> {
        let head = self.header()?;
        let start = behind_order(&head).saturating_add(word(&head, 32)); // where nobody can write, if it is a lie
        if !report.is_empty() {
            self.file.write_all_at(report, start)?;
        }
        let mut last = [0; 20];
        last[..8].copy_from_slice(&start.to_ne_bytes());
        last[8..16].copy_from_slice(&(report.len() as u64).to_ne_bytes());
        last[16..].copy_from_slice(&(state as u32).to_ne_bytes());
        // One page, which the kernel copies as a whole.
        self.file.write_all_at(&last, REPORT)
    }

    /// How far the child has come, `None` if that cannot be, and what it reported.
    pub(super) fn reported(&self) -> io::Result<(Option<State>, Vec<u8>)> {
        let head = self.header()?;
        let state = State::of(word(&head, 56) as u32);
        let report = match word(&head, 48) {
            0 => Vec::new(),
            length => self.part(word(&head, 40), length)?,
        };
        Ok((state, report))
    }

    fn header(&self) -> io::Result<[u8; HEADER as usize]> {
        let mut head = [0; HEADER as usize];
        self.file.read_exact_at(&mut head, 0)?;
        Ok(head)
    }

    /// Some bytes, if the file has memory for so many: a length may be a lie.
    fn part(&self, start: u64, length: u64) -> io::Result<Vec<u8>> {
        if length > SHORT as u64 {
            let allocated = file::allocated(&self.file)?;
            if length > allocated {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(length)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(length, 0);
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }
}

fn is_header(head: &[u8; HEADER as usize], nonce: u64) -> bool {
    word(head, 0) == MAGIC && word(head, 8) == u64::from(VERSION) && word(head, 16) == nonce
}

fn behind_order(head: &[u8; HEADER as usize]) -> u64 {
    HEADER.saturating_add(word(head, 24))
}

fn word(head: &[u8; HEADER as usize], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_ne_bytes(word)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            program: (1, 2),
            function: "f".into(),
            distance: 3,
            name: "n".into(),
            identity: vec![1],
            is_daemon: false,
            parent_death: ParentDeath::Continue,
            parent_name: "p".into(),
            parent_pid: 4,
            number: 5,
            taken: None,
            directory: None,
            command_name: Vec::new(),
            log_level: 0,
        }
    }

    fn sent(arguments: &[u8]) -> Letter {
        let letter = Letter::new().expect("the system has memory");
        letter.send(&order(), arguments).expect("there is room");
        letter
    }

    #[test]
    fn what_is_sent_arrives_and_what_is_reported_comes_back() {
        for length in [0, 1, 5000, 1 << 20] {
            let arguments = vec![7; length];
            let letter = sent(&arguments);
            assert!(letter.is_new() && letter.is_open());
            let (order, arrived) = letter.read().expect("it is whole");
            assert_eq!((order.name.as_str(), order.number), ("n", 5));
            assert!(arrived == arguments);
            letter.set_state(State::Begun).expect("it is there");
            assert!(!letter.is_new());
            letter.forget_arguments(length);
            let (state, report) = letter.reported().expect("there is none");
            assert_eq!((state, report), (Some(State::Begun), Vec::new()));
            letter
                .report(State::Returned, &arguments)
                .expect("there is room");
            let (state, report) = letter.reported().expect("it is whole");
            assert!(state == Some(State::Returned) && report == arguments);
        }
    }

    #[test]
    fn a_child_that_lies_is_an_error_and_costs_no_memory() {
        let letter = sent(b"arguments");
        letter.report(State::Returned, b"report").expect("room");
        let at = |word: u64, offset: u64| {
            letter
                .file
                .write_all_at(&word.to_ne_bytes(), offset)
                .expect("it is there");
        };
        let (start, _) = (word(&letter.header().expect("whole"), 40), ());
        for (offset, length) in [
            (start, u64::MAX),
            (start, 1 << 50),
            (u64::MAX, 6),
            (u64::MAX - 3, u64::MAX),
            (1 << 40, 6),
            (start + 1, 6),
        ] {
            at(offset, REPORT);
            at(length, REPORT + 8);
            assert!(letter.reported().is_err(), "{offset} {length}");
        }
        // Long, and nothing behind it.
        letter.file.set_len(1 << 45).expect("sparse");
        at(start, REPORT);
        at(1 << 44, REPORT + 8);
        assert!(letter.reported().is_err());
        at(0, REPORT + 8);
        at(77, STATE);
        let (state, _) = letter.reported().expect("there is none");
        assert_eq!(state, None);
        // The parent's part, which the child adds up.
        for lie in [u64::MAX, u64::MAX - 64, 1 << 63] {
            at(lie, 24);
            at(lie, 32);
            letter.forget_arguments(LONG);
            assert!(letter.read().is_err() && letter.report(State::Failed, b"report").is_err());
        }
        letter.file.set_len(20).expect("cut short");
        assert!(letter.reported().is_err() && letter.read().is_err());
        assert!(!letter.is_open() && !letter.is_new());
    }

    #[test]
    fn a_descriptor_that_is_no_letter_or_another_is_none() {
        let letter = sent(b"");
        assert!(Letter::received(letter.number(), letter.nonce() + 1).is_none());
        assert!(Letter::received(-1, letter.nonce()).is_none());
        assert!(Letter::received(0, letter.nonce()).is_none());
        let file = File::open("/proc/self/exe").expect("it runs");
        assert!(Letter::received(file.as_raw_fd(), letter.nonce()).is_none());
        let (this, number) = (std::process::id(), letter.number());
        let again = Letter::by_way_of(this, number, letter.nonce());
        assert!(again.expect("it is open here").is_new());
        assert!(Letter::by_way_of(this, file.as_raw_fd(), letter.nonce()).is_err());
    }
}
