//! What a listener and a client say to each other, over a socket that keeps packets apart.
//!
//! ```text
//!      client                                listener
//!        │ hello: protocol, layout, type  ──→   │
//!        │   ←── answer: welcome, and a file    │  … or why not
//!        │ ready                          ──→   │
//! ```
//!
//! The file is a duplex pipe without a name, of which the listener has the first end; the client takes the second one, and says that it is
//! ready only then. So a listener never gives out a connection whose other end is nobody's. One that hangs up without a word is closed or died.
//!
//! # Layout
//!
//! ```text
//!   0        8          12     16       20       24          32         160         224
//!   ┌────────┬──────────┬──────┬────────┬────────┬───────────┬──────────┬───────────┐
//!   │ magic  │ protocol │ word │ layout │ status │ type hash │ type name│ file name │
//!   └────────┴──────────┴──────┴────────┴────────┴───────────┴──────────┴───────────┘
//!    ready ↑              hello, and what an answer begins with ↑     answer ↑
//! ```
//!
//! Numbers are in the machine's byte order, texts padded with zeros. Whoever receives a packet has a private copy, reads each field once, and
//! believes none of them: a hello that is none is an error for its sender only.

use crate::region::identity::{LAYOUT_VERSION, WORD, hash, shorten};

/// Changes with any packet, but for magic and protocol, which stay where they are.
pub(super) const PROTOCOL: u32 = 1;

/// More than any packet has, so that a longer one is seen to be one.
pub(super) const MOST_BYTES: usize = 256;

const HELLO: [u8; 8] = *b"ipc-helo";
const ANSWER: [u8; 8] = *b"ipc-answ";
pub(super) const READY: [u8; 8] = *b"ipc-redy";

const TYPE_AT: usize = 32;
const HEAD_BYTES: usize = 160;
const FILE_BYTES: usize = 64;

/// What both sides must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    protocol: u32,
    word: u32,
    layout: u32,
    type_hash: u64,
    /// As much of it as fits.
    type_name: String,
}

/// Why two sides do not agree, and what the other one has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Discord {
    Versions(String),
    Type(String),
}

/// What a listener says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    WrongType,
    Incompatible,
    /// The listener could not make a pipe.
    NoPipe,
    /// The listener has waited for too long, or does not know what was said. At any time.
    GivenUp,
}

/// Every verdict, and its number in an answer.
const VERDICTS: [(Verdict, u32); 5] = [
    (Verdict::Welcome, 1),
    (Verdict::WrongType, 2),
    (Verdict::Incompatible, 3),
    (Verdict::NoPipe, 4),
    (Verdict::GivenUp, 5),
];

/// An answer, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) terms: Terms,
    /// What the file is called among the namespace's nameless ones.
    pub(super) file_name: String,
}

/// The packet is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbage;

impl Terms {
    /// This program's, for pipes of this type.
    pub(super) fn ours(type_name: &str) -> Self {
        Self {
            protocol: PROTOCOL,
            word: WORD,
            layout: LAYOUT_VERSION,
            type_hash: hash(type_name),
            type_name: shorten(type_name).to_owned(),
        }
    }

    /// Whether the other side's are the same.
    pub(super) fn check(&self, theirs: &Self) -> Result<(), Discord> {
        let versions = |terms: &Self| (terms.protocol, terms.word, terms.layout);
        if versions(self) != versions(theirs) {
            return Err(Discord::Versions(theirs.versions()));
        }
        if self.type_hash != theirs.type_hash {
            return Err(Discord::Type(theirs.type_name.clone()));
        }
        Ok(())
    }

    /// In words.
    pub(super) fn versions(&self) -> String {
        let bits = (self.word & 0xff).wrapping_mul(8);
        format!(
            "protocol {} with layout {} for {bits}-bit words",
            self.protocol, self.layout
        )
    }

    pub(super) fn hello(&self) -> Vec<u8> {
        self.head(HELLO, 0)
    }

    /// What to say to a client; `file_name` only to one that is welcome.
    pub(super) fn answer(&self, verdict: Verdict, file_name: &str) -> Vec<u8> {
        let number = VERDICTS.iter().find(|(known, _)| *known == verdict);
        let mut packet = self.head(ANSWER, number.map_or(0, |&(_, number)| number));
        packet.extend_from_slice(file_name.as_bytes());
        packet.resize(HEAD_BYTES + FILE_BYTES, 0);
        packet
    }

    fn head(&self, magic: [u8; 8], status: u32) -> Vec<u8> {
        let mut packet = magic.to_vec();
        for number in [self.protocol, self.word, self.layout, status] {
            packet.extend_from_slice(&number.to_ne_bytes());
        }
        packet.extend_from_slice(&self.type_hash.to_ne_bytes());
        packet.extend_from_slice(self.type_name.as_bytes());
        packet.resize(HEAD_BYTES, 0);
        packet
    }

    /// What a hello says.
    pub(super) fn of_hello(packet: &[u8]) -> Result<Self, Garbage> {
        let (terms, _) = read_head(packet, HELLO, HEAD_BYTES)?;
        Ok(terms)
    }
}

impl Answer {
    pub(super) fn read(packet: &[u8]) -> Result<Self, Garbage> {
        let (terms, status) = read_head(packet, ANSWER, HEAD_BYTES + FILE_BYTES)?;
        let known = VERDICTS.iter().find(|(_, number)| *number == status);
        // Who speaks another protocol may know other verdicts, and have longer packets.
        let verdict = match known {
            _ if terms.protocol != PROTOCOL => Verdict::Incompatible,
            Some(&(verdict, _)) => verdict,
            None => return Err(Garbage),
        };
        let file_name = text(packet.get(HEAD_BYTES..).unwrap_or_default());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !file_name.chars().all(is_plain) {
            return Err(Garbage);
        }
        Ok(Self {
            verdict,
            terms,
            file_name,
        })
    }
}

/// Terms and status of a packet. Of another protocol's, no more than that it is one is known.
fn read_head(packet: &[u8], magic: [u8; 8], length: usize) -> Result<(Terms, u32), Garbage> {
    if packet.get(..8) != Some(&magic[..]) {
        return Err(Garbage);
    }
    let protocol = number(packet, 8)?;
    if protocol == PROTOCOL && packet.len() != length {
        return Err(Garbage);
    }
    let type_name = packet.get(TYPE_AT..HEAD_BYTES).unwrap_or_default();
    let type_hash = packet.get(24..).and_then(<[u8]>::first_chunk::<8>);
    let terms = Terms {
        protocol,
        word: number(packet, 12)?,
        layout: number(packet, 16).unwrap_or_default(),
        type_hash: type_hash.copied().map_or(0, u64::from_ne_bytes),
        type_name: text(type_name),
    };
    Ok((terms, number(packet, 20).unwrap_or_default()))
}

fn number(packet: &[u8], at: usize) -> Result<u32, Garbage> {
    let bytes = packet.get(at..).and_then(<[u8]>::first_chunk::<4>);
    bytes.copied().map(u32::from_ne_bytes).ok_or(Garbage)
}

/// A text up to its first zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let terms = Terms::ours("serde (u32, alloc::string::String)");
        assert_eq!(Terms::of_hello(&terms.hello()), Ok(terms.clone()));
        for (verdict, _) in VERDICTS {
            let packet = terms.answer(verdict, "0123-abc");
            assert!(packet.len() < MOST_BYTES);
            let read = Answer::read(&packet).unwrap();
            assert_eq!((read.verdict, &read.terms), (verdict, &terms));
            assert_eq!(read.file_name, "0123-abc");
        }
    }

    #[test]
    fn long_type_names_are_cut_and_told_apart_nevertheless() {
        let [one, other] = ["a", "b"].map(|end| Terms::ours(&("ä".repeat(100) + end)));
        assert_eq!(Terms::of_hello(&one.hello()), Ok(one.clone()));
        assert_eq!(one.type_name, other.type_name);
        assert!(matches!(one.check(&other), Err(Discord::Type(_))));
    }

    #[test]
    fn another_version_is_named_whatever_else_it_says() {
        let ours = Terms::ours("bytes");
        let mut packet = ours.hello();
        packet[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        for length in [16, 20, 100, packet.len()] {
            let theirs = Terms::of_hello(&packet[..length]).unwrap();
            let Err(Discord::Versions(found)) = ours.check(&theirs) else {
                panic!("{theirs:?}");
            };
            assert!(found.contains("protocol 7"), "{found}");
        }
        let mut packet = ours.answer(Verdict::Welcome, "x");
        packet[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        packet.push(0);
        let read = Answer::read(&packet).unwrap();
        assert_eq!(read.verdict, Verdict::Incompatible);
    }

    #[test]
    fn garbage_is_garbage() {
        let ours = Terms::ours("bytes");
        let (hello, answer) = (ours.hello(), ours.answer(Verdict::Welcome, "x"));
        for length in 0..hello.len() {
            assert_eq!(Terms::of_hello(&hello[..length]), Err(Garbage), "{length}");
        }
        for length in 0..answer.len() {
            assert_eq!(Answer::read(&answer[..length]), Err(Garbage), "{length}");
        }
        assert_eq!(Terms::of_hello(&answer), Err(Garbage));
        assert_eq!(Answer::read(&hello), Err(Garbage));
        assert_eq!(Terms::of_hello(&[&hello[..], b"x"].concat()), Err(Garbage));
        for bad in ["../../etc/passwd", "a b", "\u{e4}"] {
            let packet = ours.answer(Verdict::Welcome, bad);
            assert_eq!(Answer::read(&packet), Err(Garbage), "{bad}");
        }
        let mut packet = answer;
        packet[20] = 9;
        assert_eq!(Answer::read(&packet), Err(Garbage));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let ours = Terms::ours("bytes");
        let packets = [ours.hello(), ours.answer(Verdict::Welcome, "x")];
        for packet in packets {
            for at in 0..packet.len() {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = packet.clone();
                    changed[at] = byte;
                    let _ = Terms::of_hello(&changed).map(|terms| ours.check(&terms));
                    let _ = Answer::read(&changed);
                }
            }
        }
    }
}
