//! When to stop before the end of the input, and with which exit code it all ends.

/// More failures than this are all the same.
const MOST_FAILURES: u64 = 100;

/// How many jobs are done so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// That of the last job that failed.
    pub(crate) last_failure: u8,
}

/// What to do about the jobs that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    GoOn,
    /// Start no more.
    Soon,
    /// And end those that run.
    Now,
}

/// As the command line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Halt {
    verdict: Verdict,
    what: What,
    count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Fail,
    Success,
    Done,
}

impl Halt {
    /// `never`, `soon,fail=1`, `now,success=3`, `soon,done=10`; and as GNU parallel has it: 0 (never), 1 (`soon,fail=1`), 2 (`now,fail=1`).
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?}: write never, or soon or now with fail=N, success=N or done=N: soon,fail=1"
            )
        };
        let (verdict, why) = match text {
            "never" | "0" => (Verdict::GoOn, "fail=1"),
            "1" => (Verdict::Soon, "fail=1"),
            "2" => (Verdict::Now, "fail=1"),
            _ => match text.split_once(',').ok_or_else(bad)? {
                ("soon", why) => (Verdict::Soon, why),
                ("now", why) => (Verdict::Now, why),
                _ => return Err(bad()),
            },
        };
        let (what, count) = why.split_once('=').ok_or_else(bad)?;
        let what = match what {
            "fail" => What::Fail,
            "success" => What::Success,
            "done" => What::Done,
            _ => return Err(bad()),
        };
        match count.parse() {
            Ok(count @ 1..) => Ok(Self {
                verdict,
                what,
                count,
            }),
            _ => Err(bad()),
        }
    }

    /// What the jobs that are done so far have decided.
    pub(crate) fn verdict(self, tally: Tally) -> Verdict {
        let count = match self.what {
            What::Fail => tally.failed,
            What::Success => tally.succeeded,
            What::Done => tally.succeeded + tally.failed,
        };
        match count >= self.count {
            true => self.verdict,
            false => Verdict::GoOn,
        }
    }

    /// What it all ends with, if nothing but jobs failed.
    pub(crate) fn exit_code(self, tally: Tally) -> u8 {
        let has_halted = self.verdict(tally) != Verdict::GoOn;
        match self.what {
            What::Fail if has_halted && self.count == 1 => tally.last_failure,
            What::Success if has_halted => 0,
            _ => u8::try_from(tally.failed.min(MOST_FAILURES + 1)).unwrap_or(u8::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(succeeded: u64, failed: u64) -> Tally {
        let last_failure = if failed > 0 { 7 } else { 0 };
        Tally {
            succeeded,
            failed,
            last_failure,
        }
    }

    #[test]
    fn a_policy_halts_when_its_count_is_reached() {
        for (text, before, after, verdict) in [
            ("soon,fail=1", tally(9, 0), tally(0, 1), Verdict::Soon),
            ("now,fail=3", tally(9, 2), tally(0, 3), Verdict::Now),
            ("now,success=2", tally(1, 9), tally(2, 0), Verdict::Now),
            ("soon,done=4", tally(1, 2), tally(2, 2), Verdict::Soon),
            ("1", tally(9, 0), tally(0, 1), Verdict::Soon),
            ("2", tally(9, 0), tally(0, 1), Verdict::Now),
        ] {
            let halt = Halt::parse(text).unwrap();
            assert_eq!(halt.verdict(before), Verdict::GoOn, "{text}");
            assert_eq!(halt.verdict(after), verdict, "{text}");
        }
        for text in ["never", "0"] {
            let halt = Halt::parse(text).unwrap();
            assert_eq!(halt.verdict(tally(100, 100)), Verdict::GoOn);
        }
    }

    #[test]
    fn the_exit_code_counts_failures_or_is_that_of_the_job_that_halted() {
        for (text, tally, code) in [
            ("never", tally(5, 0), 0),
            ("never", tally(5, 3), 3),
            ("never", tally(0, 100), 100),
            ("never", tally(0, 5000), 101),
            ("now,fail=1", tally(5, 1), 7),
            ("now,fail=1", tally(5, 0), 0),
            ("soon,fail=2", tally(5, 2), 2),
            ("now,success=1", tally(1, 4), 0),
            ("now,success=2", tally(1, 4), 4),
            ("now,done=1", tally(1, 0), 0),
        ] {
            assert_eq!(Halt::parse(text).unwrap().exit_code(tally), code, "{text}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for bad in [
            "",
            "3",
            "soon",
            "now,",
            "now,fail",
            "now,fail=0",
            "soon,fail=1%",
            "later,fail=1",
            "never,fail=1",
        ] {
            assert!(Halt::parse(bad).is_err(), "{bad}");
        }
    }
}
