//! Circles of threads that wait for what the next one holds.
//!
//! # Two looks
//!
//! Each object is looked at on its own instant, so one look may see a circle that never was. What is reported was there at one
//! instant, the start of the second look: each hold is older than that, by its own account, and seen in both looks; each wait
//! was seen in both, and what it waits for changed hands for nobody in between.

use std::{
    collections::HashSet,
    fmt::Write as _,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ipc_core::{Activity, Inspection, Kind, Namespace, ParticipantState};

use super::{
    family::Family,
    graph::{Needs, Resource, Step, circles},
};
use crate::{exit::Outcome, proc};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// As much older than it is may a hold seem: its clock has a coarse tick, and a look takes its time.
const COARSE: Duration = Duration::from_millis(15);

/// Parties that wait for each other.
#[derive(Debug)]
pub(super) struct Circle {
    pub(super) in_words: String,
    /// Whether all in it wait for certain, and not only if a process waits for its children.
    pub(super) is_certain: bool,
}

/// A thread that holds or waits.
#[derive(Debug, Clone)]
struct Party {
    pid: u32,
    pid_namespace: u64,
    thread: u32,
    name: String,
    /// In nanoseconds since 1970.
    since: u64,
}

impl PartialEq for Party {
    /// Whether it is the same thread.
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Party {
    fn key(&self) -> (u64, u32, u32) {
        (self.pid_namespace, self.pid, self.thread)
    }
}

type Thing = Resource<Party>;

/// Looks for circles in a namespace.
pub(super) fn find(namespace: &Namespace) -> Outcome<Vec<Circle>> {
    let first = look(namespace)?;
    if circles_of(&first).is_empty() {
        return Ok(Vec::new());
    }
    thread::sleep(PAUSE);
    let start = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let second = look(namespace)?;
    let seen = Seen::new(&first, start.saturating_sub(COARSE));
    let confirmed = circles_of(&second)
        .into_iter()
        .filter(|(steps, _)| steps.iter().all(|step| seen.confirms(step)));
    Ok(confirmed
        .map(|(steps, is_certain)| Circle {
            in_words: in_words(&steps, is_certain),
            is_certain,
        })
        .collect())
}

/// What may be part of a circle. An object that cannot be looked at is somebody else's finding.
fn look(namespace: &Namespace) -> Outcome<Vec<Thing>> {
    let names = namespace.list()?;
    let found = names.iter().filter_map(|name| namespace.inspect(name).ok());
    Ok(found.filter_map(|object| thing(&object)).collect())
}

fn thing(object: &Inspection) -> Option<Thing> {
    let needs = match object.kind {
        Kind::Lock | Kind::RLock | Kind::RwLock => Needs::AllHolders,
        // A permit that nobody owns may be released by anybody.
        Kind::BoundedSemaphore if object.visits.iter().any(|v| v.activity == Activity::Lent) => {
            Needs::Nobody
        }
        Kind::BoundedSemaphore if object.permits == Some(0) => Needs::AnyHolder,
        Kind::BoundedSemaphore => Needs::Nobody,
        _ => return None,
    };
    let (mut holders, mut waiters) = (Vec::new(), Vec::new());
    for visit in &object.visits {
        let mut participants = object.participants.iter();
        let Some(one) = participants.find(|p| Some(p.slot) == visit.slot) else {
            continue;
        };
        if one.state == ParticipantState::Dead {
            return None; // who waits for the dead waits for a moment
        }
        let party = Party {
            pid: one.pid,
            pid_namespace: one.pid_namespace,
            thread: visit.thread,
            name: one.name.clone(),
            since: visit.since_unix_ns,
        };
        match visit.activity {
            Activity::Holding | Activity::Reading => holders.push(party),
            // A writer that waits for readers is noted twice.
            Activity::Waiting if !waiters.contains(&party) => waiters.push(party),
            _ => {}
        }
    }
    Some(Resource {
        name: object.name.clone(),
        needs,
        holders,
        waiters,
    })
}

/// The circles, and whether each is certain: first those that are, then those that need a process to wait for its children.
fn circles_of(things: &[Thing]) -> Vec<(Vec<Step<'_, Party>>, bool)> {
    let family = Family::default();
    let ours = proc::pid_namespace();
    let dependence = |holder: &Party, waiter: &Party| {
        if holder == waiter {
            return Some(true);
        }
        let are_here = [holder, waiter]
            .iter()
            .all(|party| Some(party.pid_namespace) == ours);
        are_here
            .then(|| family.waits_for(holder.pid, holder.thread, waiter.pid))
            .flatten()
    };
    let certain = circles(things, |holder, waiter| {
        dependence(holder, waiter) == Some(true)
    });
    let possible = circles(things, |holder, waiter| {
        dependence(holder, waiter).is_some()
    });
    let uncertain = possible.into_iter().filter(|steps| {
        !steps
            .iter()
            .all(|step| dependence(step.holder, step.waiter) == Some(true))
    });
    let uncertain: Vec<_> = uncertain.map(|steps| (steps, false)).collect();
    certain
        .into_iter()
        .map(|steps| (steps, true))
        .chain(uncertain)
        .collect()
}

/// Who held what, and who waited for what, at the first look.
struct Seen<'a> {
    holds: HashSet<(&'a str, (u64, u32, u32))>,
    waits: HashSet<(&'a str, (u64, u32, u32))>,
    /// What was held since then was held before the second look.
    newest: Duration,
}

impl<'a> Seen<'a> {
    fn new(things: &'a [Thing], newest: Duration) -> Self {
        let pairs = |parties: fn(&Thing) -> &Vec<Party>| {
            let each = things.iter();
            each.flat_map(move |thing| {
                let name = thing.name.as_str();
                parties(thing).iter().map(move |party| (name, party.key()))
            })
            .collect()
        };
        Self {
            holds: pairs(|thing| &thing.holders),
            waits: pairs(|thing| &thing.waiters),
            newest,
        }
    }

    fn confirms(&self, step: &Step<'_, Party>) -> bool {
        let since = Duration::from_nanos(step.holder.since);
        (Duration::from_nanos(1)..=self.newest).contains(&since)
            && self
                .holds
                .contains(&(step.held.name.as_str(), step.holder.key()))
            && self
                .waits
                .contains(&(step.awaited.name.as_str(), step.waiter.key()))
    }
}

fn in_words(steps: &[Step<'_, Party>], is_certain: bool) -> String {
    let mut words = String::new();
    for step in steps {
        let separator = if words.is_empty() { "" } else { "; " };
        // A String takes everything.
        let _ = write!(
            words,
            "{separator}{} holds {}",
            thread_of(step.holder),
            step.held.name
        );
        let _ = if step.holder == step.waiter {
            write!(words, " and waits for {}", step.awaited.name)
        } else {
            let (child, awaited) = (thread_of(step.waiter), &step.awaited.name);
            write!(words, ", and its child {child} waits for {awaited}")
        };
    }
    if !is_certain {
        words.push_str("; they are stuck for ever if those with a child wait for it");
    }
    words
}

fn thread_of(party: &Party) -> String {
    format!("pid {} ({}) thread {}", party.pid, party.name, party.thread)
}
