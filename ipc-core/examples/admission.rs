//! A lock around output that five processes share, and a semaphore that admits four of twelve processes at a time.
//!
//! Each line is written in three pieces, with pauses; under the lock none gets into another's line. Those that the semaphore
//! admits wait inside until they are four: so four are inside at once, and never more.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example admission
//! ```

use std::{
    env, fs,
    io::{Write, stdout},
    process::{Child, Command},
    thread,
    time::Duration,
};

use ipc_core::{Barrier, Lock, Namespace, Semaphore};

type Failure = Box<dyn std::error::Error>;

const WRITERS: u32 = 5;
const LINES: u32 = 4;
const GUESTS: u32 = 12;
const ADMITTED: u32 = 4;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let pid = std::process::id();
            let dir = env::temp_dir().join(format!("ipc-example-admission-{pid}"));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [part, number, dir] if part == "write" => write(number, &Namespace::at(dir)?),
        [part, number, dir] if part == "visit" => visit(number, &Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

/// Writes some lines, each as a whole.
fn write(number: &str, namespace: &Namespace) -> Result<(), Failure> {
    let output = Lock::<()>::opener().namespace(namespace).open("output")?;
    for line in 1..=LINES {
        let _guard = output.acquire()?;
        for piece in [
            format!("writer {number}"),
            format!(", line {line}"),
            ".\n".into(),
        ] {
            print!("{piece}");
            stdout().flush()?;
            thread::sleep(Duration::from_micros(500));
        }
    }
    Ok(())
}

/// How many are inside, and how many there were at most.
type Inside = Lock<[u32; 2]>;

/// Goes in, meets three others there, and leaves.
fn visit(number: &str, namespace: &Namespace) -> Result<(), Failure> {
    let places = Semaphore::opener().namespace(namespace).open("places")?;
    let four = Barrier::opener().namespace(namespace).open("four")?;
    let inside = Inside::opener().namespace(namespace).open("inside")?;

    let place = places.acquire()?;
    {
        let mut count = inside.acquire()?;
        count[0] += 1;
        count[1] = count[1].max(count[0]);
        println!("guest {number} comes in, and is one of {}", count[0]);
    }
    four.wait()?;
    inside.acquire()?[0] -= 1;
    drop(place);
    Ok(())
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    Lock::options().namespace(namespace).create("output")?;
    Semaphore::options(ADMITTED)
        .namespace(namespace)
        .create("places")?;
    Barrier::options(ADMITTED as usize)
        .namespace(namespace)
        .create("four")?;
    let inside = Inside::options_with([0; 2])
        .namespace(namespace)
        .create("inside")?;
    let run = |part: &str, count: u32| -> Result<(), Failure> {
        let child = |number: u32| {
            let mut child = Command::new(env::current_exe()?);
            child.args([part, &number.to_string()]);
            child.arg(namespace.path()).spawn()
        };
        let mut children = (1..=count).map(child).collect::<Result<Vec<Child>, _>>()?;
        for child in &mut children {
            assert!(child.wait()?.success());
        }
        Ok(())
    };
    run("write", WRITERS)?;
    run("visit", GUESTS)?;
    let [now, most] = *inside.acquire()?;
    println!("{most} were inside at most, {now} are now");
    Ok(())
}
