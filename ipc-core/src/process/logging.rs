//! Logs on standard error, with the names of processes: Python's `log_to_stderr`.
//!
//! ```text
//! [INFO/Process-1] the process begins
//! [WARN/Process-1] what the program says attempt=2
//! [INFO/Process-1] the process ends with exit code 0
//! ```
//!
//! What the program and its crates say through [`tracing`] or `log` becomes a line each, which is written at once: lines of several processes do
//! not mix, up to the 4096 bytes that a pipe takes whole. Children inherit the level.
//!
//! Needs the feature `logging`.

use core::{
    fmt,
    sync::atomic::{AtomicU8, Ordering},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Registry,
    filter::LevelFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

pub use tracing::Level;

use super::current::Current;
use crate::error::{Error, Result};

/// The level that children inherit: 0 for none, 1 for errors, 5 for all. It orders nothing.
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// How the level of the lines is changed once they are written.
static FILTER: std::sync::OnceLock<reload::Handle<LevelFilter, Registry>> =
    std::sync::OnceLock::new();

/// From here on, what this process and the children that it starts from now on log at this level, or at a graver one, goes to standard error.
/// Called again, it changes the level.
///
/// # Errors
///
/// [`Error::BadOption`] if the program has a subscriber for `tracing`, or a logger for `log`, of its own.
///
/// # Example
///
/// ```no_run
/// use ipc_core::{Process, logging};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ipc_core::init();
///     logging::to_stderr(logging::Level::INFO)?;
///     Process::spawn(|| println!("at work"), ())?.join()?;
///     Ok(())
/// }
/// ```
pub fn to_stderr(level: Level) -> Result<()> {
    let filter = LevelFilter::from_level(level);
    let is_changed = match FILTER.get() {
        Some(handle) => handle.modify(|known| *known = filter).is_ok(),
        None => install(filter),
    };
    if !is_changed {
        return Err(Error::BadOption {
            option: "to_stderr",
            why: "the program logs in a way of its own; use that one alone".into(),
        });
    }
    LEVEL.store(number_of(level), Ordering::Relaxed);
    Ok(())
}

fn install(filter: LevelFilter) -> bool {
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .event_format(Line);
    let is_installed = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .is_ok();
    if is_installed {
        let _ = FILTER.set(handle); // nobody else could install one
    }
    is_installed
}

const LEVELS: [Level; 5] = [
    Level::ERROR,
    Level::WARN,
    Level::INFO,
    Level::DEBUG,
    Level::TRACE,
];

fn number_of(level: Level) -> u8 {
    let at = LEVELS.iter().position(|known| *known == level);
    at.map_or(0, |at| at as u8 + 1)
}

/// The level for a child.
pub(super) fn inherited() -> u8 {
    LEVEL.load(Ordering::Relaxed)
}

/// Does in a child what its parent has done.
pub(super) fn inherit(level: u8) {
    let level = usize::from(level).checked_sub(1);
    if let Some(level) = level.and_then(|at| LEVELS.get(at)) {
        let _ = to_stderr(*level); // whoever logs otherwise does
    }
}

pub(super) fn begins() {
    tracing::info!("the process begins");
}

pub(super) fn ends(code: i32) {
    tracing::info!("the process ends with exit code {code}");
}

/// `[LEVEL/name] message`.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let name = Current::get().name.escape_debug();
        write!(writer, "[{}/{name}] ", event.metadata().level())?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
