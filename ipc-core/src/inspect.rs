//! Looking at objects without touching them: no slot, no lock, a read-only mapping.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    channel::{
        broadcast::options as broadcast,
        joinable::jobs::{self, Jobs},
        listener::options as listener,
        ordered,
        pipe::options as pipe,
        queue::{container, ring::Ring},
    },
    error::{Error, Result},
    manager::{
        cells,
        dict::{DictStat, options as dict},
        list,
    },
    object::{
        Kind, Namespace, family,
        lifetime::{self, Object, Species},
        participant::Card,
        seat::{Activity, Visitor},
    },
    os::{clock, file},
    pool::control as pool,
    region::{OutOfBounds, Region, identity::Facts},
    sync::{
        barrier::BarrierCore,
        bounded_semaphore::BoundedSemaphoreCore,
        condition::ConditionCore,
        event::EventCore,
        frame::{self, Mechanism},
        lock::LockCore,
        rwlock::RwLockCore,
        semaphore::SemaphoreCore,
    },
};

/// Evaluates an expression with `$mechanism` standing for the algorithm of the synchronisation object of this kind; `None`
/// for other kinds.
macro_rules! primitive {
    ($kind:expr, $mechanism:ident => $body:expr) => {
        match $kind {
            Kind::Lock | Kind::RLock => {
                type $mechanism = LockCore;
                Some($body)
            }
            Kind::RwLock => {
                type $mechanism = RwLockCore;
                Some($body)
            }
            Kind::Semaphore => {
                type $mechanism = SemaphoreCore;
                Some($body)
            }
            Kind::BoundedSemaphore => {
                type $mechanism = BoundedSemaphoreCore;
                Some($body)
            }
            Kind::Event => {
                type $mechanism = EventCore;
                Some($body)
            }
            Kind::Condition => {
                type $mechanism = ConditionCore;
                Some($body)
            }
            Kind::Barrier => {
                type $mechanism = BarrierCore;
                Some($body)
            }
            _ => None,
        }
    };
}

/// What an object's header, slots and structure say.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// The name under which it was found.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The type of its messages or values.
    pub type_name: String,
    /// Version of its layout.
    pub layout_version: u32,
    /// Size of its file in bytes, all of it memory in use.
    pub file_bytes: u64,
    /// How many processes may be attached at once.
    pub max_participants: u32,
    /// How many dead participants were swept since its creation.
    pub deaths: u64,
    /// When it was created, in nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// Whether it was created before the machine last booted.
    pub is_from_earlier_boot: bool,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permissions.
    pub mode: u32,
    /// Who is attached, and who died attached and was not swept yet.
    pub participants: Vec<Participant>,
    /// What only a queue has, of whatever order.
    pub queue: Option<QueueStat>,
    /// What only a joinable queue has.
    pub jobs: Option<JobStat>,
    /// What only a manager has.
    pub family: Option<FamilyStat>,
    /// Of a dictionary: how large it is.
    pub dict: Option<DictStat>,
    /// In what state it is, in words; empty for a queue, unless that is joinable.
    pub state: String,
    /// How many permits are to be had now; of a semaphore only.
    pub permits: Option<u32>,
    /// Who holds it, and who waits for it, as they described themselves, each read at its own instant. Waiters for whom
    /// the object has no room are missing.
    pub visits: Vec<Visit>,
}

/// Somebody who holds an object or waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Visit {
    /// Its process's slot among the participants; `None` for what belongs to nobody, such as a lent permit.
    pub slot: Option<u32>,
    /// Its thread's number, in its own pid namespace; 0 for who is at work on a queue's message, of whom that is not kept.
    pub thread: u32,
    /// What it does.
    pub activity: Activity,
    /// Since when, in nanoseconds since 1970, to some tens of milliseconds (more if its process was stopped, or got no core,
    /// shortly before); of a waiter to a tenth of a second. 0: not known.
    pub since_unix_ns: u64,
}

/// Whether a participant is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParticipantState {
    /// Its address space exists; it may be stopped.
    Alive,
    /// It died and was not swept yet.
    Dead,
}

/// One process that is attached to an object, as it described itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Participant {
    /// Its slot in the object.
    pub slot: u32,
    /// Whether it lives, from the kernel.
    pub state: ParticipantState,
    /// Its process id, in its own pid namespace.
    pub pid: u32,
    /// Inode of that pid namespace; 0 if it could not tell.
    pub pid_namespace: u64,
    /// Its command name.
    pub name: String,
    /// When it started, in clock ticks after boot; 0 if it could not tell.
    pub start_ticks: u64,
    /// When it attached, in nanoseconds since 1970.
    pub attached_unix_ns: u64,
}

/// A queue's figures, each read at its own instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStat {
    /// Messages it holds at the most.
    pub capacity: u64,
    /// Messages in it.
    pub len: u64,
    /// Bytes of a message that a cell carries itself.
    pub inline_bytes: u64,
    /// Bytes for messages that do not fit into a cell.
    pub memory: u64,
    /// How many of those are in use, in whole blocks.
    pub memory_used: u64,
    /// How many messages it has memory for that are written and read in place.
    pub loans: u64,
    /// How many of those are being written, in it, or being read.
    pub loans_used: u64,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Puts since its creation, those that failed half-way included.
    pub puts: u64,
    /// Messages whose consumer died and that wait to be delivered again; part of `len`. 0 in a queue that has another order than
    /// first in, first out: there such messages are where they were.
    pub orphans: u64,
    /// Whether somebody may be asleep in a get.
    pub has_sleeping_gets: bool,
    /// Whether somebody may be asleep in a put.
    pub has_sleeping_puts: bool,
}

/// A joinable queue's figures about jobs that were taken out of it, each read at its own instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStat {
    /// How many jobs may be leased, wait for another attempt or be dead letters at once.
    pub leases: u64,
    /// How many somebody works on.
    pub leased: u64,
    /// How many wait for another attempt; part of the queue's `len`.
    pub returned: u64,
    /// How many are dead letters.
    pub dead: u64,
    /// How often a job is delivered before it becomes a dead letter.
    pub max_attempts: u32,
    /// How long a worker may keep a job, in nanoseconds; 0 without an end.
    pub lease_ns: u64,
}

/// The members of a manager's family, each looked at at its own instant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FamilyStat {
    /// Its directory.
    pub directory: std::path::PathBuf,
    /// What is in it and is an object, nameless ones first.
    pub members: Vec<MemberStat>,
}

/// An object that lives and goes with a family.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStat {
    /// Its name in the family, if it has one.
    pub name: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// The type of its messages or values.
    pub type_name: String,
    /// Size of its file in bytes, all of it memory in use.
    pub file_bytes: u64,
    /// How many processes are attached to it.
    pub living: u32,
    /// How many died attached and were not swept yet.
    pub dead: u32,
}

impl Namespace {
    /// Looks at an object without attaching to it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::NotAnObject`], [`Error::Truncated`], [`Error::Corrupt`] and their kin.
    pub fn inspect(&self, name: &str) -> Result<Inspection> {
        let path = self.file_of(name)?;
        let label = path.to_string_lossy();
        let file = file::open_read_only(&path).map_err(|e| Error::from_io(&label, "open", &e))?;
        let (region, facts) = lifetime::examine(&label, &file, false)?;
        let on_disk = file::facts(&file).map_err(|e| Error::from_io(&label, "examine", &e))?;
        let (participants, _) = lifetime::census_of(&region, &facts, Arc::new(file), on_disk.inode)
            .map_err(|OutOfBounds| corrupt(&label, "the file is smaller than its header says"))?;
        let kind = Kind::from(facts.kind);
        let queue = match kind {
            Kind::Queue => Some(queue_stat(&label, &region, &facts)?),
            Kind::LifoQueue | Kind::PriorityQueue => Some(ordered_stat(&label, &region, &facts)?),
            Kind::JoinableQueue => {
                let jobs = joinable(&label, &region, &facts)?;
                Some(joinable_stat(&jobs))
            }
            _ => None,
        };
        let jobs = match kind {
            Kind::JoinableQueue => {
                let jobs = joinable(&label, &region, &facts)?;
                Some(job_stat(&jobs))
            }
            _ => None,
        };
        let family = (kind == Kind::Manager).then(|| family_stat(&family::dir_in(self, &facts)));
        let dict = match kind {
            Kind::Dict => {
                let table = dict::build(&region, &facts).map_err(|d| d.of(&label))?;
                Some(table.stat())
            }
            _ => None,
        };
        let looked = primitive!(kind, M => {
            let mechanism = frame::build::<M>(&region, &facts).map_err(|d| d.of(&label))?;
            let words = (mechanism.describe(), frame::visitors(&*mechanism));
            (words, mechanism.permits())
        });
        let permits = looked.as_ref().and_then(|&(_, permits)| permits);
        let (state, visitors) = match looked {
            Some((words, _)) => words,
            None if kind == Kind::Queue => {
                (String::new(), queue_visitors(&label, &region, &facts)?)
            }
            None if kind == Kind::JoinableQueue => {
                let jobs = joinable(&label, &region, &facts)?;
                (describe_jobs(&jobs), joinable_visitors(&jobs))
            }
            None if kind == Kind::Pipe => {
                let core = pipe::build(&region, &facts).map_err(|d| d.of(&label))?;
                (core.describe(), core.visitors())
            }
            None if kind == Kind::Broadcast => {
                let ring = broadcast::build(&region, &facts).map_err(|d| d.of(&label))?;
                (ring.describe(), ring.visitors())
            }
            None if let Some(family) = &family => (describe_family(family), Vec::new()),
            None if kind == Kind::Dict => {
                let table = dict::build(&region, &facts).map_err(|d| d.of(&label))?;
                (table.describe(), table.visitors())
            }
            None if matches!(kind, Kind::Value | Kind::Array) => {
                let cells = cells::build(&region, &facts).map_err(|d| d.of(&label))?;
                (cells.describe(), cells.visitors())
            }
            None if kind == Kind::List => {
                let core = list::core::build(&region, &facts).map_err(|d| d.of(&label))?;
                (core.describe(), core.visitors())
            }
            None if kind == Kind::Pool => {
                let control = pool::build(&region, &facts).map_err(|d| d.of(&label))?;
                (control.describe(), control.visitors())
            }
            None if matches!(kind, Kind::LifoQueue | Kind::PriorityQueue) => {
                (String::new(), ordered_visitors(&label, &region, &facts)?)
            }
            None => Default::default(),
        };
        let inspection = Inspection {
            name: name.to_owned(),
            kind,
            layout_version: facts.version,
            file_bytes: facts.file_bytes,
            max_participants: facts.participants,
            deaths: participants.deaths(),
            created_unix_ns: facts.created_unix_ns,
            is_from_earlier_boot: facts.boot_id != crate::os::process::boot_id(),
            uid: on_disk.uid,
            gid: on_disk.gid,
            mode: on_disk.mode,
            participants: participants
                .cards()
                .into_iter()
                .map(Participant::from)
                .collect(),
            queue,
            jobs,
            family,
            dict,
            state,
            permits,
            visits: visits(visitors),
            type_name: facts.type_name,
        };
        if region.is_cut() {
            return Err(corrupt(
                &label,
                "its file was cut short while it was looked at",
            ));
        }
        Ok(inspection)
    }

    /// Repairs what dead participants left in an object, of a manager also in its members. Returns how many there were.
    ///
    /// # Errors
    ///
    /// As [`Namespace::inspect`], and [`Error::WrongKind`] for a kind that this version does not know.
    pub fn sweep(&self, name: &str) -> Result<u32> {
        let inspection = self.inspect(name)?;
        let Some(stat) = inspection.family else {
            return sweep(&self.file_of(name)?, inspection.kind);
        };
        let family = family::open(self, name)?; // which sweeps it
        let before = inspection.participants.iter();
        let dead = before.filter(|p| p.state == ParticipantState::Dead).count() as u32;
        let mut swept = dead + family.sweep()?;
        for path in member_files(&stat.directory) {
            swept += match member_stat(&path) {
                Some(member) => sweep(&path, member.kind)?,
                None => 0, // gone, or damaged: who uses it hears of that
            };
        }
        Ok(swept)
    }
}

fn sweep(path: &Path, kind: Kind) -> Result<u32> {
    let species = Species {
        kind,
        type_name: None,
    };
    let swept = primitive!(kind, M => {
        Object::open(path, species, &frame::build::<M>)?.0.sweep()
    });
    match kind {
        Kind::Queue => Object::open(path, species, &container::build)?.0.sweep(),
        Kind::JoinableQueue => Object::open(path, species, &jobs::build)?.0.sweep(),
        Kind::Pipe => Object::open(path, species, &pipe::build)?.0.sweep(),
        Kind::Listener => Object::open(path, species, &listener::build)?.0.sweep(),
        Kind::Broadcast => Object::open(path, species, &broadcast::build)?.0.sweep(),
        Kind::Dict => Object::open(path, species, &dict::build)?.0.sweep(),
        Kind::Value | Kind::Array => Object::open(path, species, &cells::build)?.0.sweep(),
        Kind::List => Object::open(path, species, &list::core::build)?.0.sweep(),
        Kind::Pool => Object::open(path, species, &pool::build)?.0.sweep(),
        Kind::LifoQueue | Kind::PriorityQueue => {
            Object::open(path, species, &ordered::build)?.0.sweep()
        }
        _ if let Some(swept) = swept => swept,
        _ => Err(Error::WrongKind {
            object: path.to_string_lossy().into_owned(),
            found: kind.to_string(),
            expected: "kind that this version knows".to_owned(),
        }),
    }
}

fn family_stat(directory: &Path) -> FamilyStat {
    let files = member_files(directory);
    FamilyStat {
        directory: directory.to_owned(),
        members: files.iter().filter_map(|path| member_stat(path)).collect(),
    }
}

/// None if the directory is gone or nobody may look into it.
fn member_files(directory: &Path) -> Vec<std::path::PathBuf> {
    family::members(directory).unwrap_or_default()
}

/// None for what is gone, or no object that this version can read.
fn member_stat(path: &Path) -> Option<MemberStat> {
    let label = path.to_string_lossy();
    let file = file::open_read_only(path).ok()?;
    let inode = file::facts(&file).ok()?.inode;
    let (region, facts) = lifetime::examine(&label, &file, false).ok()?;
    let (participants, _) = lifetime::census_of(&region, &facts, Arc::new(file), inode).ok()?;
    let cards = participants.cards();
    let living = cards.iter().filter(|card| card.is_alive).count();
    let name = path.file_name()?.to_str()?;
    Some(MemberStat {
        name: (!name.starts_with('.')).then(|| name.to_owned()),
        kind: Kind::from(facts.kind),
        type_name: facts.type_name,
        file_bytes: facts.file_bytes,
        living: living as u32,
        dead: (cards.len() - living) as u32,
    })
}

fn describe_family(family: &FamilyStat) -> String {
    let bytes: u64 = family.members.iter().map(|member| member.file_bytes).sum();
    format!("{} members, {bytes} bytes", family.members.len())
}

fn visits(visitors: Vec<Visitor>) -> Vec<Visit> {
    let (now, now_unix) = (clock::monotonic_ns(), clock::unix_ns());
    visitors
        .into_iter()
        .map(|visitor| Visit {
            slot: (visitor.owner_bits as u32)
                .checked_sub(1)
                .filter(|_| visitor.activity != Activity::Lent),
            thread: visitor.thread,
            activity: visitor.activity,
            since_unix_ns: match visitor.since_ns {
                0 if visitor.activity == Activity::Waiting => now_unix,
                0 => 0,
                since => now_unix.saturating_sub(now.saturating_sub(since)),
            },
        })
        .collect()
}

fn corrupt(label: &str, what: &'static str) -> Error {
    Error::Corrupt {
        object: label.to_owned(),
        what,
    }
}

fn queue_visitors(label: &str, region: &Arc<Region>, facts: &Facts) -> Result<Vec<Visitor>> {
    let ring = container::build(region, facts).map_err(|damage| damage.of(label))?;
    Ok(ring
        .holders()
        .chain(ring.notes.visitors(|_| true))
        .collect())
}

fn queue_stat(label: &str, region: &Arc<Region>, facts: &Facts) -> Result<QueueStat> {
    let ring = container::build(region, facts).map_err(|damage| damage.of(label))?;
    Ok(ring_stat(&ring))
}

fn ring_stat(ring: &Ring) -> QueueStat {
    let geometry = ring.geometry();
    let gate = ring.gate();
    QueueStat {
        capacity: geometry.capacity as u64,
        len: ring.len() as u64,
        inline_bytes: geometry.inline_bytes as u64,
        memory: geometry.slab.bytes() as u64,
        memory_used: ring.memory_used() as u64,
        loans: geometry.loans.blocks as u64,
        loans_used: ring.loans_used() as u64,
        is_closed: ring.is_closed(),
        puts: ring.claimed(),
        orphans: ring.orphans() as u64,
        has_sleeping_gets: gate.items.has_sleepers(),
        has_sleeping_puts: gate.space.has_sleepers() || gate.blocks.has_sleepers(),
    }
}

fn joinable(label: &str, region: &Arc<Region>, facts: &Facts) -> Result<Arc<Jobs>> {
    jobs::build(region, facts).map_err(|damage| damage.of(label))
}

fn joinable_visitors(jobs: &Jobs) -> Vec<Visitor> {
    let ring = &jobs.ring;
    ring.holders()
        .chain(jobs.holders())
        .chain(ring.notes.visitors(|_| true))
        .collect()
}

fn joinable_stat(jobs: &Jobs) -> QueueStat {
    let of_ring = ring_stat(&jobs.ring);
    QueueStat {
        len: jobs.waiting() as u64,
        has_sleeping_gets: of_ring.has_sleeping_gets || jobs.has_sleepers(),
        ..of_ring
    }
}

fn describe_jobs(jobs: &Jobs) -> String {
    let stat = job_stat(jobs);
    let lease = match stat.lease_ns {
        0 => "without end".to_owned(),
        ns => format!("for {:?}", Duration::from_nanos(ns)),
    };
    format!(
        "{} leased, {} to be delivered again, {} dead letters, of {}; {} attempts, leased {lease}",
        stat.leased, stat.returned, stat.dead, stat.leases, stat.max_attempts
    )
}

fn job_stat(jobs: &Jobs) -> JobStat {
    let terms = jobs.terms();
    JobStat {
        leases: terms.leases as u64,
        leased: jobs.leased() as u64,
        returned: jobs.returned() as u64,
        dead: jobs.dead() as u64,
        max_attempts: terms.max_attempts,
        lease_ns: terms.lease_ns,
    }
}

fn ordered_visitors(label: &str, region: &Arc<Region>, facts: &Facts) -> Result<Vec<Visitor>> {
    let pile = ordered::build(region, facts).map_err(|damage| damage.of(label))?;
    Ok(pile
        .holders()
        .chain(pile.notes.visitors(|_| true))
        .collect())
}

fn ordered_stat(label: &str, region: &Arc<Region>, facts: &Facts) -> Result<QueueStat> {
    let pile = ordered::build(region, facts).map_err(|damage| damage.of(label))?;
    let geometry = pile.geometry();
    let gate = pile.gate();
    Ok(QueueStat {
        capacity: geometry.capacity as u64,
        len: pile.len() as u64,
        inline_bytes: geometry.inline_bytes as u64,
        memory: geometry.slab.bytes() as u64,
        memory_used: pile.memory_used() as u64,
        loans: 0,
        loans_used: 0,
        is_closed: pile.is_closed(),
        puts: pile.puts(),
        orphans: 0, // they are where they were
        has_sleeping_gets: gate.items.has_sleepers(),
        has_sleeping_puts: gate.space.has_sleepers() || gate.blocks.has_sleepers(),
    })
}

impl From<Card> for Participant {
    fn from(card: Card) -> Self {
        Self {
            slot: card.slot,
            state: if card.is_alive {
                ParticipantState::Alive
            } else {
                ParticipantState::Dead
            },
            pid: card.pid,
            pid_namespace: card.pid_namespace,
            name: card.name,
            start_ticks: card.start_ticks,
            attached_unix_ns: card.attached_unix_ns,
        }
    }
}
