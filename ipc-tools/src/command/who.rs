//! `ipc who`.

use std::time::Duration;

use serde::Serialize;

use crate::{
    args::{Place, objects::Who},
    exit::Outcome,
    output::{
        human, json,
        table::{Cell, Table},
    },
    snapshot::{self, Participant},
};

#[derive(Serialize)]
struct Participants {
    name: String,
    participants: Vec<Participant>,
}

pub(crate) fn run(place: &Place, args: &Who) -> Outcome {
    let object = snapshot::of_object(&place.namespace()?, &args.name)?;
    if args.json {
        return json::print(&Participants {
            name: object.name,
            participants: object.participants,
        });
    }
    let mut table = Table::new(&["PID", "NAME", "STATE", "PROCESS", "SINCE"]);
    for one in &object.participants {
        table.row([
            Cell::from(one.pid),
            Cell::from(&one.name),
            if one.state == "dead" {
                Cell::bad(one.state)
            } else {
                Cell::from(one.state)
            },
            Cell::from(one.process.unwrap_or("-")),
            Cell::from(human::age(Duration::from_secs(one.since_seconds))),
        ]);
    }
    table.print()
}
