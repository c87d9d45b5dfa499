//! A producer that puts something every few milliseconds into a queue for five, and a consumer that looks how much is there.
//!
//! First nobody takes anything, so that the queue fills up: its size is exact. Then the consumer polls while the producer goes on.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example sizes
//! ```

use std::{env, process::Command, thread, time::Duration};

use ipc_core::{Event, Plain, Queue, TryPutError};

type Numbers = Queue<Plain<u64>>;
type Failure = Box<dyn std::error::Error>;

const CAPACITY: usize = 5;
const ITEMS: u64 = 20;
const PAUSE: Duration = Duration::from_millis(3);

fn main() -> Result<(), Failure> {
    match env::args().nth(1) {
        Some(handles) => produce(&handles),
        None => consume(),
    }
}

fn produce(handles: &str) -> Result<(), Failure> {
    let (numbers, is_full): (Numbers, Event) = serde_json::from_str(handles)?;
    for number in 0..ITEMS {
        match numbers.try_put(Plain(number)) {
            Ok(()) => {}
            Err(TryPutError::Full(refused)) => {
                is_full.set()?;
                numbers.put(refused)?;
            }
            Err(e) => return Err(e.into()),
        }
        thread::sleep(PAUSE);
    }
    numbers.close();
    Ok(())
}

fn consume() -> Result<(), Failure> {
    let numbers = Numbers::anonymous(CAPACITY)?;
    let is_full = Event::options().anonymous()?;
    println!(
        "at first: {} of {CAPACITY}, empty: {}",
        numbers.len(),
        numbers.is_empty()
    );
    let mut producer = Command::new(env::current_exe()?)
        .arg(serde_json::to_string(&(&numbers, &is_full))?)
        .spawn()?;
    is_full.wait()?;
    println!(
        "full: {} of {CAPACITY}, full: {}",
        numbers.len(),
        numbers.is_full()
    );
    let mut next = 0;
    while !(numbers.is_closed() && numbers.is_empty()) {
        if numbers.is_empty() {
            thread::sleep(PAUSE / 3);
            continue;
        }
        let waiting = numbers.len(); // nobody else takes any, so there are at least so many
        let Plain(number) = numbers.get()?;
        assert_eq!(number, next, "in order");
        next += 1;
        println!("number {number} was one of {waiting}");
    }
    assert!(producer.wait()?.success());
    println!(
        "at last: {} of {CAPACITY}, empty: {}",
        numbers.len(),
        numbers.is_empty()
    );
    Ok(())
}
