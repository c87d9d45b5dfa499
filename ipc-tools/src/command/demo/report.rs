//! What the demo has to say.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Plan, Reference, coordinator::Tally, words::Counts};
use crate::{
    exit::{Outcome, say},
    output::{
        human, json, print_styled,
        table::{Cell, Table},
    },
};

#[derive(Serialize)]
struct Summary<'a> {
    /// Always true: an inexact count is an error.
    is_exact: bool,
    words: u64,
    distinct_words: usize,
    bytes: u64,
    top: Vec<Entry<'a>>,
    passes: u32,
    times_per_pass: u64,
    workers: u32,
    workers_killed_with_a_chunk: u32,
    workers_killed_without: u32,
    killed_by_others: u64,
    chunks_given_again: u64,
    duplicates_ignored: u64,
    messages: u64,
    messages_per_second: f64,
    seconds: f64,
    seconds_of_single_process: f64,
}

#[derive(Serialize)]
struct Entry<'a> {
    word: &'a str,
    count: u64,
}

pub(super) fn print(plan: &Plan<'_>, reference: &Reference, tally: &Tally) -> Outcome {
    let seconds = tally.elapsed.as_secs_f64();
    let summary = Summary {
        is_exact: true,
        words: reference.counts.values().sum(),
        distinct_words: reference.counts.len(),
        bytes: plan.bytes,
        top: top(&reference.counts, plan.args.top),
        passes: tally.passes,
        times_per_pass: plan.times,
        workers: plan.workers,
        workers_killed_with_a_chunk: tally.kills_in_hand,
        workers_killed_without: tally.kills_too_late,
        killed_by_others: tally.surprises,
        chunks_given_again: tally.given_again,
        duplicates_ignored: tally.duplicates,
        messages: tally.messages,
        messages_per_second: (tally.messages as f64 / seconds.max(1e-9)).round(),
        seconds,
        seconds_of_single_process: reference.elapsed.as_secs_f64(),
    };
    if tally.kills_in_hand < plan.args.kill {
        say(format_args!(
            "only {} of {} kills caught a worker with a chunk in its hand; larger files give them more time",
            tally.kills_in_hand, plan.args.kill
        ));
    }
    if plan.args.json {
        json::print(&summary)
    } else {
        show(&summary)
    }
}

/// The most frequent words; those that are equally frequent in alphabetical order.
fn top(counts: &Counts, most: usize) -> Vec<Entry<'_>> {
    let mut words: Vec<Entry<'_>> = counts
        .iter()
        .map(|(word, &count)| Entry { word, count })
        .collect();
    words.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.word.cmp(b.word)));
    words.truncate(most);
    words
}

fn show(summary: &Summary<'_>) -> Outcome {
    if !summary.top.is_empty() {
        let mut table = Table::new(&["COUNT", "WORD"]);
        for entry in &summary.top {
            table.row([Cell::from(entry.count), Cell::from(shortened(entry.word))]);
        }
        table.print()?;
    }
    print_styled(&story(summary))
}

fn shortened(word: &str) -> String {
    const MOST: usize = 40;
    let mut short: String = word.chars().take(MOST).collect();
    if short.len() < word.len() {
        short.push('\u{2026}');
    }
    short
}

fn story(s: &Summary<'_>) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{args}"); // a String takes everything
    };
    line(format_args!(
        "{} words, {} distinct, in {}",
        s.words,
        s.distinct_words,
        human::bytes(s.bytes)
    ));
    let times = match s.times_per_pass {
        1 => String::new(),
        times => format!(", every chunk {times} times as the files are small"),
    };
    line(format_args!(
        "{} pass(es) over the files by {} worker processes{times}",
        s.passes, s.workers
    ));
    line(format_args!(
        "{} messages in {:.2} s, {} a second; one process alone took {:.2} s for one pass",
        s.messages, s.seconds, s.messages_per_second, s.seconds_of_single_process
    ));
    line(format_args!(
        "{} worker(s) killed with a chunk in hand, {} too late for that; {} chunk(s) given out again, {} duplicate(s) ignored",
        s.workers_killed_with_a_chunk,
        s.workers_killed_without,
        s.chunks_given_again,
        s.duplicates_ignored
    ));
    if s.killed_by_others > 0 {
        line(format_args!(
            "{} process(es) killed by somebody else, and replaced",
            s.killed_by_others
        ));
    }
    line(format_args!(
        "nothing lost: each pass has the totals of one process that read the files by itself"
    ));
    text
}
