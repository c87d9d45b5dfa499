//! The command of a job: what its line is filled into, as GNU parallel does it.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What stands for the line, longest first where one begins like another.
const PLACEHOLDERS: [(&[u8], Part); 7] = [
    (b"{}", Part::Line),
    (b"{.}", Part::Stem),
    (b"{/}", Part::Name),
    (b"{//}", Part::Directory),
    (b"{/.}", Part::NameStem),
    (b"{#}", Part::Number),
    (b"{%}", Part::Slot),
];
const SHELL: [&[u8]; 2] = [b"/bin/sh", b"-c"];

/// A command with places for its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Template {
    words: Vec<Vec<Piece>>,
    /// What is filled in is quoted for a shell.
    is_quoted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Piece {
    Text(ByteBuf),
    Part(Part),
}

/// What of a job is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Line,
    Stem,
    Name,
    Directory,
    NameStem,
    Number,
    Slot,
}

/// What a template is filled with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) line: &'a [u8],
    pub(crate) number: u64,
    pub(crate) slot: usize,
}

impl Template {
    /// A command that is executed as it stands.
    pub(crate) fn direct(command: &[impl AsRef<OsStr>]) -> Self {
        let words = command.iter().map(|word| pieces(word.as_ref().as_bytes()));
        let mut words: Vec<Vec<Piece>> = words.collect();
        if !mentions_the_line(&words) {
            words.push(vec![Piece::Part(Part::Line)]);
        }
        Self {
            words,
            is_quoted: false,
        }
    }

    /// A command that a shell reads.
    pub(crate) fn shell(command: &[impl AsRef<OsStr>]) -> Self {
        let words: Vec<&[u8]> = command.iter().map(|w| w.as_ref().as_bytes()).collect();
        let mut text = pieces(&words.join(&b' '));
        if !mentions_the_line(std::slice::from_ref(&text)) {
            text.push(Piece::Text(ByteBuf::from(b" ")));
            text.push(Piece::Part(Part::Line));
        }
        Self::in_shell(text, true)
    }

    /// Each line is a command that a shell reads.
    pub(crate) fn lines() -> Self {
        Self::in_shell(vec![Piece::Part(Part::Line)], false)
    }

    fn in_shell(text: Vec<Piece>, is_quoted: bool) -> Self {
        let shell = SHELL.map(|word| vec![Piece::Text(ByteBuf::from(word))]);
        Self {
            words: shell.into_iter().chain([text]).collect(),
            is_quoted,
        }
    }

    /// What is executed, if it is the same for all lines.
    pub(crate) fn program(&self) -> Option<&OsStr> {
        match self.words.first()?.as_slice() {
            [Piece::Text(text)] => Some(OsStr::from_bytes(text)),
            _ => None,
        }
    }

    /// The program and its arguments for one job.
    pub(crate) fn fill(&self, with: Filling<'_>) -> Vec<Vec<u8>> {
        let word = |pieces: &Vec<Piece>| {
            let mut text = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Text(piece) => text.extend_from_slice(piece),
                    Piece::Part(part) if self.is_quoted => quote(&part.of(with), &mut text),
                    Piece::Part(part) => text.extend_from_slice(&part.of(with)),
                }
            }
            text
        };
        self.words.iter().map(word).collect()
    }

    /// The same as a line of shell, for people.
    pub(crate) fn describe(&self, with: Filling<'_>) -> Vec<u8> {
        let words = self.fill(with);
        let shell: Vec<&[u8]> = words.iter().take(2).map(Vec::as_slice).collect();
        if shell == SHELL {
            return words.into_iter().next_back().unwrap_or_default();
        }
        let mut text = Vec::new();
        for word in words {
            if !text.is_empty() {
                text.push(b' ');
            }
            quote(&word, &mut text);
        }
        text
    }
}

fn mentions_the_line(words: &[Vec<Piece>]) -> bool {
    words.iter().flatten().any(|piece| match piece {
        Piece::Text(_) => false,
        Piece::Part(part) => !matches!(part, Part::Number | Part::Slot),
    })
}

/// Cuts a word where something is filled in.
fn pieces(word: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = word;
    while let Some((&first, behind)) = rest.split_first() {
        let found = PLACEHOLDERS.iter().find(|(it, _)| rest.starts_with(it));
        let Some((it, part)) = found else {
            text.push(first);
            rest = behind;
            continue;
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(ByteBuf::from(std::mem::take(&mut text))));
        }
        pieces.push(Piece::Part(*part));
        rest = &rest[it.len()..];
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(ByteBuf::from(text)));
    }
    pieces
}

impl Part {
    fn of(self, job: Filling<'_>) -> Vec<u8> {
        match self {
            Self::Line => job.line.to_vec(),
            Self::Stem => stem(job.line).to_vec(),
            Self::Name => name(job.line).to_vec(),
            Self::Directory => directory(job.line).to_vec(),
            Self::NameStem => stem(name(job.line)).to_vec(),
            Self::Number => job.number.to_string().into_bytes(),
            Self::Slot => job.slot.to_string().into_bytes(),
        }
    }
}

/// Without the last `.` and what stands behind it, unless there is a `/` in that.
fn stem(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| matches!(b, b'.' | b'/')) {
        Some(at) if path[at] == b'.' && at + 1 < path.len() => &path[..at],
        _ => path,
    }
}

fn name(path: &[u8]) -> &[u8] {
    let start = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    &path[start..]
}

/// As dirname(1) has it.
fn directory(path: &[u8]) -> &[u8] {
    let end = |path: &[u8]| path.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
    let path = match end(path) {
        0 if path.is_empty() => return b".",
        0 => return b"/",
        length => &path[..length],
    };
    match path.iter().rposition(|&b| b == b'/') {
        None => b".",
        Some(at) => match end(&path[..at]) {
            0 => b"/",
            length => &path[..length],
        },
    }
}

/// So that a shell reads it as one word, which is what it is.
fn quote(word: &[u8], to: &mut Vec<u8>) {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(b);
    if !word.is_empty() && word.iter().all(is_plain) {
        return to.extend_from_slice(word);
    }
    to.push(b'\'');
    for &byte in word {
        match byte {
            b'\'' => to.extend_from_slice(br"'\''"),
            byte => to.push(byte),
        }
    }
    to.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &Template, line: &str) -> Vec<String> {
        let with = Filling {
            line: line.as_bytes(),
            number: 7,
            slot: 2,
        };
        let words = template.fill(with).into_iter();
        words.map(|w| String::from_utf8(w).unwrap()).collect()
    }

    #[test]
    fn each_placeholder_is_its_part_of_the_line() {
        let template = Template::direct(&["x", "{}", "{.}", "{/}", "{//}", "{/.}", "{#}", "{%}"]);
        for (line, parts) in [
            ("a/b.c.d", ["a/b.c.d", "a/b.c", "b.c.d", "a", "b.c"]),
            ("plain", ["plain", "plain", "plain", ".", "plain"]),
            ("a.d/b", ["a.d/b", "a.d/b", "b", "a.d", "b"]),
            ("/b", ["/b", "/b", "b", "/", "b"]),
            ("a//b/", ["a//b/", "a//b/", "", "a", ""]),
            ("b.", ["b.", "b.", "b.", ".", "b."]),
            ("//", ["//", "//", "", "/", ""]),
            ("", ["", "", "", ".", ""]),
        ] {
            let words = filled(&template, line);
            assert_eq!(words[1..6], parts, "{line:?}");
            assert_eq!(words[6..], ["7", "2"]);
        }
    }

    #[test]
    fn a_line_that_nothing_stands_for_comes_last() {
        assert_eq!(
            filled(&Template::direct(&["gzip", "-9"]), "a b"),
            ["gzip", "-9", "a b"]
        );
        assert_eq!(
            filled(&Template::direct(&["x", "{#}"]), "l"),
            ["x", "7", "l"]
        );
        assert_eq!(
            filled(&Template::direct(&["x{}y", "{a}", "{"]), "l"),
            ["xly", "{a}", "{"]
        );
        assert_eq!(
            filled(&Template::direct(&["x", "", "{}"]), "l"),
            ["x", "", "l"]
        );
    }

    #[test]
    fn a_shell_reads_the_line_as_one_word() {
        let template = Template::shell(&["echo", "$HOME", "{}"]);
        assert_eq!(
            filled(&template, "it's"),
            ["/bin/sh", "-c", r"echo $HOME 'it'\''s'"]
        );
        assert_eq!(filled(&Template::shell(&["cat"]), "")[2], "cat ''");
        assert_eq!(filled(&Template::lines(), "a | b")[2], "a | b");
    }

    #[test]
    fn the_program_is_known_when_no_line_changes_it() {
        assert_eq!(
            Template::direct(&["gzip"]).program(),
            Some(OsStr::new("gzip"))
        );
        assert_eq!(Template::direct(&["{}/x"]).program(), None);
        assert_eq!(Template::lines().program(), Some(OsStr::new("/bin/sh")));
    }

    #[test]
    fn people_are_shown_what_a_shell_would_take() {
        let described = |template: &Template| {
            let line = b"a b";
            let text = template.describe(Filling {
                line,
                number: 1,
                slot: 1,
            });
            String::from_utf8(text).unwrap()
        };
        assert_eq!(
            described(&Template::direct(&["echo", "{}", "x"])),
            "echo 'a b' x"
        );
        assert_eq!(described(&Template::shell(&["echo {}"])), "echo 'a b'");
    }
}
