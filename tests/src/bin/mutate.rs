//! Weakens each ordering of the lock-free code in turn and runs the loom models, which must notice.
//!
//! `cargo run --release -p ipc-tests --bin mutate [FILTER]` works on a copy of `ipc-core` under the target directory, which is built
//! once: each ordering there asks a variable of the environment whether it is the weak one. It
//! exits with 1 when a weakening goes unnoticed (or when one listed in [`UNSEEN`] is noticed after all), else with 0. With
//! `--every N`, for who has less time, only one ordering of N is weakened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Mutex,
    thread,
    time::Instant,
};

use clap::Parser;
use ipc_tests::lab::{Lab, read};

/// The files that hold lock-free code, and the models that watch them (by the start of their names).
const FILES: [(&str, &str); 63] = [
    ("channel/pipe/fencing.rs", PIPE),
    ("channel/broadcast/cell.rs", BROADCAST),
    ("channel/broadcast/ring.rs", BROADCAST),
    ("channel/broadcast/publish.rs", BROADCAST),
    ("channel/broadcast/clear.rs", BROADCAST),
    ("channel/broadcast/read.rs", BROADCAST),
    ("channel/broadcast/cursors.rs", BROADCAST),
    ("channel/broadcast/repair.rs", BROADCAST),
    (
        "channel/broadcast/loan.rs",
        "channel::broadcast::loan::model",
    ),
    ("slab/peeking.rs", BROADCAST),
    ("channel/pipe/role.rs", PIPE),
    ("channel/pipe/lane.rs", PIPE),
    ("channel/pipe/writer.rs", PIPE),
    ("channel/pipe/reader.rs", PIPE),
    ("channel/queue/cell.rs", QUEUE),
    ("channel/queue/ring.rs", QUEUE),
    ("channel/queue/put.rs", QUEUE),
    ("channel/queue/get.rs", QUEUE),
    ("channel/queue/look.rs", QUEUE),
    ("channel/queue/repair.rs", QUEUE),
    ("channel/ordered/cell.rs", ORDERED),
    ("channel/ordered/room.rs", ORDERED),
    ("channel/ordered/pile.rs", ORDERED),
    ("channel/ordered/put.rs", ORDERED),
    ("channel/ordered/get.rs", ORDERED),
    ("channel/ordered/look.rs", ORDERED),
    ("channel/ordered/repair.rs", ORDERED),
    ("channel/joinable/record.rs", JOINABLE),
    ("channel/joinable/table.rs", JOINABLE),
    ("channel/joinable/lease.rs", JOINABLE),
    ("channel/joinable/finish.rs", JOINABLE),
    ("channel/joinable/survey.rs", JOINABLE),
    ("channel/joinable/letters.rs", JOINABLE),
    ("channel/joinable/repair.rs", JOINABLE),
    ("channel/queue/hand_over.rs", JOINABLE),
    ("slab/mod.rs", QUEUE),
    ("slab/single.rs", "channel::queue::loan::model"),
    ("object/participant.rs", QUEUE),
    ("object/wait.rs", QUEUE),
    ("object/seat.rs", SYNC),
    ("sync/hold.rs", SYNC),
    ("sync/rwlock.rs", "sync::model::rwlock"),
    ("sync/semaphore.rs", "sync::model::semaphore"),
    ("sync/event.rs", "sync::model::event"),
    ("sync/barrier.rs", "sync::model::barrier"),
    ("wait_set/vigil.rs", "wait_set::model"),
    ("manager/cells/narrow.rs", "manager::cells::model"),
    ("manager/cells/wide.rs", "manager::cells::model"),
    ("manager/list/core.rs", "manager::list::model"),
    ("slab/heap/alloc.rs", HEAP),
    ("slab/heap/chunk.rs", HEAP),
    ("slab/heap/grow.rs", HEAP),
    ("slab/heap/item.rs", HEAP),
    ("slab/heap/repair.rs", HEAP),
    ("slab/heap/view.rs", HEAP),
    ("manager/dict/change.rs", DICT),
    ("manager/dict/find.rs", DICT),
    ("manager/dict/news.rs", DICT),
    ("manager/dict/repair.rs", DICT),
    ("manager/dict/resize.rs", DICT),
    ("manager/dict/table.rs", DICT),
    ("pool/control.rs", "pool::control::model"),
    ("pool/place.rs", "pool::place::model"),
];
const BROADCAST: &str = "channel::broadcast::model";
const PIPE: &str = "channel::pipe::model";
const QUEUE: &str = "channel::queue::model";
const JOINABLE: &str = "channel::joinable::model";
const ORDERED: &str = "channel::ordered::model";
const SYNC: &str = "sync::model";
const HEAP: &str = "slab::heap::model";
const DICT: &str = "manager::dict::model";

/// What the models do not see, and why the ordering is there all the same: file, part of the line, what is weakened (and to what, where it
/// can be weakened in two ways of which one is seen).
const UNSEEN: [(&str, &str, &str); 21] = [
    // Between two publishers, of whom one has seen the other's claim before its fence, and somebody who subscribes: a ring of two
    // laps, which takes the models too long.
    (
        "channel/broadcast/cursors.rs",
        "prim::full_fence(); // O9: before the look",
        "prim::full_fence();",
    ),
    // Where another thread has looked, blocks are cleared by this one, and given to a third.
    (
        "channel/broadcast/cursors.rs",
        "let limit = self.cursors.limit.load(Acquire); // O5",
        "Acquire",
    ),
    // Needs a load that sees a store of its own future, which loom does not try.
    (
        "channel/broadcast/clear.rs",
        "cell.ctl().store(mine.lost().0, Release); // O8, I3",
        "Release",
    ),
    // What the dead wrote comes before the proof of its death, which the sweeper acquired; the models have found no execution in which the
    // fence behind the next claim does not hand that on.
    (
        "channel/broadcast/repair.rs",
        ".compare_exchange(seen.ctl.0, next.0, Release, Relaxed); // O8",
        "Release",
    ),
    // Who freed a block fences before it wakes, and who allocates it before it writes: in loom all such fences synchronise, so that the
    // release between them is not missed. Seen before the fence of O3 came.
    (
        "slab/mod.rs",
        ".compare_exchange(mine.0, free.0, Release, Relaxed) // O1",
        "Release",
    ),
    (
        "slab/mod.rs",
        "let _ = word.compare_exchange(found.0, free.0, Release, Relaxed",
        "Release",
    ),
    // The heap's O4: in the models the sweeper itself comes into the slot of the dead, and has fenced as it woke those who wait. With a
    // third process they take too long.
    (
        "slab/heap/alloc.rs",
        "word.compare_exchange(found.0, head.0, Release, Relaxed)",
        "Release",
    ),
    (
        "slab/heap/chunk.rs",
        "let exchange = control[CTL].compare_exchange(seen.0, mine.0, Release, Relaxed); // O4",
        "Release",
    ),
    (
        "slab/heap/grow.rs",
        "word.compare_exchange(seen.0, held.0, AcqRel, Relaxed) // O4, O7",
        "AcqRel to Acquire",
    ),
    (
        "slab/heap/item.rs",
        "word.store(block.head.published().0, Release); // O4",
        "Release",
    ),
    (
        "slab/heap/repair.rs",
        "let found = Head(word.load(Acquire)); // O4",
        "Acquire",
    ),
    // One process divides a chunk, one fails to take it apart, a third one takes a block of it.
    (
        "slab/heap/chunk.rs",
        "control[CTL].store(mine.used().0, Release); // O3, again",
        "Release",
    ),
    // A victim, a sweeper and who is next: three, too.
    (
        "slab/heap/repair.rs",
        ".compare_exchange(growth.0, free.0, Release, Relaxed); // O7",
        "Release",
    ),
    (
        "slab/heap/repair.rs",
        "let _ = word.compare_exchange(found.0, next.0, Release, Relaxed); // O1",
        "Release",
    ),
    // A bit that is overlooked is found by another way before the model's process gives up.
    (
        "slab/heap/chunk.rs",
        "prim::full_fence_after_rmw(); // O6: before the look",
        "prim::full_fence_after_rmw();",
    ),
    // Between giving memory back and allocating it again, `growth` synchronises as well; these are for who divides a chunk that another
    // process has allocated, and for who gives one back that another has freed.
    (
        "slab/heap/grow.rs",
        "ctl.store(hole.freed().0, Release); // O7",
        "Release",
    ),
    (
        "slab/heap/grow.rs",
        ".compare_exchange(seen.0, seen.hole().0, Acquire, Relaxed)",
        "Acquire",
    ),
    // A name is read with Acquire before its head is; this one is for a sweeper, who has names from elsewhere.
    (
        "slab/heap/view.rs",
        "let head = Head(block[0].load(Acquire)); // O2",
        "Acquire",
    ),
    // Each slot was acquired, and whoever gets an array's block next fences between taking and writing it.
    (
        "manager/dict/find.rs",
        "prim::acquire_fence(); // O1: of all slots",
        "prim::acquire_fence();",
    ),
    // What the dead did comes before the proof of its death; these are for what a living writer does meanwhile.
    (
        "manager/dict/repair.rs",
        "Root(root.load(Acquire)).name() == name); // O1",
        "Acquire",
    ),
    (
        "manager/dict/repair.rs",
        "Slot(slot.load(Acquire)).name() == name; // O2",
        "Acquire",
    ),
];

/// How an ordering is weakened: what is replaced by what.
const WEAKER: [(&str, &str); 14] = [
    ("Acquire", "core::sync::atomic::Ordering::Relaxed"),
    ("Release", "core::sync::atomic::Ordering::Relaxed"),
    ("AcqRel", "core::sync::atomic::Ordering::Acquire"),
    ("AcqRel", "core::sync::atomic::Ordering::Release"),
    ("prim::full_fence_after_rmw();", ""),
    ("prim::full_fence();", ""),
    ("prim::acquire_fence();", ""),
    ("prim::release_fence();", ""),
    ("self.lane.meeting.light_fence();", ""),
    ("self.table.meeting.light_fence();", ""),
    ("self.ring.meeting.light_fence();", ""),
    ("meeting.heavy_fence()", "true"),
    (
        "membarrier::heavy_fence_at(meetings)",
        "{ drop(meetings); true }",
    ),
    // As if it took what it is woken for.
    ("word.announce_onlooker()", "word.announce(None).into()"),
];

/// One weakened ordering.
struct Mutation {
    file: &'static str,
    models: &'static str,
    line: usize,
    text: String,
    from: &'static str,
    to: &'static str,
}

impl Mutation {
    fn name(&self) -> String {
        let to = if self.to.is_empty() {
            "nothing"
        } else {
            self.to
        };
        format!(
            "{}:{}: {} -> {to}   {}",
            self.file,
            self.line + 1,
            self.from,
            self.text.trim()
        )
    }

    fn is_listed(&self) -> bool {
        UNSEEN.iter().any(|&(file, text, from)| {
            let weaker = self.to.rsplit("::").next().unwrap_or_default();
            let is_so = from == self.from || from == format!("{} to {weaker}", self.from);
            file == self.file && is_so && self.text.contains(text)
        })
    }
}

/// Weakens each memory ordering of the lock-free code, which a loom model must notice
#[derive(Debug, Parser)]
struct Args {
    /// Only orderings whose file, line or text contains this
    #[arg(default_value = "")]
    filter: String,
    /// Only one ordering of so many
    #[arg(long, value_name = "N", default_value = "1")]
    every: NonZero<usize>,
    /// Only those that are listed as unseen
    #[arg(long)]
    listed: bool,
}

fn main() -> ExitCode {
    let Args {
        filter,
        every,
        listed,
    } = Args::parse();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mutations: Vec<Mutation> = FILES
        .iter()
        .flat_map(|&(file, models)| {
            mutations_of(
                file,
                models,
                &read(&workspace.join("ipc-core/src").join(file)),
            )
        })
        .filter(|m| m.name().contains(&filter) && (!listed || m.is_listed()))
        .step_by(every.get())
        .collect();
    assert!(!mutations.is_empty(), "no ordering matches {filter:?}");
    println!("{} orderings to weaken", mutations.len());
    let lab = Broken::new(&mutations);
    let groups: BTreeSet<&str> = mutations.iter().map(|m| m.models).collect();
    let models = lab.models(&groups);
    let next = Mutex::new(mutations.iter().enumerate());
    let failures = Mutex::new(0);
    on_all_cores(|| {
        loop {
            let Some((number, mutation)) = next.lock().expect("no panic holds it").next() else {
                break;
            };
            let seen_by = lab.sees(number, &models[mutation.models]);
            let verdict = match (seen_by, mutation.is_listed()) {
                (Some(_), false) => "seen",
                (None, true) => "unseen, as listed",
                (Some(_), true) => "SEEN, BUT LISTED AS UNSEEN",
                (None, false) => "UNSEEN",
            };
            let model = seen_by.map_or(String::new(), |model| format!("   by {model}"));
            println!("{verdict:18} {}{model}", mutation.name());
            if verdict.starts_with(char::is_uppercase) {
                *failures.lock().expect("no panic holds it") += 1;
            }
        }
    });
    let failed = failures.into_inner().expect("no panic holds it");
    println!("{} passed, {failed} failed", mutations.len() - failed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs `work` in as many threads as there are cores.
fn on_all_cores(work: impl Fn() + Sync) {
    thread::scope(|s| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            s.spawn(&work);
        }
    });
}

/// Every weakening of every ordering in the code of `source`, its tests and imports excluded.
fn mutations_of(file: &'static str, models: &'static str, source: &str) -> Vec<Mutation> {
    let mut found = Vec::new();
    for (line, text) in code_of(source) {
        let code = text.split("//").next().unwrap_or_default();
        for (from, to) in WEAKER {
            if place_of(code, from).is_some() {
                found.push(Mutation {
                    file,
                    models,
                    line,
                    text: text.to_owned(),
                    from,
                    to,
                });
            }
        }
    }
    found
}

/// Where the whole word stands first in a line.
fn place_of(code: &str, word: &str) -> Option<usize> {
    let mut places = code.match_indices(word).map(|(at, _)| at);
    places.find(|at| {
        let end = code[at + word.len()..].chars().next();
        !end.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The source in which each of these orderings, by its number, is weak where [`SWITCH`] says so.
fn with_switches(source: &str, mutations: &[(usize, &Mutation)]) -> String {
    let mut switched = String::new();
    for (line, text) in source.lines().enumerate() {
        let mut pieces = BTreeMap::new();
        for (number, mutation) in mutations.iter().filter(|(_, m)| m.line == line) {
            let place = place_of(text, mutation.from).expect("it was found there");
            let piece = pieces
                .entry(place)
                .or_insert((mutation.from, mutation.from.to_owned()));
            let (as_it_is, weak) = (&piece.1, mutation.to);
            let either =
                format!("if !crate::prim::is_weak({number}) {{ {as_it_is} }} else {{ {weak} }}");
            let is_statement = mutation.from.ends_with(';');
            piece.1 = if is_statement {
                either
            } else {
                format!("({either})")
            };
        }
        let mut text = text.to_owned();
        for (place, (from, either)) in pieces.into_iter().rev() {
            text.replace_range(place..place + from.len(), &either);
        }
        switched.push_str(&text);
        switched.push('\n');
    }
    switched
}

/// The variable of the environment that names the weak ordering.
const SWITCH: &str = "IPC_WEAK_ORDERING";

/// What the copy's `prim` has more; `SWITCH` is put in.
const ASKS: &str = r#"
pub(crate) fn is_weak(number: usize) -> bool {
    static WEAK: std::sync::LazyLock<Option<usize>> =
        std::sync::LazyLock::new(|| std::env::var(SWITCH).ok()?.parse().ok());
    *WEAK == Some(number)
}
"#;

/// The lines of what is neither imported nor there for tests and models only, with their numbers.
fn code_of(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut is_import, mut test) = (false, Test::Not);
    source.lines().enumerate().filter(move |(_, text)| {
        let code = text.split("//").next().unwrap_or_default().trim_end();
        if is_for_tests(text) {
            test = Test::Begins;
        }
        let is_of_test = test != Test::Not;
        test = match test {
            // Of an item at the top level, rustfmt puts the last line, and no other, where the line begins.
            Test::Begins if code.ends_with(['{', '(']) => Test::Inside,
            Test::Begins if code.ends_with([';', '}']) => Test::Not,
            Test::Inside if code.starts_with(['}', ')']) && !code.ends_with('{') => Test::Not,
            same => same,
        };
        is_import |= code.starts_with("use ");
        let is_code = !is_import && !is_of_test;
        is_import &= !code.contains(';');
        is_code
    })
}

/// Where a line stands to an item that only tests and models have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Not,
    /// Its attributes, or what it is called.
    Begins,
    /// Between its braces.
    Inside,
}

fn is_for_tests(text: &str) -> bool {
    text.starts_with("#[cfg(")
        && (text.contains("test") || text.contains("loom)"))
        && !text.contains("#[cfg(not(loom))")
}

/// A copy of `ipc-core` in which each ordering can be weak.
struct Broken {
    /// The program that holds the models.
    program: PathBuf,
}

impl Broken {
    fn new(mutations: &[Mutation]) -> Self {
        let lab = Lab::new();
        let source = lab.source();
        let files: BTreeSet<&str> = mutations.iter().map(|m| m.file).collect();
        for file in files {
            let of_file = mutations.iter().enumerate().filter(|(_, m)| m.file == file);
            let path = source.join(file);
            let switched = with_switches(&read(&path), &of_file.collect::<Vec<_>>());
            fs::write(&path, switched).expect("write the mutations");
        }
        let prim = source.join("prim.rs");
        fs::write(
            &prim,
            read(&prim) + &ASKS.replace("SWITCH", &format!("{SWITCH:?}")),
        )
        .expect("write the switch");
        Self {
            program: lab.build(),
        }
    }

    /// The models whose names start as each group's, none of which may fail: those first that take the least time.
    fn models<'g>(&self, groups: &BTreeSet<&'g str>) -> BTreeMap<&'g str, Vec<String>> {
        let names: Vec<(&str, String)> = groups
            .iter()
            .flat_map(|group| self.names(group).into_iter().map(|name| (*group, name)))
            .collect();
        let next = Mutex::new(names.into_iter());
        let timed = Mutex::new(Vec::new());
        on_all_cores(|| {
            loop {
                let Some((group, model)) = next.lock().expect("no panic holds it").next() else {
                    break;
                };
                let begin = Instant::now();
                let is_passed = self.passes(&model, None);
                assert!(is_passed, "{model} fails without a mutation");
                let one = (begin.elapsed(), group, model);
                timed.lock().expect("no panic holds it").push(one);
            }
        });
        let mut timed = timed.into_inner().expect("no panic holds it");
        timed.sort();
        let mut models = BTreeMap::<_, Vec<_>>::new();
        for (_, group, model) in timed {
            models.entry(group).or_default().push(model);
        }
        models
    }

    fn names(&self, group: &str) -> Vec<String> {
        let list = Command::new(&self.program).args(["--list", group]).output();
        let list = list.expect("the models run").stdout;
        let list = String::from_utf8_lossy(&list);
        let names = list.lines().filter_map(|l| l.strip_suffix(": test"));
        let names: Vec<String> = names.map(str::to_owned).collect();
        assert!(!names.is_empty(), "no models found");
        names
    }

    /// The model that notices the mutation of this number, if one does.
    fn sees<'m>(&self, number: usize, models: &'m [String]) -> Option<&'m str> {
        let mut models = models.iter().map(String::as_str);
        models.find(|model| !self.passes(model, Some(number)))
    }

    fn passes(&self, model: &str, weak: Option<usize>) -> bool {
        let mut command = Command::new(&self.program);
        if let Some(number) = weak {
            command.env(SWITCH, number.to_string());
        }
        let ended = command.args(["--exact", model]).output();
        ended.expect("a model runs").status.success()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orderings that no model has, and why.
    const UNMODELLED: [(&str, &str); 6] = [
        (
            "os/",
            "of this process's threads, with the kernel's own objects",
        ),
        ("prim.rs", "names what the others use"),
        (
            "object/lifetime.rs",
            "a cache of what a process knows already, by itself",
        ),
        (
            "wait_set/lookout.rs",
            "of this process's threads, with the kernel's own objects",
        ),
        (
            "channel/broadcast/inner.rs",
            "a model's wait repeats it: `asleep`",
        ),
        (
            "channel/joinable/inner.rs",
            "a model's wait repeats it: `asleep`",
        ),
    ];

    #[test]
    fn code_goes_on_behind_what_only_tests_have() {
        let source = "use a::{\n    Acquire,\n};\n#[cfg(all(test, loom))]\nmod model;\n#[cfg(test)]\nmod tests {\n    x\n}\n\
                      fn a() {\n    y\n}\n#[cfg(any(test, loom))]\npub fn b(\n    z: u8,\n) {\n}\n#[cfg(not(loom))]\nconst C: u8 = 1;\n";
        let code: Vec<&str> = code_of(source).map(|(_, text)| text).collect();
        assert_eq!(
            code,
            [
                "fn a() {",
                "    y",
                "}",
                "#[cfg(not(loom))]",
                "const C: u8 = 1;"
            ]
        );
    }

    #[test]
    fn an_ordering_is_weak_where_it_is_told_to_be() {
        let source = "a.load(Acquire); // Acquire\nb.swap(1, AcqRel);\nprim::full_fence(); // O1\n";
        let found = mutations_of("", "", source);
        let switched = with_switches(source, &found.iter().enumerate().collect::<Vec<_>>());
        assert_eq!(
            switched,
            "a.load((if !crate::prim::is_weak(0) { Acquire } else { core::sync::atomic::Ordering::Relaxed })); // Acquire\n\
             b.swap(1, (if !crate::prim::is_weak(2) { (if !crate::prim::is_weak(1) { AcqRel } else { core::sync::atomic::Ordering::Acquire }) } \
             else { core::sync::atomic::Ordering::Release }));\n\
             if !crate::prim::is_weak(3) { prim::full_fence(); } else {  } // O1\n"
        );
    }

    #[test]
    fn each_file_with_an_ordering_is_listed_or_said_to_have_no_model() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ipc-core/src");
        let mut directories = vec![root.clone()];
        let mut missing = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let file = path.strip_prefix(&root).unwrap().to_str().unwrap();
                let is_test = ["model.rs", "tests.rs", "on_heap.rs"]
                    .iter()
                    .any(|end| file.ends_with(end))
                    || file.contains("/model/");
                let is_known = FILES.iter().any(|&(listed, _)| listed == file)
                    || UNMODELLED.iter().any(|&(start, _)| file.starts_with(start));
                if !is_test && !is_known && !mutations_of("", "", &read(&path)).is_empty() {
                    missing.push(file.to_owned());
                }
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn each_listed_exception_is_still_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ipc-core/src");
        for (file, text, from) in UNSEEN {
            let found = mutations_of(file, "", &read(&root.join(file)));
            let count = found
                .iter()
                .filter(|m| m.is_listed() && m.text.contains(text))
                .count();
            assert_eq!(count, 1, "{file}: {from} in {text}");
        }
    }
}
