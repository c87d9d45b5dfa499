//! How far a run is, on standard error if that is a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::halt::Tally;

/// A line that changes, or nothing at all.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    pub(super) fn new(is_wanted: bool) -> Self {
        let bar = match is_wanted {
            true => ProgressBar::new_spinner(), // hidden unless it is on a terminal
            false => ProgressBar::hidden(),
        };
        bar.set_style(ProgressStyle::with_template("{msg}").expect("a good template"));
        Self {
            bar,
            begun: Instant::now(),
        }
    }

    pub(super) fn show(&self, tally: Tally, running: usize, total: Option<u64>) {
        if !self.bar.is_hidden() {
            self.bar
                .set_message(line(tally, running, total, self.begun.elapsed()));
        }
    }

    /// Keeps the line out of the way of what is printed.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        if self.bar.is_hidden() {
            return print();
        }
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(tally: Tally, running: usize, total: Option<u64>, elapsed: Duration) -> String {
    let done = tally.succeeded + tally.failed;
    let of = total.map_or(String::new(), |total| format!(" of {total}"));
    let failed = match tally.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = match total {
        Some(total) if done > 0 => {
            let seconds = total.saturating_sub(done) as f64 / rate.max(1e-9);
            format!(", {seconds:.0}s left")
        }
        _ => String::new(),
    };
    format!("{done}{of} done{failed}, {running} running or next, {rate:.1}/s{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_known() {
        let tally = |succeeded, failed| Tally {
            succeeded,
            failed,
            last_failure: 1,
        };
        let ten = Duration::from_secs(10);
        assert_eq!(
            line(tally(0, 0), 2, None, ten),
            "0 done, 2 running or next, 0.0/s"
        );
        assert_eq!(
            line(tally(9, 1), 2, Some(30), ten),
            "10 of 30 done, 1 failed, 2 running or next, 1.0/s, 20s left"
        );
    }
}
