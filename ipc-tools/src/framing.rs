//! How messages look as a stream of bytes: lines, NUL-ended records, JSON, hexadecimal, or as they are.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{
    args::values::Format,
    exit::{Failure, Outcome},
    output::json::SCHEMA,
};

/// A message as a line of JSON: text if it is UTF-8, else hexadecimal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    #[serde(default = "schema")]
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

fn schema() -> u32 {
    SCHEMA
}

impl Format {
    /// The byte behind every message; none where a message is all there is.
    pub(crate) fn separator(self) -> Option<u8> {
        match self {
            Self::Lines | Self::Json | Self::Hex => Some(b'\n'),
            Self::Null => Some(0),
            Self::Raw => None,
        }
    }

    /// Appends `message` and its separator to `out`. Only JSON has a place for a priority.
    pub(crate) fn encode(self, message: &[u8], priority: Option<i64>, out: &mut Vec<u8>) {
        match self {
            Self::Lines | Self::Null | Self::Raw => out.extend_from_slice(message),
            Self::Hex => out.extend_from_slice(to_hex(message).as_bytes()),
            Self::Json => {
                let text = str::from_utf8(message).ok();
                let hex = text.is_none().then(|| to_hex(message));
                let record = Record {
                    schema: SCHEMA,
                    priority,
                    data: text.map(Into::into),
                    hex,
                };
                serde_json::to_writer(&mut *out, &record)
                    .expect("a vector takes all there is to say");
            }
        }
        out.extend(self.separator());
    }

    /// The message in a record that came without its separator, where messages have no priority. `number` counts records from
    /// 1, for messages.
    pub(crate) fn decode(self, record: Vec<u8>, number: u64) -> Outcome<Vec<u8>> {
        match self.decode_with_priority(record, number)? {
            (message, None) => Ok(message),
            (_, Some(_)) => Err(bad(number, "only a priority queue takes a priority")),
        }
    }

    /// The message in a record, and the priority that it gives, which only JSON can.
    pub(crate) fn decode_with_priority(
        self,
        record: Vec<u8>,
        number: u64,
    ) -> Outcome<(Vec<u8>, Option<i64>)> {
        match self {
            Self::Lines | Self::Null | Self::Raw => Ok((record, None)),
            Self::Hex => from_hex(record.trim_ascii())
                .map(|message| (message, None))
                .ok_or_else(|| bad(number, "not hexadecimal digits in pairs")),
            Self::Json => decode_json(&record).map_err(|why| bad(number, &why)),
        }
    }
}

fn bad(number: u64, why: &str) -> Failure {
    Failure::Other(format!("message {number} of the input: {why}"))
}

/// The message and its priority, or what is wrong.
fn decode_json(record: &[u8]) -> Result<(Vec<u8>, Option<i64>), String> {
    let parsed: Record<'_> = serde_json::from_slice(record).map_err(|e| e.to_string())?;
    let message = match (parsed.schema, parsed.data, parsed.hex) {
        (SCHEMA, Some(text), None) => text.into_owned().into_bytes(),
        (SCHEMA, None, Some(hex)) => {
            from_hex(hex.as_bytes()).ok_or("\"hex\" is not hexadecimal digits in pairs")?
        }
        (SCHEMA, ..) => return Err("it needs either \"data\" or \"hex\"".to_owned()),
        _ => return Err(format!("its schema is not {SCHEMA}")),
    };
    Ok((message, parsed.priority))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}"); // a String takes everything
            hex
        })
}

pub(crate) fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(nibble(*high)? << 4 | nibble(*low)?).ok())
        .collect()
}

/// Cuts a stream that arrives in pieces into records.
#[derive(Debug)]
pub(crate) struct Splitter {
    separator: Option<u8>,
    /// The beginning of a record whose end has not arrived.
    pending: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            separator: format.separator(),
            pending: Vec::new(),
        }
    }

    /// Calls `each` on every record that `piece` completes.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(Vec<u8>) -> Outcome,
    ) -> Outcome {
        let Some(separator) = self.separator else {
            self.pending.extend_from_slice(piece);
            return Ok(());
        };
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|&b| b == separator) {
            let mut record = std::mem::take(&mut self.pending);
            record.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            each(record)?;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// How long the unfinished record is by now.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// What stands behind the last separator; without separators, everything.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (self.separator.is_none() || !self.pending.is_empty()).then_some(self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(format: Format, pieces: &[&str]) -> Vec<String> {
        let (mut splitter, mut found) = (Splitter::new(format), Vec::new());
        let text = |record: Vec<u8>| String::from_utf8(record).unwrap();
        for piece in pieces {
            splitter
                .feed(piece.as_bytes(), |record| {
                    found.push(text(record));
                    Ok(())
                })
                .unwrap();
        }
        found.extend(splitter.finish().map(text));
        found
    }

    #[test]
    fn lines_are_found_across_pieces_and_a_last_line_needs_no_newline() {
        assert_eq!(
            split(Format::Lines, &["a\n\nb", "c\n", "d"]),
            ["a", "", "bc", "d"]
        );
        assert_eq!(split(Format::Lines, &["a\n"]), ["a"]);
        assert!(split(Format::Lines, &[]).is_empty());
        assert_eq!(split(Format::Null, &["a\nb\0c"]), ["a\nb", "c"]);
        assert_eq!(split(Format::Raw, &["a\n", "b\n"]), ["a\nb\n"]);
        assert_eq!(split(Format::Raw, &[]), [""]);
    }

    #[test]
    fn every_format_gives_back_what_it_was_given() {
        for format in [Format::Json, Format::Hex, Format::Raw, Format::Null] {
            for message in [
                &b""[..],
                b"plain",
                b"tab\tquote\"",
                b"\xff\x01\x80",
                "snowman \u{2603}".as_bytes(),
            ] {
                let mut encoded = Vec::new();
                format.encode(message, None, &mut encoded);
                if format.separator().is_some() {
                    encoded.pop();
                }
                assert_eq!(format.decode(encoded, 1).unwrap(), message, "{format:?}");
            }
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bad in ["abc", "zz"] {
            assert!(Format::Hex.decode(bad.into(), 1).is_err(), "{bad}");
        }
        for bad in [
            "{}",
            "7",
            r#"{"data":"a","hex":"00"}"#,
            r#"{"schema":2,"data":"a"}"#,
            r#"{"hex":"0"}"#,
        ] {
            assert!(Format::Json.decode(bad.into(), 1).is_err(), "{bad}");
        }
    }
}
