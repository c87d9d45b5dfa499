//! One process publishes, three subscribe, and all see the same in the same order; one subscriber is killed, and holds up nobody.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example broadcast
//! ```

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use ipc_core::{Broadcast, Plain};

type Prices = Broadcast<Plain<[u64; 2]>>;
type Failure = Box<dyn std::error::Error>;

const UPDATES: u64 = 10_000;

fn main() -> Result<(), Failure> {
    match env::args().nth(1) {
        Some(handle) => follow(&handle),
        None => publish(),
    }
}

/// A subscriber: says that it is there, and in the end what it has seen.
fn follow(handle: &str) -> Result<(), Failure> {
    let prices: Prices = serde_json::from_str(handle)?;
    let mut subscriber = prices.subscribe()?;
    println!("subscribed");
    let (mut count, mut sum) = (0, 0_u64);
    for price in subscriber.iter() {
        let Plain([number, price]) = price?;
        assert_eq!(number, count, "each in its turn");
        count += 1;
        sum = sum.wrapping_mul(31).wrapping_add(price);
    }
    println!("{count} updates, checksum {sum:016x}");
    Ok(())
}

fn publish() -> Result<(), Failure> {
    // Lossless: it waits for the slowest of the living.
    let prices: Prices = Broadcast::anonymous(64)?;
    let handle = serde_json::to_string(&prices)?;
    let mut children = (0..3)
        .map(|_| {
            let mut command = Command::new(env::current_exe()?);
            command.arg(&handle).stdout(Stdio::piped()).spawn()
        })
        .collect::<Result<Vec<Child>, _>>()?;
    let mut says = Vec::new();
    for child in &mut children {
        let mut lines = BufReader::new(child.stdout.take().ok_or("it has an output")?).lines();
        lines.next().ok_or("it subscribes")??;
        says.push(lines);
    }
    for number in 0..UPDATES {
        prices.publish(Plain([number, number * number % 997]))?;
        if number == UPDATES / 2 {
            children[0].kill()?; // SIGKILL, wherever it is
        }
    }
    prices.close();
    for (child, mut lines) in children.iter_mut().zip(says).skip(1) {
        println!("{}", lines.next().ok_or("it has seen the end")??);
        child.wait()?;
    }
    children[0].wait()?;
    Ok(())
}
