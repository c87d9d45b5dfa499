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
        "LEN/CAPACITY",
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
    let fill = object.queue.as_ref().map_or("-".to_owned(), |q| {
        format!(
            "{}/{}{}",
            q.len,
            q.capacity,
            if q.is_closed { " closed" } else { "" }
        )
    });
    let living = object.living();
    let participants = match object.dead() {
        0 => Cell::from(living),
        dead => Cell::bad(format!("{living}+{dead} dead")),
    };
    [
        Cell::from(&object.name),
        Cell::from(&object.kind),
        Cell::from(&object.type_name),
        Cell::from(fill),
        participants,
        Cell::from(human::bytes(object.file_bytes)),
        Cell::from(human::age(Duration::from_secs(object.age_seconds))),
    ]
}
