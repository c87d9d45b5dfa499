//! Numbers and foreign text in a form for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `512B`, `1.5K`, `64M`: at most four characters and the unit, in powers of 1024.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if count < 1024 {
        return format!("{count}B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    // One digit behind the point where it says something.
    let tenths = (value * 10.0).round() / 10.0;
    let digits = usize::from(value < 9.95 && tenths.fract() > 0.0);
    format!("{value:.digits$}{}", UNITS[unit])
}

/// `12s`, `5m`, `3h`, `9d`, rounded down.
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Time since an instant that is given in nanoseconds since 1970.
pub(crate) fn since(unix_ns: u64) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(unix_ns))
}

/// `2026-11-20T12:21:04Z`.
pub(crate) fn time(unix_ns: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}

/// Text that others wrote, without what could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (count, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1K"),
            (1536, "1.5K"),
            (1 << 20, "1M"),
            (10 << 30, "10G"),
            (1_048_575, "1M"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "16E");
    }

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7200, "2h"),
            (100_000, "1d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn escape_sequences_of_others_are_defused() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a?[31mb?");
    }
}
