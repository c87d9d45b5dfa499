//! A timer that sets an event for another process, and one that is cancelled before it does.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example timer
//! ```

use std::{
    env, fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ipc_core::{Event, Namespace, Timer};

type Failure = Box<dyn std::error::Error>;

const DELAY: Duration = Duration::from_millis(100);
/// More than the second timer would take.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let dir = env::temp_dir().join(format!("ipc-example-timer-{}", std::process::id()));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [dir] => wait(&Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

/// The other process.
fn wait(namespace: &Namespace) -> Result<(), Failure> {
    let soon = Event::opener().namespace(namespace).open("soon")?;
    let never = Event::opener().namespace(namespace).open("never")?;
    soon.wait()?;
    println!("the first event came");
    println!("the second event came: {}", never.wait_timeout(PATIENCE)?);
    Ok(())
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    let event = |name| Event::options().namespace(namespace).create(name);
    let (soon, never) = (event("soon")?, event("never")?);
    let mut child = Command::new(env::current_exe()?);
    let mut child = child.arg(namespace.path()).spawn()?;

    let second = Timer::start(3 * DELAY, move || {
        never.set().expect("the event is there");
    })?;
    println!("cancelled in time: {}", second.cancel());

    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let start = Instant::now();
    let first = Timer::start(DELAY, move || {
        counted.fetch_add(1, Relaxed);
        println!("the timer fires after {} ms", start.elapsed().as_millis());
        soon.set().expect("the event is there");
    })?;
    assert!(child.wait()?.success());
    println!("cancelled after it fired: {}", first.cancel());
    println!(
        "called: {}, {}",
        first.join().is_ok_and(|c| c),
        second.join().is_ok_and(|c| c)
    );
    println!("calls in all: {}", calls.load(Relaxed));
    Ok(())
}
