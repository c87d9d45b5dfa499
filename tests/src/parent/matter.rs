//! What goes to a child and what comes back.

use std::path::Path;

use ipc_core::{
    Bytes, Event, JoinError, Namespace, Pipe, Process, Queue, Sender, SpawnError, Worker,
    current_process, parent_process,
};
use serde::{Deserialize, Serialize};

fn join(a: u8, b: String, c: Option<i64>, d: (bool, Vec<f64>)) -> String {
    format!("{a} {b} {c:?} {d:?}")
}

fn nothing() {}

fn sum(all: Vec<u64>) -> Result<u64, String> {
    match all.is_empty() {
        false => Ok(all.iter().sum()),
        true => Err("nothing to add".into()),
    }
}

fn largest<T: Ord>(all: Vec<T>) -> Option<T> {
    all.into_iter().max()
}

/// Functions of any number of arguments, generic ones and closures; each value comes back as often as it is asked for.
pub fn values(_: &Path) {
    let arguments = (7, "seven".to_owned(), Some(-7), (true, vec![0.5]));
    let joined = Process::spawn(join, arguments).unwrap();
    assert_eq!(joined.join().unwrap(), "7 seven Some(-7) (true, [0.5])");
    assert_eq!(joined.join().unwrap(), "7 seven Some(-7) (true, [0.5])");
    assert_eq!(joined.clone().exit_code().unwrap(), Some(0));

    Process::spawn(nothing, ()).unwrap().join().unwrap();
    let added = Process::spawn(sum, (vec![1, 2, 3],)).unwrap();
    assert_eq!(added.join().unwrap(), Ok(6));
    let refused = Process::spawn(sum, (vec![],)).unwrap();
    assert_eq!(refused.join().unwrap(), Err("nothing to add".into()));
    let power = Process::spawn(|a: u32, b: u32| a.pow(b), (2, 10)).unwrap();
    assert_eq!(power.join().unwrap(), 1024);
    let words = vec!["a".to_owned(), "c".to_owned(), "b".to_owned()];
    let word = Process::spawn(largest::<String>, (words,)).unwrap();
    let number = Process::spawn(largest::<u8>, (vec![1, 3, 2],)).unwrap();
    assert_eq!(word.join().unwrap().as_deref(), Some("c"));
    assert_eq!(number.join().unwrap(), Some(3));
    let raw = Process::spawn(|n: usize| Bytes(vec![9; n]), (5,)).unwrap();
    assert_eq!(raw.join().unwrap(), Bytes(vec![9; 5]));
    let many = |a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8| [a, b, c, d, e, f, g, h];
    let many = Process::spawn(many, (1, 2, 3, 4, 5, 6, 7, 8)).unwrap();
    assert_eq!(many.join().unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

fn answer(questions: Queue<String>, mut answers: Sender<String>, done: Event) {
    for question in &questions {
        answers.send(format!("{}!", question.unwrap())).unwrap();
    }
    done.set().unwrap();
}

/// Handles of objects without names travel, also when the parent drops its own at once.
pub fn handles(directory: &Path) {
    let namespace = Namespace::at(directory.join("objects")).unwrap();
    let questions = Queue::options(4).namespace(&namespace).anonymous().unwrap();
    let (mut receiver, sender) = Pipe::options().namespace(&namespace).simplex().unwrap();
    let done = Event::options().namespace(&namespace).anonymous().unwrap();
    questions.put("who".to_owned()).unwrap();
    let given = (questions.clone(), sender, done.clone());
    let worker = Process::spawn(answer, given).unwrap();
    assert_eq!(receiver.recv().unwrap(), "who!");
    questions.put("what".to_owned()).unwrap();
    questions.close();
    done.wait().unwrap();
    worker.join().unwrap();
    assert_eq!(receiver.recv().unwrap(), "what!");
    assert!(receiver.recv().is_err(), "the child was the only sender");

    // The child's is the last handle: the parent's is gone as soon as the child has its own.
    let last = Queue::options(4).namespace(&namespace).anonymous().unwrap();
    last.put(7_u32).unwrap();
    let worker = Process::spawn(|queue: Queue<u32>| queue.get().unwrap(), (last,)).unwrap();
    assert_eq!(worker.join().unwrap(), 7);
    // Killed before it takes them.
    let never = Queue::<u32>::options(4)
        .namespace(&namespace)
        .anonymous()
        .unwrap();
    let killed = Process::spawn(|queue: Queue<u32>| queue.get().unwrap(), (never,)).unwrap();
    killed.kill().unwrap();
    assert!(killed.join().is_err());
    drop((questions, receiver, done, killed));
    namespace.collect().unwrap();
    assert!(namespace.leftovers().unwrap().is_empty());
    assert_eq!(namespace.list().unwrap(), [""; 0]);
}

/// Arguments and return values of 10 MB.
pub fn big(_: &Path) {
    let bytes: Vec<u8> = (0..10_000_000_u32).map(|n| (n % 251) as u8).collect();
    let reversed = |bytes: Vec<u8>| bytes.into_iter().rev().collect::<Vec<u8>>();
    let reversed = Process::spawn(reversed, (bytes.clone(),)).unwrap();
    let reversed = reversed.join().unwrap();
    assert!(reversed.iter().rev().eq(&bytes));
}

/// Encodes as what it does not decode from.
#[derive(Debug, Clone, Copy)]
struct Odd {
    goes: bool,
}

impl Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.goes {
            true => serializer.serialize_u8(1),
            false => Err(serde::ser::Error::custom("it stays here")),
        }
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            2 => Ok(Self { goes: true }),
            _ => Err(serde::de::Error::custom("it does not come here")),
        }
    }
}

/// What cannot be encoded or decoded is told, wherever that is.
pub fn bad_matter(_: &Path) {
    let refused = Process::spawn(|_: Odd| (), (Odd { goes: false },));
    assert!(
        matches!(&refused, Err(SpawnError::Encode(_))),
        "{refused:?}"
    );
    let said = |ended: JoinError| match ended {
        JoinError::Failed { why, .. } => why,
        other => panic!("{other:?}"),
    };
    let undecoded = Process::spawn(|_: Odd| (), (Odd { goes: true },)).unwrap();
    let why = said(undecoded.join().unwrap_err());
    assert!(why.contains("arguments could not be decoded"), "{why}");
    assert_eq!(undecoded.exit_code().unwrap(), Some(1));
    let unencoded = Process::spawn(|| Odd { goes: false }, ()).unwrap();
    let why = said(unencoded.join().unwrap_err());
    assert!(why.contains("return value could not be encoded"), "{why}");
    let unread = Process::spawn(|| Odd { goes: true }, ()).unwrap();
    assert!(matches!(unread.join(), Err(JoinError::Decode { .. })));
    assert_eq!(unread.exit_code().unwrap(), Some(0));
}

#[derive(Serialize, Deserialize)]
struct Greeter<T> {
    whom: T,
}

impl<T: Serialize + for<'a> Deserialize<'a> + Send + std::fmt::Display + 'static> Worker
    for Greeter<T>
{
    type Output = String;

    fn run(self) -> String {
        let (this, parent) = (current_process(), parent_process().unwrap());
        assert!(parent.is_alive() && parent.pid() != this.pid() && !this.is_daemon());
        format!("{} of {} greets {}", this.name(), parent.name(), self.whom)
    }
}

/// Types with a `run`, names of processes that start processes.
pub fn workers(_: &Path) {
    assert_eq!(current_process().name(), "MainProcess");
    assert!(parent_process().is_none());
    let greeter = Process::start(Greeter {
        whom: "ada".to_owned(),
    })
    .unwrap();
    assert_eq!(greeter.name(), "Greeter-1");
    assert_eq!(
        greeter.join().unwrap(),
        "Greeter-1 of MainProcess greets ada"
    );
    let nested = || {
        let inner = || Process::start(Greeter { whom: 7 }).unwrap().join().unwrap();
        Process::spawn(inner, ()).unwrap().join().unwrap()
    };
    let nested = Process::spawn(nested, ()).unwrap();
    assert_eq!(nested.name(), "Process-2");
    assert_eq!(
        nested.join().unwrap(),
        "Greeter-2:1:1 of Process-2:1 greets 7"
    );
}
