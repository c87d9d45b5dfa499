//! A key or a value, as text and as JSON.

use std::cmp::Ordering;

use ipc_core::{Bytes, Message};

use super::load::in_a_line;
use crate::framing::{from_hex, to_hex};

/// What bytes begin with in JSON that are not written as text.
const HEX: &str = "hex:";

/// A key or a value whose type the command line knows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    Text(String),
    Bytes(Vec<u8>),
    Whole(i128),
    Float(f64),
    Bool(bool),
}

/// What a key or value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Text,
    Bytes,
    /// The least and the greatest.
    Whole(i128, i128),
    Float,
    Bool,
}

/// A type of keys or values that the command line knows.
pub(super) trait Known: Message {
    const SORT: Sort;

    /// How an object names it.
    fn name() -> String;

    fn shown(self) -> Datum;

    /// The value for a datum of its sort; `None` of another.
    fn of(datum: Datum) -> Option<Self>;
}

macro_rules! known {
    ($($type:ty: $sort:expr, $name:expr, $shown:expr, $of:pat => $value:expr;)*) => {$(
        impl Known for $type {
            const SORT: Sort = $sort;

            fn name() -> String {
                $name
            }

            fn shown(self) -> Datum {
                let shown: fn(Self) -> Datum = $shown;
                shown(self)
            }

            fn of(datum: Datum) -> Option<Self> {
                match datum {
                    $of => $value,
                    _ => None,
                }
            }
        }
    )*};
}

fn serde<T>() -> String {
    format!("serde {}", std::any::type_name::<T>())
}

known! {
    String: Sort::Text, serde::<String>(), Datum::Text, Datum::Text(text) => Some(text);
    Bytes: Sort::Bytes, "bytes".to_owned(), |bytes| Datum::Bytes(bytes.0), Datum::Bytes(bytes) => Some(Bytes(bytes));
    Vec<u8>: Sort::Bytes, serde::<Vec<u8>>(), Datum::Bytes, Datum::Bytes(bytes) => Some(bytes);
    bool: Sort::Bool, serde::<bool>(), Datum::Bool, Datum::Bool(truth) => Some(truth);
    f64: Sort::Float, serde::<f64>(), Datum::Float, Datum::Float(float) => Some(float);
}

macro_rules! whole {
    ($($type:ident)*) => {
        known! {$(
            $type: Sort::Whole($type::MIN as i128, $type::MAX as i128), serde::<$type>(), |n| Datum::Whole(n as i128),
                Datum::Whole(n) => n.try_into().ok();
        )*}
    };
}

whole!(u32 u64 usize i32 i64);

impl Sort {
    /// What a text in its place counts as, where numbers are added.
    const COUNT: Self = Self::Whole(i64::MIN as i128, i64::MAX as i128);

    /// What it is, for people.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Text => "UTF-8 text".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Float => "a number".to_owned(),
            Self::Bool => "true or false".to_owned(),
        }
    }

    /// What an argument, or standard input, means; else what is wrong.
    pub(super) fn read(self, bytes: Vec<u8>) -> Result<Datum, String> {
        if self == Self::Bytes {
            return Ok(Datum::Bytes(bytes));
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) if self == Self::Text => return Ok(Datum::Text(text)),
            Ok(text) => text,
            Err(e) if self == Self::Text => {
                return Err(format!("is not UTF-8: {}", e.utf8_error()));
            }
            Err(_) => String::new(),
        };
        self.parse(&text)
            .ok_or_else(|| format!("is not {}", self.describe()))
    }

    /// What a text means that stands for something else.
    fn parse(self, text: &str) -> Option<Datum> {
        match self {
            Self::Text => Some(Datum::Text(text.to_owned())),
            Self::Bytes => Some(Datum::Bytes(text.into())),
            Self::Whole(least, most) => {
                let number = text.parse().ok().filter(|n| (least..=most).contains(n));
                number.map(Datum::Whole)
            }
            Self::Float => text.parse().ok().map(Datum::Float),
            Self::Bool => text.parse().ok().map(Datum::Bool),
        }
    }

    /// A sum as a value; else what is wrong.
    fn hold(self, sum: Datum) -> Result<Datum, String> {
        let counts = if self == Self::Text {
            Self::COUNT
        } else {
            self
        };
        let fits = match (counts, &sum) {
            (Self::Whole(least, most), Datum::Whole(n)) => (least..=most).contains(n),
            (Self::Float, Datum::Float(float)) => float.is_finite(),
            _ => false,
        };
        if !fits {
            let range = counts.describe();
            return Err(format!("would be out of range: it is to be {range}"));
        }
        Ok(match self {
            Self::Text => Datum::Text(sum.spelled()),
            _ => sum,
        })
    }

    /// The key that a JSON string means.
    pub(super) fn key_of_json(self, key: String) -> Result<Datum, String> {
        match self {
            Self::Text => Ok(Datum::Text(key)),
            Self::Bytes => of_marked(key).map(Datum::Bytes),
            _ => self.read(key.into_bytes()),
        }
    }

    /// The value that a piece of valid JSON means.
    pub(super) fn value_of_json(self, json: &str) -> Result<Datum, String> {
        let text: Option<String> = match json.starts_with('"') {
            true => Some(
                serde_json::from_str(json).map_err(|e| format!("is no text: {}", in_a_line(&e)))?,
            ),
            false => None,
        };
        match (self, text) {
            (Self::Text, Some(text)) => Ok(Datum::Text(text)),
            (Self::Text, None) => Ok(Datum::Text(json.to_owned())),
            (Self::Bytes, Some(text)) => of_marked(text).map(Datum::Bytes),
            // What JSON has no numbers for.
            (Self::Float, Some(text)) if NO_NUMBERS.contains(&&*text) => {
                self.read(text.into_bytes())
            }
            (Self::Bytes, None) | (_, Some(_)) => Err(format!("is not {}", self.describe())),
            (_, None) => match self.read(json.into()) {
                Ok(Datum::Float(float)) if float.is_infinite() => Err("is out of range".to_owned()),
                read => read,
            },
        }
    }
}

/// Floats that JSON does not have.
const NO_NUMBERS: [&str; 3] = ["NaN", "inf", "-inf"];

impl Datum {
    /// Appends what a person reads, or of bytes the bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            other => out.extend_from_slice(other.spelled().as_bytes()),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// Of two keys of one dictionary, which comes first.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }

    fn spelled(&self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            // Shortest that means the same number again; with a point, so that it is seen to be no whole one.
            Self::Float(float) => format!("{float:?}"),
            Self::Bool(truth) => truth.to_string(),
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => marked(bytes),
        }
    }

    /// As a JSON string.
    pub(super) fn key_json(&self) -> String {
        quoted(&self.spelled())
    }

    /// As JSON.
    pub(super) fn json(&self) -> String {
        let is_number = match self {
            Self::Float(float) => float.is_finite(),
            Self::Whole(_) | Self::Bool(_) => true,
            Self::Text(_) | Self::Bytes(_) => false,
        };
        let spelled = self.spelled();
        if is_number { spelled } else { quoted(&spelled) }
    }

    /// The sum of a value of `sort`, or nothing, and what [`amount`](Self::amount) returned for that; else what is wrong.
    pub(super) fn plus(value: Option<&Self>, by: &Self, sort: Sort) -> Result<Self, String> {
        let value = match value {
            Some(Self::Text(text)) => Some(Sort::COUNT.parse(text).ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                format!("is {shown:?}, not {}", Sort::COUNT.describe())
            })?),
            other => other.cloned(),
        };
        let sum = match (value, by) {
            (None, by) => by.clone(),
            // Both have 64 bits.
            (Some(Self::Whole(a)), Self::Whole(b)) => Self::Whole(a + b),
            (Some(Self::Float(a)), Self::Float(b)) => Self::Float(a + b),
            _ => return Err("is no number".to_owned()),
        };
        sort.hold(sum)
    }

    /// What is to be added to values of `sort`; `None` if they are no numbers.
    pub(super) fn amount(text: &str, sort: Sort) -> Option<Result<Self, String>> {
        let sort = match sort {
            Sort::Text => Sort::COUNT,
            // Less than nothing can be added to what is never less.
            Sort::Whole(..) => Sort::Whole(i64::MIN.into(), u64::MAX.into()),
            Sort::Float => sort,
            Sort::Bytes | Sort::Bool => return None,
        };
        Some(sort.read(text.into()))
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Bytes as a text that [`of_marked`] understands.
fn marked(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(HEX) => text.to_owned(),
        _ => {
            format!("{HEX}{}", to_hex(bytes))
        }
    }
}

fn of_marked(text: String) -> Result<Vec<u8>, String> {
    match text.strip_prefix(HEX) {
        None => Ok(text.into_bytes()),
        Some(digits) => from_hex(digits.as_bytes()).ok_or_else(|| {
            "has something else than pairs of hexadecimal digits behind hex:".into()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(datum: &Datum, sort: Sort) -> Datum {
        sort.value_of_json(&datum.json()).unwrap()
    }

    #[test]
    fn every_value_comes_back_from_json_as_it_was() {
        for text in [
            "",
            "5",
            "\"5\"",
            "{\"a\": 1}",
            "null",
            "a\n\t\0\u{1b}\u{2603}",
            "hex:00",
        ] {
            let datum = Datum::Text(text.to_owned());
            assert!(datum.json().starts_with('"'));
            assert_eq!(back(&datum, Sort::Text), datum);
            let key = serde_json::from_str(&datum.key_json()).unwrap();
            assert_eq!(Sort::Text.key_of_json(key), Ok(datum));
        }
        for bytes in [
            &b""[..],
            b"text",
            b"hex:",
            b"hex:zz",
            b"\xff\x00",
            "\u{2603}".as_bytes(),
        ] {
            let datum = Datum::Bytes(bytes.to_vec());
            assert_eq!(back(&datum, Sort::Bytes), datum);
            let key = serde_json::from_str(&datum.key_json()).unwrap();
            assert_eq!(Sort::Bytes.key_of_json(key), Ok(datum));
        }
        for float in [
            0.0,
            -0.0,
            0.1,
            1e300,
            5e-324,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            assert_eq!(back(&Datum::Float(float), Sort::Float), Datum::Float(float));
        }
        let nan = back(&Datum::Float(f64::NAN), Sort::Float);
        assert!(matches!(nan, Datum::Float(float) if float.is_nan()));
        let most = Datum::Whole(u64::MAX.into());
        assert_eq!(back(&most, u64::SORT), most);
        assert_eq!(back(&Datum::Bool(true), Sort::Bool), Datum::Bool(true));
    }

    #[test]
    fn json_that_is_no_value_of_the_type_is_refused() {
        for (sort, json) in [
            (u32::SORT, "4294967296"),
            (u32::SORT, "-1"),
            (u64::SORT, "\"5\""),
            (i64::SORT, "1e3"),
            (i64::SORT, "1.0"),
            (Sort::Float, "1e999"),
            (Sort::Float, "\"infinity\""),
            (Sort::Float, "null"),
            (Sort::Bool, "1"),
            (Sort::Bytes, "1"),
            (Sort::Bytes, "\"hex:0\""),
        ] {
            assert!(sort.value_of_json(json).is_err(), "{sort:?} {json}");
        }
        assert_eq!(
            Sort::Text.value_of_json("[1, 2.50]"),
            Ok(Datum::Text("[1, 2.50]".to_owned()))
        );
    }

    #[test]
    fn sums_are_exact_or_refused() {
        let text = |text: &str| Datum::Text(text.to_owned());
        let (one, minus) = (Datum::Whole(1), Datum::Whole(-1));
        assert_eq!(Datum::plus(None, &one, Sort::Text), Ok(text("1")));
        assert_eq!(
            Datum::plus(Some(&text("-1")), &one, Sort::Text),
            Ok(text("0"))
        );
        let most = text(&i64::MAX.to_string());
        assert!(Datum::plus(Some(&most), &one, Sort::Text).is_err());
        assert!(Datum::plus(Some(&text("1.5")), &one, Sort::Text).is_err());
        assert!(Datum::plus(None, &minus, u64::SORT).is_err());
        assert_eq!(
            Datum::plus(Some(&Datum::Whole(u64::MAX.into())), &minus, u64::SORT),
            Ok(Datum::Whole((u64::MAX - 1).into()))
        );
        let (max, half) = (Datum::Float(f64::MAX), Datum::Float(0.5));
        assert_eq!(Datum::plus(None, &half, Sort::Float), Ok(half.clone()));
        assert!(Datum::plus(Some(&max), &max, Sort::Float).is_err());
        assert!(Datum::amount("1", Sort::Bool).is_none());
        assert!(matches!(Datum::amount("x", u32::SORT), Some(Err(_))));
    }
}
