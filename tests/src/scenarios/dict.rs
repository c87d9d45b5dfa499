//! A victim does one thing to a dictionary in one state; then the dictionary is what it was before, or what it is afterwards, and nothing
//! of its memory is lost.
//!
//! All keys but those of the scenarios named `far` belong to one stripe, so that they share its array and its lock. For that the hash is
//! computed here, as docs/format.md says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use ipc_core::{Bytes, Dict, DictChange, DictError, DictWatch, Namespace, ParticipantState};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::mapping::{Mapping, Shared};
use crate::step::{Campaign, Entry, Expectation, Operation, Outcome, Scenario};
use crate::trial_directory::TrialDirectory;

const NAME: &str = "d";
const PARTICIPANTS: u32 = 8;
/// Bytes of memory, and of a chunk of it.
const LIMIT: usize = 64 << 10;
const CHUNK: usize = 4096;
/// Chunks at first, where nothing else is said.
const INITIAL: usize = 8;
/// Stripes of so small a dictionary, as a power of two.
const STRIPE_BITS: u32 = 7;
/// In the file: the seed of the hash.
const SEED: usize = 64;
/// Bytes of the file that are watched: all but the chunks that are not used.
const WATCHED: usize = 52 << 10;
/// Changes that are kept for who watches.
const CHANGES: usize = 16;
/// How long the survivor waits for who is stopped.
const SHORT: Duration = Duration::from_millis(2);

/// Results of operations.
const DONE: u64 = 1;
const FAILED: u64 = 99;

type Shelf = Dict<Bytes, Bytes>;
type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a victim does. Keys are numbers of keys of the stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Sets a key to a value of so many bytes.
    Set(usize, usize),
    Remove(usize),
    /// Adds a letter to a value.
    Update(usize),
    /// Swaps the value of a key, from what it is.
    Swap(usize),
    PopItem,
    Clear,
    Get(usize),
    Iterate,
    Snapshot,
    /// Sweeps and sets a key: what a survivor would do next.
    Repair,
}

/// A victim does one thing to a dictionary of some pairs.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    /// Pairs in it, and bytes of each value.
    pairs: usize,
    value: usize,
    act: Act,
    initial: usize,
    /// Somebody watches; what it is told must lead from what was there to what is there.
    is_watched: bool,
    campaigns: &'static [Campaign],
}

/// A dictionary of one trial.
#[derive(Debug)]
struct Trial {
    dict: Shelf,
    keys: Vec<Vec<u8>>,
    before: Contents,
    after: Contents,
    watch: Option<RefCell<DictWatch<Bytes, Bytes>>>,
    namespace: Namespace,
    file: Mapping,
    _directory: TrialDirectory,
}

/// The value of a key, of so many bytes.
fn value_of(key: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (key * 31 + i) as u8).collect()
}

/// The first keys that belong to one stripe.
fn keys_of_one_stripe(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let is_there = |key: &[u8]| xxh3_64_with_seed(key, seed) >> (64 - STRIPE_BITS) == 5;
    let all = (0u32..).map(|number| number.to_le_bytes().to_vec());
    all.filter(|key| is_there(key)).take(count).collect()
}

impl Trial {
    fn new(case: &Case) -> Self {
        let directory = TrialDirectory::create().expect("a directory in /dev/shm");
        let namespace =
            Namespace::at(directory.path().join("namespace")).expect("a namespace can be made");
        let dict: Shelf = Dict::options()
            .limit(LIMIT)
            .initial(case.initial * CHUNK)
            .participants(PARTICIPANTS)
            .watch_capacity(CHANGES)
            .namespace(&namespace)
            .create(NAME)
            .expect("a dictionary can be made");
        let path = namespace.path().join(NAME);
        let bytes = fs::read(&path).expect("its file can be read");
        let seed = bytes[SEED..SEED + 8].try_into().expect("eight bytes");
        let keys = keys_of_one_stripe(u64::from_ne_bytes(seed), case.pairs + 2);
        let file = Mapping::of_file(&path).expect("its file can be mapped");
        let mut trial = Self {
            dict,
            keys,
            before: Contents::new(),
            after: Contents::new(),
            watch: None,
            namespace,
            file,
            _directory: directory,
        };
        if case.initial > 0 {
            // The chunks that the operations need are divided already.
            let key = Bytes(trial.keys[0].clone());
            trial
                .dict
                .set(&key, &Bytes(vec![0; 20]))
                .expect("there is room");
            trial.dict.remove(&key).expect("it is there");
        }
        for (number, key) in trial.keys[..case.pairs].iter().enumerate() {
            let value = value_of(number, case.value);
            let set = trial.dict.set(&Bytes(key.clone()), &Bytes(value.clone()));
            set.expect("there is room");
            trial.before.insert(key.clone(), value);
        }
        trial.after = trial.expected(case.act, &trial.before);
        if case.is_watched {
            let watch = trial.dict.watch().expect("it can be watched");
            trial.watch = Some(RefCell::new(watch));
        }
        trial
    }

    /// What is there after an act on these contents. What `pop_item` takes is not foretold.
    fn expected(&self, act: Act, contents: &Contents) -> Contents {
        let mut after = contents.clone();
        let key = |number: usize| self.keys[number].clone();
        match act {
            Act::Set(number, length) => {
                after.insert(key(number), value_of(number + 50, length));
            }
            Act::Remove(number) => {
                after.remove(&key(number));
            }
            Act::Update(number) => {
                after.entry(key(number)).and_modify(|value| value.push(7));
            }
            Act::Swap(number) => {
                after.insert(key(number), value_of(number + 90, 20));
            }
            Act::Clear => after.clear(),
            Act::Repair => {
                let last = self.keys.len() - 1;
                after.insert(key(last), value_of(last + 70, 10));
            }
            Act::PopItem | Act::Get(_) | Act::Iterate | Act::Snapshot => {}
        }
        after
    }

    /// In a victim: the operation.
    fn arm<'a>(&self, act: Act) -> Operation<'a> {
        // Takes the process's slot.
        assert!(self.dict.contains(&Bytes(Vec::new())).is_ok());
        let (dict, keys) = (self.dict.clone(), self.keys.clone());
        let before = self.before.clone();
        // A set of nothing anywhere attaches it.
        let _ = dict.compare_and_swap(&Bytes(vec![1]), Some(&Bytes(vec![])), None);
        Box::new(move || act_on(&dict, act, &keys, &before))
    }

    fn contents(&self) -> Result<Contents, String> {
        let mut all = Contents::new();
        let mut pairs = self.dict.iter();
        for (key, value) in pairs.by_ref() {
            if all.insert(key.0, value.0).is_some() {
                return Err("a key is there twice".to_owned());
            }
        }
        match pairs.error() {
            None => Ok(all),
            Some(e) => Err(e.to_string()),
        }
    }

    /// What the watcher was told makes what was there to what is there, unless it says that it was not told all.
    fn check_watch(&self, found: &Contents) -> Result<(), String> {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        let (mut watch, mut copy) = (watch.borrow_mut(), self.before.clone());
        let mut is_told_all = true;
        while let Some(change) = watch.try_recv().map_err(|e| e.to_string())? {
            match change {
                DictChange::Set { key, value } => {
                    copy.insert(key.0, value.0);
                }
                DictChange::Removed { key } | DictChange::Expired { key } => {
                    copy.remove(&key.0);
                }
                _ => is_told_all = false,
            }
        }
        if is_told_all && copy != *found {
            return Err(format!("{found:?} is there, the watcher has {copy:?}"));
        }
        Ok(())
    }

    /// The survivor repairs; then the dead are gone.
    fn sweep(&self) -> Result<(), String> {
        self.dict.sweep().map_err(|e| e.to_string())?;
        let seen = self.namespace.inspect(NAME).map_err(|e| e.to_string())?;
        let is_dead = |p: &&ipc_core::Participant| p.state == ParticipantState::Dead;
        match seen.participants.iter().filter(is_dead).count() {
            0 => Ok(()),
            dead => Err(format!("after the sweep {dead} participants are dead")),
        }
    }

    /// All that is there is found, and the dictionary is as good as new once it is empty.
    fn check_and_empty(&self, case: &Case, contents: &Contents) -> Result<(), String> {
        for (key, value) in contents {
            let found = self
                .dict
                .get(&Bytes(key.clone()))
                .map_err(|e| e.to_string())?;
            if found.as_ref().map(|bytes| &bytes.0) != Some(value) {
                return Err(format!(
                    "{key:?} is in the iteration, a lookup finds {found:?}"
                ));
            }
        }
        if self.dict.len() != contents.len() {
            let len = self.dict.len();
            return Err(format!("{} pairs, len() says {len}", contents.len()));
        }
        self.dict.clear().map_err(|e| e.to_string())?;
        let stat = self.dict.stat();
        if (stat.len, stat.used) != (0, 0) || stat.allocated > case.initial * CHUNK {
            return Err(format!("lost memory: an empty dictionary has {stat:?}"));
        }
        let large = Bytes(vec![1; LIMIT / 2]);
        let set = self.dict.set(&Bytes(b"large".to_vec()), &large);
        set.map_err(|e| format!("lost memory: {e}"))?;
        self.dict.clear().map_err(|e| e.to_string())
    }
}

/// Does it. Returns [`DONE`], [`FAILED`], or what was found.
fn act_on(dict: &Shelf, act: Act, keys: &[Vec<u8>], before: &Contents) -> u64 {
    let key = |number: usize| Bytes(keys[number].clone());
    let is_done = match act {
        Act::Set(number, length) => dict
            .set(&key(number), &Bytes(value_of(number + 50, length)))
            .is_ok(),
        Act::Remove(number) => dict.remove(&key(number)).is_ok_and(|old| old.is_some()),
        Act::Update(number) => dict
            .update(&key(number), |value| value.0.push(7))
            .is_ok_and(|new| new.is_some()),
        Act::Swap(number) => {
            let old = Bytes(before[&keys[number]].clone());
            let new = Bytes(value_of(number + 90, 20));
            dict.compare_and_swap(&key(number), Some(&old), Some(&new))
                .is_ok_and(|is_done| is_done)
        }
        Act::PopItem => match dict.pop_item() {
            Ok(Some((key, value))) => before.get(&key.0) == Some(&value.0),
            Ok(None) | Err(_) => false,
        },
        Act::Clear => dict.clear().is_ok(),
        Act::Get(number) => {
            let found = dict.get(&key(number));
            found
                .is_ok_and(|value| value.map(|bytes| bytes.0) == before.get(&keys[number]).cloned())
        }
        Act::Iterate => dict.iter().count() == before.len(),
        Act::Snapshot => dict.snapshot().is_ok_and(|all| all.len() == before.len()),
        Act::Repair => {
            let last = keys.len() - 1;
            let value = Bytes(value_of(last + 70, 10));
            dict.sweep().is_ok() && dict.set(&key(last), &value).is_ok()
        }
    };
    if is_done { DONE } else { FAILED }
}

impl Case {
    /// What may be left of the contents.
    fn check(&self, trial: &Trial, found: &Contents, outcome: Outcome) -> Result<(), String> {
        let is_part = found.iter().all(|(k, v)| trial.before.get(k) == Some(v));
        let missing = trial.before.len().saturating_sub(found.len());
        let is_finished = match self.act {
            Act::PopItem => is_part && missing == 1,
            _ => *found == trial.after,
        };
        let is_begun = match self.act {
            Act::PopItem => is_part && missing <= 1,
            Act::Clear => is_part,
            _ => *found == trial.before || is_finished,
        };
        let is_right = match outcome {
            Outcome::Completed(DONE) => is_finished,
            Outcome::Completed(_) => false,
            Outcome::Killed => is_begun,
        };
        if is_right {
            return Ok(());
        }
        let lengths = |contents: &Contents| -> Vec<(Vec<u8>, usize)> {
            let all = contents.iter();
            all.map(|(key, value)| (key.clone(), value.len())).collect()
        };
        Err(format!(
            "after {outcome:?}: {:?} before, {:?} now",
            lengths(&trial.before),
            lengths(found)
        ))
    }
}

impl Scenario for Case {
    type State = Trial;

    fn name(&self) -> String {
        format!("dict/{}", self.name)
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        let holds = |&campaign| (campaign, Expectation::Holds);
        self.campaigns.iter().map(holds).collect()
    }

    fn fresh(&self) -> Trial {
        Trial::new(self)
    }

    fn shared<'a>(&self, trial: &'a Trial) -> Vec<Shared<'a>> {
        let all = trial.file.shared();
        vec![all.part(0, WATCHED.min(trial.file.len().get()))]
    }

    fn arm<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.arm(self.act)
    }

    fn arm_repair<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.arm(Act::Repair)
    }

    fn verify(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        trial.sweep()?;
        let mut found = trial.contents()?;
        trial.check_watch(&found)?;
        // A repairer may have come to its set.
        let last = trial.keys.len() - 1;
        if self.act != Act::Repair
            && let Some(value) = found.remove(&trial.keys[last])
            && value != value_of(last + 70, 10)
        {
            return Err("a repairer's value is torn".to_owned());
        }
        self.check(trial, &found, outcome)?;
        trial.check_and_empty(self, &trial.contents()?)
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        trial.sweep()?;
        // Readers wait for nobody.
        for (key, value) in &trial.before {
            let found = trial
                .dict
                .get(&Bytes(key.clone()))
                .map_err(|e| e.to_string())?;
            let found = found.map(|bytes| bytes.0);
            let may_be = found.as_ref() == Some(value)
                || found.as_ref() == trial.after.get(key)
                || self.act == Act::PopItem && found.is_none();
            if !may_be {
                return Err(format!(
                    "with the victim stopped, {key:?} has another value"
                ));
            }
        }
        trial.contents()?;
        // Others write, unless the victim has the stripe.
        let mut dict = trial.dict.clone();
        dict.set_timeout(Some(SHORT));
        let key = Bytes(trial.keys[trial.keys.len() - 1].clone());
        for round in 0..3u8 {
            match dict.set(&key, &Bytes(vec![round; 30])) {
                Ok(()) => {}
                Err(DictError::Timeout) => return Ok(()),
                Err(e) => return Err(e.to_string()),
            }
            match dict.remove(&key) {
                Ok(Some(old)) if old.0 == [round; 30] => {}
                Ok(None) if matches!(self.act, Act::Clear | Act::PopItem) => {}
                Err(DictError::Timeout) => {
                    return Err("a stopped victim took a stripe".to_owned());
                }
                other => return Err(format!("another's pair came back as {other:?}")),
            }
        }
        Ok(())
    }
}

const ALL: &[Campaign] = &[Campaign::Kill, Campaign::Stop, Campaign::Nested];
const KILL_AND_STOP: &[Campaign] = &[Campaign::Kill, Campaign::Stop];
const KILL: &[Campaign] = &[Campaign::Kill];

/// Every scenario.
pub(super) fn all() -> Vec<Entry> {
    let case = |name, pairs, value, act, campaigns| Case {
        name,
        pairs,
        value,
        act,
        initial: INITIAL,
        is_watched: false,
        campaigns,
    };
    let watched = |name, pairs, value, act, campaigns| Case {
        is_watched: true,
        ..case(name, pairs, value, act, campaigns)
    };
    let cases = [
        case("set-first", 0, 0, Act::Set(0, 20), ALL),
        case("set-new", 3, 20, Act::Set(3, 20), ALL),
        case("set-new-into-full-array", 6, 20, Act::Set(6, 20), ALL),
        case("replace", 3, 20, Act::Set(1, 20), ALL),
        case(
            "replace-with-longer",
            3,
            20,
            Act::Set(1, 400),
            KILL_AND_STOP,
        ),
        case("replace-with-large", 2, 20, Act::Set(1, 6000), ALL),
        case("replace-large", 2, 6000, Act::Set(1, 20), ALL),
        case("remove", 3, 20, Act::Remove(1), ALL),
        case("remove-last", 1, 20, Act::Remove(0), KILL_AND_STOP),
        case("remove-large", 2, 6000, Act::Remove(1), KILL_AND_STOP),
        case("update", 3, 20, Act::Update(1), KILL_AND_STOP),
        case("swap", 3, 20, Act::Swap(1), KILL_AND_STOP),
        case("pop-item", 3, 20, Act::PopItem, KILL),
        case("clear", 2, 20, Act::Clear, KILL),
        case("get", 3, 20, Act::Get(1), KILL_AND_STOP),
        case("iterate", 3, 20, Act::Iterate, KILL),
        case("snapshot", 2, 20, Act::Snapshot, KILL),
        case("repair", 3, 20, Act::Repair, KILL),
        watched("watched-set-new", 3, 20, Act::Set(3, 20), ALL),
        watched("watched-replace", 3, 20, Act::Set(1, 400), KILL_AND_STOP),
        watched("watched-remove", 3, 20, Act::Remove(1), KILL_AND_STOP),
        watched("watched-clear", 2, 20, Act::Clear, KILL),
        Case {
            initial: 0,
            ..case("set-grows", 0, 0, Act::Set(0, 20), KILL)
        },
    ];
    cases.into_iter().map(Entry::new).collect()
}
