//! `ipc demo`: the main job of a queue, on real input, while processes are killed.
//!
//! Read in this order: `words` (what is counted), `chunks` (how files are cut), `protocol` (who tells whom what), `worker`,
//! `producer`, `ledger` (why the totals are exact), `crew` (the processes), `coordinator` (who kills), `report`.

mod chunks;
mod coordinator;
mod crew;
mod ledger;
pub(super) mod producer;
mod protocol;
mod report;
mod words;
pub(super) mod worker;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use self::{
    coordinator::Coordinator,
    crew::Arena,
    words::{Counter, Counts},
};
use crate::{
    args::{Place, demo::Demo},
    exit::{Failure, Outcome},
    signals::Signals,
};

/// Chunks: the shortest must hold the longest word, and counts of the longest must fit into the memory of a queue.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 4 << 10..=256 << 10;
/// A worker that has less than this to count is done before anybody can kill it.
const ENOUGH_WORK: u64 = 64 << 10;

/// The numbers that follow from the arguments and the files.
#[derive(Debug)]
struct Plan<'a> {
    args: &'a Demo,
    workers: u32,
    chunk: usize,
    /// About how many chunks the files make.
    chunks: u64,
    /// Bytes in the files.
    bytes: u64,
    /// How often a worker counts each chunk, so that small files are some work.
    times: u64,
}

/// What one process finds that reads the files by itself.
#[derive(Debug)]
struct Reference {
    counts: Counts,
    elapsed: Duration,
}

pub(crate) fn run(place: &Place, args: &Demo) -> Outcome {
    let signals = Signals::watch()?;
    let plan = Plan::of(args)?;
    let reference = Reference::count(args, &signals)?;
    let progress = progress_bar(&plan);
    let coordinator = Coordinator::new(&plan, Arena::new(place)?, &signals, &progress)?;
    let outcome = coordinator.run(|totals| reference.compare(totals, plan.times));
    progress.finish_and_clear();
    report::print(&plan, &reference, &outcome?)
}

impl<'a> Plan<'a> {
    fn of(args: &'a Demo) -> Outcome<Self> {
        let mut bytes = 0;
        for path in &args.files {
            let found = fs::metadata(path).map_err(|e| unreadable(path, &e))?;
            if !found.is_file() {
                return Err(Failure::Other(format!(
                    "{} is not a regular file; it must be read more than once",
                    path.display()
                )));
            }
            bytes += found.len();
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        let workers = args.workers.unwrap_or(cores.clamp(2, 64));
        let chunk = args.chunk.clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end());
        let chunks = bytes.div_ceil(chunk as u64);
        let times = if args.kill == 0 {
            1
        } else {
            ENOUGH_WORK.div_ceil(bytes.max(1))
        };
        Ok(Self {
            args,
            workers,
            chunk,
            chunks,
            bytes,
            times,
        })
    }
}

impl Reference {
    fn count(args: &Demo, signals: &Signals) -> Outcome<Self> {
        let start = Instant::now();
        let mut counter = Counter::default();
        let mut piece = vec![0; 1 << 20];
        for path in &args.files {
            let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
            loop {
                signals.check()?;
                match file.read(&mut piece) {
                    Ok(0) => break,
                    Ok(length) => counter.feed(&piece[..length]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(unreadable(path, &e)),
                }
            }
            counter.end_text();
        }
        Ok(Self {
            counts: counter.into_counts(),
            elapsed: start.elapsed(),
        })
    }

    /// Fails unless `totals` are these counts, `times` over.
    fn compare(&self, totals: &Counts, times: u64) -> Outcome {
        let expected = |word: &str| self.counts.get(word).copied().unwrap_or(0) * times;
        let found = |word: &str| totals.get(word).copied().unwrap_or(0);
        let words = self.counts.keys().chain(totals.keys());
        match words.into_iter().find(|word| expected(word) != found(word)) {
            None => Ok(()),
            Some(word) => Err(Failure::Other(format!(
                "THE TOTALS DIFFER: {word:?} was counted {} times instead of {}; unless the files changed meanwhile, \
                 messages were lost or delivered twice",
                found(word),
                expected(word)
            ))),
        }
    }
}

fn unreadable(path: &Path, e: &io::Error) -> Failure {
    Failure::Other(format!("could not read {}: {e}", path.display()))
}

/// On standard error, if a person looks at it.
fn progress_bar(plan: &Plan<'_>) -> ProgressBar {
    let bar = ProgressBar::new(plan.bytes * u64::from(plan.args.repeat));
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
