//! Arguments that several verbs take, and how values are spelled.

use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::Signal;

use crate::signals::{self, SLICE};

/// How messages look on standard input and output. Without a flag: one line a message.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct Look {
    /// A message ends with a NUL byte, as in find -print0
    #[arg(long, short = '0')]
    null: bool,
    /// A message is a line of JSON: {"schema":1,"data":TEXT}, or "hex" instead of "data" when it is not UTF-8
    #[arg(long)]
    json: bool,
    /// A message is a line of hexadecimal digits
    #[arg(long)]
    hex: bool,
    /// Bytes as they are: all of standard input is one message; output has nothing between messages
    #[arg(long)]
    raw: bool,
}

/// [`Look`], decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Lines,
    Null,
    Json,
    Hex,
    Raw,
}

impl Look {
    pub(crate) fn format(self) -> Format {
        match self {
            Self { null: true, .. } => Format::Null,
            Self { json: true, .. } => Format::Json,
            Self { hex: true, .. } => Format::Hex,
            Self { raw: true, .. } => Format::Raw,
            _ => Format::Lines,
        }
    }
}

/// How long to wait when the queue is full or empty. Without a flag: for ever.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct Wait {
    /// Give up (exit code 5) when a message has to wait for longer than this: 500ms, 2s, 1m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Give up (exit code 6) instead of waiting
    #[arg(long, short = 'n')]
    no_wait: bool,
}

/// How long to wait while others have it. Without a flag: for ever.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct Try {
    /// Give up (exit code 6) instead of waiting
    #[arg(long, short, visible_alias = "no-wait")]
    nonblock: bool,
    /// Give up (exit code 5) after this long: 500ms, 2s, 1m; a number alone is seconds
    #[arg(
        long,
        short = 'w',
        value_name = "DURATION",
        visible_alias = "wait",
        value_parser = duration
    )]
    timeout: Option<Duration>,
}

impl Try {
    pub(crate) fn patience(self) -> Patience {
        match self {
            Self { nonblock: true, .. } => Patience::None,
            Self { timeout, .. } => timeout.map_or(Patience::Endless, Patience::For),
        }
    }
}

/// How an object is made.
#[derive(Debug, Default, Clone, Copy, Args)]
pub(crate) struct Make {
    /// How many processes may be attached at once [default: 128]
    #[arg(long, value_name = "N")]
    pub(crate) participants: Option<u32>,
    /// Permissions, in octal [default: 600]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub(crate) mode: Option<u32>,
    /// Group that owns it, by number [default: yours]
    #[arg(long, value_name = "GID")]
    pub(crate) group: Option<u32>,
    /// Do nothing if there is one of this kind and type already, whatever its size
    #[arg(long)]
    pub(crate) if_missing: bool,
}

/// [`Wait`], decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Endless,
    For(Duration),
    None,
}

impl Patience {
    /// What is left of it since `start`; of an endless one, as long as one may wait at once.
    pub(crate) fn left(self, start: Instant) -> Duration {
        match self {
            Self::Endless => SLICE,
            Self::For(time) => time.saturating_sub(start.elapsed()),
            Self::None => Duration::ZERO,
        }
    }
}

impl Wait {
    pub(crate) fn patience(self) -> Patience {
        match self {
            Self { no_wait: true, .. } => Patience::None,
            Self {
                timeout: Some(time),
                ..
            } => Patience::For(time),
            _ => Patience::Endless,
        }
    }
}

/// `500ms`, `2s`, `1m 30s`; a number alone is seconds, as flock takes them.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .map_err(|_| format!("{text:?} is no time; write 500ms, 2s or 1m"));
    }
    humantime::parse_duration(text).map_err(|e| format!("{e}; write 500ms, 2s or 1m"))
}

/// `4096`, `64K`, `1MiB`: powers of 1024, but `kB`, `MB`, … with a capital B and no i are powers of 1000, as in GNU tools.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let bad = || format!("{text:?} is no size; write 4096, 64K, 1MiB or 2GB");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| bad())?;
    let (unit, base) = match unit.trim_start() {
        "" | "B" => return Ok(number),
        unit if unit.ends_with("iB") => (&unit[..unit.len() - 2], 1024),
        unit if unit.ends_with('B') => (&unit[..unit.len() - 1], 1000),
        unit => (unit, 1024),
    };
    let power = match unit {
        "k" | "K" => 1,
        "m" | "M" => 2,
        "g" | "G" => 3,
        "t" | "T" => 4,
        _ => return Err(bad()),
    };
    usize::checked_pow(base, power)
        .and_then(|scale| number.checked_mul(scale))
        .ok_or_else(bad)
}

/// Permissions in octal, as chmod takes them.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(format!("{text:?} is no mode; write 600 or 660")),
    }
}

/// `TERM`, `sigterm`, `15`.
pub(crate) fn signal(text: &str) -> Result<Signal, String> {
    let upper = text.to_ascii_uppercase();
    let wanted = format!("SIG{}", upper.strip_prefix("SIG").unwrap_or(&upper));
    let is_meant =
        |signal: &Signal| signals::name(*signal) == wanted || signal.as_raw().to_string() == text;
    let mut known = (1..32).filter_map(Signal::from_named_raw);
    known
        .find(is_meant)
        .ok_or_else(|| format!("{text:?} is no signal; write TERM, SIGTERM or 15"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_gnu_tools_read_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65_536),
            ("64k", 65_536),
            ("1MiB", 1 << 20),
            ("1 MB", 1_000_000),
            ("2g", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "-1", "1X", "1.5M", "1iB", "99999999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2000),
            ("1m 1s", 61_000),
            ("3", 3000),
            ("0.5", 500),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "-1", "inf", "NaN", "2x", "1e99"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("660"), Ok(0o660));
        assert!(mode("999").is_err());
        assert!(mode("7777").is_err());
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(signal(text), Ok(Signal::TERM), "{text}");
        }
        assert_eq!(signal("kill"), Ok(Signal::KILL));
        for bad in ["", "0", "-9", "015", "SIG", "SIG15", "FOO", "99"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }
}
