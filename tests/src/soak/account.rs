//! The books of one round: what was put against what was got.

use std::collections::HashMap;

use super::journal::Journal;
use super::message::{producer_of, sequence_of};
use super::worker::Role;

/// What is left of a worker.
#[derive(Debug)]
pub struct Remains {
    /// Which worker it was.
    pub incarnation: u32,
    /// What it did.
    pub role: Role,
    /// Its books.
    pub journal: Journal,
    /// Whether it was killed; otherwise it ended by itself.
    pub is_killed: bool,
}

/// What the books say. All counts are of messages.
#[derive(Debug, Default)]
pub struct Balance {
    /// Delivered.
    pub delivered: u64,
    /// Put for certain, and never delivered.
    pub lost: u64,
    /// The most that killed consumers can have had in hand: the bound of `lost`.
    pub in_hand: u64,
    /// Delivered after a younger message of the same producer to the same consumer.
    pub late: u64,
    /// The most that killed consumers can have handed back: the bound of `late`.
    pub handed_back: u64,
    /// Whose put was killed, and that were delivered nevertheless.
    pub in_doubt: u64,
    /// What must not be.
    pub failures: Vec<String>,
}

/// One producer's messages.
#[derive(Debug, Default)]
struct Account {
    begun: u64,
    acked: u64,
    delivered: Vec<bool>,
}

/// Balances the books of all workers, and of the supervisor, who got `drained` in the end.
pub fn balance(all: &[Remains], drained: &[u64]) -> Balance {
    let mut sums = Balance::default();
    let mut accounts = open_accounts(all);
    for one in all.iter().filter(|r| r.role == Role::Consumer) {
        if one.is_killed {
            sums.in_hand += one.journal.in_hand();
            sums.handed_back += one.journal.asked();
        }
        let who = format!("consumer {}", one.incarnation);
        enter(&mut sums, &mut accounts, &who, one.journal.entries());
    }
    enter(
        &mut sums,
        &mut accounts,
        "the supervisor",
        drained.iter().copied(),
    );
    for account in accounts.values() {
        let (certain, in_doubt) = account.delivered.split_at(account.acked as usize);
        sums.lost += certain
            .iter()
            .filter(|&&is_delivered| !is_delivered)
            .count() as u64;
        sums.in_doubt += in_doubt
            .iter()
            .filter(|&&is_delivered| is_delivered)
            .count() as u64;
    }
    if sums.lost > sums.in_hand {
        let (lost, most) = (sums.lost, sums.in_hand);
        sums.fail(format!(
            "{lost} messages are lost, but killed consumers had at most {most} in hand"
        ));
    }
    if sums.late > sums.handed_back {
        let (late, most) = (sums.late, sums.handed_back);
        sums.fail(format!(
            "{late} messages came late, but killed consumers handed at most {most} back"
        ));
    }
    sums
}

fn open_accounts(all: &[Remains]) -> HashMap<u32, Account> {
    let open = |one: &Remains| {
        let (begun, acked) = (one.journal.begun(), one.journal.acked());
        let delivered = vec![false; begun.max(acked) as usize];
        (
            one.incarnation,
            Account {
                begun,
                acked,
                delivered,
            },
        )
    };
    all.iter()
        .filter(|one| one.role == Role::Producer)
        .map(open)
        .collect()
}

/// Enters what one consumer got, in its order.
fn enter(
    sums: &mut Balance,
    accounts: &mut HashMap<u32, Account>,
    who: &str,
    got: impl Iterator<Item = u64>,
) {
    let mut youngest: HashMap<u32, u64> = HashMap::new();
    for id in got {
        sums.delivered += 1;
        let (producer, sequence) = (producer_of(id), sequence_of(id));
        let Some(account) = accounts.get_mut(&producer) else {
            sums.fail(format!("{who} got {id:#x}, of a producer that never was"));
            continue;
        };
        match account.delivered.get_mut(sequence as usize) {
            Some(is_delivered) if *is_delivered => {
                sums.fail(format!("{who} got {id:#x}, which was delivered before"));
            }
            Some(is_delivered) => *is_delivered = true,
            None => {
                let begun = account.begun;
                sums.fail(format!(
                    "{who} got {id:#x}, but its producer begun only {begun}"
                ));
            }
        }
        let youngest = youngest.entry(producer).or_insert(sequence);
        if sequence < *youngest {
            sums.late += 1;
        }
        *youngest = sequence.max(*youngest);
    }
}

impl Balance {
    /// Notes what must not be.
    pub fn fail(&mut self, what: String) {
        self.failures.push(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::message::id;
    use crate::trial_directory::TrialDirectory;

    fn remains(directory: &TrialDirectory, role: Role, incarnation: u32) -> Remains {
        let path = directory.path().join(incarnation.to_string());
        Remains {
            incarnation,
            role,
            journal: Journal::create(&path).unwrap(),
            is_killed: false,
        }
    }

    /// A producer that put three messages for certain and was killed in the fourth, and a consumer that got `got`.
    fn books(got: &[u64], consumer_was_killed_asking: usize) -> Balance {
        let directory = TrialDirectory::create().unwrap();
        let producer = remains(&directory, Role::Producer, 1);
        producer.journal.end_put(3);
        producer.journal.begin_put(4);
        let mut consumer = remains(&directory, Role::Consumer, 2);
        for &sequence in got {
            assert!(consumer.journal.begin_get(1));
            consumer.journal.note(id(1, sequence));
            consumer.journal.end_get();
        }
        if consumer_was_killed_asking > 0 {
            assert!(consumer.journal.begin_get(consumer_was_killed_asking));
            consumer.is_killed = true;
        }
        balance(&[producer, consumer], &[])
    }

    #[test]
    fn the_books_balance_when_each_certain_message_was_delivered_once() {
        for got in [&[0, 1, 2][..], &[0, 1, 2, 3]] {
            let balance = books(got, 0);
            assert!(balance.failures.is_empty(), "{balance:?}");
            assert_eq!(balance.in_doubt, got.len() as u64 - 3);
        }
    }

    #[test]
    fn the_books_show_what_is_lost_doubled_invented_or_late() {
        for got in [&[0, 2][..], &[0, 1, 1, 2], &[0, 1, 2, 4], &[1, 0, 2]] {
            assert_eq!(books(got, 0).failures.len(), 1, "{got:?}");
        }
    }

    #[test]
    fn a_killed_consumer_excuses_as_much_as_it_asked_for() {
        assert!(books(&[0, 2], 1).failures.is_empty());
        assert!(books(&[1, 0, 2], 1).failures.is_empty());
        assert_eq!(books(&[2], 1).failures.len(), 1);
        assert!(books(&[2], 2).failures.is_empty());
    }
}
