//! What becomes of messages that were taken and did not get through.

use ipc_core::{Bytes, Queue};

use crate::{
    args::{Place, values::Format},
    exit::{Failure, Outcome, say},
};

/// Longer names leave no room for our ending.
const NAME_BYTES: usize = 100;

/// Puts `messages` back, or into a queue of their own, and says so, unless it is what everybody expects.
pub(crate) fn after(
    failure: Failure,
    place: &Place,
    queue: &Queue<Bytes>,
    messages: Vec<Bytes>,
) -> Failure {
    let count = messages.len();
    if count == 0 {
        return failure;
    }
    let Some((rest, reason)) = put_back(queue, messages) else {
        return match failure {
            Failure::BrokenPipe => failure,
            _ => failure.after(format!(
                "{count} message(s) went back to the end of the queue"
            )),
        };
    };
    let saved = rest.len();
    match save(place, queue.name().unwrap_or_default(), &rest) {
        Ok(name) => failure.lost_nothing_but(format!(
            "{saved} message(s) that could not go back because {reason} are in the queue {name}"
        )),
        Err(e) => {
            print(&rest);
            failure.lost_nothing_but(format!(
                "{saved} message(s) that could not go back because {reason}, nor into another queue ({e}), are above"
            ))
        }
    }
}

impl Failure {
    /// A reader that goes away is quiet only while nothing else happened.
    fn lost_nothing_but(self, what: String) -> Self {
        match self {
            Self::BrokenPipe => Self::Other(format!("{}; {what}", Self::BrokenPipe)),
            other => other.after(what),
        }
    }
}

/// What could not go back, and why.
fn put_back(queue: &Queue<Bytes>, messages: Vec<Bytes>) -> Option<(Vec<Bytes>, String)> {
    let mut messages = messages.into_iter();
    while let Some(message) = messages.next() {
        if let Err(e) = queue.try_put(message) {
            let reason = e.to_string();
            return Some((
                [e.into_value()].into_iter().chain(messages).collect(),
                reason,
            ));
        }
    }
    None
}

/// Makes a queue that holds just `messages`, closed, and returns its name.
fn save(place: &Place, from: &str, messages: &[Bytes]) -> Outcome<String> {
    let name = format!(
        "{}.rescued-{}",
        &from[..from.len().min(NAME_BYTES)],
        std::process::id()
    );
    // Memory comes in blocks, so a message may take more than its length.
    let memory = messages
        .iter()
        .map(|m| m.as_ref().len().next_power_of_two())
        .sum::<usize>()
        + (1 << 20);
    let queue = place.queue(messages.len())?.memory(memory).create(&name)?;
    for message in messages {
        queue.try_put(message.clone()).inspect_err(|_| {
            // Half of them there and all of them printed would be twice.
            let _ = queue.unlink();
        })?;
    }
    queue.close();
    Ok(name)
}

/// The last resort: standard error.
fn print(messages: &[Bytes]) {
    for message in messages {
        let mut line = Vec::new();
        Format::Json.encode(message.as_ref(), &mut line);
        say(String::from_utf8_lossy(line.trim_ascii_end()));
    }
}
