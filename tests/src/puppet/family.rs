//! What a puppet does with a family of objects.

use std::cell::RefCell;
use std::error::Error;

use ipc_core::{Bytes, Manager, Namespace, Queue};

type Answer = Result<String, Box<dyn Error>>;

#[derive(Default)]
struct User {
    team: Option<Manager>,
    members: Vec<Queue<Bytes>>,
    outer: Option<Queue<Queue<Bytes>>>,
}

thread_local! {
    static USER: RefCell<User> = RefCell::default();
}

/// Does as told.
///
/// # Errors
///
/// When something refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Answer {
    USER.with_borrow_mut(|user| user.execute(namespace, line))
}

impl User {
    fn execute(&mut self, namespace: &Namespace, line: &str) -> Answer {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let options = Manager::options().namespace(namespace);
        match command {
            "new" => self.team = Some(options.anonymous()?),
            "create" => self.team = Some(options.create(rest)?),
            "open" => self.team = Some(options.open(rest)?),
            "unlink" => self.team()?.unlink()?,
            "letter" => return Ok(serde_json::to_string(self.team()?)?),
            "come" => self.team = Some(serde_json::from_str(rest)?),
            "leave" => *self = Self::default(),
            "forget-team" => self.team = None,
            "forget-members" => self.members.clear(),
            // ---- members, of which the last one is meant
            "make" => {
                self.members.push(self.team()?.queue(4)?);
                return Ok(serde_json::to_string(self.member()?)?);
            }
            "take" => self.members.push(serde_json::from_str(rest)?),
            "put" => {
                let put = self.member()?.try_put(rest.into());
                put.map_err(|e| e.to_string())?;
            }
            "get" => return Ok(String::from_utf8(self.member()?.try_get()?.0)?),
            // ---- a queue of queues
            "make-nested" => {
                let (outer, inner) = (self.team()?.queue(4)?, self.team()?.queue(4)?);
                outer.try_put(inner).map_err(|e| e.to_string())?;
                return Ok(serde_json::to_string(self.outer.insert(outer))?);
            }
            "take-nested" => {
                let outer: Queue<Queue<Bytes>> = serde_json::from_str(rest)?;
                self.members.push(outer.peek()?);
                self.outer = Some(outer);
            }
            "get-nested" => {
                let outer: Queue<Queue<Bytes>> = serde_json::from_str(rest)?;
                self.members.push(outer.try_get()?);
            }
            "churn" => return churn(namespace, rest.parse()?),
            _ => return Err(format!("what is {line:?}?").into()),
        }
        Ok(String::new())
    }

    fn team(&self) -> Result<&Manager, &'static str> {
        self.team.as_ref().ok_or("there is no family")
    }

    fn member(&self) -> Result<&Queue<Bytes>, &'static str> {
        self.members.last().ok_or("there is no member")
    }
}

/// Comes to a family, makes members, and leaves, until it is killed.
fn churn(namespace: &Namespace, seed: usize) -> Answer {
    let options = Manager::options().namespace(namespace);
    let name = |round: usize| format!("team-{}", (seed + round) % 2);
    for round in 0.. {
        let is_named = !(seed + round).is_multiple_of(3);
        let team = match is_named {
            true => options.open_or_create(&name(round))?,
            false => options.anonymous()?,
        };
        let jobs = Queue::<Bytes>::options(4)
            .memory(0)
            .namespace(&team.members());
        let jobs = jobs.open_or_create("jobs")?;
        let nameless: Queue<u32> = team.queue(2)?;
        let same: Queue<u32> = serde_json::from_str(&serde_json::to_string(&nameless)?)?;
        same.put(7)?;
        if nameless.get()? != 7 || !is_named && jobs.try_put("x".into()).is_err() {
            return Err("a member does not work".into());
        }
        if is_named {
            nameless.unlink()?;
            if round.is_multiple_of(5) {
                match team.unlink() {
                    Ok(()) | Err(ipc_core::Error::NotFound { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
    }
    Ok(String::new())
}
