//! Kills processes at random while they use a queue, a pipe, or a listener and its clients, for as long as one likes.
//!
//! `soak --seconds 3600`, `soak pipe --seconds 3600` and `soak listener --seconds 3600` print one line of figures now and then and at the end; they end with status 1 when something was
//! lost, doubled, torn, leaked or stuck.

use std::env;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use ipc_tests::soak::worker::Subject;
use ipc_tests::soak::{Plan, listener, pipe, soak, worker};

/// Kill processes at random while they use an object, and balance the books.
#[derive(Debug, Parser)]
struct Args {
    /// What is soaked: a queue; the two ends of a pipe; a listener and as many clients as producers.
    #[arg(value_enum, default_value = "queue")]
    subject: Subject,
    /// How long.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seed of all choices but the scheduler's; default: the time.
    #[arg(long)]
    seed: Option<u64>,
    /// Producers at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..4000))]
    producers: u16,
    /// Consumers at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..4000))]
    consumers: u16,
    /// Mean time between two kills, in microseconds.
    #[arg(long, default_value_t = 3000)]
    kill_every: u64,
    /// How long a queue is used before the books are balanced, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    round: u64,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What the soak runs; not for people.
    #[command(hide = true)]
    Worker(worker::Orders),
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Worker(orders)) = &args.command {
        return match worker::work(orders) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("{:?} {}: {e}", orders.role, orders.incarnation);
                ExitCode::FAILURE
            }
        };
    }
    supervise(&args)
}

fn supervise(args: &Args) -> ExitCode {
    let clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos() as u64)
    };
    let Ok(program) = env::current_exe() else {
        eprintln!("cannot find this program, which the workers are to run");
        return ExitCode::FAILURE;
    };
    let plan = Plan {
        program,
        duration: Duration::from_secs(args.seconds),
        round: Duration::from_millis(args.round),
        seed: args.seed.unwrap_or_else(clock),
        producers: args.producers.into(),
        consumers: args.consumers.into(),
        kill_every: Duration::from_micros(args.kill_every),
    };
    println!("seed={}", plan.seed);
    let ended = match args.subject {
        Subject::Queue => soak(&plan, reporter()).map(|figures| figures.to_string()),
        Subject::Pipe => pipe::soak(&plan, reporter()).map(|figures| figures.to_string()),
        Subject::Listener => listener::soak(&plan, reporter()).map(|figures| figures.to_string()),
    };
    match ended {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the figures of each tenth round.
fn reporter<F: Display>() -> impl FnMut(&F) {
    let mut rounds = 0;
    move |figures| {
        rounds += 1;
        if rounds % 10 == 0 {
            println!("{figures}");
        }
    }
}
