//! What becomes of messages that were taken and did not get through.

use super::any_queue::{self, AnyQueue, Item, Plan};
use crate::{
    args::{
        Place,
        values::{Format, Make},
    },
    exit::{Failure, Outcome, say},
    outlet::Parcel,
};

/// Longer names leave no room for our ending.
const NAME_BYTES: usize = 100;

/// Puts `messages` back, or into a queue of their own, and says so, unless it is what everybody expects.
pub(crate) fn after(
    failure: Failure,
    place: &Place,
    queue: &dyn AnyQueue,
    messages: Vec<Item>,
) -> Failure {
    let count = messages.len();
    if count == 0 {
        return failure;
    }
    let Some((rest, reason)) = queue.put_back(messages) else {
        return match failure {
            Failure::BrokenPipe => failure,
            _ => failure.after(format!(
                "{count} message(s) went back {}",
                queue.place_for_returned()
            )),
        };
    };
    let saved = rest.len();
    match save(place, queue, &rest) {
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

/// Makes a queue of the same kind that holds just `messages`, closed, and returns its name.
fn save(place: &Place, from: &dyn AnyQueue, messages: &[Item]) -> Outcome<String> {
    let old = from.name().unwrap_or_default();
    let name = format!(
        "{}.rescued-{}",
        &old[..old.len().min(NAME_BYTES)],
        std::process::id()
    );
    // Memory comes in blocks, so a message may take more than its length.
    let memory = messages
        .iter()
        .map(|item| item.message().len().next_power_of_two())
        .sum::<usize>()
        + (1 << 20);
    let plan = Plan {
        kind: from.kind(),
        capacity: messages.len(),
        memory: Some(memory),
        inline: None,
        make: Make::default(),
    };
    let queue = any_queue::create(&place.namespace()?, &name, plan)?;
    if let Some((_, why)) = queue.put_back(messages.to_vec()) {
        // Half of them there and all of them printed would be twice.
        let _ = queue.unlink();
        return Err(Failure::Other(why));
    }
    queue.close();
    Ok(name)
}

/// The last resort: standard error.
fn print(messages: &[Item]) {
    for item in messages {
        let mut line = Vec::new();
        Format::Json.encode(item.message(), item.priority(), &mut line);
        say(String::from_utf8_lossy(line.trim_ascii_end()));
    }
}
