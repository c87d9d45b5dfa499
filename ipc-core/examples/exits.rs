//! How processes end, and with which exit codes: by `exit`, by a return, by a panic, by a signal.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example exits
//! ```

use std::{process, thread};

use ipc_core::{JoinError, Process};

type Failure = Box<dyn std::error::Error>;

fn exit_one() {
    process::exit(1);
}

fn return_value() -> u32 {
    42
}

fn panics(what: String) {
    panic!("there is no {what}");
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let exits = Process::builder().name("exits").spawn(exit_one, ())?;
    let returns = Process::builder().name("returns").spawn(return_value, ())?;
    let fails = Process::builder()
        .name("panics")
        .spawn(panics, ("spoon".to_owned(),))?;
    let killed = Process::builder()
        .name("terminated")
        .spawn(thread::park, ())?;
    killed.terminate()?;

    assert!(matches!(exits.join(), Err(JoinError::Ended { .. })));
    println!("it returned {}", returns.join()?);
    match fails.join() {
        Err(JoinError::Panicked { panic, .. }) => println!("it panicked: {}", panic.message),
        other => return Err(format!("{other:?}").into()),
    }
    assert!(killed.join().is_err());
    for (name, code) in [
        (exits.name(), exits.exit_code()?),
        (returns.name(), returns.exit_code()?),
        (fails.name(), fails.exit_code()?),
        (killed.name(), killed.exit_code()?),
    ] {
        println!("{name}: {}", code.ok_or("it has not ended")?);
    }
    Ok(())
}
