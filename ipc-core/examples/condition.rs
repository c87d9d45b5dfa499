//! Five processes wait for a condition: `notify(2)` wakes two of them, `notify_all` the others.
//!
//! A second condition tells the leading process that somebody woke; the lock around the count serves both.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example condition
//! ```

use std::{
    env, fs,
    process::{Child, Command},
    thread,
    time::Duration,
};

use ipc_core::{Condition, Lock, Namespace};

type Failure = Box<dyn std::error::Error>;

const WAITERS: usize = 5;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let pid = std::process::id();
            let dir = env::temp_dir().join(format!("ipc-example-condition-{pid}"));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [number, dir] => wait(number, &Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

/// Waits once, and counts itself among the woken.
fn wait(number: &str, namespace: &Namespace) -> Result<(), Failure> {
    let woken = Lock::<u32>::opener().namespace(namespace).open("woken")?;
    let go_on = Condition::opener().namespace(namespace).open("go-on")?;
    let news = Condition::opener().namespace(namespace).open("news")?;

    let mut count = go_on.wait(woken.acquire()?)?;
    *count += 1;
    println!("waiter {number} woke");
    news.notify_all()?;
    Ok(())
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    let woken = Lock::options_with(0u32)
        .namespace(namespace)
        .create("woken")?;
    let go_on = Condition::options().namespace(namespace).create("go-on")?;
    let news = Condition::options().namespace(namespace).create("news")?;
    let child = |number: usize| {
        let mut child = Command::new(env::current_exe()?);
        child.arg(number.to_string()).arg(namespace.path()).spawn()
    };
    let mut children = (1..=WAITERS)
        .map(child)
        .collect::<Result<Vec<Child>, _>>()?;
    while go_on.waiters() < WAITERS {
        thread::sleep(Duration::from_millis(1));
    }

    let count = woken.acquire()?;
    println!("notify(2) finds {}", go_on.notify(2)?);
    let count = news.wait_for(count, |count| *count >= 2)?;
    // Long enough for a third to show, if one woke.
    let (count, _) =
        news.wait_for_timeout(count, Duration::from_millis(100), |count| *count > 2)?;
    println!("{} woke, {} wait", *count, go_on.waiters());

    println!("notify_all finds {}", go_on.notify_all()?);
    let count = news.wait_for(count, |count| *count as usize == WAITERS)?;
    println!("{} woke, {} wait", *count, go_on.waiters());
    drop(count);
    for child in &mut children {
        assert!(child.wait()?.success());
    }
    Ok(())
}
