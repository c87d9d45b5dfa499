//! Pipes between two processes: in both directions, in one, and what comes after the last message.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example pipe
//! ```

use std::{
    env, fs,
    process::{Child, Command},
};

use ipc_core::{Connection, Namespace, Pipe, RecvError, SendError, Sender, TakeError};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let dir = env::temp_dir().join(format!("ipc-example-pipe-{}", std::process::id()));
            let led = lead(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            led
        }
        [part, end] if part == "answer" => answer(serde_json::from_str(end)?),
        [part, end] if part == "count" => count(serde_json::from_str(end)?),
        _ => Err("the example takes no argument".into()),
    }
}

/// One end goes to a child, as its argument: whoever decodes it, has it.
fn start(part: &str, end: &impl serde::Serialize) -> Result<Child, Failure> {
    let mut child = Command::new(env::current_exe()?);
    Ok(child.arg(part).arg(serde_json::to_string(end)?).spawn()?)
}

fn answer(mut end: Connection<String>) -> Result<(), Failure> {
    let said = end.recv()?;
    end.send(format!("{said}, too"))?;
    Ok(())
}

fn count(mut sender: Sender<u32>) -> Result<(), Failure> {
    for number in 1..=10 {
        sender.send(number)?;
    }
    Ok(()) // the end of the process closes its end
}

fn lead(namespace: &Namespace) -> Result<(), Failure> {
    // Both directions.
    let options = || Pipe::options().namespace(namespace);
    let (mut ours, theirs) = options().duplex()?;
    let mut child = start("answer", &theirs)?;
    drop(theirs); // it is the child's now
    ours.send("hello".to_owned())?;
    println!("duplex: {}", ours.recv()?);
    assert!(child.wait()?.success());
    let gone = ours.send("hello?".to_owned());
    println!(
        "send to nobody: {}",
        matches!(gone, Err(SendError::BrokenPipe(_)))
    );

    // One direction: ten messages, and then the end of file, however long ago the sender has ended.
    let (mut receiver, sender) = Pipe::<u32>::options().namespace(namespace).simplex()?;
    let mut child = start("count", &sender)?;
    drop(sender);
    assert!(child.wait()?.success());
    let numbers = receiver.iter().collect::<Result<Vec<_>, _>>()?;
    println!("simplex: {numbers:?}");
    println!(
        "after that: {}",
        matches!(receiver.recv(), Err(RecvError::EndOfFile))
    );

    // A receiver has no `send`; and a pipe of one direction has no end that could.
    let one_way = Pipe::<u32>::options()
        .namespace(namespace)
        .one_way()
        .create("one-way")?;
    let wrong = one_way.first().map(drop);
    println!(
        "wrong direction: {}",
        matches!(wrong, Err(TakeError::NoSuchEnd { .. }))
    );

    // Both ends closed early: what was sent and not received goes with them.
    let (receiver, mut sender) = options().simplex()?;
    sender.send("nobody reads this".to_owned())?;
    drop(receiver);
    let gone = sender.send("nor this".to_owned());
    println!(
        "closed early: {}",
        matches!(gone, Err(SendError::BrokenPipe(_)))
    );
    Ok(())
}
