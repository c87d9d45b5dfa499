//! [`Event`] as an event of the crate `raw_sync`, whose users switch by one `use`.
//!
//! There an event lives in memory that its user brings. Ours lives in an object of its own, without a name, which goes with its
//! last user; the user's memory gets a slip that says where.
//!
//! # Layout
//!
//! ```text
//!  0 magic   8 is_auto_reset   12 pid   16 descriptor   20 zero   24 device   32 number   40 name   56 checksum   64
//! ```
//!
//! Written once, by `new`. The object is found by its file's `name` in this process's namespace, or through the `descriptor` of
//! the process `pid` that made it, and is the right one by `device` and `number` of its inode.
//!
//! # An event that resets itself
//!
//! is a [`BoundedSemaphore`] of one permit. To be had: signaled. Lent: clear. A waiter holds it for a moment between taking
//! and lending it, and has consumed the signal when it takes it; who signals meanwhile waits until it is lent. So signals are
//! neither doubled nor lost, and one that a killed waiter had taken and not returned with is there again.

#![expect(unsafe_code, reason = "raw_sync's users bring bare memory")]

use core::ptr;
use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use bytemuck::{Pod, Zeroable};
use raw_sync::{
    Timeout,
    events::{EventImpl, EventInit, EventState},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    bounded_semaphore::BoundedSemaphore,
    errors::{AcquireTimeoutError, ReleaseError, TryAcquireError},
    event::Event,
};
use crate::object::Namespace;

/// As raw_sync's own, which is not public.
type Result<T> = core::result::Result<T, Box<dyn std::error::Error>>;
/// An event, and how many bytes of the user's memory it took.
type Placed = (Box<dyn EventImpl>, usize);

const MAGIC: u64 = u64::from_le_bytes(*b"ipc-evt1");
/// How long a waiter needs from taking the permit to lending it, and some.
const MOMENT: Duration = Duration::from_micros(50);

impl EventInit for Event {
    /// 64, wherever it is.
    fn size_of(_: Option<*mut u8>) -> usize {
        size_of::<Slip>()
    }

    /// Makes an event in this process's namespace and notes in `mem` where it is. It goes with the last process that has it
    /// open: to be there for later ones, keep what this returns.
    ///
    /// # Safety
    ///
    /// `mem` has [`size_of`](Self::size_of) bytes to write to, aligned in any way, that nobody else uses meanwhile.
    unsafe fn new(mem: *mut u8, auto_reset: bool) -> Result<Placed> {
        let (slip, event): (Slip, Box<dyn EventImpl>) = if auto_reset {
            let event = AutoReset::new()?;
            (Slip::of(&event.0, true)?, Box::new(event))
        } else {
            let event = Self::options().anonymous()?;
            (Slip::of(&event, false)?, Box::new(event))
        };
        // SAFETY: room for it is the caller's to give.
        unsafe { mem.cast::<Slip>().write_unaligned(slip) };
        Ok((event, size_of::<Slip>()))
    }

    /// Opens the event that is noted in `mem`.
    ///
    /// # Safety
    ///
    /// `mem` has [`size_of`](Self::size_of) bytes to read that nobody writes meanwhile. What they say is checked.
    unsafe fn from_existing(mem: *mut u8) -> Result<Placed> {
        // SAFETY: the caller's word; any bytes are a slip.
        let slip = unsafe { ptr::read_unaligned(mem.cast::<Slip>()) };
        let event: Box<dyn EventImpl> = if slip.is_auto_reset()? {
            Box::new(AutoReset(slip.redeem()?))
        } else {
            Box::new(slip.redeem::<Self>()?)
        };
        Ok((event, size_of::<Slip>()))
    }
}

impl EventImpl for Event {
    /// As [`Event::wait`] or [`Event::wait_timeout`]; an event that was set and cleared while this slept counts.
    fn wait(&self, timeout: Timeout) -> Result<()> {
        match timeout {
            Timeout::Infinite => Ok(Self::wait(self)?),
            Timeout::Val(limit) if self.wait_timeout(limit)? => Ok(()),
            Timeout::Val(limit) => Err(not_within(limit)),
        }
    }

    fn set(&self, state: EventState) -> Result<()> {
        match state {
            EventState::Signaled => Self::set(self).map(drop)?,
            EventState::Clear => self.clear()?,
        }
        Ok(())
    }
}

fn not_within(limit: Duration) -> Box<dyn std::error::Error> {
    format!("the event was not signaled within {limit:?}").into()
}

/// An event that is clear again once one waiter has seen it.
struct AutoReset(BoundedSemaphore);

impl AutoReset {
    fn new() -> Result<Self> {
        let signal = BoundedSemaphore::options(1).anonymous()?;
        signal.acquire()?.forget();
        Ok(Self(signal))
    }

    fn signal(&self) -> Result<()> {
        loop {
            match self.0.release() {
                Ok(()) => return Ok(()),
                Err(ReleaseError::OverReleased) if self.0.value() == 1 => return Ok(()),
                Err(ReleaseError::OverReleased) => {
                    thread::sleep(MOMENT);
                    self.0.sweep()?; // or else a dead waiter would keep us here
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn clear(&self) -> Result<()> {
        match self.0.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::WouldBlock) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}

impl EventImpl for AutoReset {
    fn wait(&self, timeout: Timeout) -> Result<()> {
        let permit = match timeout {
            Timeout::Infinite => self.0.acquire()?,
            Timeout::Val(limit) => self.0.acquire_timeout(limit).map_err(|e| match e {
                AcquireTimeoutError::Timeout => not_within(limit),
                AcquireTimeoutError::Failed(e) => e.into(),
            })?,
        };
        permit.forget();
        Ok(())
    }

    fn set(&self, state: EventState) -> Result<()> {
        match state {
            EventState::Signaled => self.signal(),
            EventState::Clear => self.clear(),
        }
    }
}

/// A handle's encoding: path, inode, process and descriptor, in this order.
type Handle = (PathBuf, (u64, u64), u32, i32);

/// A handle in so few bytes that they are less than what raw_sync's own event takes.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Slip {
    magic: u64,
    is_auto_reset: u32,
    pid: u32,
    descriptor: i32,
    zero: u32,
    device: u64,
    number: u64,
    /// The file name, which is a UUID; zero if it is not.
    name: [u8; 16],
    checksum: u64,
}

const _: () = assert!(size_of::<Slip>() == 64);

impl Slip {
    fn of<T: Serialize>(object: &T, is_auto_reset: bool) -> Result<Self> {
        let handle: Handle = postcard::from_bytes(&postcard::to_stdvec(object)?)?;
        let (path, (device, number), pid, descriptor) = handle;
        let mut slip = Self {
            magic: MAGIC,
            is_auto_reset: is_auto_reset.into(),
            pid,
            descriptor,
            zero: 0,
            device,
            number,
            name: short(&path).unwrap_or_default().to_be_bytes(),
            checksum: 0,
        };
        slip.checksum = slip.sum();
        Ok(slip)
    }

    /// Which kind of event it is for, once it is certain that it is a slip.
    fn is_auto_reset(&self) -> Result<bool> {
        if self.magic != MAGIC || self.checksum != self.sum() {
            return Err("there is no event of ipc-core in this memory".into());
        }
        Ok(self.is_auto_reset != 0)
    }

    fn redeem<T: DeserializeOwned>(&self) -> Result<T> {
        let path = Namespace::current()?.ephemeral_file()?;
        let path = path.with_file_name(long(u128::from_be_bytes(self.name)));
        let handle: Handle = (path, (self.device, self.number), self.pid, self.descriptor);
        let opened = postcard::from_bytes(&postcard::to_stdvec(&handle)?);
        opened.map_err(|_| "the event in this memory is gone: nobody has it open".into())
    }

    /// FNV-1a of all before it.
    fn sum(&self) -> u64 {
        let bytes = bytemuck::bytes_of(self);
        let bytes = &bytes[..size_of::<Self>() - size_of::<u64>()];
        let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
    }
}

/// The number that a file name is, as a UUID.
fn short(path: &Path) -> Option<u128> {
    let name = path.file_name()?.to_str()?;
    let number = u128::from_str_radix(&name.replace('-', ""), 16).ok()?;
    (long(number) == name).then_some(number)
}

/// A number as a UUID.
fn long(number: u128) -> String {
    let part = |from: u32, digits: usize| {
        let bits = number >> from & ((1 << (4 * digits)) - 1);
        format!("{bits:0digits$x}")
    };
    [
        part(96, 8),
        part(80, 4),
        part(64, 4),
        part(48, 4),
        part(0, 12),
    ]
    .join("-")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Slip;
    // raw_sync's own program imports its `Event` by the second of these; the first is the line that switches it.
    use crate::Event;
    use raw_sync::{Timeout, events::*};
    use std::{
        env,
        process::Command,
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    /// `examples/events.rs` of raw_sync 0.1.5, without its logger, and with a message where it sleeps for three seconds.
    fn event_example(mem: *mut u8, auto_reset: bool) {
        // SAFETY: the caller's 64 bytes.
        let (obj, _) = unsafe { Event::new(mem, auto_reset).unwrap() };

        let mem_ptr = mem as usize;
        let (done, is_done) = mpsc::channel();

        let child = thread::spawn(move || {
            // SAFETY: as above, and nobody writes them any more.
            let (obj, _) = unsafe { Event::from_existing(mem_ptr as _).unwrap() };
            obj.wait(Timeout::Infinite).unwrap();

            if auto_reset {
                if obj.wait(Timeout::Val(Duration::from_millis(50))).is_ok() {
                    panic!("This should have timed out !");
                };
            } else {
                if obj.wait(Timeout::Val(Duration::from_secs(1))).is_err() {
                    panic!("This shouldn't have timed out !");
                };
            }

            obj.set(EventState::Signaled).unwrap();
            obj.set(EventState::Signaled).unwrap();
            obj.set(EventState::Clear).unwrap();
            done.send(()).unwrap();
        });

        obj.set(EventState::Signaled).unwrap();
        is_done.recv().unwrap();

        if obj.wait(Timeout::Val(Duration::from_millis(50))).is_ok() {
            panic!("This should have timed out !");
        };

        child.join().unwrap();
    }

    #[test]
    fn the_example_of_raw_sync_runs_with_our_event() {
        let mut mem = [0u8; 64]; // as much as the original has
        event_example(mem.as_mut_ptr(), true);
        event_example(mem.as_mut_ptr(), false);
    }

    fn make(mem: &mut [u8], auto_reset: bool) -> super::Placed {
        assert!(mem.len() >= Event::size_of(None));
        // SAFETY: there is room, and nobody else has it.
        unsafe { Event::new(mem.as_mut_ptr(), auto_reset) }.unwrap()
    }

    fn open(mem: &[u8]) -> super::Result<super::Placed> {
        assert!(mem.len() >= Event::size_of(None));
        // SAFETY: it is so long, and only read.
        unsafe { Event::from_existing(mem.as_ptr().cast_mut()) }
    }

    const MEMORY: &str = "IPC_RAW_SYNC_MEMORY";

    fn ping(auto_reset: bool) {
        let mut mem = vec![0u8; 2 * Event::size_of(None)];
        let (there, used) = make(&mut mem, auto_reset);
        let (back, _) = make(&mut mem[used..], auto_reset);
        let mem: String = mem.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["sync::raw_sync::tests::pong", "--exact", "--ignored"])
            .env(MEMORY, mem)
            .spawn()
            .unwrap();
        there.set(EventState::Signaled).unwrap();
        let answer = back.wait(Timeout::Val(Duration::from_secs(60)));
        assert!(child.wait().unwrap().success());
        answer.unwrap();
    }

    #[test]
    fn two_processes_come_to_the_same_event_by_the_bytes_in_memory() {
        ping(true);
        ping(false);
    }

    #[test]
    #[ignore = "the other process of the ping"]
    fn pong() {
        let text = env::var(MEMORY).unwrap();
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        let mem: Vec<u8> = (0..text.len()).step_by(2).map(byte).collect();
        let (there, used) = open(&mem).unwrap();
        let (back, _) = open(&mem[used..]).unwrap();
        there.wait(Timeout::Val(Duration::from_secs(60))).unwrap();
        back.set(EventState::Signaled).unwrap();
    }

    #[test]
    fn one_signal_of_an_event_that_resets_itself_lets_one_waiter_go_on() {
        let mut mem = [0u8; size_of::<Slip>() + 1];
        let mem = &mut mem[1..]; // wherever it lies
        let (event, _) = make(mem, true);
        let (went, has_gone) = mpsc::channel();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (went, mem) = (went.clone(), mem.to_vec());
                thread::spawn(move || {
                    let (event, _) = open(&mem).unwrap();
                    event.wait(Timeout::Infinite).unwrap();
                    went.send(()).unwrap();
                })
            })
            .collect();
        for _ in 0..3 {
            event.set(EventState::Signaled).unwrap();
            has_gone.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(
                has_gone.recv_timeout(Duration::from_millis(20)).is_err(),
                "one signal, one waiter"
            );
        }
        waiters.into_iter().for_each(|w| w.join().unwrap());
        let start = Instant::now();
        let limit = Duration::from_millis(20);
        let error = event.wait(Timeout::Val(limit)).unwrap_err();
        assert!(start.elapsed() >= limit && error.to_string().contains("20ms"));
    }

    #[test]
    fn no_signal_is_lost_between_two_that_take_turns() {
        let mut mem = [[0u8; size_of::<Slip>()]; 2];
        let [(there, _), (back, _)] = mem.each_mut().map(|mem| make(mem, true));
        let limit = || Timeout::Val(Duration::from_secs(60));
        let other = thread::spawn(move || {
            let [(there, _), (back, _)] = mem.each_ref().map(|mem| open(mem).unwrap());
            for _ in 0..20_000 {
                there.wait(limit()).unwrap();
                back.set(EventState::Signaled).unwrap();
            }
        });
        for _ in 0..20_000 {
            there.set(EventState::Clear).unwrap(); // as it is
            there.set(EventState::Signaled).unwrap();
            back.wait(limit()).unwrap();
        }
        other.join().unwrap();
    }

    #[test]
    fn memory_without_an_event_and_an_event_that_is_gone_are_reported() {
        let mut mem = [0u8; size_of::<Slip>()];
        assert!(open(&mem).is_err());
        for auto_reset in [true, false] {
            drop(make(&mut mem, auto_reset));
            let Err(gone) = open(&mem) else {
                panic!("it should be gone");
            };
            assert!(gone.to_string().contains("gone"), "{gone}");
        }
        let (_event, _) = make(&mut mem, true);
        mem[8] ^= 1; // another kind
        assert!(open(&mem).is_err());
    }
}
