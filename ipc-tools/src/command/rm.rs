//! `ipc rm`.

use ipc_core::{Error, Namespace};

use super::for_all;
use crate::{
    args::{Place, objects::Rm},
    exit::Outcome,
    output::print,
    snapshot,
};

pub(crate) fn run(place: &Place, args: &Rm) -> Outcome {
    let namespace = place.namespace()?;
    for_all(&args.names, |name| {
        if !args.force {
            refuse_what_is_no_object(&namespace, name)?;
        }
        match (args.dry_run, args.force) {
            (true, _) => try_out(&namespace, name, args.force),
            (false, true) => Ok(namespace.unlink(name)?),
            (false, false) => Ok(namespace.unlink_unused(name)?),
        }
    })
}

/// Somebody else's file may be precious; a damaged object is not.
fn refuse_what_is_no_object(namespace: &Namespace, name: &str) -> Outcome {
    match namespace.inspect(name) {
        Err(e @ (Error::NotAnObject { .. } | Error::NotFound { .. })) => Err(e.into()),
        _ => Ok(()),
    }
}

fn try_out(namespace: &Namespace, name: &str, is_forced: bool) -> Outcome {
    let participants = match snapshot::of_object(namespace, name) {
        Ok(object) => u32::try_from(object.living()).unwrap_or(u32::MAX),
        Err(_) if namespace.list()?.iter().any(|n| n == name) => 0,
        Err(e) => return Err(e),
    };
    if participants > 0 && !is_forced {
        let object = namespace.path().join(name).display().to_string();
        return Err(Error::InUse {
            object,
            participants,
        }
        .into());
    }
    print(format!("would remove {name}\n").as_bytes())
}
