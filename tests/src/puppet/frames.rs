//! What a puppet does with messages that it writes and reads in place in the broadcast `frames`.

use std::cell::Cell;
use std::error::Error;
use std::fmt::Debug;
use std::hint;
use std::time::Duration;

use ipc_core::{
    Broadcast, Bytes, Error as Refusal, Namespace, PublishError, Subscriber, SubscriberError,
    WaitStrategy,
};

use super::loan::{end, fork_timed};
use crate::soak::message;

type Answer = Result<String, Box<dyn Error>>;

/// Longer than any test waits for it.
const LONG: Duration = Duration::from_secs(20);

thread_local! {
    static SUBSCRIBER: Cell<Option<&'static mut Subscriber<Bytes>>> = Cell::default();
}

/// Does as told. What it is to hold, it holds until it dies.
///
/// # Errors
///
/// When the broadcast refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Answer {
    let words: Vec<&str> = line.split(' ').collect();
    let open = || -> ipc_core::Result<Broadcast<Bytes>> {
        let options = Broadcast::options(1).wait(WaitStrategy::Sleep);
        options.namespace(namespace).open("frames")
    };
    match words[..] {
        ["hold-all"] => hold_all(Box::leak(Box::new(open()?))),
        ["wait"] => Ok(open()?.loan_timeout(8, LONG)?.len().to_string()),
        ["subscribe"] => {
            SUBSCRIBER.set(Some(Box::leak(Box::new(open()?.subscribe()?))));
            Ok(String::new())
        }
        ["hold-ref"] => {
            let subscriber = SUBSCRIBER.take().ok_or("nobody has subscribed")?;
            let message = Box::leak(Box::new(subscriber.recv_ref()?));
            Ok(String::from_utf8(message.to_vec())?)
        }
        ["fork"] => fork_with_loan(&open()?),
        ["publish", publisher, count] => {
            let (broadcast, publisher) = (open()?, publisher.parse()?);
            for number in 0..count.parse()? {
                publish(&broadcast, publisher, number)?;
            }
            Ok(String::new())
        }
        ["listen"] => listen(&mut open()?.subscribe()?),
        _ => Err(format!("what is {line:?} of a frame?").into()),
    }
}

/// Writes a frame in place, and publishes it.
///
/// # Errors
///
/// When the broadcast refuses.
pub fn publish(
    broadcast: &Broadcast<Bytes>,
    publisher: u32,
    number: u64,
) -> Result<(), PublishError<()>> {
    let length = 16 + (number as usize * 271) % 4000;
    let frame = message::make(message::id(publisher, number), length);
    let mut loan = broadcast.loan(frame.0.len())?;
    // In pieces, so that a kill leaves half of one.
    for (i, piece) in frame.0.chunks(512).enumerate() {
        loan.write_at(512 * i, piece);
    }
    loan.publish()
}

/// The next frame: who published it, and its number. Reads it twice, some time apart.
///
/// # Errors
///
/// What the broadcast says, or what is wrong with the frame.
pub fn receive(subscriber: &mut Subscriber<Bytes>) -> Result<(u32, u64), Trouble> {
    let frame = subscriber.recv_ref()?;
    let first = Bytes(frame.to_vec());
    let id = message::check(&first).map_err(Trouble::Torn)?;
    (0..id % 512).for_each(|_| hint::spin_loop());
    if frame.to_vec() != first.0 {
        return Err(Trouble::Torn(format!("{id:#x} changed while it was read")));
    }
    frame.done().map_err(SubscriberError::from)?;
    Ok((message::producer_of(id), message::sequence_of(id)))
}

/// Why there is no frame.
#[derive(Debug)]
pub enum Trouble {
    /// The broadcast has none.
    Refused(SubscriberError),
    /// It has one that nobody published.
    Torn(String),
}

impl From<SubscriberError> for Trouble {
    fn from(e: SubscriberError) -> Self {
        Self::Refused(e)
    }
}

/// What came of each publisher: its next number.
#[derive(Debug, Default)]
pub struct Numbers(std::collections::BTreeMap<u32, u64>);

impl Numbers {
    /// Notes a frame, which is the next of its publisher, or later where `may_lack` some.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn note(&mut self, (publisher, number): (u32, u64), may_lack: bool) -> Result<(), String> {
        let next = self.0.entry(publisher).or_insert(number);
        if number < *next || (number > *next && !may_lack) {
            return Err(format!("{number} of {publisher} came, not {next}"));
        }
        *next = number + 1;
        Ok(())
    }

    /// The number that a publisher's next frame would have, had it any.
    pub fn next_of(&self, publisher: u32) -> Option<u64> {
        self.0.get(&publisher).copied()
    }
}

/// Until the broadcast is closed, or something is wrong.
fn listen(subscriber: &mut Subscriber<Bytes>) -> Answer {
    let (mut numbers, mut may_lack, mut count) = (Numbers::default(), false, 0);
    loop {
        match receive(subscriber) {
            Ok(frame) => {
                numbers.note(frame, may_lack)?;
                count += 1;
            }
            Err(Trouble::Refused(SubscriberError::Lagged(_))) => may_lack = true,
            Err(Trouble::Refused(SubscriberError::Closed)) => return Ok(count.to_string()),
            Err(e) => return Err(format!("{e:?}").into()),
        }
    }
}

fn hold_all(broadcast: &'static Broadcast<Bytes>) -> Answer {
    let mut count = 0;
    while let Ok(loan) = broadcast.try_loan(8) {
        Box::leak(Box::new(loan));
        count += 1;
    }
    Ok(count.to_string())
}

/// Forks with a loan, and again with a reference to its message: what the child does to its copies changes nothing. The broadcast has
/// one block.
fn fork_with_loan(broadcast: &Broadcast<Bytes>) -> Answer {
    let mut subscriber = broadcast.subscribe()?;
    let mut loan = broadcast.loan(6)?;
    match fork_timed()? {
        None => {
            let refused = loan.publish();
            end(matches!(
                refused,
                Err(PublishError::Failed {
                    error: Refusal::OfParent { .. },
                    ..
                })
            ));
        }
        Some(child) => child.ended_well()?,
    }
    match fork_timed()? {
        None => {
            drop(loan);
            end(broadcast.try_loan(6).is_err());
        }
        Some(child) => child.ended_well()?,
    }
    loan.write_at(0, b"parent");
    loan.publish()?;
    let is_one = broadcast.len() == 1; // a child's would be there, too
    let message = subscriber.recv_ref()?;
    match fork_timed()? {
        None => {
            let refused = message.done();
            let is_kept = broadcast.try_loan(6).is_err();
            let next = subscriber.recv_ref().map(drop);
            let is_theirs = matches!(next, Err(SubscriberError::Forked));
            end(matches!(refused, Err(Refusal::OfParent { .. })) && is_kept && is_theirs);
        }
        Some(child) => child.ended_well()?,
    }
    let is_kept = broadcast.try_loan(6).is_err();
    let text = String::from_utf8(message.to_vec())?;
    message.done()?;
    let is_free = broadcast.try_loan(6).is_ok();
    Ok(format!("{text} {is_one} {is_kept} {is_free}"))
}
