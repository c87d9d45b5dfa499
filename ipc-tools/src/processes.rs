//! The processes that have objects of a namespace open, as all its objects name them.

use std::collections::{BTreeMap, HashMap};

use ipc_core::Namespace;
use serde::Serialize;

use crate::{
    exit::Outcome,
    output::human,
    proc,
    snapshot::{self, Entry, Object, Participant},
};

/// Families within families are looked into so deep.
const DEPTH: u32 = 4;

/// A process that has objects open, or died with them open and was not swept yet.
#[derive(Debug, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) pid_namespace: u64,
    pub(crate) name: String,
    /// `alive` or `dead`.
    pub(crate) state: &'static str,
    /// As a participant's.
    pub(crate) process: Option<&'static str>,
    /// Who has started it, or has taken it over.
    pub(crate) parent: Option<u32>,
    pub(crate) parent_name: Option<String>,
    /// Whether it runs a function for its parent.
    pub(crate) is_child: bool,
    /// Those that run a function for it.
    pub(crate) children: Vec<u32>,
    /// When it opened the first of those that it has open.
    pub(crate) since: String,
    pub(crate) since_seconds: u64,
    pub(crate) objects: Vec<Use>,
    #[serde(skip)]
    start_ticks: u64,
}

/// What a process does with an object.
#[derive(Debug, Serialize)]
pub(crate) struct Use {
    /// Behind the name of its manager, if it is a member.
    pub(crate) name: String,
    pub(crate) kind: String,
    /// `attached`, or what one of its threads does: `holding`, `waiting` and the like.
    pub(crate) activity: &'static str,
    pub(crate) since_seconds: u64,
}

/// Which one a participant is: a number alone may be another's by now.
type Identity = (u64, u32, u64);

/// Everybody in `namespace`, the living first, by number.
pub(crate) fn of_namespace(namespace: &Namespace) -> Outcome<Vec<Process>> {
    let mut found = BTreeMap::new();
    gather(namespace, "", DEPTH, &mut found)?;
    let mut all: Vec<Process> = found.into_values().collect();
    add_relatives(&mut all);
    all.sort_by_key(|one| (one.state == "dead", one.pid));
    Ok(all)
}

fn gather(
    namespace: &Namespace,
    prefix: &str,
    depth: u32,
    found: &mut BTreeMap<Identity, Process>,
) -> Outcome {
    for entry in snapshot::of_namespace(namespace)? {
        let Entry::Object(object) = entry else {
            continue;
        };
        for participant in &object.participants {
            note(&object, participant, prefix, found);
        }
        let directory = object.family.as_ref().map(|family| &family.directory);
        if let Some(directory) = directory
            && depth > 0
            && std::path::Path::new(directory).is_dir()
        {
            let members = Namespace::at(directory)?;
            gather(
                &members,
                &format!("{prefix}{}/", object.name),
                depth - 1,
                found,
            )?;
        }
    }
    Ok(())
}

fn note(
    object: &Object,
    participant: &Participant,
    prefix: &str,
    found: &mut BTreeMap<Identity, Process>,
) {
    let one = participant;
    let key = (one.pid_namespace, one.pid, one.start_ticks);
    let process = found.entry(key).or_insert_with(|| Process {
        pid: one.pid,
        pid_namespace: one.pid_namespace,
        name: one.name.clone(),
        state: one.state,
        process: one.process,
        parent: None,
        parent_name: None,
        is_child: false,
        children: Vec::new(),
        since: one.since.clone(),
        since_seconds: one.since_seconds,
        objects: Vec::new(),
        start_ticks: one.start_ticks,
    });
    if one.since_seconds > process.since_seconds {
        process.since.clone_from(&one.since);
        process.since_seconds = one.since_seconds;
    }
    let visits = object.sync.iter().flat_map(|sync| &sync.visits);
    let mut activities: Vec<_> = visits
        .filter(|visit| visit.slot == Some(one.slot))
        .map(|visit| visit.activity)
        .collect();
    activities.dedup();
    if activities.is_empty() {
        activities.push("attached");
    }
    process
        .objects
        .extend(activities.into_iter().map(|activity| Use {
            name: format!("{prefix}{}", object.name),
            kind: object.kind.clone(),
            activity,
            since_seconds: one.since_seconds,
        }));
}

/// Parents and children, as the kernel has them now.
fn add_relatives(all: &mut [Process]) {
    let living: HashMap<u32, usize> = all
        .iter()
        .enumerate()
        .filter(|(_, one)| one.is_here())
        .map(|(at, one)| (one.pid, at))
        .collect();
    for pid in proc::all() {
        let Some(stat) = proc::stat(pid) else {
            continue;
        };
        let parent = living.get(&stat.parent);
        if parent.is_none() && !living.contains_key(&pid) {
            continue;
        }
        let is_child = proc::is_child_of(pid, stat.parent);
        if let Some(&at) = living.get(&pid) {
            all[at].parent = Some(stat.parent);
            all[at].parent_name = proc::thread_name(stat.parent, stat.parent);
            all[at].is_child = is_child;
        }
        if let Some(&at) = parent
            && is_child
        {
            all[at].children.push(pid);
        }
    }
}

impl Process {
    /// Whether its number means something here, and still this process.
    pub(crate) fn is_here(&self) -> bool {
        !matches!(self.process, None | Some("gone"))
    }

    /// Whether who has its number now is this process.
    pub(crate) fn has_its_number(&self) -> bool {
        proc::stat(self.pid).is_some_and(|stat| stat.started == self.start_ticks)
    }

    /// In words.
    pub(crate) fn label(&self) -> String {
        format!("{} ({})", self.pid, human::printable(&self.name))
    }
}
