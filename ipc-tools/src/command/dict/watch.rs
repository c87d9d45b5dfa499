//! `ipc dict watch`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, time::Instant};

use super::{Opened, any::Event, datum::Datum};
use crate::{
    args::{
        Place,
        dict::{Look, Watch},
    },
    exit::{Failure, Outcome, say},
    output::{json::SCHEMA, stream::Stream},
};

/// Which keys are wanted.
enum Wanted {
    Key(Datum),
    Prefix(Vec<u8>),
}

impl Wanted {
    fn has(&self, key: &Datum) -> bool {
        match self {
            Self::Key(wanted) => key.to_bytes() == wanted.to_bytes(),
            Self::Prefix(prefix) => key.to_bytes().starts_with(prefix),
        }
    }
}

pub(super) fn run(place: &Place, args: Watch) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    let wanted = match args.key {
        Some(key) => Wanted::Key(opened.key(key)?),
        None => Wanted::Prefix(OsString::into_vec(args.prefix)),
    };
    let mut watch = opened.patiently(|dict| dict.watch())?;
    let mut stream = Stream::new(&opened.signals)?;
    let (mut told, mut last) = (0, Instant::now());
    while args.count.is_none_or(|count| told < count) {
        opened.signals.check()?;
        let Some(event) = watch.next()? else {
            if args.timeout.is_some_and(|limit| last.elapsed() >= limit) {
                return Err(Failure::Timeout("nothing was changed"));
            }
            continue;
        };
        let (name, key, value) = match &event {
            Event::Set(key, value) => ("set", key, Some(value)),
            Event::Removed(key) => ("removed", key, None),
            Event::Expired(key) => ("expired", key, None),
            Event::Missed(count) => {
                say(format_args!("{count} change(s) were missed"));
                continue;
            }
        };
        if wanted.has(key) {
            stream.add(|out| write(name, key, value, args.look, out))?;
            stream.flush()?; // whoever reads waits for it
            (told, last) = (told + 1, Instant::now());
        }
    }
    Ok(())
}

fn write(event: &str, key: &Datum, value: Option<&Datum>, look: Look, out: &mut Vec<u8>) {
    if look.json {
        let (key, value) = (key.key_json(), value.map(Datum::json));
        let value = value.map_or_else(String::new, |value| format!(",\"value\":{value}"));
        let line = format!("{{\"schema\":{SCHEMA},\"event\":\"{event}\",\"key\":{key}{value}}}\n");
        return out.extend_from_slice(line.as_bytes());
    }
    let (between, end) = if look.null { (0, 0) } else { (b'\t', b'\n') };
    out.extend_from_slice(event.as_bytes());
    for datum in [Some(key), value].into_iter().flatten() {
        out.push(between);
        datum.write(out);
    }
    out.push(end);
}
