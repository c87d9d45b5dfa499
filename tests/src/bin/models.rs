//! Runs the loom models, and says how many executions each has.
//!
//! `cargo run --release -p ipc-tests --bin models [FILTER]` works on a copy of `ipc-core` under the target directory, with a loom that tries
//! more executions than the published one (`tests/loom.patch`). It exits with 1 when a model fails, or has a single execution, else with 0.

use std::{
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
};

use clap::Parser;
use ipc_tests::lab::Lab;

/// Runs the loom models, each of which must have more than one execution
#[derive(Debug, Parser)]
struct Args {
    /// Only models whose path contains this
    #[arg(default_value = "model")]
    filter: String,
}

fn main() -> ExitCode {
    let Args { filter } = Args::parse();
    let mut models = Command::new(Lab::new().build())
        .args([&filter, "--show-output"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the models run");
    let mut counts = Counts::default();
    let said = BufReader::new(models.stdout.take().expect("it is piped"));
    for line in said.lines() {
        let line = line.expect("read what they say");
        if !counts.hear(&line) {
            println!("{line}");
        }
    }
    let is_passed = models.wait().expect("wait for the models").success();
    let most = counts.of.iter().map(|(_, count)| count);
    println!(
        "{} executions of {} models; the most of one: {}",
        most.clone().sum::<u64>(),
        counts.of.len(),
        most.max().unwrap_or(&0)
    );
    let lonely = || counts.of.iter().filter(|(_, count)| *count < 2);
    for (model, _) in lonely() {
        println!("A SINGLE EXECUTION {model}");
    }
    if is_passed && !counts.of.is_empty() && lonely().next().is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The models that passed, and how many executions they had.
#[derive(Debug, Default)]
struct Counts {
    of: Vec<(String, u64)>,
    /// Whether what follows is what models that passed have said.
    is_of_passed: bool,
}

impl Counts {
    /// Whether the line is of use to nobody but this.
    fn hear(&mut self, line: &str) -> bool {
        self.is_of_passed = match line {
            "successes:" => true,
            "failures:" => false,
            line => self.is_of_passed && !line.starts_with("test result"),
        };
        if let Some(model) = between("---- ", line, " stdout ----") {
            self.of.push((model.to_owned(), 0));
        }
        let executions = between("loom: ", line, " executions");
        if let Some(executions) = executions.and_then(|count| count.parse::<u64>().ok())
            && let Some((_, count)) = self.of.last_mut()
        {
            *count += executions;
        }
        self.is_of_passed
    }
}

fn between<'a>(before: &str, line: &'a str, behind: &str) -> Option<&'a str> {
    line.strip_prefix(before)?.strip_suffix(behind)
}
