//! Kills and stops processes at each point of an operation, and checks what the survivors find.
//!
//! Prints one line a campaign. Exit status: 0 when each found what it should, 1 when one did not, 2 when the engine
//! could not work or nothing was selected, 3 when the watchdog ended it.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use ipc_tests::scenarios;
use ipc_tests::step::{Campaign, Entry, Expectation, Granularity, Plan, Report};

/// Kills and stops processes at each point of an operation, and checks what the survivors find.
#[derive(Debug, Parser)]
struct Args {
    /// Interfere after each instruction, not only where the shared bytes changed and at system calls.
    ///
    /// Takes minutes a scenario; a release build has a tenth of the instructions. In a nested campaign it is the
    /// repairer that is killed after each instruction, for each state that the first victim leaves: hours.
    #[arg(long)]
    every_instruction: bool,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "FILTER")]
    scenario: Option<String>,
    /// Only this kind of campaign
    #[arg(long, value_enum)]
    campaign: Option<Kind>,
    /// Check while the killed process is a zombie: dead, but not reaped
    #[arg(long)]
    leave_zombies: bool,
    /// Print each failure on stderr, not only the first ones of a campaign that should have none
    #[arg(long)]
    verbose: bool,
    /// Print the names of the scenarios, and run none
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Kill,
    Stop,
    Nested,
}

impl Args {
    fn selects(&self, entry: &Entry, campaign: Campaign) -> bool {
        let wanted = match self.campaign {
            None => true,
            Some(Kind::Kill) => campaign == Campaign::Kill,
            Some(Kind::Stop) => campaign == Campaign::Stop,
            Some(Kind::Nested) => campaign == Campaign::Nested,
        };
        wanted
            && self
                .scenario
                .as_deref()
                .is_none_or(|filter| entry.name.contains(filter))
    }

    fn plan(&self) -> Plan {
        let granularity = match self.every_instruction {
            true => Granularity::Instruction,
            false => Granularity::State,
        };
        Plan {
            granularity,
            leave_zombies: self.leave_zombies,
            ..Plan::default()
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (mut ran, mut missed) = (0, 0);
    for entry in scenarios::all() {
        for &(campaign, expectation) in &entry.campaigns {
            if !args.selects(&entry, campaign) {
                continue;
            }
            ran += 1;
            if args.list {
                println!("{} {}", entry.name, word(campaign));
                continue;
            }
            let report = match entry.run(campaign, &args.plan()) {
                Ok(report) => report,
                Err(error) => {
                    eprintln!("step_kill: {error}");
                    return ExitCode::from(2);
                }
            };
            print(&entry.name, campaign, expectation, &report);
            explain(&report, expectation, args.verbose);
            missed += usize::from(!report.meets(expectation));
        }
    }
    match (ran, missed) {
        (0, _) => {
            eprintln!("step_kill: no scenario is selected; see --list");
            ExitCode::from(2)
        }
        (_, 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn print(name: &str, campaign: Campaign, expectation: Expectation, report: &Report) {
    let result = match (expectation, report.meets(expectation)) {
        (Expectation::Holds, true) => "ok",
        (Expectation::Breaks, true) => "breaks-as-expected",
        (Expectation::Holds, false) => "FAILED",
        (Expectation::Breaks, false) => "FAILED-TO-BREAK",
    };
    let seconds = report.elapsed.as_secs_f64();
    println!(
        "{name:<40} {:<6} steps={} states={} trials={} failures={} time={seconds:.3}s rate={:.0}/s result={result}",
        word(campaign),
        report.steps,
        report.distinct_states,
        report.trials,
        report.failures.len(),
        report.total_steps as f64 / seconds,
    );
}

fn explain(report: &Report, expectation: Expectation, verbose: bool) {
    let shown = match (verbose, expectation) {
        (true, _) => usize::MAX,
        (false, Expectation::Holds) => 5,
        (false, Expectation::Breaks) => 0,
    };
    for failure in report.failures.iter().take(shown) {
        eprintln!("  {}: {}", failure.at, failure.what);
    }
}

fn word(campaign: Campaign) -> &'static str {
    match campaign {
        Campaign::Kill => "kill",
        Campaign::Stop => "stop",
        Campaign::Nested => "nested",
    }
}
