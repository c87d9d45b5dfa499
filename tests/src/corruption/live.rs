//! A liar at the speed of memory, while several processes work: it stores into the object's mapping as fast as a processor can.
//!
//! It lies in bursts, puts everything back to how it once was, and pauses: at no time is nothing but damage to be seen. So that each
//! burst costs little, its lies are thought up beforehand.
#![allow(unsafe_code)]

use std::hint;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::Namespace;

use super::edit::Edit;
use super::layout::{self, IDENTITY};
use super::trial::{Bench, Outcome, Stop};
use super::{broadcast, joinable, loan, ordered};
use crate::mapping::Mapping;
use crate::random::Random;

/// What [`endure`] knows how to use.
pub const KINDS: [&str; 7] = [
    "pipe",
    "lifo",
    "priority",
    "joinable",
    "lossless",
    "lossy",
    "queue-in-place",
];
/// Lies that are thought up for one object.
const LIES: usize = 4096;
/// Operations on one handle, which remembers damage.
const ROUNDS: u64 = 8;

/// An object's file, as words, and lies about it: which word, and what is to be in it.
#[derive(Debug)]
struct Sample {
    bytes: Vec<u8>,
    truth: Vec<u64>,
    lies: Vec<(usize, u64)>,
}

impl Sample {
    fn new(random: &mut Random, bytes: Vec<u8>, lie: impl Fn(&mut Random, &[u8]) -> Edit) -> Self {
        let end = bytes.len() / 8 * 8;
        let mut think = || loop {
            let lie = lie(random, &bytes);
            let at = lie.offset / 8 * 8;
            // Seldom over what only an open reads: little else would be seen than opens that fail.
            if at < end && (at >= IDENTITY || random.one_in(20)) {
                let mut word = bytes[at..at + 8].to_vec();
                let inside = word[lie.offset - at..].iter_mut();
                inside.zip(&lie.bytes).for_each(|(to, &byte)| *to = byte);
                break (at / 8, layout::word(&word, 0));
            }
        };
        let lies = (0..LIES).map(|_| think()).collect();
        let truth = (0..end).step_by(8).map(|at| layout::word(&bytes, at));
        let truth = truth.collect();
        Self { bytes, truth, lies }
    }

    fn of(bench: &Bench, kind: &str, random: &mut Random) -> Outcome<Self> {
        let missing = || format!("{kind} is none of {KINDS:?}");
        let space = bench.namespace();
        Ok(match kind {
            "pipe" => Self::new(random, loan::pipe_file(bench)?, |random, _| {
                loan::lie_in_pipe(random)
            }),
            "queue-in-place" => {
                let mut all = loan::samples(bench)?;
                let sample = all.swap_remove(random.index(all.len()));
                let bytes = sample.bytes.clone();
                Self::new(random, bytes, |random, _| sample.lie(random))
            }
            "lifo" | "priority" => {
                let mut all = ordered::snapshots(space)?;
                all.retain(|one| one.is_lifo == (kind == "lifo"));
                let one = all.swap_remove(random.index(all.len()));
                Self::new(random, one.bytes, ordered::lie)
            }
            "joinable" => {
                let mut all = joinable::snapshots(space)?;
                let one = all.swap_remove(random.index(all.len()));
                Self::new(random, one.bytes, joinable::lie)
            }
            "lossless" | "lossy" => {
                let mut all = broadcast::snapshots(space)?;
                all.retain(|one| one.is_lossless == (kind == "lossless"));
                let one = all.swap_remove(random.index(all.len()));
                Self::new(random, one.bytes, broadcast::lie)
            }
            _ => return Err(missing().into()),
        })
    }
}

/// What the liar did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Lies {
    /// Stores.
    pub count: u64,
    /// How often all was put back.
    pub truths: u64,
}

/// Lies in an object of this kind all the time while `use_it` runs, which is told the object's name.
///
/// # Errors
///
/// When there is no such kind, or its file cannot be made.
pub fn run<R>(
    bench: &Bench,
    kind: &str,
    seed: u64,
    use_it: impl FnOnce(&str) -> R,
) -> Outcome<(R, Lies)> {
    let mut random = Random::new(seed);
    let sample = Sample::of(bench, kind, &mut random)?;
    let name = format!("live-{kind}-{seed}");
    let _victim = bench.file(&name, &sample.bytes)?;
    let mapping = Mapping::of_file_to_write(bench.namespace().path().join(&name))?;
    let memory = Memory::of(&mapping);
    let is_over = AtomicBool::new(false);
    Ok(thread::scope(|scope| {
        let stop = Stop(&is_over);
        let liar = scope.spawn(|| memory.lie(&sample, random, &is_over));
        let result = use_it(&name);
        drop(stop);
        (result, liar.join().unwrap_or_default())
    }))
}

/// The whole file.
#[derive(Clone, Copy)]
struct Memory<'m>(&'m [AtomicU64]);

impl<'m> Memory<'m> {
    fn of(mapping: &'m Mapping) -> Self {
        let (start, len) = (mapping.start(), mapping.len().get());
        // SAFETY: mapped for as long, aligned as pages are, and atomics may be written by others.
        Self(unsafe { slice::from_raw_parts(start.cast().as_ptr(), len / 8) })
    }

    fn lie(self, sample: &Sample, mut random: Random, is_over: &AtomicBool) -> Lies {
        let mut done = Lies::default();
        // Relaxed: it only has to be seen some time, and a liar orders nothing.
        while !is_over.load(Ordering::Relaxed) {
            let (first, most) = sample.lies.split_at(random.index(LIES));
            for &(at, lie) in most.iter().chain(first).take(1 << random.below(11)) {
                self.0[at].store(lie, Ordering::Relaxed);
                done.count += 1;
            }
            // Not always: some lies are only seen when they stay.
            if random.one_in(2) {
                for (word, &truth) in self.0.iter().zip(&sample.truth) {
                    word.store(truth, Ordering::Relaxed);
                }
                done.truths += 1;
                (0..1 << random.below(14)).for_each(|_| hint::spin_loop());
            }
        }
        done
    }
}

/// What one of several processes does while [`run`] lies: uses the object for so long. Says what came of it. Which operation is
/// running stands in the file `progress-SEED` beside the namespace.
///
/// # Errors
///
/// When there is no such kind.
pub fn endure(
    namespace: &Namespace,
    kind: &str,
    name: &str,
    seed: u64,
    duration: Duration,
) -> Outcome<String> {
    let progress = namespace.path().with_file_name(format!("progress-{seed}"));
    let mut bench = Bench::within(namespace.clone(), &progress)?;
    let operate = match kind {
        "pipe" => loan::operate_pipe,
        "queue-in-place" => loan::operate_queue,
        "lifo" => ordered::operate_lifo,
        "priority" => ordered::operate_priority,
        "joinable" => joinable::operate,
        "lossless" | "lossy" => broadcast::operate,
        _ => return Err(format!("{kind} is none of {KINDS:?}").into()),
    };
    let mut random = Random::new(seed);
    let end = Instant::now() + duration;
    while Instant::now() < end {
        operate(&mut bench, seed, &mut random, name, ROUNDS, &mut |_| {});
    }
    Ok(bench.report())
}
