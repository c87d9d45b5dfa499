//! `ipc ls`.

use std::time::Duration;

use serde::Serialize;

use crate::{
    args::{Place, objects::Ls},
    exit::Outcome,
    output::{
        human, json,
        table::{Cell, Table},
    },
    snapshot::{self, Entry, Object},
};

#[derive(Serialize)]
struct Listing {
    namespace: String,
    objects: Vec<Entry>,
}

pub(crate) fn run(place: &Place, args: &Ls) -> Outcome {
    let namespace = place.namespace()?;
    let objects = snapshot::of_namespace(&namespace)?;
    if args.json {
        return json::print(&Listing {
            namespace: namespace.path().display().to_string(),
            objects,
        });
    }
    let mut table = Table::new(&[
        "NAME",
        "KIND",
        "TYPE",
        "STATE",
        "PARTICIPANTS",
        "SIZE",
        "AGE",
    ]);
    for entry in &objects {
        table.row(match entry {
            Entry::Object(object) => row(object),
            Entry::Unusable(found) => {
                let dash = || Cell::from("-");
                let name = Cell::from(&found.name);
                let size = human::bytes(found.file_bytes).into();
                [
                    name,
                    Cell::bad(found.state),
                    dash(),
                    dash(),
                    dash(),
                    size,
                    dash(),
                ]
            }
        });
    }
    table.print()
}

fn row(object: &Object) -> [Cell; 7] {
    let dash = || "-".to_owned();
    let state = match (&object.queue, &object.sync) {
        (Some(queue), _) => {
            let closed = if queue.is_closed { " closed" } else { "" };
            format!("{}/{}{closed}", queue.len, queue.capacity)
        }
        (None, Some(sync)) => sync.state.clone(),
        (None, None) => dash(),
    };
    let type_name = Some(object.type_name.clone()).filter(|name| !name.is_empty());
    let living = object.living();
    let participants = match object.dead() {
        0 => Cell::from(living),
        dead => Cell::bad(format!("{living}+{dead} dead")),
    };
    [
        Cell::from(&object.name),
        Cell::from(&object.kind),
        Cell::from(type_name.unwrap_or_else(dash)),
        Cell::from(state),
        participants,
        Cell::from(human::bytes(object.file_bytes)),
        Cell::from(human::age(Duration::from_secs(object.age_seconds))),
    ]
}
