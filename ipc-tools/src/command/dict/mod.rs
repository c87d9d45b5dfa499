//! `ipc dict`.

mod any;
mod change;
mod datum;
mod dump;
mod load;
mod look;
mod watch;

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use ipc_core::{Dict, DictError, DictOptions, Kind};

use self::{
    any::AnyDict,
    datum::{Datum, Sort},
};
use super::set;
use crate::{
    args::{
        Place,
        dict::{Clear, Create, Len, Verb},
    },
    exit::{Failure, Outcome},
    output::{human, json, print},
    signals::Signals,
};

pub(crate) fn run(place: &Place, verb: Verb) -> Outcome {
    match verb {
        Verb::Create(args) => create(place, &args),
        Verb::Get(args) => look::get(place, args),
        Verb::Set(args) => change::set(place, args),
        Verb::Del(args) => change::del(place, args),
        Verb::Incr(args) => change::incr(place, args),
        Verb::Cas(args) => change::cas(place, args),
        Verb::Keys(args) => look::keys(place, args),
        Verb::Items(args) => look::items(place, args),
        Verb::Watch(args) => watch::run(place, args),
        Verb::Len(args) => len(place, &args),
        Verb::Clear(args) => clear(place, &args),
        Verb::Dump(args) => dump::run(place, &args),
        Verb::Load(args) => load::run(place, &args),
    }
}

/// A dictionary that a verb has opened.
struct Opened {
    dict: Box<dyn AnyDict>,
    signals: Signals,
}

impl Opened {
    fn new(place: &Place, name: &str) -> Outcome<Self> {
        let namespace = place.namespace()?;
        Ok(Self {
            signals: Signals::watch()?,
            dict: any::open(&namespace, name)?,
        })
    }

    /// Does `action`, however long somebody is in the way, until a signal comes.
    fn patiently<R>(
        &self,
        mut action: impl FnMut(&dyn AnyDict) -> Result<R, DictError>,
    ) -> Outcome<R> {
        loop {
            self.signals.check()?;
            match action(&*self.dict) {
                Err(DictError::Timeout) => {}
                done => return Ok(done?),
            }
        }
    }

    /// The key that an argument means.
    fn key(&self, argument: OsString) -> Outcome<Datum> {
        read(self.dict.key_sort(), argument.into_vec(), "the key")
    }

    /// The value that an argument or standard input means.
    fn value(&self, bytes: Vec<u8>) -> Outcome<Datum> {
        read(self.dict.value_sort(), bytes, "the value")
    }
}

fn read(sort: Sort, bytes: Vec<u8>, what: &str) -> Outcome<Datum> {
    sort.read(bytes)
        .map_err(|why| Failure::Usage(format!("{what} {why}")))
}

/// How a message names a key.
fn named(key: &Datum) -> String {
    const LONGEST: usize = 80;
    let text = String::from_utf8_lossy(&key.to_bytes()).into_owned();
    let text = human::printable(&text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn absent(key: &Datum) -> Failure {
    Failure::Other(format!("there is no key {:?}", named(key)))
}

fn create(place: &Place, args: &Create) -> Outcome {
    let mut options = Dict::<String, String>::options().namespace(&place.namespace()?);
    options = set(options, args.limit, DictOptions::limit);
    options = set(options, args.initial, DictOptions::initial);
    created!(options, args.make, &args.name);
    Ok(())
}

#[derive(serde::Serialize)]
struct Length {
    name: String,
    len: usize,
}

fn len(place: &Place, args: &Len) -> Outcome {
    let found = place.namespace()?.inspect(&args.name)?;
    let Some(dict) = found.dict else {
        let wrong = format!("{} is a {}, not a {}", found.name, found.kind, Kind::Dict);
        return Err(Failure::WrongKind(wrong));
    };
    if args.json {
        return json::print(&Length {
            name: found.name,
            len: dict.len,
        });
    }
    print(format!("{}\n", dict.len).as_bytes())
}

fn clear(place: &Place, args: &Clear) -> Outcome {
    Opened::new(place, &args.name)?.patiently(|dict| dict.clear())
}
