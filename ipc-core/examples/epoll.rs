//! One `epoll` loop over a queue, a pipe and an event, each of which another process makes ready.
//!
//! One process puts numbers into the queue, one sends words through the pipe and ends, one sets the event once all that was seen. The
//! loop takes what is there until there is nothing more, and only then rearms: so nothing is missed.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example epoll
//! ```

use std::{
    env, fs,
    process::{Child, Command},
};

use ipc_core::{Event, Namespace, Pipe, Pollable, Queue, TryRecvError};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

type Failure = Box<dyn std::error::Error>;

const COUNT: u32 = 5;
/// What the kernel says of a descriptor that is ready.
const QUEUE: u64 = 0;
const PIPE: u64 = 1;
const EVENT: u64 = 2;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let dir = env::temp_dir().join(format!("ipc-example-epoll-{}", std::process::id()));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [part, dir] => follow(part, &Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

/// A child's life.
fn follow(part: &str, namespace: &Namespace) -> Result<(), Failure> {
    match part {
        "queue" => {
            let queue = Queue::options(2).namespace(namespace).open("numbers")?;
            (1..=COUNT).try_for_each(|number| queue.put(number))?;
        }
        "pipe" => {
            let pipe = Pipe::<String>::options()
                .namespace(namespace)
                .open("words")?;
            let mut sender = pipe.sender()?;
            for number in 1..=COUNT {
                sender.send(format!("word {number}"))?;
            }
        }
        _ => {
            let event = Event::opener().namespace(namespace).open("stop")?;
            event.set()?;
        }
    }
    Ok(())
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    let numbers: Queue<u32> = Queue::options(2).namespace(namespace).create("numbers")?;
    let words = Pipe::<String>::options().one_way();
    let mut words = words.namespace(namespace).create("words")?.receiver()?;
    let stop = Event::options().namespace(namespace).create("stop")?;

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let pollables = [
        Pollable::new(&numbers)?,
        Pollable::new(&words)?,
        Pollable::new(&stop)?,
    ];
    for (name, pollable) in (0..).zip(&pollables) {
        epoll.add(pollable, EpollEvent::new(EpollFlags::EPOLLIN, name))?;
    }

    let child = |part: &str| -> std::io::Result<Child> {
        let mut child = Command::new(env::current_exe()?);
        child.arg(part).arg(namespace.path()).spawn()
    };
    let mut children = vec![child("queue")?, child("pipe")?];
    let (mut left, mut has_ended, mut is_over) = (COUNT, false, false);
    while !is_over {
        let mut events = [EpollEvent::empty(); 3];
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match event.data() {
                QUEUE => {
                    while let Ok(number) = numbers.try_get() {
                        println!("queue: {number}");
                        left -= 1;
                    }
                }
                PIPE => loop {
                    match words.try_recv() {
                        Ok(word) => println!("pipe: {word}"),
                        Err(TryRecvError::Empty) => break,
                        Err(end) => {
                            println!("pipe: {end}");
                            has_ended = true;
                            epoll.delete(&pollables[PIPE as usize])?; // it would be ready for ever
                            break;
                        }
                    }
                },
                EVENT if stop.is_set() => is_over = true,
                _ => {}
            }
            pollables[event.data() as usize].rearm()?;
        }
        if left == 0 && has_ended && children.len() == 2 {
            children.push(child("event")?);
        }
    }
    println!("event: set");
    for child in &mut children {
        assert!(child.wait()?.success());
    }
    Ok(())
}
