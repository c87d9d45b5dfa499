//! The log of jobs that are done, in GNU parallel's format: a line each, written when its output was.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
};

use crate::exit::{Failure, Outcome};

const HEADINGS: &str =
    "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// A log that is written to.
#[derive(Debug)]
pub(super) struct Joblog {
    file: File,
    name: String,
}

/// What it says about a job.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) number: u64,
    pub(super) started_unix_ns: u64,
    pub(super) runtime_ns: u64,
    /// How many bytes it has printed on standard output.
    pub(super) printed: u64,
    pub(super) exit: i32,
    pub(super) signal: i32,
    pub(super) command: &'a [u8],
}

/// Which jobs an earlier run has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// As if there had been none.
    No,
    /// Also those that failed count as done.
    All,
    Succeeded,
}

impl Joblog {
    /// Opens the log, and says which jobs in it are to be skipped.
    pub(super) fn open(path: &Path, resume: Resume) -> Outcome<(Self, BTreeSet<u64>)> {
        let name = path.display().to_string();
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(resume == Resume::No)
                .open(path)?;
            let (done, length) = read(&file, resume == Resume::Succeeded)?;
            // A line whose end is missing was being written when its writer was killed.
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            if length == 0 {
                file.write_all(HEADINGS.as_bytes())?;
            }
            Ok((file, done))
        };
        let (file, done) = open().map_err(|e| trouble(&name, &e))?;
        Ok((Self { file, name }, done))
    }

    pub(super) fn add(&mut self, line: &Line<'_>) -> Outcome {
        let text = line.text();
        self.file
            .write_all(&text)
            .map_err(|e| trouble(&self.name, &e))
    }
}

fn trouble(name: &str, e: &io::Error) -> Failure {
    Failure::Other(format!("could not write the joblog {name}: {e}"))
}

/// The jobs in a log, and the length of its whole lines. A later line about a job goes before an earlier one.
fn read(file: impl io::Read, only_succeeded: bool) -> io::Result<(BTreeSet<u64>, u64)> {
    let mut reader = BufReader::new(file);
    let (mut done, mut length) = (BTreeSet::new(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok((done, length));
        }
        length += read as u64;
        let text = String::from_utf8_lossy(&line);
        let fields: Vec<&str> = text.splitn(9, '\t').collect();
        let [number, _, _, _, _, _, exit, signal, _] = fields[..] else {
            continue;
        };
        let Ok(number) = number.parse() else {
            continue; // the headings
        };
        if only_succeeded && (exit, signal) != ("0", "0") {
            done.remove(&number);
        } else {
            done.insert(number);
        }
    }
}

impl Line<'_> {
    fn text(&self) -> Vec<u8> {
        let millis = |ns: u64| format!("{}.{:03}", ns / 1_000_000_000, ns / 1_000_000 % 1000);
        let mut text = format!(
            "{}\t:\t{}\t{:>10}\t0\t{}\t{}\t{}\t",
            self.number,
            millis(self.started_unix_ns),
            millis(self.runtime_ns),
            self.printed,
            self.exit,
            self.signal
        )
        .into_bytes();
        // A job is a line.
        text.extend(
            self.command
                .iter()
                .map(|&b| if b == b'\n' { b' ' } else { b }),
        );
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, exit: i32) -> Vec<u8> {
        let line = Line {
            number,
            started_unix_ns: 1_700_000_000_123_456_789,
            runtime_ns: 12_345_678,
            printed: 5,
            exit,
            signal: 0,
            command: b"echo a\nb\tc",
        };
        line.text()
    }

    #[test]
    fn a_line_is_as_gnu_parallel_writes_it() {
        assert_eq!(
            String::from_utf8(line(3, 1)).unwrap(),
            "3\t:\t1700000000.123\t     0.012\t0\t5\t1\t0\techo a b\tc\n"
        );
    }

    #[test]
    fn a_log_says_which_jobs_are_done_and_a_torn_line_says_nothing() {
        let mut log = [
            HEADINGS.as_bytes().to_vec(),
            line(1, 0),
            line(2, 1),
            line(4, 1),
            line(4, 0),
        ]
        .concat();
        let whole = log.len() as u64;
        log.extend(&line(5, 0)[..7]);
        assert_eq!(
            read(&log[..], false).unwrap(),
            (BTreeSet::from([1, 2, 4]), whole)
        );
        assert_eq!(
            read(&log[..], true).unwrap(),
            (BTreeSet::from([1, 4]), whole)
        );
        assert_eq!(read(&b""[..], true).unwrap(), (BTreeSet::new(), 0));
    }
}
