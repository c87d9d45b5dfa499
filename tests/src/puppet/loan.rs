//! What a puppet does with messages that it writes and reads in place: in the queue `frames`, or at an end of the pipe `frames`.
#![allow(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use ipc_core::{
    Bytes, Error as Refusal, Namespace, Pipe, PutError, Queue, RecvError, SendError, WaitStrategy,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};

type Answer = Result<String, Box<dyn Error>>;

/// Longer than any test waits for it.
const LONG: Duration = Duration::from_secs(20);

/// Does as told. What it is to hold, it holds until it dies.
///
/// # Errors
///
/// When the object refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, command: &str) -> Answer {
    match command {
        "hold-all" => hold_all(queue(namespace)?),
        "hold-ref" => {
            let queue: &Queue<Bytes> = Box::leak(Box::new(queue(namespace)?));
            let message = Box::leak(Box::new(queue.get_ref()?));
            Ok(String::from_utf8(message.to_vec())?)
        }
        "wait" => {
            let mut queue = queue(namespace)?;
            queue.set_wait_strategy(WaitStrategy::Sleep);
            let len = queue.loan_timeout(8, LONG)?.len();
            Ok(len.to_string())
        }
        "fork-queue" => fork_with_loan(&queue(namespace)?),
        "fork-pipe" => fork_with_piece(&pipe(namespace)?),
        "hold-piece" => {
            let sender = Box::leak(Box::new(pipe(namespace)?.sender()?));
            let loan = Box::leak(Box::new(sender.loan(64)?));
            loan.write_at(0, &[7; 64]);
            Ok(String::new())
        }
        "hold-oldest" => {
            let receiver = Box::leak(Box::new(pipe(namespace)?.receiver()?));
            let message = Box::leak(Box::new(receiver.recv_ref()?));
            Ok(String::from_utf8(message.to_vec())?)
        }
        _ => Err(format!("what is {command:?} of a loan?").into()),
    }
}

fn queue(namespace: &Namespace) -> ipc_core::Result<Queue<Bytes>> {
    Queue::options(1).namespace(namespace).open("frames")
}

fn pipe(namespace: &Namespace) -> ipc_core::Result<Pipe<Bytes>> {
    Pipe::options().namespace(namespace).open("frames")
}

fn hold_all(queue: Queue<Bytes>) -> Answer {
    let queue: &Queue<Bytes> = Box::leak(Box::new(queue));
    let mut count = 0;
    while let Ok(loan) = queue.try_loan(8) {
        Box::leak(Box::new(loan));
        count += 1;
    }
    Ok(count.to_string())
}

/// Forks with a loan, and again with a reference to its message: what the child does to its copies changes nothing.
fn fork_with_loan(queue: &Queue<Bytes>) -> Answer {
    let used = || queue.len(); // a message that the child had put would be there
    let mut loan = queue.loan(6)?;
    match fork_timed()? {
        None => end(matches!(
            loan.put(),
            Err(PutError::Failed {
                error: Refusal::OfParent { .. },
                ..
            })
        )),
        Some(child) => child.ended_well()?,
    }
    match fork_timed()? {
        None => {
            drop(loan);
            let is_taken = queue.try_loan(6).is_err(); // it is the only one
            end(is_taken);
        }
        Some(child) => child.ended_well()?,
    }
    loan.write_at(0, b"parent");
    loan.put()?;
    let before = used();
    let message = queue.get_ref()?;
    match fork_timed()? {
        None => {
            let refused = message.done();
            let is_taken = queue.try_loan(6).is_err();
            end(matches!(refused, Err(Refusal::OfParent { .. })) && is_taken);
        }
        Some(child) => child.ended_well()?,
    }
    let text = String::from_utf8(message.to_vec())?;
    message.done()?;
    drop(queue.try_loan(6).map_err(|e| e.to_string())?);
    Ok(format!("{text} {before}"))
}

/// As [`fork_with_loan`], at the ends of a pipe.
fn fork_with_piece(pipe: &Pipe<Bytes>) -> Answer {
    let (mut sender, mut receiver) = (pipe.sender()?, pipe.receiver()?);
    let mut loan = sender.loan(6)?;
    match fork_timed()? {
        None => end(matches!(loan.send(), Err(SendError::InUse { .. }))),
        Some(child) => child.ended_well()?,
    }
    loan.write_at(0, b"parent");
    loan.send()?;
    let message = receiver.recv_ref()?;
    match fork_timed()? {
        None => {
            let refused = message.done();
            let next = receiver.recv_ref().map(drop);
            let is_theirs = matches!(next, Err(RecvError::InUse { .. }));
            end(matches!(refused, Err(Refusal::OfParent { .. })) && is_theirs);
        }
        Some(child) => child.ended_well()?,
    }
    let text = String::from_utf8(message.to_vec())?;
    message.done()?;
    let is_empty = receiver.try_recv_ref().is_err();
    Ok(format!("{text} {is_empty}"))
}

/// A child of this process.
pub(super) struct Child(nix::unistd::Pid);

impl Child {
    pub(super) fn ended_well(self) -> Result<(), Box<dyn Error>> {
        match waitpid(self.0, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            other => Err(format!("the child: {other:?}").into()),
        }
    }
}

/// `None` in the child, which does not outlive its test for long.
pub(super) fn fork_timed() -> nix::Result<Option<Child>> {
    // SAFETY: the child does what a forked child may do with this library, and then ends without running what its parent left.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(Child(child))),
        ForkResult::Child => {
            alarm::set(60);
            Ok(None)
        }
    }
}

/// Ends this process, a forked child.
pub(super) fn end(is_fine: bool) -> ! {
    // SAFETY: _exit runs nothing of this process, as befits a forked child.
    unsafe { libc::_exit((!is_fine).into()) }
}
