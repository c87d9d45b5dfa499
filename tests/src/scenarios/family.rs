//! How a family of objects is born, gets members, and goes, with its last user or behind the dead.

use std::cell::RefCell;
use std::path::PathBuf;
use std::{fs, mem};

use ipc_core::{Bytes, Error, Event, Manager, ManagerOptions, Namespace, Queue};

use super::trial;
use crate::mapping::Shared;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};
use crate::trial_directory::TrialDirectory;

const TEAM: &str = "team";
const JOBS: &str = "jobs";
const DONE: u64 = 1;
const REFUSED: u64 = 2;
const FAILED: u64 = u64::MAX;

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Makes a family under a name.
    Create,
    /// Makes a family without a name and a member of it.
    New,
    /// Makes a member of a family that a survivor uses.
    MakeMember,
    /// Drops the last handle of a family that has no name any more.
    Leave,
    /// Comes to a member of a family that nobody uses and nobody has collected.
    Come,
    /// Removes the name of a family that nobody uses, and so the family.
    Remove,
    /// Collects a family whose users are dead.
    Collect,
}

/// Every scenario.
pub(super) fn all() -> [Family; 7] {
    use Family::*;
    [Create, New, MakeMember, Leave, Come, Remove, Collect]
}

/// Where families are, and how to come to the members of one.
#[derive(Debug)]
pub(super) struct Home {
    namespace: Namespace,
    /// Handles of the family, and of an event and a queue in it, on their way.
    letters: Option<[String; 3]>,
    /// The survivor's own.
    team: RefCell<Option<Manager>>,
    /// What the survivor came to while the victim was stopped.
    members: RefCell<Option<(Event, Queue<Bytes>)>>,
    _directory: TrialDirectory,
}

impl Home {
    fn options(&self) -> ManagerOptions {
        Manager::options().namespace(&self.namespace)
    }

    /// Makes a family with two members, of which nobody is a user afterwards.
    fn settle(&mut self) {
        let team = self.options().create(TEAM).expect("a family can be made");
        let event = team.event().expect("an event can be made");
        let queue = queue_options(&team.members()).create(JOBS);
        let queue = queue.expect("a queue can be made");
        event.set().expect("an event can be set");
        let letter = |text: serde_json::Result<String>| text.expect("a handle can be sent");
        self.letters = Some([
            letter(serde_json::to_string(&team)),
            letter(serde_json::to_string(&event)),
            letter(serde_json::to_string(&queue)),
        ]);
    }

    /// Its users are dead from now on, and it has no name.
    fn orphan(&self) {
        fs::remove_file(self.namespace.path().join(TEAM)).expect("the family has a name");
    }

    /// Both members, or none: nobody finds a family that is gone in part.
    fn come(&self) -> Result<Option<(Event, Queue<Bytes>)>, String> {
        let [team, event, queue] = self.letters.as_ref().ok_or("there are no members")?;
        // Kept, or the next one who comes to nothing would be the last user and end it.
        let team = serde_json::from_str::<Manager>(team);
        let event = serde_json::from_str::<Event>(event);
        let queue = serde_json::from_str::<Queue<Bytes>>(queue);
        match (&team, event, queue) {
            (Ok(_), Ok(event), Ok(queue)) => {
                if !event.is_set() {
                    return Err("the event is another".to_owned());
                }
                let put = queue.try_put(Bytes::from("x"));
                put.map_err(|e| e.to_string())?;
                queue.try_get().map_err(|e| e.to_string())?;
                Ok(Some((event, queue)))
            }
            (Err(_), Err(_), Err(_)) => Ok(None),
            (_, event, queue) => Err(format!("of {team:?}, {event:?} and {queue:?} some is gone")),
        }
    }

    fn collect(&self) -> Result<(), String> {
        self.namespace
            .collect()
            .map(drop)
            .map_err(|e| e.to_string())
    }

    /// The directories of families, but for those that were never finished, which are empty and stay for a minute.
    fn families(&self) -> Vec<PathBuf> {
        let list = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
        let all = list(self.namespace.path().join(".families")).map(|entry| entry.path());
        all.filter(|dir| list(dir.clone()).next().is_some())
            .collect()
    }

    /// Nothing stays of a family that nobody uses and that has no name.
    fn check_gone(&self) -> Result<(), String> {
        self.collect()?;
        match &self.families()[..] {
            [] => Ok(()),
            left => Err(format!("after a collection there is {left:?}")),
        }
    }

    /// A family that has a name is whole, and can be used and removed.
    fn check_named(&self, must_be: bool) -> Result<(), String> {
        self.collect()?;
        let expected = match self.options().open(TEAM) {
            Ok(team) => {
                let event = team.event().map_err(|e| e.to_string())?;
                event.set().map_err(|e| e.to_string())?;
                1
            }
            Err(Error::NotFound { .. }) if !must_be => 0,
            Err(e) => return Err(format!("to open it says {e}")),
        };
        if self.families().len() != expected {
            return Err(format!("{expected} of {:?}", self.families()));
        }
        if expected == 1 {
            let removed = self.namespace.unlink_unused(TEAM);
            removed.map_err(|e| e.to_string())?;
        }
        self.check_gone()
    }

    /// The survivor's family is whole, with the victim's member or without.
    fn check_member(&self, must_be: bool) -> Result<(), String> {
        let team = self.team.take().ok_or("the survivor has a family")?;
        self.collect()?;
        let jobs = queue_options(&team.members()).open(JOBS);
        match jobs {
            Ok(jobs) => jobs.try_put(Bytes::from("x")).map_err(|e| e.to_string())?,
            Err(Error::NotFound { .. }) if !must_be => {}
            Err(e) => return Err(format!("to open the member says {e}")),
        }
        let seen = self.namespace.inspect(TEAM).map_err(|e| e.to_string())?;
        let members = seen.family.ok_or("it is a family")?.members.len();
        let files = fs::read_dir(team.members().path()).into_iter().flatten();
        if files.count() != members + 1 {
            return Err(format!("{members} members, and litter"));
        }
        team.unlink().map_err(|e| e.to_string())?;
        drop(team);
        self.check_gone()
    }
}

fn queue_options(namespace: &Namespace) -> ipc_core::QueueOptions<Bytes> {
    Queue::options(4).memory(0).namespace(namespace)
}

impl Scenario for Family {
    type State = Home;

    fn name(&self) -> String {
        let name = match self {
            Self::Create => "create",
            Self::New => "new",
            Self::MakeMember => "make-member",
            Self::Leave => "leave",
            Self::Come => "come",
            Self::Remove => "remove",
            Self::Collect => "collect",
        };
        format!("family/{name}")
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        [Campaign::Kill, Campaign::Stop, Campaign::Nested]
            .map(|campaign| (campaign, Expectation::Holds))
            .into()
    }

    fn fresh(&self) -> Home {
        let (directory, namespace) = trial::place();
        let mut home = Home {
            namespace,
            letters: None,
            team: RefCell::default(),
            members: RefCell::default(),
            _directory: directory,
        };
        match self {
            Self::Create | Self::New => {}
            Self::MakeMember => {
                let team = home.options().create(TEAM).expect("a family can be made");
                team.event().expect("an event can be made");
                home.team = RefCell::new(Some(team));
            }
            Self::Leave | Self::Remove => home.settle(),
            Self::Come | Self::Collect => {
                home.settle();
                home.orphan();
            }
        }
        home
    }

    /// None: what goes on is in directories and in locks, and only system calls change these.
    fn shared<'a>(&self, _: &'a Home) -> Vec<Shared<'a>> {
        Vec::new()
    }

    fn arm<'a>(&'a self, home: &'a Home) -> Operation<'a> {
        // The victim's copy of the survivor's handle; dropped in a child, it detaches nobody.
        drop(home.team.take());
        let options = home.options();
        match self {
            // It dies with its handle.
            Self::Create => Box::new(move || match options.create(TEAM) {
                Ok(team) => {
                    mem::forget(team);
                    DONE
                }
                Err(Error::Exists { .. }) => REFUSED,
                Err(_) => FAILED,
            }),
            Self::New => Box::new(move || {
                let live = || options.anonymous()?.event();
                live().map_or(FAILED, |_| DONE)
            }),
            Self::MakeMember => {
                let team = options.open(TEAM).expect("there is a family");
                let jobs = queue_options(&team.members());
                let mut team = Some(team);
                Box::new(move || {
                    let made = jobs.create(JOBS);
                    mem::forget(team.take());
                    made.map(mem::forget).map_or(FAILED, |()| DONE)
                })
            }
            Self::Leave => {
                let mut team = options.open(TEAM).ok();
                home.orphan();
                Box::new(move || team.take().map_or(FAILED, |_| DONE))
            }
            Self::Come => Box::new(move || match home.come() {
                Ok(Some(members)) => {
                    mem::forget(members);
                    DONE
                }
                Ok(None) => REFUSED,
                Err(_) => FAILED,
            }),
            Self::Remove => Box::new(move || match home.namespace.unlink_unused(TEAM) {
                Ok(()) => DONE,
                Err(Error::InUse { .. } | Error::NotFound { .. }) => REFUSED,
                Err(_) => FAILED,
            }),
            Self::Collect => Box::new(move || home.collect().map_or(FAILED, |()| DONE)),
        }
    }

    fn verify(&self, home: &Home, outcome: Outcome) -> Result<(), String> {
        if !matches!(outcome, Outcome::Killed | Outcome::Completed(DONE)) {
            return Err(format!("the victim: {outcome:?}"));
        }
        let is_done = !outcome.is_killed();
        match self {
            Self::Create => home.check_named(is_done),
            Self::MakeMember => home.check_member(is_done),
            Self::New => {
                if is_done && !home.families().is_empty() {
                    return Err("the last user is gone, its family is not".to_owned());
                }
                home.check_gone()
            }
            Self::Remove if home.namespace.inspect(TEAM).is_ok() => {
                if is_done {
                    return Err("it is removed, and there".to_owned());
                }
                home.check_named(true)
            }
            Self::Leave | Self::Come | Self::Collect | Self::Remove => {
                let found = home.come()?;
                if is_done && *self != Self::Come && found.is_some() {
                    return Err("it is gone, and there".to_owned());
                }
                drop(found);
                home.check_gone()
            }
        }
    }

    fn while_stopped(&self, home: &Home) -> Result<(), String> {
        if matches!(self, Self::Leave | Self::Come | Self::Collect) {
            if *self != Self::Come {
                *home.members.borrow_mut() = home.come()?;
            }
            home.collect()?;
            // What the survivor came to is still whole.
            let has_come = home.members.borrow().is_some();
            let again = home.come()?.is_some();
            if has_come && !again {
                return Err("it was collected while it was used".to_owned());
            }
        } else {
            home.collect()?;
        }
        if *self == Self::Create {
            let team = home.options().open_or_create(TEAM);
            *home.team.borrow_mut() = Some(team.map_err(|e| e.to_string())?);
        }
        Ok(())
    }

    fn verify_after_stop(&self, home: &Home, outcome: Outcome) -> Result<(), String> {
        let may_be_refused = matches!(self, Self::Create | Self::Come | Self::Remove);
        match outcome {
            Outcome::Completed(DONE) => {}
            Outcome::Completed(REFUSED) if may_be_refused => {}
            _ => return Err(format!("the resumed victim: {outcome:?}")),
        }
        if home.members.borrow().is_some() && home.come()?.is_none() {
            return Err("it went while the survivor used it".to_owned());
        }
        drop((
            home.members.take(),
            (*self != Self::MakeMember).then(|| home.team.take()),
        ));
        match self {
            Self::Create => home.check_named(true),
            Self::MakeMember => home.check_member(true),
            Self::Remove if home.namespace.inspect(TEAM).is_ok() => {
                Err("nobody used it, and it is there".to_owned())
            }
            _ => home.check_gone(),
        }
    }

    fn arm_repair<'a>(&'a self, home: &'a Home) -> Operation<'a> {
        drop(home.team.take());
        Box::new(move || home.collect().map_or(FAILED, |()| DONE))
    }
}
