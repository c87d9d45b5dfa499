//! What a child does first: it finds out that it is one, runs its function, reports, and ends.
//!
//! A program is started again with a variable in its environment that says which descriptor its letter is, what number that letter has, and who
//! sent it. The letter alone makes it a child: a variable that was inherited by mistake leads to none, or to one that somebody has begun.

use std::{
    any::Any,
    fs::File,
    io::Write,
    mem::ManuallyDrop,
    os::fd::AsFd,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
};

use nix::sys::signal::Signal;

use super::{
    callable::Function,
    child::locked,
    current::{Current, ParentProcess},
    letter::{Letter, Order, ParentDeath, State},
    logging,
    status::Panic,
};
use crate::{
    message::{DecodeError, Message, Received, sealed::Sealed},
    os::{
        child,
        image::{Body, Entry},
        thread as threads,
    },
};

/// Tells a child what it is.
pub(super) const VARIABLE: &str = "IPC_PROCESS";
/// What a child exits with whose function did not return.
const FAILURE: i32 = 1;

/// Whether [`init`] was called. It orders nothing: who spawns comes after it in the program.
static IS_INITIALISED: AtomicBool = AtomicBool::new(false);

pub(super) fn is_initialised() -> bool {
    IS_INITIALISED.load(Ordering::Relaxed)
}

/// Makes this program one that can be started again by [`Process::spawn`](crate::Process::spawn): **the first line of `main`**.
///
/// In a process that was started so, it runs the function that the process was started for, and never returns. Else it does next to nothing. What
/// stands before it in `main` is done by every child, too. In a program that has not called it, nothing can be spawned.
///
/// A test harness has a `main` of its own; tests that spawn are programs of their own (`harness = false`).
///
/// ```
/// // fn main()
/// ipc_core::init();
/// let child = ipc_core::Process::spawn(|a: u32, b: u32| a + b, (3, 4))?;
/// assert_eq!(child.join()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn init() {
    let Some(calling) = std::env::var_os(VARIABLE) else {
        IS_INITIALISED.store(true, Ordering::Relaxed);
        return;
    };
    let calling = calling.to_string_lossy().into_owned();
    child::remove_variable(VARIABLE);
    match answer(&calling) {
        Answer::Mine(letter) => Vocation::of(letter).follow(),
        Answer::NotMine => IS_INITIALISED.store(true, Ordering::Relaxed),
        Answer::Lost => {
            // Going on as if it were the first would start children without end.
            eprintln!(
                "ipc_core::init: this process was started to run a function, but its descriptors were closed"
            );
            std::process::exit(FAILURE);
        }
    }
}

/// What [`VARIABLE`] says to a child.
pub(super) fn calling(number: i32, nonce: u64) -> String {
    format!("{number}.{nonce:x}.{}", std::process::id())
}

enum Answer {
    Mine(Letter),
    NotMine,
    Lost,
}

fn answer(calling: &str) -> Answer {
    let mut parts = calling.split('.');
    let number = parts.next().and_then(|part| part.parse().ok());
    let nonce = parts
        .next()
        .and_then(|part| u64::from_str_radix(part, 16).ok());
    let parent = parts.next().and_then(|part| part.parse::<u32>().ok());
    let (Some(number), Some(nonce), Some(parent)) = (number, nonce, parent) else {
        return Answer::NotMine;
    };
    match Letter::received(number, nonce) {
        Some(letter) if letter.is_new() => Answer::Mine(letter),
        // One that was begun is another process's, whose environment this one has inherited.
        Some(_) => Answer::NotMine,
        None if child::parent() == parent => Answer::Lost,
        None => Answer::NotMine,
    }
}

/// As [`Entry::of`], for a function and the tuple of its arguments.
pub(super) fn entry_of<F, A>(function: &F) -> &'static Entry
where
    F: Function<A, Output: Message>,
    A: Message,
{
    Entry::of::<F, Runner<A>>(function)
}

/// How a function is run from its encoded arguments.
struct Runner<A>(core::marker::PhantomData<A>);

impl<F, A> Body<F> for Runner<A>
where
    F: Function<A, Output: Message>,
    A: Message,
{
    fn run(function: F, arguments: Vec<u8>, taken: &mut dyn FnMut()) -> Result<Vec<u8>, String> {
        let arguments = decode::<A>(arguments)
            .map_err(|e| format!("its arguments could not be decoded: {e}"))?;
        taken();
        let value = function.call(arguments);
        value
            .encode(<[u8]>::to_vec)
            .map_err(|e| format!("its return value could not be encoded: {e}"))
    }
}

/// The value that these bytes are.
pub(super) fn decode<M: Message>(bytes: Vec<u8>) -> Result<M, DecodeError> {
    let mut place = Vec::with_capacity(1);
    M::decode(Received::Owned(bytes), &mut place)?;
    Ok(place.pop().expect("decoded, so it is there"))
}

/// What a child needs until it ends.
struct Vocation {
    /// Who is forked from this process has another.
    pid: u32,
    thread: ThreadId,
    letter: ManuallyDrop<Letter>,
    /// Where the letter is in the parent.
    parent: (u32, i32),
}

impl Vocation {
    fn of(letter: Letter) -> Self {
        Self {
            pid: std::process::id(),
            thread: thread::current().id(),
            letter: ManuallyDrop::new(letter), // the function may close what it likes
            parent: (0, -1),
        }
    }

    /// Runs the function and ends the process.
    fn follow(mut self) -> ! {
        let begun = self.begin();
        let code = match begun {
            Ok((entry, order, arguments)) => self.run(entry, &order, arguments),
            Err(why) => {
                eprintln!("{why}");
                self.report(State::Failed, why.as_bytes());
                FAILURE
            }
        };
        logging::ends(code);
        std::process::exit(code)
    }

    /// Becomes what the parent has ordered.
    fn begin(&mut self) -> Result<(&'static Entry, Order, Vec<u8>), String> {
        let failed = |what: &str, e: std::io::Error| format!("it could not {what}: {e}");
        let (order, arguments) = self
            .letter
            .read()
            .and_then(|read| self.letter.set_state(State::Begun).map(|()| read))
            .map_err(|e| failed("read what it is to do", e))?;
        self.parent = (order.parent_pid, order.number);
        let program = child::own_program().map_err(|e| failed("look at its program", e))?;
        if program != order.program {
            return Err("its program is not the one that started it; start that again".into());
        }
        let entry = Entry::at(order.distance, &order.function)
            .ok_or_else(|| format!("its program has no function {} there", order.function))?;
        let parent = child::passed(order.number).ok_or("its parent is nowhere")?;
        Current {
            name: order.name.clone(),
            identity: order.identity.clone(),
            is_daemon: order.is_daemon,
            parent: Some(ParentProcess {
                name: order.parent_name.clone(),
                pid: order.parent_pid,
                descriptor: Arc::new(parent),
            }),
            command_name: order.command_name.clone(),
            program,
        }
        .set();
        child::set_command_name(&order.command_name);
        if let Some(signal) = parting_signal(order.parent_death) {
            end_with_parent(signal).map_err(|e| failed("watch its parent", e))?;
        }
        if let Some(directory) = &order.directory {
            std::env::set_current_dir(directory)
                .map_err(|e| failed(&format!("enter {}", directory.display()), e))?;
        }
        logging::inherit(order.log_level);
        IS_INITIALISED.store(true, Ordering::Relaxed);
        Ok((entry, order, arguments))
    }

    /// Runs the function. Returns what to exit with.
    fn run(self, entry: &Entry, order: &Order, arguments: Vec<u8>) -> i32 {
        let this = Arc::new(self);
        let last = this.listen_to_panics();
        let mut teller = order.taken.and_then(child::passed).map(File::from);
        let length = arguments.len();
        let mut taken = || {
            this.letter.forget_arguments(length);
            if let Some(mut teller) = teller.take() {
                let _ = teller.write_all(b"t"); // nobody may be listening any more
            }
        };
        logging::begins();
        let ended = panic::catch_unwind(AssertUnwindSafe(|| entry.run(arguments, &mut taken)));
        match ended {
            Ok(Ok(value)) => match this.report(State::Returned, &value) {
                true => 0,
                false => FAILURE,
            },
            Ok(Err(why)) => {
                eprintln!("{}: {why}", order.name);
                this.report(State::Failed, why.as_bytes());
                FAILURE
            }
            Err(payload) => {
                let message = text_of(&*payload);
                // Another's, if this one came by without the hook.
                let noted = locked(&last).take().filter(|p| p.message == message);
                let panic = noted.unwrap_or(Panic {
                    message,
                    location: None,
                });
                this.report_panic(&panic);
                // What it carries may panic when it is dropped.
                core::mem::forget(payload);
                FAILURE
            }
        }
    }

    /// Has this thread's panics noted, before the program's own hook says them on standard error.
    fn listen_to_panics(self: &Arc<Self>) -> Arc<Mutex<Option<Panic>>> {
        let last = Arc::new(Mutex::new(None));
        let (noted, this) = (Arc::clone(&last), Arc::clone(self));
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if thread::current().id() == this.thread {
                let panic = Panic {
                    message: text_of(info.payload()),
                    location: info.location().map(ToString::to_string),
                };
                if cfg!(panic = "abort") {
                    this.report_panic(&panic); // nobody comes back from here
                }
                *locked(&noted) = Some(panic);
            }
            previous(info);
        }));
        last
    }

    fn report_panic(&self, panic: &Panic) {
        if let Ok(bytes) = postcard::to_stdvec(panic) {
            self.report(State::Panicked, &bytes);
        }
    }

    /// Tells the parent how it ended. Whether that, or somebody who was forked from this process and must not, did.
    fn report(&self, state: State, report: &[u8]) -> bool {
        if self.pid != std::process::id() {
            return true;
        }
        let (parent, number) = self.parent;
        let reported = match self.letter.is_open() {
            true => self.letter.report(state, report),
            false => Letter::by_way_of(parent, number, self.letter.nonce())
                .and_then(|letter| letter.report(state, report)),
        };
        if let Err(e) = &reported {
            eprintln!(
                "{}: its result could not be reported: {e}",
                Current::get().name
            );
        }
        reported.is_ok()
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".into())
}

pub(super) fn parting_signal(policy: ParentDeath) -> Option<Signal> {
    match policy {
        ParentDeath::Continue => None,
        ParentDeath::Terminate => Some(Signal::SIGTERM),
        ParentDeath::Kill => Some(Signal::SIGKILL),
    }
}

/// Has this process sent a signal when its parent ends.
///
/// Twice. The kernel's own way also ends a process that is stopped; but it forgets who it was for when this process changes its user. A thread
/// that waits for the parent's end does not; and its descriptor means that parent also if it is dead by now.
fn end_with_parent(signal: Signal) -> std::io::Result<()> {
    child::tie_to_parent(signal)?;
    let parent = Current::get().parent.as_ref();
    let Some(parent) = parent.map(|parent| Arc::clone(&parent.descriptor)) else {
        return Ok(());
    };
    if child::has_ended(parent.as_fd()) {
        child::signal_self(signal);
    }
    let (its_number, none) = (child::parent(), 0);
    threads::start("ipc-parent", move || {
        let has_ended = matches!(child::wait_until(parent.as_fd(), u64::MAX), Ok(true));
        // Should somebody have closed the descriptor, and its number mean another file by now: who has its parent still is not an orphan.
        let is_orphan = its_number == none || child::parent() != its_number;
        if has_ended && is_orphan {
            child::signal_self(signal);
        }
    })
}
