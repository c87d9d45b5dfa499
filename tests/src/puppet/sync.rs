//! What a puppet does with synchronisation objects: `lock acquire`, `event wait`, and so on.
//!
//! Objects have fixed names, and are opened when they are first meant. Their handles live as long as the process, so that
//! what is acquired can be kept between commands.

use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use ipc_core::{
    Barrier, BoundedSemaphore, BoundedSemaphoreGuard, Condition, Event, Lock, LockGuard, Namespace,
    RLock, RwLock, Semaphore, SemaphoreGuard, WaitStrategy,
};

use crate::corruption::sync::endure;

/// Enough for the thread to come, though not every acquisition sleeps.
const MANY_SLEEPS: u32 = 20_000;
/// Enough for the thread to come, unless a busy machine makes of them less than some ten thousand in a second.
const MANY_ACQUISITIONS: u32 = 1_000_000;

/// A handle that lives as long as the process.
type Handle<T> = OnceLock<&'static T>;
type Answer = Result<String, Box<dyn Error>>;

thread_local! {
    /// What this thread holds, nobody else may release.
    static USER: RefCell<SyncUser> = RefCell::default();
}

/// Does as told, in the thread that did what it was told before.
///
/// # Errors
///
/// When the objects refuse, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Answer {
    USER.with_borrow_mut(|user| user.obey(namespace, line))
}

/// A process's use of one object of each kind.
#[derive(Debug, Default)]
struct SyncUser {
    lock: Handle<Lock<u64>>,
    rlock: Handle<RLock>,
    rwlock: Handle<RwLock<u64>>,
    semaphore: Handle<Semaphore>,
    bounded: Handle<BoundedSemaphore>,
    event: Handle<Event>,
    condition: Handle<Condition>,
    barrier: Handle<Barrier>,
    /// What it has acquired, the latest last, with the kind of object.
    held: Vec<(&'static str, Box<dyn Any>)>,
}

macro_rules! opened {
    ($self:expr, $namespace:expr, $field:ident, $type:ty) => {{
        if $self.$field.get().is_none() {
            let options = <$type>::opener().wait(WaitStrategy::Sleep);
            let handle = options.namespace($namespace).open(stringify!($field))?;
            let _ = $self.$field.set(Box::leak(Box::new(handle)));
        }
        *$self.$field.get().expect("it was just set")
    }};
}

/// One more than the value, released again.
fn add(lock: &Lock<u64>) -> ipc_core::Result<()> {
    *lock.acquire()? += 1;
    Ok(())
}

/// Two more than the number in the file, one of them after the lock was released once and is still held. Not in one step:
/// only the lock keeps others out.
fn add_twice(lock: &RLock, guarded: &File) -> Result<(), Box<dyn Error>> {
    let add = || -> io::Result<()> {
        let number = number_in(guarded)?;
        guarded.write_all_at(&(number + 1).to_le_bytes(), 0)
    };
    let _outer = lock.acquire()?;
    let inner = lock.acquire()?;
    if inner.depth() != 2 {
        return Err(format!("held {} times", inner.depth()).into());
    }
    add()?;
    drop(inner);
    Ok(add()?)
}

/// Does something so many times, and after each writes down how often this process has, beside the namespace: who kills it
/// learns how far it came, but for the last step.
fn note_each(
    namespace: &Namespace,
    what: &str,
    times: u64,
    mut act: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let name = format!("{what}-{}", std::process::id());
    let path = namespace.path().with_file_name(name);
    let mut options = File::options();
    let notes = options.create(true).truncate(false).read(true).write(true);
    let notes = notes.open(path)?;
    let before = number_in(&notes)?;
    for done in before + 1..=before + times {
        act()?;
        notes.write_all_at(&done.to_le_bytes(), 0)?;
    }
    Ok(())
}

/// 0 if it is empty.
fn number_in(file: &File) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_at(&mut bytes, 0)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Sleeps so often that this process gets a thread that looks after its sleepers.
fn sleep_often() -> Answer {
    let semaphore = || {
        let options = Semaphore::options(0).wait(WaitStrategy::Sleep);
        options.anonymous()
    };
    let (there, back) = (semaphore()?, semaphore()?);
    let pass = |from: &Semaphore, to: &Semaphore| -> ipc_core::Result<()> {
        for _ in 0..MANY_SLEEPS {
            from.acquire()?.forget();
            to.release(1).expect("it has room");
        }
        Ok(())
    };
    there.release(1)?;
    thread::scope(|scope| {
        let other = scope.spawn(|| pass(&there, &back));
        pass(&back, &there)?;
        other.join().expect("it does not panic")
    })?;
    Ok(has_alarm()?.to_string())
}

/// Acquires a lock so often that this process gets a thread that keeps the time for it.
fn acquire_often() -> Answer {
    let lock = Lock::options().anonymous()?;
    for _ in 0..MANY_ACQUISITIONS {
        drop(lock.acquire()?);
    }
    Ok(has_alarm()?.to_string())
}

/// Whether this process has the thread of the library.
fn has_alarm() -> io::Result<bool> {
    let mut threads = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        threads.push(fs::read_to_string(thread?.path().join("comm"))?);
    }
    Ok(threads.iter().any(|name| name.trim() == "ipc-alarm"))
}

impl SyncUser {
    fn obey(&mut self, namespace: &Namespace, line: &str) -> Answer {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| -> Result<u64, Box<dyn Error>> {
            Ok(words.get(at).ok_or("how many?")?.parse()?)
        };
        let kind = words.first().copied().unwrap_or_default();
        match kind {
            "drop" => {
                let kind = words.get(1).copied().unwrap_or_default();
                let at = self.held.iter().rposition(|&(of, _)| of == kind);
                self.held.remove(at.ok_or("nothing is held")?);
                return Ok(String::new());
            }
            "often" => return sleep_often(),
            "acquire-often" => return acquire_often(),
            "endure" => {
                let [_, kind, name, ..] = words[..] else {
                    return Err("endure what?".into());
                };
                let duration = Duration::from_millis(number(4)?);
                return endure(namespace, kind, name, number(3)?, duration);
            }
            "redeem-lock" => {
                let text = line.strip_prefix("redeem-lock ").unwrap_or_default();
                let lock: Lock<u64> = serde_json::from_str(text)?;
                add(&lock)?;
                return Ok(String::new());
            }
            _ => {}
        }
        match (kind, words.get(1).copied().unwrap_or_default()) {
            ("soak", "lock") => {
                let lock = opened!(self, namespace, lock, Lock<u64>);
                note_each(namespace, "lock", number(2)?, || Ok(add(lock)?))?;
            }
            ("soak", "rlock") => {
                let lock = opened!(self, namespace, rlock, RLock);
                let path = namespace.path().with_file_name("guarded");
                let guarded = File::options().read(true).write(true).open(path)?;
                note_each(namespace, "rlock", number(2)?, || add_twice(lock, &guarded))?;
            }
            ("soak", "rwlock") => {
                let lock = opened!(self, namespace, rwlock, RwLock<u64>);
                note_each(namespace, "rwlock", number(2)?, || {
                    *lock.write()? += 1;
                    let _ = *lock.read()?;
                    Ok(())
                })?;
            }
            ("lock", "open") => {
                let _ = opened!(self, namespace, lock, Lock<u64>);
            }
            ("lock", action) => {
                let lock = opened!(self, namespace, lock, Lock<u64>);
                let guard: LockGuard<'static, u64> = match action {
                    "acquire" => lock.acquire()?,
                    "acquire-and-mark" => {
                        let mut guard = lock.acquire()?;
                        guard.mark_consistent();
                        guard
                    }
                    "try" => lock.try_acquire()?,
                    "acquire-timeout" => lock.acquire_timeout(Duration::from_millis(number(2)?))?,
                    "change" => {
                        // In the value of the guard only, until it is dropped.
                        let guard = self.held.last_mut().ok_or("nothing is held")?;
                        let guard = guard.1.downcast_mut::<LockGuard<'static, u64>>();
                        **guard.ok_or("the last is no lock")? += number(2)?;
                        return Ok(String::new());
                    }
                    "add" => {
                        (0..number(2)?).try_for_each(|_| add(lock))?;
                        return Ok(String::new());
                    }
                    "panic" => {
                        let panics = || {
                            let _guard = lock.acquire().expect("it is to be had");
                            panic!("on purpose");
                        };
                        std::panic::set_hook(Box::new(|_| {}));
                        return match catch_unwind(AssertUnwindSafe(panics)) {
                            Err(_) => Ok(String::new()),
                        };
                    }
                    _ => return Err(format!("what is {line:?}?").into()),
                };
                let answer = format!("{} {}", *guard, guard.owner_died());
                self.keep("lock", guard);
                return Ok(answer);
            }
            ("rlock", "open") => {
                let _ = opened!(self, namespace, rlock, RLock);
            }
            ("rlock", "acquire") => {
                let guard = opened!(self, namespace, rlock, RLock).acquire()?;
                let answer = format!("{} {}", guard.depth(), guard.owner_died());
                self.keep("rlock", guard);
                return Ok(answer);
            }
            ("rwlock", "open") => {
                let _ = opened!(self, namespace, rwlock, RwLock<u64>);
            }
            ("rwlock", action) => {
                let lock = opened!(self, namespace, rwlock, RwLock<u64>);
                return match action {
                    "read" => {
                        let guard = lock.read()?;
                        let answer = format!("{} {}", *guard, guard.owner_died());
                        self.keep("rwlock", guard);
                        Ok(answer)
                    }
                    "write" => {
                        let guard = lock.write()?;
                        let answer = format!("{} {}", *guard, guard.owner_died());
                        self.keep("rwlock", guard);
                        Ok(answer)
                    }
                    "add" => {
                        for _ in 0..number(2)? {
                            *lock.write()? += 1;
                            let _ = *lock.read()?;
                        }
                        Ok(String::new())
                    }
                    _ => Err(format!("what is {line:?}?").into()),
                };
            }
            ("semaphore", action) => {
                let semaphore = opened!(self, namespace, semaphore, Semaphore);
                match action {
                    "open" => {}
                    "acquire" => {
                        let guard: SemaphoreGuard<'static> = semaphore.acquire()?;
                        self.keep("semaphore", guard);
                    }
                    "pass" => {
                        for _ in 0..number(2)? {
                            drop(semaphore.acquire()?);
                        }
                    }
                    "value" => return Ok(semaphore.value().to_string()),
                    "release" => semaphore.release(1)?,
                    _ => return Err(format!("what is {line:?}?").into()),
                }
            }
            ("bounded", action) => {
                let semaphore = opened!(self, namespace, bounded, BoundedSemaphore);
                match action {
                    "open" => {}
                    "acquire" => {
                        let guard: BoundedSemaphoreGuard<'static> = semaphore.acquire()?;
                        self.keep("bounded", guard);
                    }
                    "pass" => {
                        for _ in 0..number(2)? {
                            drop(semaphore.acquire()?);
                        }
                    }
                    "forget" => {
                        let (_, guard) = self.held.pop().ok_or("nothing is held")?;
                        let guard = guard.downcast::<BoundedSemaphoreGuard<'static>>();
                        guard.map_err(|_| "the last is no permit")?.forget();
                    }
                    "value" => return Ok(semaphore.value().to_string()),
                    _ => return Err(format!("what is {line:?}?").into()),
                }
            }
            ("event", action) => {
                let event = opened!(self, namespace, event, Event);
                match action {
                    "open" => {}
                    "wait" => event.wait()?,
                    "set" => return Ok(event.set()?.to_string()),
                    "pulse" => {
                        for _ in 0..number(2)? {
                            event.set()?;
                            event.clear()?;
                        }
                    }
                    _ => return Err(format!("what is {line:?}?").into()),
                }
            }
            ("condition", "wait") => {
                let lock = opened!(self, namespace, lock, Lock<u64>);
                let condition = opened!(self, namespace, condition, Condition);
                let guard = condition.wait(lock.acquire()?)?;
                return Ok(format!("{} {}", *guard, guard.owner_died()));
            }
            ("condition", "notify") => {
                let condition = opened!(self, namespace, condition, Condition);
                return Ok(condition.notify(number(2)? as usize)?.to_string());
            }
            ("barrier", action) => {
                let barrier = opened!(self, namespace, barrier, Barrier);
                match action {
                    "open" => {}
                    "wait" => return Ok(barrier.wait().map_err(debug)?.to_string()),
                    _ => return Err(format!("what is {line:?}?").into()),
                }
            }
            _ => return Err(format!("what is {line:?}?").into()),
        }
        Ok(String::new())
    }

    fn keep(&mut self, kind: &'static str, guard: impl Any) {
        self.held.push((kind, Box::new(guard)));
    }
}

fn debug(e: impl Debug) -> String {
    format!("{e:?}")
}
