//! Values of several types through one queue, to another process and back: they arrive as they were put.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example mixed
//! ```

use std::{env, process::Command};

use ipc_core::Queue;
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

/// Whatever one may want to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Value {
    Number(i64),
    Nothing,
    Text(String),
    List(Vec<Value>),
}

/// There, and back.
type Queues = [Queue<Value>; 2];

fn main() -> Result<(), Failure> {
    match env::args().nth(1) {
        Some(handles) => echo(&serde_json::from_str(&handles)?),
        None => lead(),
    }
}

fn echo([there, back]: &Queues) -> Result<(), Failure> {
    for value in there {
        let value = value?;
        println!("the child has {value:?}");
        back.put(value)?;
    }
    Ok(())
}

fn lead() -> Result<(), Failure> {
    let values = vec![
        Value::Number(42),
        Value::Nothing,
        Value::Text("hello".into()),
    ];
    // One by one, and all of them as one.
    let mut sent = values.clone();
    sent.push(Value::List(values));

    let queues = [Queue::anonymous(4)?, Queue::anonymous(4)?];
    let [there, back] = &queues;
    let mut child = Command::new(env::current_exe()?)
        .arg(serde_json::to_string(&queues)?)
        .spawn()?;
    for value in &sent {
        there.put(value.clone())?;
    }
    there.close();
    let came = sent
        .iter()
        .map(|_| back.get())
        .collect::<Result<Vec<_>, _>>()?;
    assert!(child.wait()?.success());
    println!("equal: {}", came == sent);
    Ok(())
}
