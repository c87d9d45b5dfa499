//! `ipc dict set`, `del`, `incr` and `cas`.

use std::{ffi::OsString, io, os::unix::ffi::OsStringExt};

use super::{Opened, absent, datum::Datum, named};
use crate::{
    args::{
        Place,
        dict::{Cas, Del, Incr, Set},
        values::Format,
    },
    exit::{Failure, Outcome, say},
    inlet::Inlet,
    output::print,
};

pub(super) fn set(place: &Place, args: Set) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    let key = opened.key(args.key)?;
    let value = match args.value {
        Some(value) => value.into_vec(),
        None => standard_input(&opened, args.raw)?,
    };
    let value = opened.value(value)?;
    if !args.new {
        return opened.patiently(|dict| dict.set(&key, &value, args.ttl));
    }
    match opened.patiently(|dict| dict.insert_new(&key, &value, args.ttl))? {
        true => Ok(()),
        false => Err(Failure::Exists(format!(
            "the key {:?} has a value already",
            named(&key)
        ))),
    }
}

/// All of it; unless it is `raw`, without its last newline.
fn standard_input(opened: &Opened, raw: bool) -> Outcome<Vec<u8>> {
    let inlet = Inlet {
        signals: &opened.signals,
        format: Format::Raw,
        most_bytes: usize::MAX,
    };
    let mut all = Vec::new();
    inlet.pieces(|piece| {
        if all.try_reserve(piece.len()).is_err() {
            return Err(Failure::Input(io::ErrorKind::OutOfMemory.into()));
        }
        all.extend_from_slice(piece);
        Ok(())
    })?;
    if !raw && all.ends_with(b"\n") {
        all.pop();
    }
    Ok(all)
}

pub(super) fn del(place: &Place, args: Del) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    let keys = args.keys.into_iter().map(|key| opened.key(key));
    let keys = keys.collect::<Outcome<Vec<_>>>()?;
    let (of, mut failures) = (keys.len(), Vec::new());
    for key in keys {
        if !opened.patiently(|dict| dict.remove(&key))? {
            failures.push(absent(&key));
        }
    }
    match (of, failures.pop()) {
        (_, None) => Ok(()),
        (1, Some(only)) => Err(only),
        (_, Some(last)) => {
            failures.push(last);
            failures.iter().for_each(say);
            Err(Failure::Several { of, failures })
        }
    }
}

pub(super) fn incr(place: &Place, args: Incr) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    let (key, sort) = (opened.key(args.key)?, opened.dict.value_sort());
    let by = Datum::amount(&args.by, sort)
        .ok_or_else(|| {
            let values = sort.describe();
            Failure::WrongKind(format!("the values of {} are {values}", args.name))
        })?
        .map_err(|why| Failure::Usage(format!("what is to be added {why}")))?;
    let wrong = |why| Failure::Other(format!("the value of {:?} {why}", named(&key)));
    // Where it cannot be, nothing is written, not even what is there.
    let seen = opened.patiently(|dict| dict.get(&key))?;
    Datum::plus(seen.as_ref(), &by, sort).map_err(wrong)?;
    let mut why_not = None;
    let sum = opened.patiently(|dict| {
        dict.alter(&key, &mut |value| {
            why_not = None;
            Datum::plus(value.as_ref(), &by, sort).map_or_else(
                |why| {
                    why_not = Some(why);
                    value
                },
                Some,
            )
        })
    })?;
    match (why_not, sum) {
        (Some(why), _) => Err(wrong(why)),
        (None, sum) => {
            let mut line = sum.map_or_else(Vec::new, |sum| sum.to_bytes());
            line.push(b'\n');
            print(&line)
        }
    }
}

pub(super) fn cas(place: &Place, args: Cas) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    let key = opened.key(args.key)?;
    let (old, new) = old_and_new(args.values, args.absent, args.remove)?;
    let datum = |value: Option<OsString>| -> Outcome<Option<Datum>> {
        value
            .map(|value| opened.value(value.into_vec()))
            .transpose()
    };
    let (old, new) = (datum(old)?, datum(new)?);
    match opened.patiently(|dict| dict.swap(&key, old.as_ref(), new.as_ref()))? {
        true => Ok(()),
        false => Err(Failure::Other(format!(
            "the value of {:?} is not what was expected, and stays",
            named(&key)
        ))),
    }
}

fn old_and_new(
    values: Vec<OsString>,
    absent: bool,
    remove: bool,
) -> Outcome<(Option<OsString>, Option<OsString>)> {
    let wanted = usize::from(!absent) + usize::from(!remove);
    if values.len() != wanted {
        return Err(Failure::Usage(
            "give OLD and NEW, or --absent instead of OLD, or --remove instead of NEW".to_owned(),
        ));
    }
    let mut values = values.into_iter();
    let old = if absent { None } else { values.next() };
    Ok((old, values.next()))
}
