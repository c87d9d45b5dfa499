//! What a puppet does with a set of objects that others make, and with a descriptor for one of them.

use std::cell::RefCell;
use std::error::Error;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ipc_core::{
    Bytes, Descriptor, Event, Namespace, Pollable, Queue, Semaphore, WaitSet, WaitStrategy,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

type Answer = Result<String, Box<dyn Error>>;

#[derive(Default)]
struct User {
    set: WaitSet<String>,
    pollable: Option<Pollable>,
    /// What keeps a descriptor that is never ready so.
    silent: Vec<OwnedFd>,
}

thread_local! {
    static USER: RefCell<User> = RefCell::default();
}

/// Does as told.
///
/// # Errors
///
/// When something refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Answer {
    let words: Vec<&str> = line.split(' ').collect();
    USER.with_borrow_mut(|user| match words[..] {
        ["add", kind] => user.add(namespace, kind).map(|()| String::new()),
        ["add-silence"] => user.add_silence().map(|()| String::new()),
        ["for", millis] => {
            let timeout = Duration::from_millis(millis.parse()?);
            Ok(user.set.wait_timeout(timeout)?.join(" "))
        }
        ["pollable"] => {
            let event = Event::opener().namespace(namespace).open("event")?;
            user.pollable = Some(Pollable::new(&event)?);
            Ok(String::new())
        }
        ["drop-pollable"] => {
            user.pollable = None;
            Ok(String::new())
        }
        ["rearm"] => {
            let pollable = user.pollable.as_ref().ok_or("there is none")?;
            Ok(pollable.rearm()?.to_string())
        }
        ["poll", millis] => {
            let pollable = user.pollable.as_ref().ok_or("there is none")?;
            let mut wanted = [PollFd::new(pollable.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::from(millis.parse::<u16>()?);
            Ok((poll(&mut wanted, timeout)? > 0).to_string())
        }
        ["bells"] => bells(),
        _ => Err(format!("what is {line:?}?").into()),
    })
}

impl User {
    fn add(&mut self, namespace: &Namespace, kind: &str) -> Result<(), Box<dyn Error>> {
        let key = kind.to_owned();
        self.set.set_wait_strategy(WaitStrategy::Sleep);
        match kind {
            "event" => {
                let event = Event::opener().namespace(namespace).open(kind)?;
                self.set.add(key, &event)?;
            }
            "semaphore" => {
                let semaphore = Semaphore::opener().namespace(namespace).open(kind)?;
                self.set.add(key, &semaphore)?;
            }
            "queue" => {
                let queue = Queue::<Bytes>::options(1).namespace(namespace).open(kind)?;
                self.set.add(key, &queue)?;
            }
            _ => return Err(format!("what is {kind:?}?").into()),
        }
        Ok(())
    }

    /// From here on the set sleeps in poll.
    fn add_silence(&mut self) -> Result<(), Box<dyn Error>> {
        let (reader, writer) = std::io::pipe()?;
        self.set
            .add("silence".to_owned(), &Descriptor::readable(&reader)?)?;
        self.silent.push(writer.into());
        Ok(())
    }
}

/// How many descriptors of the kind that pollables are this process has.
fn bells() -> Answer {
    let mut count = 0;
    for entry in fs::read_dir("/proc/self/fd")? {
        let target = fs::read_link(entry?.path()).unwrap_or_default();
        count += u32::from(target.to_string_lossy().contains("eventfd"));
    }
    Ok(count.to_string())
}
