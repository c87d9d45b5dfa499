//! The house rules of `ipc-core` that a scan of its source can check.
//!
//! * A module uses only what stands above it in the list of layers.
//! * Unsafe code is re-allowed in a few named files only.
//! * Algorithms do not switch on `cfg`.
//! * Each Acquire and Release in an algorithm names the numbered argument that it is part of.
//!
//! The scanners are shown a bad snippet first. They look at text, not at syntax trees: what they cannot see (macros that
//! build paths, `cfg` by another name) they do not find.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up.
const LAYERS: [&str; 15] = [
    "error",
    "prim",
    "os",
    "region",
    "object",
    "slab",
    "shared_memory",
    "sync",
    "message",
    "channel",
    "manager",
    "process",
    "wait_set",
    "pool",
    "inspect",
];

/// Files outside `os/` and `region/` that may allow unsafe code: `message` and the queues write a received value
/// where it is to stay, loans give out the memory to who vouches for it, the users of `raw_sync` bring bare memory, the others implement `Shared` for a structure of their own.
const UNSAFE: [&str; 20] = [
    "channel/broadcast/cursors.rs",
    "channel/broadcast/subscriber.rs",
    "channel/pipe/fencing.rs",
    "channel/pipe/lane.rs",
    "channel/pipe/receiver.rs",
    "channel/pipe/role.rs",
    "channel/gate.rs",
    "channel/joinable/mod.rs",
    "channel/joinable/table.rs",
    "channel/loan.rs",
    "channel/ordered/inner.rs",
    "channel/queue/mod.rs",
    "message/mod.rs",
    "message/room.rs",
    "object/participant.rs",
    "object/seat.rs",
    "object/wait.rs",
    "shared_memory/mod.rs",
    "sync/frame.rs",
    "sync/raw_sync.rs",
];

/// Orderings of the algorithms that do not cite their argument yet: file, and part of the line. To be emptied, not filled.
const UNNUMBERED: [(&str, &str); 0] = [];

/// Lines behind an ordering in which its number may stand: rustfmt breaks long calls.
const REACH: usize = 3;

/// Lines of code without comments, literals' contents and what is compiled for tests and models only; comments apart.
struct Source {
    code: Vec<String>,
    comments: Vec<String>,
}

impl Source {
    fn of(text: &str) -> Self {
        let (mut code, mut comments) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let (before, comment) = split_comment(line);
            code.push(before);
            comments.push(comment.to_owned());
        }
        blank_test_items(&mut code);
        Self { code, comments }
    }
}

/// The code of a line, strings emptied, and its `//` comment. A string does not go over the end of a line here.
fn split_comment(line: &str) -> (String, &str) {
    let (mut code, mut in_string, mut is_escaped) = (String::new(), false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' if !line[..at].ends_with('\'') => {
                in_string = !in_string;
                code.push(c);
            }
            _ if in_string => {}
            '/' if line[at..].starts_with("//") => return (code, &line[at..]),
            _ => code.push(c),
        }
    }
    (code, "")
}

/// Whether `line` is a `cfg` attribute that is false in the library as users build it.
fn is_test_only(line: &str) -> bool {
    let Some(predicate) = line.trim_start().strip_prefix("#[cfg(") else {
        return false;
    };
    let positive = predicate.replace("not(loom)", "").replace("not(test)", "");
    positive.contains("test") || positive.contains("loom")
}

/// Empties every item, field or arm behind a test-only `cfg`, attribute included.
fn blank_test_items(code: &mut [String]) {
    let mut line = 0;
    while line < code.len() {
        if !is_test_only(&code[line]) {
            line += 1;
            continue;
        }
        let (mut depth, mut has_ended) = (0, false);
        code[line].clear();
        while !has_ended && line + 1 < code.len() {
            line += 1;
            let is_attribute = depth == 0 && code[line].trim_start().starts_with("#[");
            for c in code[line].chars() {
                match c {
                    '{' | '(' | '[' => depth += 1,
                    '}' | ')' | ']' => depth -= 1,
                    _ => {}
                }
                has_ended |= depth == 0 && matches!(c, '}' | ';' | ',') && !is_attribute;
            }
            code[line].clear();
        }
    }
}

/// First segments of all paths that begin with `crate::`, with their lines.
fn crate_paths(source: &Source) -> Vec<(usize, String)> {
    let text = source.code.join("\n");
    let mut found = Vec::new();
    for (at, prefix) in text.match_indices("crate::") {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let tail = &text[at + prefix.len()..];
        let segments = match tail.strip_prefix('{') {
            Some(group) => heads_of_group(group),
            None => vec![head(tail)],
        };
        found.extend(segments.into_iter().map(|segment| (line, segment)));
    }
    found
}

fn head(path: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_' || *c == '*';
    path.trim_start().chars().take_while(is_part).collect()
}

/// The heads of `a, b::{c, d}, e}`.
fn heads_of_group(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(head(&group[begin..at]));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// Arrows from `file` that run upwards, or to where no layer is.
fn upward_arrows(file: &str, source: &Source) -> Vec<String> {
    let own = file.split(['/', '.']).next().unwrap_or_default();
    let Some(height) = LAYERS.iter().position(|layer| *layer == own) else {
        return vec![format!("{file}: {own} is in no layer; add it to LAYERS")];
    };
    let is_upward = |target: &str| {
        LAYERS
            .iter()
            .position(|layer| *layer == target)
            .is_none_or(|at| at > height)
    };
    crate_paths(source)
        .into_iter()
        .filter(|(_, target)| is_upward(target))
        .map(|(line, target)| {
            format!("{file}:{line}: {own} uses crate::{target}, which is not below it")
        })
        .collect()
}

fn unsafe_allowances(file: &str, source: &Source) -> Vec<String> {
    let may = file.starts_with("os/") || file.starts_with("region/") || UNSAFE.contains(&file);
    let numbered = source.code.iter().enumerate();
    numbered
        .filter(|(_, code)| {
            !may && code.contains("unsafe_code")
                && !code.contains("forbid")
                && !code.contains("deny")
        })
        .map(|(i, _)| format!("{file}:{}: allows unsafe code", i + 1))
        .collect()
}

/// Switches inside an algorithm. A whole module, and an assertion about the layout, may be left out of a build.
fn switches(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<String> = text.lines().map(|line| split_comment(line).0).collect();
    let is_switch = |code: &str| {
        (code.contains("cfg(") || code.contains("cfg!(") || code.contains("cfg_attr("))
            && ["loom", "target_", "unix"]
                .iter()
                .any(|word| code.contains(word))
    };
    let is_of_item = |at: usize| {
        let item = lines[at + 1..]
            .iter()
            .map(|l| l.trim())
            .find(|l| !l.starts_with("#["));
        lines[at].trim_start().starts_with("#[cfg(")
            && item.is_some_and(|i| {
                let i = i.strip_prefix("pub(crate) ").unwrap_or(i);
                i.starts_with("mod ") || i.starts_with("const _: () =")
            })
    };
    (0..lines.len())
        .filter(|&at| is_switch(&lines[at]) && !is_of_item(at))
        .map(|at| format!("{file}:{}: a cfg inside an algorithm", at + 1))
        .collect()
}

/// Lines with an ordering and no O- or W-number within reach.
fn unnumbered_orderings(source: &Source) -> Vec<usize> {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map(str::to_owned)
            .collect()
    };
    let is_number = |word: &String| {
        word.strip_prefix(['O', 'W'])
            .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
    };
    let mut is_import = false;
    let mut found = Vec::new();
    for (i, code) in source.code.iter().enumerate() {
        is_import |= code.trim_start().starts_with("use ");
        // `Ordering::…` is of core's atomics: private memory, where no algorithm is.
        let has_ordering = words(&code.replace("Ordering::", "private_"))
            .iter()
            .any(|word| matches!(word.as_str(), "Acquire" | "Release" | "AcqRel"));
        let end = source.comments.len().min(i + 1 + REACH);
        let is_argued = source.comments[i..end]
            .iter()
            .any(|c| words(c).iter().any(is_number));
        if has_ordering && !is_import && !is_argued {
            found.push(i);
        }
        is_import &= !code.contains(';');
    }
    found
}

/// Every source file but lib.rs, the models and the tests, by its path below `src`.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ipc-core/src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the source can be listed") {
            let path: PathBuf = entry.expect("the source can be listed").path();
            let name = path
                .strip_prefix(&root)
                .expect("it is below")
                .to_string_lossy()
                .into_owned();
            let file_name = name.rsplit('/').next().unwrap_or_default();
            let is_part_of_them = name.contains("/tests/") || name.contains("/model/");
            let is_left_out =
                is_part_of_them || ["lib.rs", "model.rs", "tests.rs"].contains(&file_name);
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !is_left_out {
                found.push((
                    name,
                    fs::read_to_string(&path).expect("the source can be read"),
                ));
            }
        }
    }
    assert!(
        found.len() > 20,
        "only {} files in {}",
        found.len(),
        root.display()
    );
    found.sort();
    found
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

const BAD: &str = r#"
use crate::{
    error::{Damage, Error},
    prim::{self, Acquire},
    channel::queue::Ring, // upwards
};
use crate::Queue; // through lib.rs
fn f(word: &AtomicU64) { // crate::inspect in a comment is no arrow
    let text = "crate::inspect in a string is none";
    crate::inspect::look(word.load(Acquire));
    if cfg!(loom) {}
    word.compare_exchange(1, 2, AcqRel, Relaxed)
        .is_ok(); // O1
}
#[allow(unsafe_code)]
fn g() {}
#[cfg(any(test, loom))]
#[allow(dead_code)]
pub(crate) fn only_for_tests(region: crate::process::P) -> Option<X> {
    crate::manager::g()
}
enum Probe {
    #[cfg(any(test, loom))]
    Oracle(Arc<crate::manager::M>),
    Kernel(crate::channel::C),
}
#[cfg(not(loom))]
const _: () = assert!(size_of::<Gate>() == 128);
#[cfg(target_os = "linux")]
fn h() {}
#[cfg(all(test, not(loom)))]
mod tests {
    use crate::inspect::X;
}
"#;

#[test]
fn the_scanner_finds_each_arrow_that_runs_upwards() {
    let source = Source::of(BAD);
    let targets: Vec<_> = crate_paths(&source);
    let expected = [
        (2, "error"),
        (2, "prim"),
        (2, "channel"),
        (7, "Queue"),
        (10, "inspect"),
        (25, "channel"),
    ];
    assert_eq!(
        targets,
        expected.map(|(line, name)| (line, name.to_owned()))
    );
    assert_eq!(upward_arrows("slab/mod.rs", &source).len(), 4);
    assert_eq!(
        upward_arrows("channel/x.rs", &source).len(),
        2,
        "its own layer is below it"
    );
    assert_eq!(upward_arrows("novelty.rs", &source).len(), 1);
}

#[test]
fn the_scanner_finds_unsafe_code_switches_and_orderings_without_a_number() {
    let source = Source::of(BAD);
    assert_eq!(
        unsafe_allowances("slab/mod.rs", &source),
        ["slab/mod.rs:15: allows unsafe code"]
    );
    assert!(unsafe_allowances("os/x.rs", &source).is_empty());
    let found = switches("x", BAD);
    let lines: Vec<usize> = found
        .iter()
        .filter_map(|f| f.split(':').nth(1)?.parse().ok())
        .collect();
    assert_eq!(lines, [11, 17, 23, 29], "{found:?}");
    // The number behind the exchange is within reach of the load, too.
    assert_eq!(unnumbered_orderings(&source), [] as [usize; 0]);
    assert_eq!(
        unnumbered_orderings(&Source::of(&BAD.replace("// O1", "// I1"))),
        [9, 11]
    );
}

#[test]
fn no_module_uses_what_stands_above_it() {
    assert_none(
        files()
            .iter()
            .flat_map(|(name, text)| upward_arrows(name, &Source::of(text)))
            .collect(),
    );
}

#[test]
fn unsafe_code_is_allowed_where_the_list_says() {
    let files = files();
    assert_none(
        files
            .iter()
            .flat_map(|(name, text)| unsafe_allowances(name, &Source::of(text)))
            .collect(),
    );
    let uses = |wanted: &&str| {
        files
            .iter()
            .any(|(name, text)| name == wanted && text.contains("unsafe_code"))
    };
    let stale: Vec<_> = UNSAFE.iter().filter(|name| !uses(name)).collect();
    assert!(stale.is_empty(), "no longer needed in UNSAFE: {stale:?}");
}

#[test]
fn algorithms_do_not_switch_on_cfg() {
    let files = files();
    let algorithms = files
        .iter()
        .filter(|(name, _)| name.starts_with("channel/") || name.starts_with("sync/"));
    assert_none(
        algorithms
            .flat_map(|(name, text)| switches(name, text))
            .collect(),
    );
}

#[test]
fn each_ordering_cites_its_argument() {
    let (mut found, mut listed) = (Vec::new(), vec![false; UNNUMBERED.len()]);
    for (name, text) in files() {
        if !["channel/", "slab/", "object/"]
            .iter()
            .any(|layer| name.starts_with(layer))
        {
            continue;
        }
        let source = Source::of(&text);
        for line in unnumbered_orderings(&source) {
            let code = &source.code[line];
            match UNNUMBERED
                .iter()
                .position(|(file, part)| *file == name && code.contains(part))
            {
                Some(known) => listed[known] = true,
                None => found.push(format!(
                    "{name}:{}: no O- or W-number: {}",
                    line + 1,
                    code.trim()
                )),
            }
        }
    }
    let stale = UNNUMBERED
        .iter()
        .zip(listed)
        .filter(|(_, is_found)| !is_found);
    found.extend(
        stale.map(|((file, part), _)| format!("{file}: {part}: no longer needed in UNNUMBERED")),
    );
    assert_none(found);
}
