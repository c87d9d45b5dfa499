//! `ipc event`.

use ipc_core::Event;

use super::waiting::Target;
use crate::{
    args::{
        Place,
        sync::{EventVerb, EventWait},
    },
    exit::{Failure, Outcome},
    signals::Signals,
};

pub(crate) fn run(place: &Place, verb: &EventVerb) -> Outcome {
    let open = |name: &str| -> Outcome<Event> {
        Ok(Event::opener().namespace(&place.namespace()?).open(name)?)
    };
    match verb {
        EventVerb::Create(args) => {
            let options = Event::options().namespace(&place.namespace()?);
            created!(options, args.make, &args.name);
        }
        EventVerb::Set(args) => drop(open(&args.name)?.set()?),
        EventVerb::Clear(args) => open(&args.name)?.clear()?,
        EventVerb::Wait(args) => return wait(place, args),
    }
    Ok(())
}

fn wait(place: &Place, args: &EventWait) -> Outcome {
    let signals = Signals::watch()?;
    let namespace = place.namespace()?;
    let event = Event::opener().namespace(&namespace).open(&args.name)?;
    let target = Target {
        namespace: &namespace,
        name: &args.name,
        signals: &signals,
    };
    let is_set = target.wait(|| {
        Ok(match args.limit.timeout {
            Some(time) => event.wait_timeout(time)?,
            None => event.wait().map(|()| true)?,
        })
    })?;
    if is_set {
        Ok(())
    } else {
        Err(Failure::Timeout("the event was not set"))
    }
}
