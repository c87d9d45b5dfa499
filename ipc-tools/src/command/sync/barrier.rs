//! `ipc barrier`.

use ipc_core::Barrier;
use serde::Serialize;

use super::waiting::Target;
use crate::{
    args::{
        Place,
        sync::{BarrierVerb, BarrierWait},
    },
    exit::Outcome,
    output::{json, print},
    signals::Signals,
};

pub(crate) fn run(place: &Place, verb: &BarrierVerb) -> Outcome {
    let open = |name: &str| -> Outcome<Barrier> {
        Ok(Barrier::opener()
            .namespace(&place.namespace()?)
            .open(name)?)
    };
    match verb {
        BarrierVerb::Create(args) => {
            let options = Barrier::options(args.parties).namespace(&place.namespace()?);
            created!(options, args.make, &args.name);
        }
        BarrierVerb::Abort(args) => open(&args.name)?.abort()?,
        BarrierVerb::Reset(args) => open(&args.name)?.reset()?,
        BarrierVerb::Wait(args) => return wait(place, args),
    }
    Ok(())
}

#[derive(Serialize)]
struct Passed<'a> {
    name: &'a str,
    index: usize,
}

fn wait(place: &Place, args: &BarrierWait) -> Outcome {
    let signals = Signals::watch()?;
    let namespace = place.namespace()?;
    let barrier = Barrier::opener().namespace(&namespace).open(&args.name)?;
    let target = Target {
        namespace: &namespace,
        name: &args.name,
        signals: &signals,
    };
    let index = target.wait(|| {
        Ok(match args.limit.timeout {
            Some(time) => barrier.wait_timeout(time)?,
            None => barrier.wait()?,
        })
    })?;
    // Who is killed while it prints breaks no later round.
    drop(barrier);
    if args.json {
        let name = &args.name;
        return json::print(&Passed { name, index });
    }
    print(format!("{index}\n").as_bytes())
}
