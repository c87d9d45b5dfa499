//! What `ipc-core` says about objects and processes, as plain data for tables and JSON.

use std::{fs, os::unix::fs::MetadataExt};

use ipc_core::{
    Activity, DictStat, Error, ErrorKind, FamilyStat, Inspection, MemberStat, Namespace,
    ParticipantState, QueueStat,
};
use serde::Serialize;

use crate::{
    exit::{Failure, Outcome},
    output::human,
    proc,
};

/// What stands under a name.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Entry {
    Object(Box<Object>),
    Unusable(Unusable),
}

/// A file that is not, or no longer, an object that this program can use.
#[derive(Debug, Serialize)]
pub(crate) struct Unusable {
    pub(crate) name: String,
    /// `damaged`, `foreign`, `incompatible` or `forbidden`.
    pub(crate) state: &'static str,
    pub(crate) error: String,
    pub(crate) file_bytes: u64,
}

/// An object.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    pub(crate) name: String,
    /// Always `ok`; the others are [`Unusable`].
    pub(crate) state: &'static str,
    pub(crate) kind: String,
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) layout_version: u32,
    pub(crate) file_bytes: u64,
    pub(crate) created: String,
    pub(crate) age_seconds: u64,
    pub(crate) is_from_earlier_boot: bool,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// In octal.
    pub(crate) mode: String,
    pub(crate) max_participants: u32,
    /// Dead participants that were swept since its creation.
    pub(crate) deaths: u64,
    pub(crate) participants: Vec<Participant>,
    pub(crate) queue: Option<Queue>,
    /// What only a synchronisation object has.
    pub(crate) sync: Option<Sync>,
    /// What only a manager has.
    pub(crate) family: Option<Family>,
    /// What only a dictionary has.
    pub(crate) dict: Option<Dict>,
}

/// The figures of a dictionary.
#[derive(Debug, Serialize)]
pub(crate) struct Dict {
    pub(crate) len: usize,
    pub(crate) memory_used: usize,
    pub(crate) memory_allocated: usize,
    pub(crate) memory_limit: usize,
}

/// The members of a manager's family.
#[derive(Debug, Serialize)]
pub(crate) struct Family {
    pub(crate) directory: String,
    pub(crate) members: Vec<Member>,
}

/// An object that lives and goes with a family.
#[derive(Debug, Serialize)]
pub(crate) struct Member {
    /// None of a member without a name.
    pub(crate) name: Option<String>,
    pub(crate) kind: String,
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) file_bytes: u64,
    pub(crate) living: u32,
    /// Those that died attached and were not swept yet.
    pub(crate) dead: u32,
}

/// What a synchronisation object says.
#[derive(Debug, Serialize)]
pub(crate) struct Sync {
    /// In words.
    pub(crate) state: String,
    pub(crate) visits: Vec<Visit>,
}

/// A thread that holds an object or waits for it, or a permit that was left taken.
#[derive(Debug, Serialize)]
pub(crate) struct Visit {
    /// Of its process among the participants; none for a permit that belongs to nobody.
    pub(crate) slot: Option<u32>,
    /// `activity`, or `dead`.
    pub(crate) state: &'static str,
    /// `holding`, `reading`, `waiting`, `lent`, `notified`, `sending` or `receiving`.
    pub(crate) activity: &'static str,
    pub(crate) pid: Option<u32>,
    pub(crate) thread: u32,
    pub(crate) name: Option<String>,
    /// As a participant's.
    pub(crate) process: Option<&'static str>,
    pub(crate) since: Option<String>,
    pub(crate) since_seconds: Option<u64>,
    pub(crate) since_unix_ns: Option<u64>,
}

/// A process that is attached, or died attached and was not swept yet.
#[derive(Debug, Serialize)]
pub(crate) struct Participant {
    pub(crate) slot: u32,
    /// `alive` or `dead`: whether what it holds is its own.
    pub(crate) state: &'static str,
    pub(crate) pid: u32,
    pub(crate) pid_namespace: u64,
    pub(crate) name: String,
    /// What the kernel says that the process does, if it can be asked.
    pub(crate) process: Option<&'static str>,
    pub(crate) since: String,
    pub(crate) since_seconds: u64,
    /// Tells it from who has its number later; 0 if it could not tell.
    #[serde(skip)]
    pub(crate) start_ticks: u64,
}

/// The figures of a queue.
#[derive(Debug, Serialize)]
pub(crate) struct Queue {
    pub(crate) len: u64,
    pub(crate) capacity: u64,
    pub(crate) inline_bytes: u64,
    pub(crate) memory: u64,
    pub(crate) memory_used: u64,
    pub(crate) loans: u64,
    pub(crate) loans_used: u64,
    pub(crate) is_closed: bool,
    pub(crate) puts: u64,
    pub(crate) orphans: u64,
    pub(crate) has_sleeping_gets: bool,
    pub(crate) has_sleeping_puts: bool,
}

impl Object {
    /// How many processes are attached and alive.
    pub(crate) fn living(&self) -> usize {
        self.participants
            .iter()
            .filter(|p| p.state == "alive")
            .count()
    }

    /// How many died attached and were not swept yet.
    pub(crate) fn dead(&self) -> usize {
        self.participants.len() - self.living()
    }
}

/// Everything under `namespace`, sorted by name.
pub(crate) fn of_namespace(namespace: &Namespace) -> Outcome<Vec<Entry>> {
    Ok(file_names(namespace)?
        .iter()
        .filter_map(|name| of_name(namespace, name))
        .collect())
}

/// The object `name`.
pub(crate) fn of_object(namespace: &Namespace, name: &str) -> Outcome<Object> {
    Ok(Object::from(namespace.inspect(name)?))
}

/// What stands under `name`; `None` if it is gone.
fn of_name(namespace: &Namespace, name: &str) -> Option<Entry> {
    let error = match namespace.inspect(name) {
        Ok(inspection) => return Some(Entry::Object(Box::new(inspection.into()))),
        Err(e) => e,
    };
    let on_disk = fs::symlink_metadata(namespace.path().join(name)).ok()?;
    let state = match &error {
        Error::NotFound { .. } => return None,
        Error::IncompatibleLayout { .. } => "incompatible",
        Error::NotAnObject { .. } | Error::BadName { .. } | Error::Symlink { .. } => "foreign",
        other if other.kind() == ErrorKind::Permission => "forbidden",
        _ => "damaged",
    };
    let file_bytes = if on_disk.is_file() { on_disk.size() } else { 0 };
    Some(Entry::Unusable(Unusable {
        name: name.to_owned(),
        state,
        error: error.to_string(),
        file_bytes,
    }))
}

/// Also those that no object may have, but not what the library keeps behind a dot.
fn file_names(namespace: &Namespace) -> Outcome<Vec<String>> {
    let dir = namespace.path();
    let unreadable = |e| Failure::Other(format!("could not read directory {}: {e}", dir.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let name = entry
            .map_err(unreadable)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

impl From<Inspection> for Object {
    fn from(found: Inspection) -> Self {
        let has_state = !found.state.is_empty();
        Self {
            sync: has_state.then(|| Sync {
                visits: visits(&found),
                state: found.state.clone(),
            }),
            state: "ok",
            kind: found.kind.to_string(),
            type_name: found.type_name,
            layout_version: found.layout_version,
            file_bytes: found.file_bytes,
            created: human::time(found.created_unix_ns),
            age_seconds: human::since(found.created_unix_ns).as_secs(),
            is_from_earlier_boot: found.is_from_earlier_boot,
            uid: found.uid,
            gid: found.gid,
            mode: format!("{:04o}", found.mode),
            max_participants: found.max_participants,
            deaths: found.deaths,
            participants: found.participants.into_iter().map(Into::into).collect(),
            queue: found.queue.map(Into::into),
            family: found.family.map(Into::into),
            dict: found.dict.map(Into::into),
            name: found.name,
        }
    }
}

impl From<ipc_core::Participant> for Participant {
    fn from(found: ipc_core::Participant) -> Self {
        let is_alive = found.state != ParticipantState::Dead;
        Self {
            slot: found.slot,
            state: if is_alive { "alive" } else { "dead" },
            process: process_state(&found),
            pid: found.pid,
            pid_namespace: found.pid_namespace,
            since: human::time(found.attached_unix_ns),
            since_seconds: human::since(found.attached_unix_ns).as_secs(),
            start_ticks: found.start_ticks,
            name: found.name,
        }
    }
}

impl From<FamilyStat> for Family {
    fn from(found: FamilyStat) -> Self {
        let member = |member: MemberStat| Member {
            name: member.name,
            kind: member.kind.to_string(),
            type_name: member.type_name,
            file_bytes: member.file_bytes,
            living: member.living,
            dead: member.dead,
        };
        Self {
            directory: found.directory.display().to_string(),
            members: found.members.into_iter().map(member).collect(),
        }
    }
}

impl From<DictStat> for Dict {
    fn from(found: DictStat) -> Self {
        Self {
            len: found.len,
            memory_used: found.used,
            memory_allocated: found.allocated,
            memory_limit: found.limit,
        }
    }
}

impl From<QueueStat> for Queue {
    fn from(found: QueueStat) -> Self {
        Self {
            len: found.len,
            capacity: found.capacity,
            inline_bytes: found.inline_bytes,
            memory: found.memory,
            memory_used: found.memory_used,
            loans: found.loans,
            loans_used: found.loans_used,
            is_closed: found.is_closed,
            puts: found.puts,
            orphans: found.orphans,
            has_sleeping_gets: found.has_sleeping_gets,
            has_sleeping_puts: found.has_sleeping_puts,
        }
    }
}

/// What a participant's process does now; `None` when its number means nothing here.
fn process_state(participant: &ipc_core::Participant) -> Option<&'static str> {
    if participant.pid_namespace != proc::pid_namespace()? {
        return None;
    }
    let Some(stat) = proc::stat(participant.pid) else {
        return Some("gone");
    };
    if participant.start_ticks != 0 && stat.started != participant.start_ticks {
        return Some("gone"); // another process has its number now
    }
    Some(match stat.state {
        'R' => "running",
        'S' | 'I' => "sleeping",
        'D' => "uninterruptible",
        'T' => "stopped",
        't' => "traced",
        'Z' => "zombie",
        'X' | 'x' => "gone",
        _ => "unknown",
    })
}

/// Each visitor once: a writer that waits for readers is noted twice.
fn visits(found: &Inspection) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    for visit in &found.visits {
        let participant = found
            .participants
            .iter()
            .find(|p| Some(p.slot) == visit.slot);
        let one = Visit::new(visit, participant);
        let is_same = |other: &&mut Visit| {
            one.slot.is_some()
                && other.activity == one.activity
                && (other.slot, other.thread) == (one.slot, one.thread)
        };
        match visits.iter_mut().find(is_same) {
            // Permits of one thread are several.
            Some(other) if one.activity == "waiting" => {
                if other.since_unix_ns > one.since_unix_ns && one.since_unix_ns.is_some() {
                    *other = one;
                }
            }
            _ => visits.push(one),
        }
    }
    visits
}

impl Visit {
    fn new(visit: &ipc_core::Visit, participant: Option<&ipc_core::Participant>) -> Self {
        let activity = match visit.activity {
            Activity::Waiting => "waiting",
            Activity::Holding => "holding",
            Activity::Reading => "reading",
            Activity::Lent => "lent",
            Activity::Notified => "notified",
            Activity::Sending => "sending",
            Activity::Receiving => "receiving",
            _ => "unknown",
        };
        let is_dead = participant.is_some_and(|p| p.state == ParticipantState::Dead);
        let since = Some(visit.since_unix_ns).filter(|&ns| ns > 0);
        Self {
            slot: visit.slot,
            state: if is_dead { "dead" } else { activity },
            activity,
            pid: participant.map(|p| p.pid),
            thread: visit.thread,
            name: participant.map(|p| p.name.clone()),
            process: participant.and_then(process_state),
            since: since.map(human::time),
            since_seconds: since.map(|ns| human::since(ns).as_secs()),
            since_unix_ns: since,
        }
    }
}
