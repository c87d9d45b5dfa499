//! `ipc stat`.

use std::time::Duration;

use serde::Serialize;

use super::for_all;
use crate::{
    args::{Place, objects::Stat},
    exit::Outcome,
    output::{human, json, print_styled},
    snapshot::{self, Member, Object, Queue, Sync},
};

#[derive(Serialize)]
struct Objects {
    objects: Vec<Object>,
}

pub(crate) fn run(place: &Place, args: &Stat) -> Outcome {
    let namespace = place.namespace()?;
    let mut objects = Vec::new();
    let found = for_all(&args.names, |name| {
        objects.push(snapshot::of_object(&namespace, name)?);
        Ok(())
    });
    if !objects.is_empty() {
        if args.json {
            json::print(&Objects { objects })?;
        } else {
            print_styled(&objects.iter().map(describe).collect::<Vec<_>>().join("\n"))?;
        }
    }
    found
}

fn describe(object: &Object) -> String {
    let age = human::age(Duration::from_secs(object.age_seconds));
    let earlier = if object.is_from_earlier_boot {
        ", before the last boot"
    } else {
        ""
    };
    let mut lines = vec![("name", object.name.clone()), ("kind", object.kind.clone())];
    if !object.type_name.is_empty() {
        lines.push(("type", object.type_name.clone()));
    }
    lines.extend([
        ("layout version", object.layout_version.to_string()),
        ("file size", size(object.file_bytes)),
        (
            "created",
            format!("{} ({age} ago{earlier})", object.created),
        ),
        (
            "owner",
            format!("uid {} gid {} mode {}", object.uid, object.gid, object.mode),
        ),
        ("participants", participants(object)),
    ]);
    if let Some(queue) = &object.queue {
        lines.extend(describe_queue(queue));
    }
    if let Some(sync) = &object.sync {
        lines.extend(describe_sync(sync));
    }
    if let Some(family) = &object.family {
        lines.push(("directory", family.directory.clone()));
        lines.extend(
            family
                .members
                .iter()
                .map(|m| ("member", describe_member(m))),
        );
    }
    lines
        .iter()
        .map(|(key, value)| format!("{key:<16}{}\n", human::printable(value)))
        .collect()
}

fn describe_sync(sync: &Sync) -> [(&'static str, String); 2] {
    let counts = [
        "holding",
        "sending",
        "receiving",
        "reading",
        "lent",
        "waiting",
        "notified",
        "dead",
    ]
    .map(|state| {
        let count = sync.visits.iter().filter(|v| v.state == state).count();
        (count > 0).then(|| format!("{count} {state}"))
    });
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    let visits = if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    };
    [("state", sync.state.clone()), ("visits", visits)]
}

fn describe_member(member: &Member) -> String {
    format!(
        "{}: {}{}{}, {}, {} alive, {} dead",
        member.name.as_deref().unwrap_or("-"),
        member.kind,
        if member.type_name.is_empty() {
            ""
        } else {
            " of "
        },
        member.type_name,
        size(member.file_bytes),
        member.living,
        member.dead
    )
}

fn describe_queue(queue: &Queue) -> [(&'static str, String); 8] {
    let sleepers = match (queue.has_sleeping_gets, queue.has_sleeping_puts) {
        (true, true) => "gets and puts",
        (true, false) => "gets",
        (false, true) => "puts",
        (false, false) => "none",
    };
    [
        ("messages", format!("{} of {}", queue.len, queue.capacity)),
        (
            "closed",
            if queue.is_closed { "yes" } else { "no" }.to_owned(),
        ),
        ("puts", format!("{} since creation", queue.puts)),
        (
            "orphans",
            format!(
                "{} taken by a consumer that died, to be delivered again",
                queue.orphans
            ),
        ),
        (
            "inline bytes",
            format!("{} in each cell", queue.inline_bytes),
        ),
        (
            "memory",
            format!("{} used of {}", size(queue.memory_used), size(queue.memory)),
        ),
        (
            "loans",
            format!("{} used of {}", queue.loans_used, queue.loans),
        ),
        ("asleep", sleepers.to_owned()),
    ]
}

fn participants(object: &Object) -> String {
    let (living, dead) = (object.living(), object.dead());
    format!(
        "{living} alive, {dead} dead and not swept, at most {}; {} swept since creation",
        object.max_participants, object.deaths
    )
}

fn size(bytes: u64) -> String {
    if bytes < 1024 {
        format!("{bytes} bytes")
    } else {
        format!("{} ({bytes} bytes)", human::bytes(bytes))
    }
}
