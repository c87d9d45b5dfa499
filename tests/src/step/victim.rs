//! One traced process, run instruction by instruction.
//!
//! # The life of a victim
//! `fork` → its set-up at full speed → **start marker** → the operation, stepped → **end marker** → its result is
//! stored in a page shared with the tracer → `_exit`, without any destructor. It never returns into the code of its
//! parent, and dies with the thread that forked it.
//!
//! The markers are functions that begin with `int3`. A forked child has the addresses of its parent, so the tracer
//! knows by the instruction pointer alone where the operation begins and ends.
#![allow(unsafe_code)]

use std::io;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use nix::sys::prctl;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

use super::scenario::Operation;
use crate::mapping::Mapping;

/// The exit status of a victim that panicked; the message is on stderr.
const PANIC_STATUS: i32 = 101;

/// Where the operation begins.
#[unsafe(naked)]
extern "C" fn start_marker() {
    core::arch::naked_asm!("int3", "ret")
}

/// Where the operation has ended.
#[unsafe(naked)]
extern "C" fn end_marker() {
    // The nop keeps the two markers from being folded into one function.
    core::arch::naked_asm!("int3", "nop", "ret")
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// One instruction was executed.
    Stepped,
    /// The operation has ended; the victim stands at its end marker, alive.
    AtEnd,
    /// The victim died by itself.
    Died(Death),
}

/// How a victim ended that nobody killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// `_exit` with this status; 101 after a panic.
    Exited(i32),
    /// A signal's default action.
    Signaled(Signal),
}

/// How a victim that was let go came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The operation returned this, and the process exited without running any destructor.
    Completed(u64),
    /// It died in the operation.
    Died(Death),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Stopped,
    Running,
    Zombie,
    Reaped,
}

/// A traced child process, stopped before the first instruction of its operation. Killed and reaped when dropped.
///
/// Use it in the thread that made it: the kernel lets no other thread trace.
#[derive(Debug)]
pub struct Victim {
    pid: Pid,
    life: Life,
    steps: u64,
    next_instruction: u64,
    /// A signal that stopped the victim and is to be delivered with its next step.
    pending: Option<Signal>,
    result: Mapping,
    /// The kernel binds a tracee to a thread: not `Send`.
    thread: std::marker::PhantomData<*const ()>,
}

impl Victim {
    /// Forks. In the child, `arm` is the set-up, and what it returns is the operation; returns when the child stands
    /// at the operation's first instruction.
    ///
    /// Fork from a process with one thread: another thread's locks stay locked in the child for ever.
    pub fn fork<'a>(arm: impl FnOnce() -> Operation<'a>) -> io::Result<Self> {
        let result = Mapping::anonymous(size_of::<AtomicU64>())?;
        let parent = getpid();
        // SAFETY: with one thread (asked of the caller) a child may do all that its parent may.
        let forked = unsafe { fork() }?;
        let pid = match forked {
            ForkResult::Child => live_and_exit(parent, result_word(&result), arm),
            ForkResult::Parent { child } => child,
        };
        let thread = std::marker::PhantomData;
        let mut victim = Self {
            pid,
            life: Life::Running,
            steps: 0,
            next_instruction: 0,
            pending: None,
            result,
            thread,
        };
        victim.run_to_start()?;
        Ok(victim)
    }

    /// The process id, valid until the victim is reaped.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Instructions of the operation executed one by one so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The address of the next instruction.
    pub fn next_instruction(&self) -> u64 {
        self.next_instruction
    }

    /// True when the next instruction is `syscall`.
    pub fn is_at_syscall(&self) -> io::Result<bool> {
        const SYSCALL: [u8; 2] = [0x0f, 0x05];
        let offset = (self.next_instruction % WORD) as usize;
        let low = ptrace::read(self.pid, word_of(self.next_instruction))?.to_le_bytes();
        if offset < 7 {
            return Ok(low[offset..offset + 2] == SYSCALL);
        }
        // Next door may be another page, or none: then this is no `syscall` either.
        let high =
            ptrace::read(self.pid, word_of(self.next_instruction + WORD)).map(i64::to_le_bytes);
        Ok(low[7] == SYSCALL[0] && high.is_ok_and(|bytes| bytes[0] == SYSCALL[1]))
    }

    /// Executes one instruction (a system call is one). At its end marker the victim stays there.
    pub fn step(&mut self) -> io::Result<Event> {
        assert_eq!(
            self.life,
            Life::Stopped,
            "only a stopped victim can be stepped"
        );
        if self.is_at_end() {
            return Ok(Event::AtEnd);
        }
        self.life = Life::Running;
        ptrace::step(self.pid, self.pending.take())?;
        self.steps += 1;
        if let Some(death) = self.wait_for_stop()? {
            return Ok(Event::Died(death));
        }
        Ok(if self.is_at_end() {
            Event::AtEnd
        } else {
            Event::Stepped
        })
    }

    /// From now on [`steps`](Self::steps) counts from here: after a way at full speed.
    pub fn count_from(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// Runs at full speed through the next `count` system calls, and stops behind the last one.
    pub fn skip_syscalls(&mut self, count: usize) -> io::Result<Event> {
        // The kernel reports each twice: before and after.
        for _ in 0..2 * count {
            match self.skip_half_a_syscall()? {
                Event::Stepped => {}
                end => return Ok(end),
            }
        }
        Ok(Event::Stepped)
    }

    /// Runs at full speed to the first system call before which `fact` holds. Killed there, the victim never makes it.
    pub fn run_to_syscall(&mut self, fact: impl Fn() -> bool) -> io::Result<Event> {
        let mut is_before = false;
        loop {
            is_before = !is_before;
            let event = self.skip_half_a_syscall()?;
            if event != Event::Stepped || is_before && fact() {
                return Ok(event);
            }
        }
    }

    /// Runs at full speed until the instruction at `address` is about to be executed for the `count`th time from here,
    /// the next instruction included. `None` where the kernel lets nobody write a breakpoint (its vdso).
    pub fn run_to_execution(&mut self, address: u64, count: u64) -> io::Result<Option<Event>> {
        let mut left = count;
        loop {
            // Not through the breakpoint: an instruction that repeats itself (`rep movsb`) traps only the first time.
            while self.next_instruction == address {
                left -= 1;
                if left == 0 {
                    return Ok(Some(Event::Stepped));
                }
                let event = self.step()?;
                if event != Event::Stepped {
                    return Ok(Some(event));
                }
            }
            let Some(text) = self.set_breakpoint(address)? else {
                return Ok(None);
            };
            self.resume()?;
            if let Some(death) = self.wait_for_stop()? {
                return Ok(Some(Event::Died(death)));
            }
            ptrace::write(self.pid, word_of(address), text)?;
            if self.next_instruction == address + 1 && self.pending.is_none() {
                self.step_back_to(address)?;
            } else if self.next_instruction == marker_address(end_marker) + 1 {
                self.step_back_to(marker_address(end_marker))?;
                return Ok(Some(Event::AtEnd));
            }
        }
    }

    /// Makes the instruction at this address an `int3`; returns the text that was there.
    fn set_breakpoint(&self, address: u64) -> io::Result<Option<libc::c_long>> {
        const INT3: u8 = 0xcc;
        let Ok(text) = ptrace::read(self.pid, word_of(address)) else {
            return Ok(None);
        };
        let mut bytes = text.to_le_bytes();
        bytes[(address % WORD) as usize] = INT3;
        let written = ptrace::write(self.pid, word_of(address), i64::from_le_bytes(bytes));
        Ok(written.is_ok().then_some(text))
    }

    /// To the next border of a system call.
    fn skip_half_a_syscall(&mut self) -> io::Result<Event> {
        assert_eq!(
            self.life,
            Life::Stopped,
            "only a stopped victim can be resumed"
        );
        self.life = Life::Running;
        ptrace::syscall(self.pid, self.pending.take())?;
        if let Some(death) = self.wait_for_stop()? {
            return Ok(Event::Died(death));
        }
        if self.next_instruction == marker_address(end_marker) + 1 {
            self.step_back_to(marker_address(end_marker))?;
            return Ok(Event::AtEnd);
        }
        Ok(Event::Stepped)
    }

    /// Runs into the next system call and returns at once, while the victim may sleep in it;
    /// [`Victim::wait_behind_syscall`] or [`Victim::kill`] follow.
    pub fn resume_into_syscall(&mut self) -> io::Result<()> {
        match self.skip_half_a_syscall()? {
            Event::Stepped => {}
            other => return Err(io::Error::other(format!("no system call: {other:?}"))),
        }
        self.life = Life::Running;
        ptrace::syscall(self.pid, None)?;
        Ok(())
    }

    /// Waits for the end of the system call that [`Victim::resume_into_syscall`] began. The victim stands behind it;
    /// returns what the kernel gave it.
    pub fn wait_behind_syscall(&mut self) -> io::Result<i64> {
        if let Some(death) = self.wait_for_stop()? {
            return Err(io::Error::other(format!("died in it: {death:?}")));
        }
        Ok(ptrace::read_user(self.pid, RAX as ptrace::AddressType)?)
    }

    /// From behind an int3 to before it, where a victim that is stepped would stand.
    fn step_back_to(&mut self, address: u64) -> io::Result<()> {
        self.next_instruction = address;
        ptrace::write_user(self.pid, RIP as ptrace::AddressType, address.cast_signed())?;
        Ok(())
    }

    /// Runs a stopped victim at full speed to its end, and reaps it.
    pub fn resume_to_end(&mut self) -> io::Result<End> {
        self.resume()?;
        self.wait_to_end()
    }

    /// Lets a stopped victim run at full speed and returns at once; [`Victim::wait_to_end`] or [`Victim::kill`] follow.
    pub fn resume(&mut self) -> io::Result<()> {
        assert_eq!(
            self.life,
            Life::Stopped,
            "only a stopped victim can be resumed"
        );
        self.life = Life::Running;
        ptrace::cont(self.pid, self.pending.take())?;
        Ok(())
    }

    /// Waits for a running victim to come to its end, and reaps it. Whether its operation ended is known from the end
    /// marker, not from the exit status.
    pub fn wait_to_end(&mut self) -> io::Result<End> {
        // A single-stepped victim that stands before the marker has yet to execute the marker's int3.
        let past_marker = marker_address(end_marker) + 1;
        let mut completed = false;
        loop {
            if let Some(death) = self.wait_for_stop()? {
                let code = result_word(&self.result).load(Ordering::Relaxed);
                return Ok(if completed && death == Death::Exited(0) {
                    End::Completed(code)
                } else {
                    End::Died(death)
                });
            }
            if self.pending.is_none() && self.next_instruction == past_marker {
                completed = true;
            }
            self.resume()?;
        }
    }

    /// Kills the victim, wherever it is, and reaps it: its pid is gone when this returns.
    pub fn kill(&mut self) -> io::Result<()> {
        self.kill_unreaped()?;
        if self.life == Life::Zombie {
            // __WALL: also when the kernel counts it as a clone child. ECHILD cannot be: only we reap it.
            waitpid(self.pid, Some(WaitPidFlag::__WALL))?;
            self.life = Life::Reaped;
        }
        Ok(())
    }

    /// Kills the victim and leaves it a zombie until [`Victim::kill`] or drop: dead, but its pid still exists.
    pub fn kill_unreaped(&mut self) -> io::Result<()> {
        if matches!(self.life, Life::Zombie | Life::Reaped) {
            return Ok(());
        }
        kill(self.pid, Signal::SIGKILL)?;
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
        while let Err(errno) = waitid(Id::Pid(self.pid), flags) {
            if errno != Errno::EINTR {
                return Err(errno.into());
            }
        }
        self.life = Life::Zombie;
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        self.next_instruction == marker_address(end_marker)
    }

    fn run_to_start(&mut self) -> io::Result<()> {
        let past_marker = marker_address(start_marker) + 1;
        loop {
            if let Some(death) = self.wait_for_stop()? {
                return Err(io::Error::other(format!(
                    "the victim died in its set-up: {death:?}"
                )));
            }
            if self.pending.is_none() && self.next_instruction == past_marker {
                break;
            }
            self.resume()?;
        }
        ptrace::setoptions(self.pid, ptrace::Options::PTRACE_O_EXITKILL)?;
        Ok(())
    }

    /// Waits until the victim stops (and says where) or is dead (and reaped).
    fn wait_for_stop(&mut self) -> io::Result<Option<Death>> {
        let status = loop {
            match waitpid(self.pid, Some(WaitPidFlag::__WALL)) {
                Err(Errno::EINTR) => {}
                other => break other?,
            }
        };
        match status {
            WaitStatus::Stopped(_, signal) => {
                self.life = Life::Stopped;
                self.pending = (signal != Signal::SIGTRAP).then_some(signal);
                self.next_instruction =
                    ptrace::read_user(self.pid, RIP as ptrace::AddressType)?.cast_unsigned();
                Ok(None)
            }
            WaitStatus::Exited(_, status) => Ok(Some(self.reaped(Death::Exited(status)))),
            WaitStatus::Signaled(_, signal, _) => Ok(Some(self.reaped(Death::Signaled(signal)))),
            other => Err(io::Error::other(format!(
                "unexpected wait status {other:?}"
            ))),
        }
    }

    fn reaped(&mut self, death: Death) -> Death {
        self.life = Life::Reaped;
        death
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let killed = self.kill();
        debug_assert!(killed.is_ok(), "kill {}: {killed:?}", self.pid);
    }
}

/// Where the instruction pointer is in the user area that the tracer may read.
const RIP: usize = offset_of!(libc::user, regs) + offset_of!(libc::user_regs_struct, rip);
/// The same for the register that holds a system call's result.
const RAX: usize = offset_of!(libc::user, regs) + offset_of!(libc::user_regs_struct, rax);

/// What ptrace reads and writes at once.
const WORD: u64 = 8;

/// Where the word is that has this address in it: aligned, so that it never crosses into a page that is not there.
fn word_of(address: u64) -> ptrace::AddressType {
    (address / WORD * WORD) as ptrace::AddressType
}

fn marker_address(marker: extern "C" fn()) -> u64 {
    marker as *const () as u64
}

fn result_word(page: &Mapping) -> &AtomicU64 {
    // SAFETY: a mapping is page-aligned, this one has room for the word (see `fork`), and both sides use it atomically.
    unsafe { page.start().cast::<AtomicU64>().as_ref() }
}

/// All of the child's life. Relaxed: the tracer reads the result after it has seen the exit.
fn live_and_exit<'a>(parent: Pid, result: &AtomicU64, arm: impl FnOnce() -> Operation<'a>) -> ! {
    let life = catch_unwind(AssertUnwindSafe(|| {
        prctl::set_pdeathsig(Signal::SIGKILL).expect("a parent-death signal can be asked for");
        if getppid() != parent {
            exit_now(PANIC_STATUS); // it died before we could ask
        }
        ptrace::traceme().expect("the parent may trace its child");
        let mut operation = arm();
        start_marker();
        let code = operation();
        end_marker();
        result.store(code, Ordering::Relaxed);
        exit_now(0)
    }));
    match life {
        Ok(never) => never,
        Err(_) => exit_now(PANIC_STATUS),
    }
}

fn exit_now(status: i32) -> ! {
    // SAFETY: _exit runs no code of this process.
    unsafe { libc::_exit(status) }
}
