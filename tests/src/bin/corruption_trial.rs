//! Runs trials on damaged objects; `tests/corruption.rs` starts it, as a trial that goes wrong ends its process.
//!
//! `corruption_trial --directory /dev/shm/x --first 123 --count 1` runs the trial with seed 123 again.
#![allow(unsafe_code)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ipc_core::Bytes;
use ipc_tests::corruption::snapshot::{Sample, Structured, snapshots};
use ipc_tests::corruption::trial::{Bench, idle_share, run, run_live};
use ipc_tests::corruption::{broadcast, dict, joinable, loan, ordered, shared, sync};
use nix::sys::prctl;
use nix::sys::signal::Signal;

/// What none of the trials' honest needs comes near.
const MOST_MEMORY: u64 = 16 << 30;

/// Damage objects and use them.
#[derive(Debug, Parser)]
struct Args {
    /// An existing directory, for the objects and the file `progress`.
    #[arg(long)]
    directory: PathBuf,
    /// Seed of the first trial.
    #[arg(long)]
    first: u64,
    /// How many trials, each with the next seed.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Damage the queues while they are used, for so many milliseconds a trial.
    #[arg(long)]
    live: Option<u64>,
    /// Damage synchronisation objects instead of queues.
    #[arg(long, conflicts_with = "live")]
    sync: bool,
    /// Damage lifo and priority queues instead of queues.
    #[arg(long, conflicts_with_all = ["live", "sync"])]
    ordered: bool,
    /// Damage broadcasts instead of queues.
    #[arg(long, conflicts_with_all = ["live", "sync", "ordered"])]
    broadcast: bool,
    /// Damage dictionaries instead of queues.
    #[arg(long, conflicts_with_all = ["live", "sync", "ordered", "broadcast"])]
    dict: bool,
    /// Damage queues and pipes whose messages are written and read in place.
    #[arg(long, conflicts_with_all = ["live", "sync", "ordered"])]
    loans: bool,
    /// Damage joinable queues instead of queues.
    #[arg(long, conflicts_with_all = ["live", "sync", "ordered"])]
    joinable: bool,
    /// Damage values, arrays and lists instead of queues.
    #[arg(long, conflicts_with_all = ["live", "sync", "ordered"])]
    shared: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Even seeds try bytes, odd ones a type that has to be decoded.
    match trials(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn trials(args: &Args) -> Result<(), Box<dyn Error>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let limit = libc::rlimit {
        rlim_cur: MOST_MEMORY,
        rlim_max: MOST_MEMORY,
    };
    // SAFETY: the kernel reads `limit`, which outlives the call.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    let mut bench = Bench::new(&args.directory)?;
    if args.sync {
        let all = sync::snapshots(bench.namespace())?;
        for seed in args.first..args.first + args.count {
            sync::run(&mut bench, &all, seed)?;
        }
        report(&bench, args);
        return Ok(());
    }
    if args.ordered {
        let all = ordered::snapshots(bench.namespace())?;
        for seed in args.first..args.first + args.count {
            ordered::run(&mut bench, &all, seed)?;
        }
        report(&bench, args);
        return Ok(());
    }
    if args.broadcast {
        let all = broadcast::snapshots(bench.namespace())?;
        for seed in args.first..args.first + args.count {
            broadcast::run(&mut bench, &all, seed)?;
        }
        report(&bench, args);
        return Ok(());
    }
    if args.dict {
        let all = dict::snapshots(bench.namespace())?;
        for seed in args.first..args.first + args.count {
            dict::run(&mut bench, &all, seed)?;
        }
        report(&bench, args);
        return Ok(());
    }
    if args.loans {
        let all = loan::samples(&bench)?;
        for seed in args.first..args.first + args.count {
            loan::run(&mut bench, &all, seed)?;
        }
        report(&bench, args);
        return Ok(());
    }
    if args.shared {
        let all = shared::snapshots(bench.namespace())?;
        for seed in args.first..args.first + args.count {
            shared::run(&mut bench, &all, seed)?;
        }
        report(&bench, args);
        return Ok(());
    }
    if args.joinable {
        let all = joinable::snapshots(bench.namespace())?;
        for seed in args.first..args.first + args.count {
            joinable::run(&mut bench, &all, seed)?;
        }
        report(&bench, args);
        return Ok(());
    }
    let bytes = snapshots::<Bytes>(bench.namespace())?;
    let structured = snapshots::<Structured>(bench.namespace())?;
    for seed in args.first..args.first + args.count {
        if seed.is_multiple_of(2) {
            trial::<Bytes>(&mut bench, &bytes, seed, args.live)?;
        } else {
            trial::<Structured>(&mut bench, &structured, seed, args.live)?;
        }
    }
    report(&bench, args);
    let share = idle_share();
    if share > 0.7 {
        return Err(format!("calls left blocked burn {share:.2} cores").into());
    }
    Ok(())
}

fn report(bench: &Bench, args: &Args) {
    println!("trials={} {}", args.count, bench.report());
}

fn trial<T: Sample>(
    bench: &mut Bench,
    snapshots: &[ipc_tests::corruption::snapshot::Snapshot],
    seed: u64,
    live: Option<u64>,
) -> Result<(), Box<dyn Error>> {
    match live {
        None => run::<T>(bench, snapshots, seed),
        Some(millis) => run_live::<T>(bench, snapshots, seed, Duration::from_millis(millis)),
    }
}
