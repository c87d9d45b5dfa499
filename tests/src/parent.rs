//! What a process with children sees. Each scenario runs in a process of its own, the program `parent`, since children begin as copies of their
//! parent's program.

pub mod ends;
pub mod lives;
pub mod matter;
pub mod pool;
pub mod pool_deaths;
pub mod settings;
pub mod survival;

use std::fs;
use std::path::Path;

use ipc_core::active_children;

/// What a scenario is given: a directory of its own.
pub type Scenario = fn(&Path);

/// All scenarios, by name.
pub const ALL: &[(&str, Scenario)] = &[
    ("values", matter::values),
    ("handles", matter::handles),
    ("big", matter::big),
    ("bad_matter", matter::bad_matter),
    ("workers", matter::workers),
    ("panics", ends::panics),
    ("signals", ends::signals),
    ("stopped", ends::stopped),
    ("exits", ends::exits),
    ("closed", ends::closed),
    ("copies", ends::copies),
    ("names", settings::names),
    ("environment", settings::environment),
    ("dispositions", settings::dispositions),
    ("logs", settings::logs),
    ("commands", settings::commands),
    ("programs", settings::programs),
    ("unborn", settings::unborn),
    ("threads", lives::threads),
    ("many", lives::many),
    ("replaced", lives::replaced),
    ("forks", lives::forks),
    ("forks-among-threads", lives::forks_among_threads),
    ("sets", lives::sets),
    ("unheard", lives::unheard),
    ("orphans", survival::orphans),
    ("leaves", survival::leaves),
    ("stubborn", survival::stubborn),
    ("pool-family", pool::family),
    ("pool-errors", pool::errors),
    ("pool-matter", pool::matter),
    ("pool-results", pool::results),
    ("pool-callbacks", pool::callbacks),
    ("pool-executor", pool::executor),
    ("pool-lives", pool::lives),
    ("pool-control", pool::control),
    ("pool-nested", pool::nested),
    ("pool-loud", pool::loud),
    ("pool-kills", pool_deaths::kills),
    ("pool-massacre", pool_deaths::massacre),
    ("pool-exits", pool_deaths::exits),
    ("pool-late", pool_deaths::late),
    ("pool-leaks", pool_deaths::leaks),
    ("pool-ends", pool_deaths::ends),
    ("pool-short", pool_deaths::short),
    ("pool-lies", pool_deaths::lies),
    ("pool-killed", pool_deaths::killed),
    ("pool-successor", pool_deaths::successor),
];

/// Runs the scenario of this name.
///
/// # Panics
///
/// When there is none, or what it sees is wrong.
pub fn run(name: &str, directory: &Path) {
    let found = ALL.iter().find(|(known, _)| *known == name);
    let (_, scenario) = found.unwrap_or_else(|| panic!("no scenario {name}"));
    scenario(directory);
}

/// The value of a field in `/proc/<pid>/status`.
///
/// # Panics
///
/// When there is no such process.
pub fn status_of(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.expect("the kernel knows it")
        .trim_start_matches(':')
        .trim()
        .to_owned()
}

/// Children of this process, living or not, and its descriptors.
///
/// # Panics
///
/// Without `/proc`.
pub fn holdings() -> (usize, usize) {
    let this = std::process::id().to_string();
    let processes = fs::read_dir("/proc").expect("it is mounted");
    let pids =
        processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse().ok());
    let is_child = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.strip_prefix("PPid:\t") == Some(&this))
    };
    let descriptors = fs::read_dir("/proc/self/fd").expect("it is there").count();
    (pids.filter(is_child).count(), descriptors)
}

/// Nobody is left.
///
/// # Panics
///
/// When somebody is.
pub fn assert_childless() {
    assert!(active_children().is_empty(), "{:?}", active_children());
    assert_eq!(holdings().0, 0, "no zombie either");
}
