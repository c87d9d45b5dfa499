//! An event that one process waits for without end and another for at most 200 ms, set after 600 ms.
//!
//! The second gives up and says so; the first goes on the moment the event is set.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example event
//! ```

use std::{
    env, fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use ipc_core::{Barrier, Event, Namespace};

type Failure = Box<dyn std::error::Error>;

const PATIENCE: Duration = Duration::from_millis(200);
const LATE: Duration = Duration::from_millis(600);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let dir = env::temp_dir().join(format!("ipc-example-event-{}", std::process::id()));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [part, dir] => wait(part, &Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

/// A child's life. All three meet first, so that everybody counts from the same moment.
fn wait(part: &str, namespace: &Namespace) -> Result<(), Failure> {
    let event = Event::opener().namespace(namespace).open("set")?;
    Barrier::opener()
        .namespace(namespace)
        .open("start")?
        .wait()?;
    let start = Instant::now();
    let is_set = match part {
        "without" => {
            event.wait()?;
            true
        }
        _ => event.wait_timeout(PATIENCE)?,
    };
    let elapsed = start.elapsed().as_millis();
    println!("{part} a timeout: {is_set} after {elapsed} ms");
    Ok(())
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    let event = Event::options().namespace(namespace).create("set")?;
    let start = Barrier::options(3).namespace(namespace).create("start")?;
    let child = |part: &str| {
        let mut child = Command::new(env::current_exe()?);
        child.arg(part).arg(namespace.path()).spawn()
    };
    let mut children: [Child; 2] = [child("without")?, child("with")?];
    start.wait()?;
    thread::sleep(LATE);
    println!("the event is set");
    event.set()?;
    for child in &mut children {
        assert!(child.wait()?.success());
    }
    Ok(())
}
