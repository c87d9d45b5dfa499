//! A queue and a pipe in tasks of tokio, which runs a clock in between.
//!
//! One process puts numbers into the queue and closes it, another sends words through the pipe and ends. The tasks sleep in
//! tokio's own wait, and wake by the descriptors of the objects: [`when_ready`] is all that it takes.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example tokio
//! ```

#![allow(unsafe_code)] // that of tokio's way to take a descriptor

use std::{
    env, fs, io,
    process::{Child, Command},
    thread,
    time::Duration,
};

use ipc_core::{Namespace, Pipe, Pollable, Queue, Receiver, TryGetError, TryRecvError};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time,
};

type Failure = Box<dyn std::error::Error>;

const COUNT: u32 = 5;
/// How long a child takes for each message.
const WORK: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(5);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let dir = env::temp_dir().join(format!("ipc-example-tokio-{}", std::process::id()));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [part, dir] => follow(part, &Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

/// A child's life, which knows nothing of tokio.
fn follow(part: &str, namespace: &Namespace) -> Result<(), Failure> {
    if part == "queue" {
        let queue = Queue::options(2).namespace(namespace).open("numbers")?;
        for number in 1..=COUNT {
            thread::sleep(WORK);
            queue.put(number)?;
        }
        queue.close();
    } else {
        let pipe = Pipe::<String>::options()
            .namespace(namespace)
            .open("words")?;
        let mut sender = pipe.sender()?;
        for number in 1..=COUNT {
            thread::sleep(WORK);
            sender.send(format!("word {number}"))?;
        }
    }
    Ok(())
}

/// Has the runtime watch the descriptor.
fn watch(pollable: Pollable) -> io::Result<AsyncFd<Pollable>> {
    // SAFETY: a pollable has one descriptor, which stays open as long as it lives.
    let watched = unsafe { AsyncFd::register_with_interest(pollable, Interest::READABLE) };
    Ok(watched?)
}

/// What `attempt` returns, as soon as it returns anything.
async fn when_ready<T>(
    object: &AsyncFd<Pollable>,
    mut attempt: impl FnMut() -> Option<T>,
) -> io::Result<T> {
    loop {
        let mut ready = object.readable().await?;
        if let Some(value) = attempt() {
            return Ok(value); // there may be more: it stays ready
        }
        // Rearmed first: what comes from here on is news, which is not cleared.
        object.get_ref().rearm().map_err(io::Error::other)?;
        ready.clear_ready();
    }
}

async fn print_numbers(queue: &Queue<u32>) -> Result<(), Failure> {
    let pollable = watch(Pollable::new(queue)?)?;
    let attempt = || match queue.try_get() {
        Err(TryGetError::Empty) => None,
        got => Some(got),
    };
    loop {
        match when_ready(&pollable, attempt).await? {
            Ok(number) => println!("queue: {number}"),
            Err(TryGetError::Closed) => break,
            Err(e) => return Err(e.into()),
        }
    }
    println!("queue: closed");
    Ok(())
}

async fn print_words(receiver: &mut Receiver<String>) -> Result<(), Failure> {
    let pollable = watch(Pollable::new(receiver)?)?;
    loop {
        let attempt = || match receiver.try_recv() {
            Err(TryRecvError::Empty) => None,
            received => Some(received),
        };
        match when_ready(&pollable, attempt).await? {
            Ok(word) => println!("pipe: {word}"),
            Err(end) => {
                println!("pipe: {end}");
                return Ok(());
            }
        }
    }
}

/// Ticks until it is dropped.
async fn tick(ticks: &mut u32) -> Result<(), Failure> {
    let mut clock = time::interval(TICK);
    loop {
        clock.tick().await;
        *ticks += 1;
    }
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    let numbers: Queue<u32> = Queue::options(2).namespace(namespace).create("numbers")?;
    let words = Pipe::<String>::options().one_way();
    let mut words = words.namespace(namespace).create("words")?.receiver()?;
    let child = |part: &str| -> io::Result<Child> {
        let mut child = Command::new(env::current_exe()?);
        child.arg(part).arg(namespace.path()).spawn()
    };
    let mut children = [child("queue")?, child("pipe")?];

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut ticks = 0;
    runtime.block_on(async {
        let both = async { tokio::try_join!(print_numbers(&numbers), print_words(&mut words)) };
        tokio::select! {
            done = both => done.map(drop),
            failed = tick(&mut ticks) => failed,
        }
    })?;
    println!("the clock has ticked meanwhile: {}", ticks > 1);
    for child in &mut children {
        assert!(child.wait()?.success());
    }
    Ok(())
}
