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
    snapshot::{self, Object, Participant, Visit},
};

#[derive(Serialize)]
struct Everybody {
    name: String,
    participants: Vec<Participant>,
    visits: Vec<Visit>,
}

pub(crate) fn run(place: &Place, args: &Who) -> Outcome {
    let object = snapshot::of_object(&place.namespace()?, &args.name)?;
    if args.json {
        return json::print(&Everybody {
            name: object.name,
            participants: object.participants,
            visits: object.sync.map_or_else(Vec::new, |sync| sync.visits),
        });
    }
    show(&object)
}

/// First who holds or waits, then who is only attached.
fn show(object: &Object) -> Outcome {
    let mut table = Table::new(&["PID", "NAME", "THREAD", "STATE", "PROCESS", "SINCE"]);
    let visits = object.sync.as_ref().map_or(&[][..], |sync| &sync.visits);
    for visit in visits {
        let is_dead = visit.state == "dead";
        let lasting = visit.since_seconds.map(age);
        table.row([
            or_dash(visit.pid),
            or_dash(visit.name.as_ref()),
            or_dash(visit.slot.map(|_| visit.thread).filter(|&t| t != 0)),
            if is_dead {
                Cell::bad(format!("dead ({})", visit.activity))
            } else {
                Cell::from(visit.state)
            },
            or_dash(visit.process),
            or_dash(lasting),
        ]);
    }
    let is_idle = |one: &&Participant| !visits.iter().any(|visit| visit.slot == Some(one.slot));
    for one in object.participants.iter().filter(is_idle) {
        table.row([
            Cell::from(one.pid),
            Cell::from(&one.name),
            Cell::from("-"),
            if one.state == "dead" {
                Cell::bad(one.state)
            } else {
                Cell::from("attached")
            },
            or_dash(one.process),
            Cell::from(age(one.since_seconds)),
        ]);
    }
    table.print()
}

fn age(seconds: u64) -> String {
    human::age(Duration::from_secs(seconds))
}

fn or_dash(value: Option<impl ToString>) -> Cell {
    value.map_or_else(|| Cell::from("-"), |value| Cell::from(value.to_string()))
}
