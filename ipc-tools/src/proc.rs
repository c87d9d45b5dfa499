//! What the kernel says about processes of this pid namespace.

use std::{fs, os::unix::fs::MetadataExt};

/// Some of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    /// A letter.
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// The process group that its terminal listens to.
    pub(crate) foreground: i32,
    /// When it started, in clock ticks after boot.
    pub(crate) started: u64,
}

/// A process; `None` if it is gone.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name in parentheses may hold anything, so fields are counted from its end.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |index: usize| fields.get(index).copied();
    Some(Stat {
        state: field(0)?.chars().next()?,
        parent: field(1)?.parse().ok()?,
        group: field(2)?.parse().ok()?,
        session: field(3)?.parse().ok()?,
        foreground: field(5)?.parse().ok()?,
        started: field(19)?.parse().ok()?,
    })
}

/// The numbers of all processes that can be seen.
pub(crate) fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Whether a process was started by `ipc_core::Process` in its parent, to run a function for that, as far as can be told: by the variable that
/// it was started with, which names who meant it so.
pub(crate) fn is_child_of(pid: u32, parent: u32) -> bool {
    let environment = environment(pid);
    let calling = environment
        .split(|&byte| byte == 0)
        .find_map(|variable| variable.strip_prefix(b"IPC_PROCESS="));
    let calling = calling.and_then(|calling| str::from_utf8(calling).ok());
    calling.and_then(|calling| calling.rsplit('.').next()?.parse().ok()) == Some(parent)
}

/// Whether a process was started with a variable that begins so: `KEY=value`.
pub(crate) fn has_variable(pid: u32, beginning: &[u8]) -> bool {
    let environment = environment(pid);
    let ends = environment
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == 0);
    let mut starts = [0].into_iter().chain(ends.map(|(at, _)| at + 1));
    starts.any(|start| environment[start..].starts_with(beginning))
}

/// Empty if it may not be read.
fn environment(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

/// Inode of our pid namespace.
pub(crate) fn pid_namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|ns| ns.ino())
}

/// The name of a thread.
pub(crate) fn thread_name(pid: u32, thread: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The threads of a process.
pub(crate) fn threads(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let names = tasks.filter_map(|task| task.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Whether a thread sleeps until a child ends, as far as the kernel tells.
pub(crate) fn waits_for_a_child(pid: u32, thread: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/task/{thread}/wchan"))
        .is_ok_and(|place| place.starts_with("do_wait"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let text = "7 (a) S 1 (b) R 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 99 23";
        let found = parse(text).unwrap();
        assert_eq!((found.state, found.parent), ('R', 3));
        assert_eq!((found.group, found.foreground), (4, 7));
        assert_eq!(found.started, 21);
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_found() {
        let me = stat(std::process::id()).unwrap();
        assert_eq!(me.parent, std::os::unix::process::parent_id());
        assert!(threads(std::process::id()).contains(&std::process::id()));
    }
}
