//! One act of a victim on a synchronisation object, and what must hold around it.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipc_core::{Namespace, ParticipantState};

use super::super::trial::place;
use super::words::Words;
use crate::mapping::{Mapping, Shared};
use crate::scenarios::campaigns::holds;
use crate::step::{Campaign, Event, Expectation, Operation, Outcome, Scenario, Snapshot, Victim};
use crate::step::{End, watchdog};
use crate::trial_directory::TrialDirectory;

/// The object's name.
pub(super) const NAME: &str = "object";
/// A wait of a victim ends after this; no trial gets that far unless something is wrong.
pub(super) const LONG: Duration = Duration::from_secs(5);

/// The operation did what it should.
pub(super) const DONE: u64 = 1;
/// Somebody else was in the way.
pub(super) const BLOCKED: u64 = 2;
/// Something is wrong.
pub(super) const FAILED: u64 = u64::MAX;

/// What a process does with a handle of its own.
pub(super) type Act<H> = fn(&Trial<H>, H) -> Operation<'static>;
/// What must hold.
pub(super) type Check<H> = fn(&Trial<H>, Outcome) -> Result<(), String>;

/// A victim's act on an object of one kind.
pub(super) struct Case<H> {
    pub(super) name: &'static str,
    pub(super) campaigns: &'static [Campaign],
    /// In the parent: makes the object.
    pub(super) create: fn(&Namespace) -> H,
    /// In a victim: comes to it through the handle that it inherited, with a slot of its own and without a sweep.
    pub(super) join: fn(&Trial<H>) -> H,
    /// Processes that are there before the victim, in their places.
    pub(super) others: fn(&Trial<H>) -> Vec<Victim>,
    /// What an earlier victim did, and after how many changes of the shared bytes it was killed. Nobody has repaired it.
    pub(super) left_by: Option<(Act<H>, u32)>,
    pub(super) act: Act<H>,
    /// What a repairer does.
    pub(super) repair: Act<H>,
    pub(super) verify: Check<H>,
    pub(super) while_stopped: fn(&Trial<H>) -> Result<(), String>,
    pub(super) verify_after_stop: Check<H>,
}

impl<H> Case<H> {
    pub(super) fn others(mut self, others: fn(&Trial<H>) -> Vec<Victim>) -> Self {
        self.others = others;
        self
    }

    pub(super) fn left_by(mut self, act: Act<H>, changes: u32) -> Self {
        self.left_by = Some((act, changes));
        self
    }
}

/// The object of one trial, as the survivor has it.
pub(super) struct Trial<H> {
    /// Other processes at work; killed at the end at the latest.
    pub(super) others: RefCell<Vec<Victim>>,
    pub(super) handle: H,
    /// What the survivor did while the victim was stopped, in the words of the scenario.
    pub(super) meanwhile: Cell<u64>,
    /// What the file held when the victim began.
    pub(super) before: Option<Words>,
    /// A word that the processes of this trial share, beside the object.
    pub(super) slate: Mapping,
    files: Vec<Mapping>,
    pub(super) namespace: Namespace,
    directory: TrialDirectory,
}

impl<H> Trial<H> {
    fn new(case: &Case<H>) -> Self {
        let (directory, namespace) = place();
        let handle = (case.create)(&namespace);
        let mut names = namespace.list().expect("the namespace can be listed");
        // The object itself first.
        names.sort_unstable_by_key(|name| name != NAME);
        let map = |name: &String| Mapping::of_file(namespace.path().join(name));
        let files: Result<Vec<_>, _> = names.iter().map(map).collect();
        let mut trial = Self {
            others: RefCell::default(),
            handle,
            meanwhile: Cell::new(0),
            before: None,
            slate: Mapping::anonymous(8).expect("a page can be mapped"),
            files: files.expect("files can be mapped"),
            namespace,
            directory,
        };
        if let Some((act, changes)) = case.left_by {
            let what = "an earlier victim";
            watchdog::guard(Duration::from_secs(60), what, || {
                let arm = || act(&trial, (case.join)(&trial));
                let mut victim = Victim::fork(arm).expect("a process can be made");
                let mut snapshot = Snapshot::take(trial.shared());
                let mut seen = 0;
                while seen < changes {
                    let event = victim.step().expect("it can be stepped");
                    assert_eq!(event, Event::Stepped, "it has more than {seen} changes");
                    seen += u32::from(snapshot.has_changed());
                }
                victim.kill().expect("it can be killed");
            });
        }
        let others = (case.others)(&trial);
        trial.others = RefCell::new(others);
        trial.before = Some(trial.words());
        trial
    }

    fn shared(&self) -> Vec<Shared<'_>> {
        self.files.iter().map(Mapping::shared).collect()
    }

    /// What the object's file holds now.
    pub(super) fn words(&self) -> Words {
        Words::of(&self.files[0])
    }

    /// The same of the other object that a scenario may have.
    pub(super) fn words_of_other(&self) -> Words {
        Words::of(&self.files[1])
    }

    /// What the file held at first.
    pub(super) fn words_before(&self) -> Words {
        self.before.clone().expect("a trial begins with it")
    }

    /// What the victim left: as its repairer found it, where there was one.
    pub(super) fn words_left(&self) -> Words {
        match fs::read(self.note()) {
            Ok(bytes) => Words::of_bytes(&bytes),
            Err(_) => self.words(),
        }
    }

    /// Whether there was a repairer, which may have been killed too.
    pub(super) fn was_repaired(&self) -> bool {
        self.note().exists()
    }

    fn note(&self) -> PathBuf {
        self.directory.path().join("found-by-repairer")
    }

    /// The living and the dead among the participants of the object.
    pub(super) fn participants(&self) -> Result<(usize, usize), String> {
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        let dead = seen.participants.iter();
        let dead = dead.filter(|p| p.state == ParticipantState::Dead).count();
        Ok((seen.participants.len() - dead, dead))
    }

    /// Nobody but the survivor and so many others is there, nobody holds anything and nobody waits.
    pub(super) fn is_quiet(&self, others: usize) -> Result<(), String> {
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        let participants = self.participants()?;
        if participants != (1 + others, 0) {
            return Err(format!("{participants:?} are (alive, dead) in the end"));
        }
        match seen.visits.as_slice() {
            [] => Ok(()),
            visits => Err(format!("in the end there is {visits:?}")),
        }
    }

    /// As [`Self::is_quiet`], with the survivor alone: the others are killed.
    pub(super) fn is_quiet_alone(
        &self,
        sweep: impl Fn(&H) -> ipc_core::Result<u32>,
    ) -> Result<(), String> {
        self.others.borrow_mut().clear();
        sweep(&self.handle).map_err(|e| e.to_string())?;
        self.is_quiet(0)
    }

    /// What the operation of another process returned, within the bound that the watchdog sets.
    pub(super) fn result_of(&self, other: usize) -> Result<u64, String> {
        let mut others = self.others.borrow_mut();
        match others[other].wait_to_end() {
            Ok(End::Completed(code)) => Ok(code),
            end => Err(format!("process {other} of the others: {end:?}")),
        }
    }
}

/// A repair that found as many dead as there were, and leaves none.
pub(super) fn check_sweep<H>(
    trial: &Trial<H>,
    sweep: impl Fn(&H) -> ipc_core::Result<u32>,
) -> Result<(), String> {
    let (_, dead) = trial.participants()?;
    let swept = sweep(&trial.handle).map_err(|e| e.to_string())? as usize;
    // Other processes of the trial that sleep look for the dead too, now and then.
    let is_alone = trial.others.borrow().is_empty();
    if swept > dead || is_alone && swept < dead {
        return Err(format!("{dead} participants are dead, {swept} were swept"));
    }
    match trial.participants()? {
        (_, 0) => Ok(()),
        (_, dead) => Err(format!("after a sweep {dead} are dead")),
    }
}

/// Nobody is found dead while the victim is stopped, nor robbed by a sweep.
pub(super) fn check_sweep_of_the_living<H>(
    trial: &Trial<H>,
    sweep: impl Fn(&H) -> ipc_core::Result<u32>,
) -> Result<(), String> {
    let (alive, _) = trial.participants()?;
    sweep(&trial.handle).map_err(|e| e.to_string())?;
    match trial.participants()? {
        now if now == (alive, 0) => Ok(()),
        now => Err(format!(
            "{alive} lived, after a sweep {now:?} are (alive, dead)"
        )),
    }
}

/// A handle of its own for a process that inherited one by fork. (Opening by name would sweep.)
macro_rules! join {
    ($handle:expr) => {
        serde_json::to_string($handle)
            .and_then(|text| serde_json::from_str(&text))
            .expect("a handle can be sent and received")
    };
}
pub(super) use join;

pub(super) fn nobody<H>(_: &Trial<H>) -> Vec<Victim> {
    Vec::new()
}

/// The victim got to the end of what it did, or it was killed.
pub(super) fn check_result(outcome: Outcome, expected: u64) -> Result<(), String> {
    match outcome {
        Outcome::Killed => Ok(()),
        Outcome::Completed(result) if result == expected => Ok(()),
        Outcome::Completed(result) => Err(format!("the result is {result:#x}, not {expected:#x}")),
    }
}

impl<H> Scenario for Case<H> {
    type State = Trial<H>;

    fn name(&self) -> String {
        // Shared data has a name of its own.
        match self.name.contains('/') {
            true => self.name.to_owned(),
            false => format!("sync/{}", self.name),
        }
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        holds(self.campaigns)
    }

    fn fresh(&self) -> Trial<H> {
        Trial::new(self)
    }

    fn shared<'a>(&self, trial: &'a Trial<H>) -> Vec<Shared<'a>> {
        trial.shared()
    }

    fn arm<'a>(&'a self, trial: &'a Trial<H>) -> Operation<'a> {
        (self.act)(trial, (self.join)(trial))
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial<H>) -> Operation<'a> {
        let mut found = Vec::new();
        trial.files[0].shared().copy_to(&mut found);
        fs::write(trial.note(), found).expect("a note can be written");
        (self.repair)(trial, (self.join)(trial))
    }

    fn verify(&self, trial: &Trial<H>, outcome: Outcome) -> Result<(), String> {
        (self.verify)(trial, outcome)
    }

    fn while_stopped(&self, trial: &Trial<H>) -> Result<(), String> {
        (self.while_stopped)(trial)
    }

    fn verify_after_stop(&self, trial: &Trial<H>, outcome: Outcome) -> Result<(), String> {
        if outcome == Outcome::Killed {
            return Err("a resumed victim comes to its end".to_owned());
        }
        (self.verify_after_stop)(trial, outcome)
    }
}
