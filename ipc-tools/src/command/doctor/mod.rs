//! `ipc doctor`: what dead processes left, and what keeps objects from working.

mod deadlock;
mod family;
mod graph;

use std::{
    fmt::Display,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use ipc_core::{Bytes, Namespace, Queue};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::{
    args::{Place, objects::Doctor},
    exit::{Failure, Outcome},
    output::{
        human, json,
        table::{Cell, Table},
    },
    snapshot::{self, Entry, Object},
};

/// Below this share of the file system, or this many bytes, space is short.
const SPACE_SHARE: u64 = 20;
const SPACE_BYTES: u64 = 16 << 20;
/// An attached object takes a descriptor or two.
const FEW_FILES: u64 = 256;
/// A limit on file sizes below this stops objects of ordinary size.
const SMALL_FILE: u64 = 64 << 20;

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    /// What it is about: `namespace`, `self-test`, `space`, `limits`, `leftover`, `deadlock`, or the name of an
    /// object.
    subject: String,
    /// Whether something should be done.
    is_problem: bool,
    /// What was or can be done by `--fix`: `fixed`, `fixable`; else `none`.
    repair: &'static str,
    what: String,
}

#[derive(Serialize)]
struct Report {
    namespace: String,
    problems: usize,
    findings: Vec<Finding>,
}

pub(crate) fn run(place: &Place, args: &Doctor) -> Outcome {
    let namespace = place.namespace()?;
    let mut patient = Patient {
        namespace,
        may_fix: args.fix,
        findings: Vec::new(),
    };
    patient.examine_leftovers()?;
    for entry in snapshot::of_namespace(&patient.namespace)? {
        match entry {
            Entry::Object(object) => patient.examine_object(&object),
            Entry::Unusable(found) => patient.problem(
                &found.name,
                format_args!("{}: {}", found.state, found.error),
            ),
        }
    }
    patient.examine_waits()?;
    patient.examine_directory();
    patient.examine_space()?;
    patient.examine_limits();
    patient.try_a_queue();
    patient.report(args.json)
}

struct Patient {
    namespace: Namespace,
    may_fix: bool,
    findings: Vec<Finding>,
}

impl Patient {
    fn find(&mut self, subject: &str, is_problem: bool, repair: &'static str, what: impl Display) {
        self.findings.push(Finding {
            subject: subject.to_owned(),
            is_problem,
            repair,
            what: what.to_string(),
        });
    }

    fn problem(&mut self, subject: &str, what: impl Display) {
        self.find(subject, true, "none", what);
    }

    fn note(&mut self, subject: &str, what: impl Display) {
        self.find(subject, false, "none", what);
    }

    /// A problem that `repair` can solve; it is called only with `--fix`.
    fn repairable(
        &mut self,
        subject: &str,
        what: impl Display,
        repair: impl FnOnce() -> ipc_core::Result<()>,
    ) {
        if !self.may_fix {
            return self.find(subject, true, "fixable", what);
        }
        match repair() {
            Ok(()) => self.find(subject, false, "fixed", what),
            Err(e) => self.problem(subject, format_args!("{what}; could not repair that: {e}")),
        }
    }

    fn examine_leftovers(&mut self) -> Outcome {
        let leftovers = self.namespace.leftovers()?;
        if !leftovers.is_empty() {
            let bytes = human::bytes(leftovers.iter().map(|l| l.bytes).sum());
            let families = leftovers.iter().filter(|l| l.path.is_dir()).count();
            let files = match (leftovers.len() - families, families) {
                (files, 0) => format!("{files} file(s)"),
                (0, families) => format!("{families} nameless family(s) of objects"),
                (files, families) => {
                    format!("{files} file(s) and {families} nameless family(s) of objects")
                }
            };
            let what = format!("{files} of dead processes, {bytes}");
            let namespace = self.namespace.clone();
            self.repairable("leftover", what, || namespace.collect().map(drop));
        }
        Ok(())
    }

    fn examine_object(&mut self, object: &Object) {
        let name = &object.name;
        let in_members = object.family.iter().flat_map(|family| &family.members);
        let in_members: u32 = in_members.map(|member| member.dead).sum();
        if object.dead() > 0 || in_members > 0 {
            let mut what = format!("{} dead participant(s) not swept yet", object.dead());
            if in_members > 0 {
                what += &format!(", and {in_members} of its members");
            }
            let namespace = self.namespace.clone();
            self.repairable(name, what, || namespace.sweep(name).map(drop));
        }
        if object.living() >= object.max_participants as usize {
            self.problem(
                name,
                format_args!(
                    "all {} places for participants are taken",
                    object.max_participants
                ),
            );
        }
        if object.is_from_earlier_boot && object.living() == 0 {
            self.note(name, "from before the last boot, and nobody is attached");
        }
        if name.contains(".rescued-") {
            self.note(name, format_args!("messages that `ipc queue get` could not deliver; get them with `ipc queue get {name} --all`"));
        }
    }

    fn examine_waits(&mut self) -> Outcome {
        for circle in deadlock::find(&self.namespace)? {
            self.find("deadlock", circle.is_certain, "none", circle.in_words);
        }
        Ok(())
    }

    fn examine_directory(&mut self) {
        let path = self.namespace.path().to_owned();
        match std::fs::metadata(&path) {
            Err(e) => self.problem(
                "namespace",
                format_args!("{} cannot be examined: {e}", path.display()),
            ),
            Ok(found) => {
                let mode = found.permissions().mode() & 0o7777;
                let is_open_to_all = mode & 0o002 != 0 && mode & 0o1000 == 0;
                if is_open_to_all {
                    self.problem(
                        "namespace",
                        format_args!(
                            "{} has mode {mode:04o}: anybody may remove your objects",
                            path.display()
                        ),
                    );
                }
                let user = rustix::process::geteuid().as_raw();
                if found.uid() != user && found.uid() != 0 {
                    self.note(
                        "namespace",
                        format_args!("{} belongs to user {}", path.display(), found.uid()),
                    );
                }
            }
        }
    }

    fn examine_space(&mut self) -> Outcome {
        let space = self.namespace.space()?;
        if space.available < SPACE_BYTES || space.available < space.total / SPACE_SHARE {
            let (available, total) = (human::bytes(space.available), human::bytes(space.total));
            self.problem(
                "space",
                format_args!("only {available} of {total} are free"),
            );
        }
        Ok(())
    }

    fn examine_limits(&mut self) {
        let limit = |resource| getrlimit(resource).current;
        if let Some(files) = limit(Resource::Nofile).filter(|&n| n < FEW_FILES) {
            self.problem(
                "limits",
                format_args!("only {files} open files are allowed; raise it with ulimit -n"),
            );
        }
        if let Some(bytes) = limit(Resource::Fsize).filter(|&n| n < SMALL_FILE) {
            self.problem(
                "limits",
                format_args!(
                    "files may have only {}; raise it with ulimit -f",
                    human::bytes(bytes)
                ),
            );
        }
    }

    /// The proof that all the rest suffices: locks, mappings, permissions, space.
    fn try_a_queue(&mut self) {
        let name = format!("doctor-{}", std::process::id());
        let attempt = || -> Outcome {
            let queue = Queue::<Bytes>::options(1)
                .memory(0)
                .participants(1)
                .namespace(&self.namespace)
                .create(&name)?;
            let outcome = queue
                .try_put(Bytes::from("ping"))
                .map_err(Failure::from)
                .and_then(|()| Ok(queue.try_get()?));
            queue.unlink()?;
            if outcome? == Bytes::from("ping") {
                Ok(())
            } else {
                Err(Failure::Other("a message came out changed".into()))
            }
        };
        if let Err(failure) = attempt() {
            self.problem(
                "self-test",
                format_args!("a new queue does not work: {failure}"),
            );
        }
    }

    fn report(self, is_json: bool) -> Outcome {
        let problems = self.findings.iter().filter(|f| f.is_problem).count();
        let fixable = self
            .findings
            .iter()
            .filter(|f| f.repair == "fixable")
            .count();
        if is_json {
            let namespace = self.namespace.path().display().to_string();
            json::print(&Report {
                namespace,
                problems,
                findings: self.findings,
            })?;
        } else if !self.findings.is_empty() {
            let mut table = Table::new(&["FINDING", "SUBJECT", "WHAT"]);
            for finding in &self.findings {
                table.row([
                    verdict(finding),
                    Cell::from(&finding.subject),
                    Cell::from(&finding.what),
                ]);
            }
            table.print()?;
        } else {
            crate::exit::say(format_args!(
                "nothing is wrong in {}",
                self.namespace.path().display()
            ));
        }
        if problems == 0 {
            Ok(())
        } else {
            Err(Failure::Problems {
                count: problems,
                fixable,
            })
        }
    }
}

fn verdict(finding: &Finding) -> Cell {
    match finding {
        Finding {
            is_problem: true, ..
        } => Cell::bad("problem"),
        Finding {
            repair: "fixed", ..
        } => Cell::from("fixed"),
        _ => Cell::from("note"),
    }
}
