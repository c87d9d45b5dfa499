//! `ipc dict load`.

use std::{cell::Cell, fmt, fs::File, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Opened;
use crate::{
    args::{Place, dict::Load, values::Format},
    exit::{Failure, Outcome},
    inlet::Inlet,
};

pub(super) fn run(place: &Place, args: &Load) -> Outcome {
    // Before signals are watched: to open a named pipe may take long.
    let file = match args.file.as_path() {
        path if path == Path::new("-") => None,
        path => Some(
            File::open(path)
                .map_err(|e| Failure::Other(format!("could not open {}: {e}", path.display())))?,
        ),
    };
    let most_bytes = place.namespace()?.inspect(&args.name)?.dict;
    let most_bytes = most_bytes.map_or(usize::MAX, |dict| dict.limit);
    let opened = Opened::new(place, &args.name)?;
    let inlet = Inlet {
        signals: &opened.signals,
        format: Format::Lines,
        most_bytes,
    };
    let (line, set) = (Cell::new(0u64), Cell::new(0u64));
    let take = |record: Vec<u8>| -> Outcome {
        opened.signals.check()?;
        line.set(line.get() + 1);
        if !record.trim_ascii().is_empty() {
            load(&opened, &record, line.get())?;
            set.set(set.get() + 1);
        }
        Ok(())
    };
    let longer = || {
        let number = line.get() + 1;
        Failure::Other(format!(
            "line {number} is longer than the dictionary's limit"
        ))
    };
    let outcome = match file {
        Some(mut file) => inlet.records_of(&mut file, take, longer),
        None => inlet.records(take, longer),
    };
    outcome.map_err(|failure| failure.after(format!("{} pair(s) were set", set.get())))
}

/// Sets the pair in a line.
fn load(opened: &Opened, record: &[u8], number: u64) -> Outcome {
    let wrong = |why: String| Failure::Other(format!("line {number}: {why}"));
    let Pair(key, value) = serde_json::from_slice(record)
        .map_err(|e| wrong(format!("it is not {{\"key\": value}}: {}", in_a_line(&e))))?;
    let key = opened.dict.key_sort().key_of_json(key);
    let key = key.map_err(|why| wrong(format!("the key {why}")))?;
    let value = opened.dict.value_sort().value_of_json(value.get());
    let value = value.map_err(|why| wrong(format!("the value {why}")))?;
    opened
        .patiently(|dict| dict.set(&key, &value, None))
        .map_err(|failure| match failure {
            signal @ Failure::Signal(_) => signal,
            failure => failure.after(format!("line {number} was not set")),
        })
}

/// What is wrong with JSON that has no lines.
pub(super) fn in_a_line(e: &serde_json::Error) -> String {
    e.to_string().replace(" at line 1 column ", " at column ")
}

/// An object with one key, and the value as it is written there.
struct Pair(String, Box<RawValue>);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnePair)
    }
}

struct OnePair;

impl<'de> Visitor<'de> for OnePair {
    type Value = Pair;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pair, A::Error> {
        let (key, value) = map
            .next_entry()?
            .ok_or_else(|| A::Error::invalid_length(0, &self))?;
        match map.next_key::<String>()? {
            None => Ok(Pair(key, value)),
            Some(_) => Err(A::Error::custom("a line has one key, not several")),
        }
    }
}
