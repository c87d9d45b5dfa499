//! `ipc cond`.

use ipc_core::Condition;
use serde::Serialize;

use crate::{
    args::{
        Place,
        sync::{CondCreate, CondNotify, CondVerb},
    },
    command::set,
    exit::Outcome,
    output::{json, print},
};

pub(crate) fn run(place: &Place, verb: &CondVerb) -> Outcome {
    match verb {
        CondVerb::Create(args) => create(place, args),
        CondVerb::Notify(args) => notify(place, args),
    }
}

fn create(place: &Place, args: &CondCreate) -> Outcome {
    let mut options = Condition::options().namespace(&place.namespace()?);
    options = set(options, args.waiters, |o, n| o.waiters(n));
    created!(options, args.make, &args.name);
    Ok(())
}

#[derive(Serialize)]
struct Notified<'a> {
    name: &'a str,
    notified: usize,
}

fn notify(place: &Place, args: &CondNotify) -> Outcome {
    let name = &args.name;
    let condition = Condition::opener()
        .namespace(&place.namespace()?)
        .open(name)?;
    let count = if args.all { usize::MAX } else { args.count };
    let notified = condition.notify(count)?;
    if args.json {
        return json::print(&Notified { name, notified });
    }
    print(format!("{notified}\n").as_bytes())
}
