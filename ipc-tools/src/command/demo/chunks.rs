//! Cuts files into chunks of text, at places that cut no word.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{protocol::Span, words::Counter};

/// The chunks of one file.
pub(super) struct Chunks {
    file: File,
    /// The file's number and the pass, for the spans.
    pass: u32,
    number: u32,
    most: usize,
    /// Read, and not yet in a chunk.
    window: Vec<u8>,
    /// Where the window starts.
    offset: u64,
}

impl Chunks {
    /// `most` bytes are enough for the longest word a few times over.
    pub(super) fn of(path: &Path, pass: u32, number: u32, most: usize) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            pass,
            number,
            most,
            window: Vec::new(),
            offset: 0,
        })
    }

    fn fill(&mut self) -> io::Result<()> {
        let missing = (self.most - self.window.len()) as u64;
        self.file
            .by_ref()
            .take(missing)
            .read_to_end(&mut self.window)
            .map(drop)
    }
}

impl Iterator for Chunks {
    type Item = io::Result<(Span, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(e) = self.fill() {
            return Some(Err(e));
        }
        let length = if self.window.len() < self.most {
            self.window.len()
        } else {
            cut(&self.window)
        };
        if length == 0 {
            return None;
        }
        let rest = self.window.split_off(length);
        let text = std::mem::replace(&mut self.window, rest);
        let span = Span {
            pass: self.pass,
            file: self.number,
            offset: self.offset,
            length: length as u32,
        };
        self.offset += length as u64;
        Some(Ok((span, text)))
    }
}

/// How much of `window`, which starts at a boundary, can go without cutting a word.
fn cut(window: &[u8]) -> usize {
    let separates = |&byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
    match window.iter().rposition(separates) {
        Some(last) => last + 1,
        None => {
            // One long run, or a script without ASCII: ask who knows.
            let mut counter = Counter::default();
            counter.feed(window);
            counter.boundary()
        }
    }
}

/// The text of a chunk, again.
pub(super) fn read_again(path: &Path, span: Span) -> io::Result<Vec<u8>> {
    let mut text = vec![0; span.length as usize];
    File::open(path)?.read_exact_at(&mut text, span.offset)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::demo::words::Counts;

    /// Counts `text` whole, and cut; the counts must agree and the chunks must be the text.
    fn compare(text: &[u8]) {
        let path =
            std::env::temp_dir().join(format!("ipc-chunks-{}-{}", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let mut joined = Vec::new();
        let mut cut = Counter::default();
        for chunk in Chunks::of(&path, 1, 0, 4096).unwrap() {
            let (span, chunk) = chunk.unwrap();
            assert_eq!(span.offset, joined.len() as u64);
            assert_eq!(read_again(&path, span).unwrap(), chunk);
            joined.extend_from_slice(&chunk);
            cut.feed(&chunk);
            cut.end_text();
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(joined, text);
        let mut whole = Counter::default();
        whole.feed(text);
        whole.end_text();
        let (cut, whole): (Counts, Counts) = (cut.into_counts(), whole.into_counts());
        assert_eq!(cut, whole);
    }

    #[test]
    fn chunks_are_the_file_and_have_its_words() {
        compare(b"");
        compare(b"one");
        compare("the quick brown fox, ".repeat(1000).as_bytes());
        compare(&vec![b' '; 10_001]);
    }

    #[test]
    fn files_without_any_ascii_separator_are_cut_between_words() {
        compare(&vec![b'x'; 50_003]);
        compare("\u{4e00}\u{4e8c}\u{3002}".repeat(5001).as_bytes());
        compare("\u{e9}".repeat(20_011).as_bytes());
        compare(&[0xff, 0xfe, 0x80, 0xc3].repeat(5003));
        compare(&[&[b'a'; 5000][..], &[0xf0, 0x9f, 0x98], &[b'b'; 5005]].concat());
    }
}
