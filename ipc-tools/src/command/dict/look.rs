//! `ipc dict get`, `keys` and `items`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use super::{Opened, absent, any::Each, datum::Datum};
use crate::{
    args::{
        Place,
        dict::{Get, Items, Keys, Look},
    },
    exit::Outcome,
    output::{json::SCHEMA, stream::Stream},
};

pub(super) fn get(place: &Place, args: Get) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    let key = opened.key(args.key)?;
    let Some(value) = opened.patiently(|dict| dict.get(&key))? else {
        return Err(absent(&key));
    };
    let mut stream = Stream::new(&opened.signals)?;
    stream.add(|out| {
        if args.look.json {
            return line(&key, Some(&value), out);
        }
        value.write(out);
        if !args.look.raw {
            out.push(b'\n');
        }
    })?;
    stream.flush()
}

pub(super) fn keys(place: &Place, args: Keys) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    show(&opened, args.prefix, args.look, |each| {
        opened.dict.each_key(each)
    })
}

pub(super) fn items(place: &Place, args: Items) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    show(&opened, args.prefix, args.look, |each| {
        opened.dict.each(each)
    })
}

/// Prints what `all` goes through.
fn show(
    opened: &Opened,
    prefix: OsString,
    look: Look,
    all: impl FnOnce(Each<'_>) -> Outcome,
) -> Outcome {
    let prefix = prefix.into_vec();
    let mut stream = Stream::new(&opened.signals)?;
    let shown = all(&mut |key, value| {
        if !key.to_bytes().starts_with(&prefix) {
            return opened.signals.check();
        }
        stream.add(|out| write(&key, value.as_ref(), look, out))
    });
    // What was seen before a damaged pair is worth having.
    shown.and(stream.flush())
}

fn write(key: &Datum, value: Option<&Datum>, look: Look, out: &mut Vec<u8>) {
    if look.json {
        return line(key, value, out);
    }
    let (between, end) = if look.null { (0, 0) } else { (b'\t', b'\n') };
    key.write(out);
    if let Some(value) = value {
        out.push(between);
        value.write(out);
    }
    out.push(end);
}

/// A line of JSON.
fn line(key: &Datum, value: Option<&Datum>, out: &mut Vec<u8>) {
    let (key, value) = (key.key_json(), value.map(Datum::json));
    let value = value.map_or_else(String::new, |value| format!(",\"value\":{value}"));
    out.extend_from_slice(format!("{{\"schema\":{SCHEMA},\"key\":{key}{value}}}\n").as_bytes());
}
