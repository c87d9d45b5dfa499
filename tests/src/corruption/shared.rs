//! The same for values, arrays and lists: lies before they are opened, and between the calls.
//!
//! Who writes waits for as long as somebody who lives has claimed the value or holds the lock. So no lie says that: claims and locks are those
//! of the dead, or of nobody.

use std::fs;

use ipc_core::{Array, List, Namespace};

use super::edit::{Edit, value};
use super::layout::{IDENTITY, SLOT, SLOTS, word};
use super::trial::{Bench, Outcome, TIMEOUT};
use crate::random::Random;

const PARTICIPANTS: u32 = 4;
const HEAD: usize = (SLOTS + PARTICIPANTS as usize * SLOT).next_multiple_of(128);
/// Behind the lock and its notes.
const BEHIND: usize = (HEAD + 128 + PARTICIPANTS as usize * 32).next_multiple_of(128);
/// Of a list: control words of chunks, behind the root and three lines of the heap.
const CONTROL: usize = BEHIND + 4 * 128;

type Strings = List<(u8, String)>;

/// The file of an object.
#[derive(Debug, Clone)]
pub struct SharedSnapshot {
    kind: &'static str,
    bytes: Vec<u8>,
}

/// One of each kind, in use by nobody and by one that is dead in a copy.
///
/// # Errors
///
/// When an object refuses what it should not.
pub fn snapshots(namespace: &Namespace) -> Outcome<Vec<SharedSnapshot>> {
    let mut all = Vec::new();
    let path = namespace.path().join("snapshot");
    let mut take = |kind| -> Outcome {
        let bytes = fs::read(&path)?;
        all.push(SharedSnapshot { kind, bytes });
        Ok(())
    };
    let narrow = Array::filled(true, 16)
        .participants(PARTICIPANTS)
        .namespace(namespace)
        .create("snapshot")?;
    take("narrow")?;
    {
        let _held = narrow.lock()?;
        take("narrow")?;
    }
    narrow.unlink()?;
    let wide = Array::options([[1u32; 3]; 3])
        .participants(PARTICIPANTS)
        .namespace(namespace)
        .create("snapshot")?;
    wide.set(1, [2; 3])?;
    take("wide")?;
    wide.unlink()?;
    let list = Strings::options()
        .limit(64 << 10)
        .participants(PARTICIPANTS)
        .namespace(namespace)
        .create("snapshot")?;
    take("list")?;
    for number in 0..80u8 {
        let length = if number == 9 {
            5000
        } else {
            usize::from(number)
        };
        list.push((number, "x".repeat(length)))?;
    }
    take("list")?;
    list.reverse()?;
    take("list")?;
    list.unlink()?;
    Ok(all)
}

/// What a liar would write.
fn lie(random: &mut Random, snapshot: &SharedSnapshot) -> Edit {
    let file = &snapshot.bytes;
    let words = file.len() / 8;
    let at = match (snapshot.kind, random.below(10)) {
        (_, 0) => 8 * random.index(words),
        (_, 1) => 16 + 8 * random.index(6),
        (_, 2) => IDENTITY + 8 * random.index((HEAD - IDENTITY) / 8),
        (_, 3) => HEAD + 8 * random.index(4),
        // The root, or where the heap stands; a chunk's control words; a head, title, name or element.
        ("list", 4) => BEHIND + 8 * random.index(64),
        ("list", 5) => CONTROL + 8 * random.index(32),
        ("list", _) => used(random, file),
        _ => BEHIND + 8 * random.index((file.len() - BEHIND) / 8),
    };
    let at = at.min((words - 1) * 8);
    let old = word(file, at);
    let is_of_heap = snapshot.kind == "list" && at > BEHIND;
    let new = match random.below(4) {
        // Another word of the file: a name where another one was.
        0 => word(file, used(random, file)),
        1 if is_of_heap => old ^ 1 << random.below(64),
        2 if is_of_heap => old.wrapping_add(random.below(3)).wrapping_sub(1),
        _ => value(random, old),
    };
    Edit {
        offset: at,
        bytes: harmless(snapshot.kind, at, new).to_le_bytes().to_vec(),
    }
}

/// Where something stands that is not zero.
fn used(random: &mut Random, file: &[u8]) -> usize {
    let behind = BEHIND.min(file.len() - 8);
    let any = |random: &mut Random| behind + 8 * random.index((file.len() - behind) / 8);
    (0..20)
        .map(|_| any(random))
        .find(|at| word(file, *at) != 0)
        .unwrap_or(behind)
}

/// The same word, but nobody who lives holds the lock or has claimed a value by it.
fn harmless(kind: &str, at: usize, word: u64) -> u64 {
    const WIDE: usize = 8 + 2 * 16; // three numbers have twelve bytes
    let is_control = kind == "wide" && at >= BEHIND && (at - BEHIND).is_multiple_of(WIDE);
    match at {
        HEAD => word & !1,
        _ if is_control && word & 15 == 1 => word & !(0x3fff << 4),
        // Growth: held by nobody.
        _ if kind == "list" && at == BEHIND + 128 => 0,
        _ => word,
    }
}

/// One trial.
///
/// # Errors
///
/// When the trial cannot be made.
pub fn run(bench: &mut Bench, snapshots: &[SharedSnapshot], seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let snapshot = &snapshots[random.index(snapshots.len())];
    let mut bytes = snapshot.bytes.clone();
    let lies_before = !random.one_in(4);
    if lies_before {
        for _ in 0..1 + random.below(4) {
            lie(&mut random, snapshot).apply(&mut bytes);
        }
    }
    let name = format!("victim-{seed}");
    let victim = bench.file(&name, &bytes)?;
    let namespace = bench.namespace().clone();
    bench.step(seed, "inspect", || namespace.inspect(&name));
    if random.one_in(4) {
        bench.step(seed, "namespace sweep", || namespace.sweep(&name));
    }
    let rounds = 4 + random.below(12);
    let mut disturb = |random: &mut Random| {
        if random.one_in(3) || !lies_before {
            victim.lie(&lie(random, snapshot), bytes.len());
        }
    };
    let mut trial = Trial {
        bench,
        seed,
        rounds,
        namespace,
        name,
        random,
    };
    match snapshot.kind {
        "narrow" => trial.narrow(&mut disturb),
        "wide" => trial.wide(&mut disturb),
        _ => trial.list(&mut disturb),
    }
    Ok(())
}

struct Trial<'a> {
    bench: &'a mut Bench,
    seed: u64,
    rounds: u64,
    namespace: Namespace,
    name: String,
    random: Random,
}

/// Runs one of several operations, in each of some rounds; between them somebody lies.
macro_rules! operate {
    ($self:ident, $disturb:ident, $options:expr, $object:ident, [$($what:literal => $run:expr),+ $(,)?]) => {{
        let options = $options.namespace(&$self.namespace);
        let Some($object) = $self.bench.step($self.seed, "open", || options.open(&$self.name)) else {
            return;
        };
        const OPERATIONS: &[&str] = &[$($what,)+ "sweep", "inspect", "debug"];
        for _ in 0..$self.rounds {
            $disturb(&mut $self.random);
            match $self.random.pick(OPERATIONS) {
                "sweep" => drop($self.bench.step($self.seed, "sweep", || $object.sweep())),
                "inspect" => drop($self.bench.step($self.seed, "inspect", || $self.namespace.inspect(&$self.name))),
                "debug" => drop($self.bench.step($self.seed, "debug", || Ok::<_, ()>(format!("{:?}", $object)))),
                $($what => drop($self.bench.step($self.seed, $what, || $run)),)+
                _ => {}
            }
        }
        $self.bench.step($self.seed, "drop", || {
            drop($object);
            Ok::<_, ()>(())
        });
    }};
}

type Disturb<'d> = &'d mut dyn FnMut(&mut Random);

impl Trial<'_> {
    fn narrow(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, Array::<bool>::opener(), array, [
            "array.get" => array.get(3),
            "array.set" => array.set(3, true),
            "array.swap" => array.swap(4, false),
            "array.compare_exchange" => array.compare_exchange(5, true, false),
            "array.iter" => array.iter().collect::<Result<Vec<_>, _>>(),
            "array.try_lock" => array.try_lock().map(|mut section| section.mark_consistent()),
            "array.lock_timeout" => array.lock_timeout(TIMEOUT).map(drop),
        ]);
    }

    fn wide(&mut self, disturb: Disturb<'_>) {
        operate!(self, disturb, Array::<[u32; 3]>::opener(), array, [
            "array.get" => array.get(1),
            "array.set" => array.set(2, [3; 3]),
            "array.swap" => array.swap(0, [4; 3]),
            "array.compare_exchange" => array.compare_exchange(1, [1; 3], [5; 3]),
            "array.to_vec" => array.to_vec(),
            "array.fill" => array.fill([6; 3]),
            "array.try_lock" => array.try_lock().map(drop),
        ]);
    }

    fn list(&mut self, disturb: Disturb<'_>) {
        let long = "y".repeat(3000);
        operate!(self, disturb, Strings::options(), list, [
            "list.len" => list.len(),
            "list.get" => list.get(40),
            "list.to_vec" => list.to_vec(),
            "list.index" => list.index(&(70, String::new())),
            "list.push" => list.push((1, "new".to_owned())),
            "list.push long" => list.push((2, long.clone())),
            "list.pop" => list.pop(),
            "list.insert" => list.insert(30, (3, "inserted".to_owned())),
            "list.set" => list.set(5, (4, "set".to_owned())),
            "list.remove" => list.remove(60),
            "list.extend" => list.extend((0..70).map(|n| (n, "more".to_owned()))),
            "list.reverse" => list.reverse(),
            "list.sort" => list.sort(),
            "list.clear" => list.clear(),
            "list.iter" => list.iter().collect::<Result<Vec<_>, _>>(),
        ]);
    }
}
