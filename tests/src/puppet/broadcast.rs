//! What a puppet does with a broadcast of pairs: who published, and its how-manieth message that is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use ipc_core::{Broadcast, Namespace, Subscriber, SubscriberError, SubscriberTimeoutError};

type Answer = Result<String, Box<dyn Error>>;
/// Publisher, number, and some bytes so that messages are of all lengths.
pub type News = (u64, u64, Vec<u8>);

thread_local! {
    static SUBSCRIBER: RefCell<Option<Subscriber<News>>> = RefCell::default();
}

/// The message `number` of `publisher`.
pub fn news(publisher: u64, number: u64) -> News {
    let length = match number % 16 {
        0 => 900,
        length => length * 3,
    };
    (publisher, number, vec![number as u8; length as usize])
}

/// What a subscriber has seen: the next number of each publisher.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<u64, u64>);

impl Seen {
    /// Notes a message, which is the next one of its publisher, or the first that this subscriber sees of it.
    ///
    /// # Errors
    ///
    /// When it is not, or not whole.
    pub fn note(&mut self, message: &News) -> Result<(), String> {
        let (publisher, number, _) = *message;
        if *message != news(publisher, number) {
            return Err(format!("torn: {message:?}"));
        }
        let next = self.0.entry(publisher).or_insert(number);
        if *next != number {
            return Err(format!("{number} of {publisher} came, not {next}"));
        }
        *next += 1;
        Ok(())
    }

    /// How many messages of a publisher have come, if its first did.
    pub fn of(&self, publisher: u64) -> u64 {
        self.0.get(&publisher).copied().unwrap_or(0)
    }

    /// Numbers may be missing from here on.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// Does as told.
///
/// # Errors
///
/// When the broadcast refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Answer {
    let words: Vec<&str> = line.split(' ').collect();
    let open = || {
        Broadcast::<News>::options(1)
            .namespace(namespace)
            .open("news")
    };
    match words[..] {
        ["publish", publisher, count] => {
            let (broadcast, publisher) = (open()?, publisher.parse()?);
            for number in 0..count.parse()? {
                broadcast.publish(news(publisher, number)).map_err(debug)?;
            }
        }
        ["subscribe"] => SUBSCRIBER.set(Some(open()?.subscribe().map_err(debug)?)),
        // Until it is closed, or something is wrong.
        ["listen"] => {
            let listen = |subscriber: &mut Option<Subscriber<News>>| -> Answer {
                let subscriber = subscriber.as_mut().ok_or("nobody has subscribed")?;
                listen(subscriber)
            };
            return SUBSCRIBER.with_borrow_mut(listen);
        }
        ["recv-timeout", millis] => {
            let timeout = Duration::from_millis(millis.parse()?);
            return SUBSCRIBER.with_borrow_mut(|subscriber| {
                let subscriber = subscriber.as_mut().ok_or("nobody has subscribed")?;
                let (publisher, number, _) = subscriber.recv_timeout(timeout).map_err(debug)?;
                Ok(format!("{publisher} {number}"))
            });
        }
        _ => return Err(format!("what is {line:?}?").into()),
    }
    Ok(String::new())
}

fn listen(subscriber: &mut Subscriber<News>) -> Answer {
    let (mut seen, mut count) = (Seen::default(), 0);
    loop {
        match subscriber.recv_timeout(Duration::from_secs(20)) {
            Ok(message) => seen.note(&message)?,
            Err(SubscriberTimeoutError::Failed(SubscriberError::Closed)) => {
                return Ok(format!("{count}"));
            }
            Err(SubscriberTimeoutError::Failed(SubscriberError::Lagged(_))) => seen.forget(),
            Err(e) => return Err(debug(e).into()),
        }
        count += 1;
    }
}

/// The text of an error that may also carry the message.
fn debug(e: impl Debug) -> String {
    format!("{e:?}")
}
