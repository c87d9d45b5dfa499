//! Throughput over the number of producers and consumers: `scaling [max]`, by default up to half of the cores.
//!
//! One queue of 64-byte messages, as many consumers as producers, each pinned to a core of its own while there are enough
//! (`adaptive` runs unpinned). `ArrayQueue` does the same between threads. Rounds alternate between the columns, and each
//! figure is the median of its rounds; a ratio is the median over rounds that stood side by side.

use ipc_benches::array_queue::{array_get, array_put, array_queue};
use ipc_benches::crew::{Crew, Workers};
use ipc_benches::harness::n_to_n;
use ipc_benches::queue::{Named, get, put};
use ipc_benches::{cores, unpin};
use ipc_core::{Queue, WaitStrategy};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Messages the queue holds.
const CAPACITY: usize = 1024;
/// How long a round takes, about.
const ROUND: Duration = Duration::from_millis(200);
/// Rounds of each column: odd, for the median.
const ROUNDS: usize = 9;

fn main() -> Result<(), Box<dyn Error>> {
    let max = match std::env::args().nth(1) {
        Some(max) => max.parse()?,
        None => (cores().len() / 2).max(1),
    };
    println!(
        "{} cores, M messages a second, median of {ROUNDS} rounds\n\n\
         | producers + consumers | spin | over 1 + 1 | adaptive | ArrayQueue (threads) | spin over ArrayQueue |\n\
         |---|--:|--:|--:|--:|--:|",
        cores().len()
    );
    let mut alone = None;
    for pairs in 1..=max {
        let crews = [
            ours(pairs, WaitStrategy::Spin, || {}),
            ours(pairs, WaitStrategy::Adaptive, unpin),
            arrays(pairs),
        ];
        let mut columns = crews.map(|crew| Column::new(crew, pairs));
        for _ in 0..ROUNDS {
            columns.iter_mut().for_each(Column::round);
        }
        let [spin, adaptive, array] = &columns;
        let ratios = spin.rates.iter().zip(&array.rates).map(|(a, b)| a / b);
        let (rate, ratio) = (spin.median(), median(ratios.collect()));
        let over_one = rate / *alone.get_or_insert(rate);
        println!(
            "| {pairs} + {pairs} | {rate:.2} | {over_one:.2} | {:.2} | {:.2} | {ratio:.2} |",
            adaptive.median(),
            array.median()
        );
    }
    Ok(())
}

fn ours(pairs: usize, strategy: WaitStrategy, settle: fn()) -> Crew {
    let workers = u32::try_from(2 * pairs + 1).expect("a few hundred processes at most");
    let queue = Named::create(Queue::options(CAPACITY).participants(workers));
    let open = queue.open_with(strategy);
    let other = open.clone();
    let producer = move || {
        settle();
        put(open())
    };
    let consumer = move || {
        settle();
        get(other())
    };
    n_to_n(Workers::Processes, pairs, producer, consumer)
}

fn arrays(pairs: usize) -> Crew {
    let queue = array_queue(CAPACITY);
    let other = Arc::clone(&queue);
    n_to_n(
        Workers::Threads,
        pairs,
        || array_put(queue),
        || array_get(other),
    )
}

/// One column of a row: a crew, and what it did so far.
struct Column {
    crew: Crew,
    pairs: usize,
    /// Steps that take about [`ROUND`].
    count: u64,
    /// Millions of messages a second.
    rates: Vec<f64>,
}

impl Column {
    fn new(mut crew: Crew, pairs: usize) -> Self {
        let mut count = 1;
        let time = loop {
            let time = crew.run(count);
            if time > ROUND / 4 {
                break time;
            }
            count *= 2;
        };
        let count = (count as f64 * ROUND.as_secs_f64() / time.as_secs_f64()).ceil() as u64;
        Self {
            crew,
            pairs,
            count,
            rates: Vec::new(),
        }
    }

    fn round(&mut self) {
        let time = self.crew.run(self.count).as_secs_f64();
        self.rates
            .push(self.count as f64 * self.pairs as f64 / time / 1e6);
    }

    fn median(&self) -> f64 {
        median(self.rates.clone())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
