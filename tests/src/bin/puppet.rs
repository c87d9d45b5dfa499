//! A process that does as it is told, line by line; see `ipc_tests::puppet`.
#![allow(unsafe_code)]

use std::error::Error;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use ipc_core::{Bytes, Namespace, Queue};
use ipc_tests::corruption::live;
use ipc_tests::puppet::{
    broadcast, family, frames, joinable, listener, loan, ordered, pipe, shared, sync, wait_set,
};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, alarm, fork, pause};

/// Do as told on standard input.
#[derive(Debug, Parser)]
struct Args {
    /// The namespace's directory.
    directory: PathBuf,
    /// Do this and end; may be repeated.
    #[arg(long)]
    once: Vec<String>,
    /// Say `ok hello` first.
    #[arg(long)]
    hello: bool,
}

type Answer = Result<String, Box<dyn Error>>;
type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    // Nobody would end the puppets of a test that was killed.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let args = Args::parse();
    let mut puppet = Puppet {
        namespace: Namespace::at(&args.directory)?,
        queue: None,
        more: Vec::new(),
    };
    if args.hello {
        say("ok hello")?;
    }
    for line in &args.once {
        say(&puppet.obey(line))?;
    }
    if args.once.is_empty() {
        for line in io::stdin().lock().lines() {
            say(&puppet.obey(&line?))?;
        }
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

struct Puppet {
    namespace: Namespace,
    /// The queue that commands mean.
    queue: Option<Queue<Bytes>>,
    /// Handles that only have to live.
    more: Vec<Queue<Bytes>>,
}

impl Puppet {
    fn obey(&mut self, line: &str) -> String {
        match self.execute(line) {
            Ok(text) => format!("ok {text}").trim_end().to_owned(),
            Err(e) => format!("err {e}").replace('\n', " "),
        }
    }

    fn execute(&mut self, line: &str) -> Answer {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        match (command, &words[..]) {
            // ---- how to come to a queue
            ("create", [name, capacity, participants]) => {
                let options = self
                    .options(capacity.parse()?)
                    .participants(participants.parse()?);
                self.queue = Some(options.create(name)?);
            }
            ("open-or-create", [name, capacity, participants]) => {
                let options = self
                    .options(capacity.parse()?)
                    .participants(participants.parse()?);
                self.queue = Some(options.open_or_create(name)?);
            }
            ("open", [name]) => self.queue = Some(self.options(1).open(name)?),
            ("anonymous", [capacity]) => {
                self.queue = Some(self.options(capacity.parse()?).anonymous()?)
            }
            ("ticket", _) => return Ok(serde_json::to_string(self.queue()?)?),
            ("redeem", _) => self.queue = Some(serde_json::from_str(rest)?),
            ("send-handle", [name]) => {
                let queue = self.queue()?.clone();
                self.handles(name)?.try_put(queue).map_err(debug)?;
            }
            ("receive-handle", [name]) => self.queue = Some(self.handles(name)?.get()?),
            ("threads", [count, name]) => self.open_in_threads(count.parse()?, name)?,
            ("drop", _) => self.queue = None,
            ("unlink", [name]) => self.namespace.unlink(name)?,
            ("unlink-unused", [name]) => self.namespace.unlink_unused(name)?,
            ("truncate", [name, length]) => {
                let file = File::options()
                    .write(true)
                    .open(self.namespace.path().join(name))?;
                file.set_len(length.parse()?)?;
            }
            // ---- what to do with it
            ("put", _) => self.queue()?.put(rest.into()).map_err(debug)?,
            ("try-put", _) => self.queue()?.try_put(rest.into()).map_err(debug)?,
            ("get", _) => return text(self.queue()?.get()?),
            ("try-get", _) => return text(self.queue()?.try_get()?),
            ("get-timeout", [millis]) => {
                let timeout = Duration::from_millis(millis.parse()?);
                return text(self.queue()?.get_timeout(timeout)?);
            }
            ("len", _) => return Ok(self.queue()?.len().to_string()),
            ("sweep", _) => return Ok(self.queue()?.sweep()?.to_string()),
            ("close", _) => self.queue()?.close(),
            ("joinable", _) => return joinable::obey(&self.namespace, rest),
            ("ordered", _) => return ordered::obey(&self.namespace, rest),
            ("shared", _) => return shared::obey(&self.namespace, rest),
            ("sync", _) => return sync::obey(&self.namespace, rest),
            ("loan", _) => return loan::obey(&self.namespace, rest),
            ("pipe", _) => return pipe::obey(&self.namespace, rest),
            ("listener", _) => return listener::obey(&self.namespace, rest),
            ("broadcast", _) => return broadcast::obey(&self.namespace, rest),
            ("frames", _) => return frames::obey(&self.namespace, rest),
            ("family", _) => return family::obey(&self.namespace, rest),
            ("wait", _) => return wait_set::obey(&self.namespace, rest),
            ("endure", [kind, name, seed, millis]) => {
                let duration = Duration::from_millis(millis.parse()?);
                return live::endure(&self.namespace, kind, name, seed.parse()?, duration);
            }
            // ---- what to do with this process
            ("at", [time, ..]) => {
                let time: u128 = time.parse()?;
                while now()? < time {
                    std::hint::spin_loop();
                }
                return self.execute(&words[1..].join(" "));
            }
            ("fork-and", _) => return self.fork_and(rest),
            ("fork-hold", _) => return self.fork_hold(rest),
            ("end", _) => {
                say("ok")?;
                end(0);
            }
            ("fork-and-listen", _) => {
                if self.fork()?.is_some() {
                    loop {
                        pause(); // it is the child that listens from now on
                    }
                }
                return Ok(std::process::id().to_string());
            }
            ("fork-in-put-many", _) => return self.fork_in_put_many(),
            ("fork-while-threads-attach", [count]) => return self.fork_busily(count.parse()?),
            ("exec", _) => {
                let program = std::env::current_exe()?;
                let mut command = Command::new(program);
                return Err(command
                    .arg(self.namespace.path())
                    .arg("--hello")
                    .exec()
                    .into());
            }
            _ => return Err(format!("what is {line:?}?").into()),
        }
        Ok(String::new())
    }

    fn options(&self, capacity: usize) -> ipc_core::QueueOptions<Bytes> {
        Queue::options(capacity)
            .memory(4096)
            .namespace(&self.namespace)
    }

    fn handles(&self, name: &str) -> ipc_core::Result<Queue<Queue<Bytes>>> {
        Queue::options(4)
            .namespace(&self.namespace)
            .open_or_create(name)
    }

    fn queue(&self) -> Result<&Queue<Bytes>, &'static str> {
        self.queue.as_ref().ok_or("no queue is open")
    }

    /// Opens the queue once in each of some threads at once, and keeps all handles.
    fn open_in_threads(&mut self, count: usize, name: &str) -> Done {
        let open = || self.options(1).open(name);
        let opened: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|t| t.join()).collect()
        });
        for queue in opened {
            let queue = queue.map_err(|_| "a thread panicked")??;
            queue.try_put(Bytes::from("from a thread")).map_err(debug)?;
            self.more.extend([queue.clone(), queue]);
        }
        Ok(())
    }

    /// Has a child do something and end, its handles dropped; answers what the child answered.
    fn fork_and(&mut self, line: &str) -> Answer {
        let (mut theirs, mut ours) = (io::pipe()?, String::new());
        match self.fork()? {
            None => {
                let answer = self.obey(line);
                self.queue = None;
                self.more.clear();
                let is_told = theirs.1.write_all(answer.as_bytes());
                end(is_told.is_err().into());
            }
            Some(child) => {
                drop(theirs.1);
                io::Read::read_to_string(&mut theirs.0, &mut ours)?;
                waitpid(child, None)?;
                ours.strip_prefix("ok")
                    .map(|s| s.trim().to_owned())
                    .ok_or(ours.into())
            }
        }
    }

    /// Has a child do something and go on living; answers its process id.
    fn fork_hold(&mut self, line: &str) -> Answer {
        let (mut ours, mut theirs) = io::pipe()?;
        match self.fork()? {
            None => {
                let answer = self.obey(line);
                let _ = theirs.write_all(answer.as_bytes());
                drop(theirs);
                loop {
                    pause();
                }
            }
            Some(child) => {
                drop(theirs);
                let mut answer = String::new();
                io::Read::read_to_string(&mut ours, &mut answer)?;
                if answer.starts_with("ok") {
                    Ok(child.to_string())
                } else {
                    Err(answer.into())
                }
            }
        }
    }

    /// Puts `one` and `two` with one call whose iterator forks in between, and has the child end its copy of the call.
    /// Answers how many messages there were when the child had ended.
    fn fork_in_put_many(&mut self) -> Answer {
        let queue = self.queue()?.clone();
        let mut values = ["one", "two"].into_iter();
        let (mut is_child, mut found) = (false, 0);
        let values = std::iter::from_fn(|| {
            if values.len() == 1 {
                match self.fork().expect("a puppet can fork") {
                    None => is_child = true,
                    Some(child) => {
                        waitpid(child, None).expect("it is our child");
                        found = queue.len();
                    }
                }
            }
            values.next().filter(|_| !is_child).map(Bytes::from)
        });
        queue.put_many(Promising(values)).map_err(debug)?;
        if is_child {
            end(0);
        }
        Ok(found.to_string())
    }

    fn fork(&self) -> nix::Result<Option<nix::unistd::Pid>> {
        // SAFETY: what the child does after it is what a forked child may do with this library: all of its locks are
        // free at the fork, and glibc's allocator works in the child.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Some(child)),
            ForkResult::Child => {
                alarm::set(60); // no puppet's child outlives its test for long
                Ok(None)
            }
        }
    }

    /// Forks `count` times while threads come to and leave queues; each child uses a queue of its parent and another.
    fn fork_busily(&mut self, count: usize) -> Answer {
        let is_over = AtomicBool::new(false);
        let attach = |name: String| {
            // Relaxed: it only has to be seen some time.
            while !is_over.load(Ordering::Relaxed) {
                let queue = self.options(4).participants(64).open_or_create(&name)?;
                let _ = queue.try_put(Bytes::from("busy"));
            }
            Ok::<_, ipc_core::Error>(())
        };
        let attach = &attach;
        thread::scope(|scope| -> Answer {
            let stop = Stop(&is_over);
            let threads: Vec<_> = (0..3)
                .map(|i| scope.spawn(move || attach(format!("busy-{i}"))))
                .collect();
            for i in 0..threads.len() {
                while self.options(1).open(&format!("busy-{i}")).is_err() {
                    thread::yield_now(); // its thread has not made it yet
                }
            }
            let mut bad = 0;
            let mut forks = 0;
            for i in 0..count {
                let name = format!("busy-{}", i % 3);
                let Some(child) = self.fork()? else {
                    alarm::set(10);
                    end((!self.is_child_fine(&name)).into());
                };
                forks += 1;
                if waitpid(child, None)? != WaitStatus::Exited(child, 0) {
                    bad += 1;
                }
            }
            drop(stop);
            for thread in threads {
                thread.join().map_err(|_| "a thread panicked")??;
            }
            Ok(format!("{bad} of {forks} children failed"))
        })
    }

    fn is_child_fine(&self, name: &str) -> bool {
        let Ok(queue) = self.queue() else {
            return false;
        };
        let is_used = queue.put(Bytes::from("child")).is_ok() && queue.get().is_ok();
        let other = self.options(1).open(name);
        is_used
            && other.is_ok_and(|other| {
                !matches!(other.try_get(), Err(ipc_core::TryGetError::Failed(_)))
            })
    }
}

/// Ends the threads that look at it, also when something fails: their scope waits for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says of each element but the last that another will come.
struct Promising<I>(I);

impl<I: Iterator> Iterator for Promising<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (1, None)
    }
}

fn end(status: i32) -> ! {
    // SAFETY: _exit runs nothing of this process, as befits a forked child.
    unsafe { libc::_exit(status) }
}

fn now() -> nix::Result<u128> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_nanos())
}

fn text(bytes: Bytes) -> Answer {
    Ok(String::from_utf8(bytes.0)?)
}

/// The text of an error that also carries the message.
fn debug(e: impl Debug) -> String {
    format!("{e:?}")
}
