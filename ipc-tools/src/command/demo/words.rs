//! What a word is: a run of letters and digits (Unicode), in lower case. Bytes that are not UTF-8 separate words, and a run
//! longer than [`LONGEST_WORD`] is cut there, so that no word needs more memory than a message has.

use std::collections::HashMap;

/// Bytes of a word before it is cut.
pub(super) const LONGEST_WORD: usize = 1024;

/// How often each word occurs.
pub(super) type Counts = HashMap<String, u64>;

/// Counts the words of a text that arrives in pieces, cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Counter {
    counts: Counts,
    /// The word at the end of what was read, so far.
    word: String,
    /// How many bytes of the text it has.
    word_bytes: usize,
    /// The beginning of a character whose end has not arrived.
    incomplete: Vec<u8>,
    /// Bytes read, without `incomplete`.
    position: usize,
    boundary: usize,
}

impl Counter {
    /// Reads on.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.incomplete.is_empty() {
            return self.scan(bytes);
        }
        let mut joined = std::mem::take(&mut self.incomplete);
        joined.extend_from_slice(bytes);
        self.scan(&joined);
    }

    fn scan(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|c| self.read(c));
            let invalid = chunk.invalid();
            // Only what comes next tells whether the last bytes are the beginning of a character.
            let may_go_on = |e: std::str::Utf8Error| e.error_len().is_none();
            if chunks.peek().is_none() && str::from_utf8(invalid).is_err_and(may_go_on) {
                self.incomplete = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.separate(invalid.len());
            }
        }
    }

    #[inline]
    fn read(&mut self, c: char) {
        let length = c.len_utf8();
        if !c.is_alphanumeric() {
            return self.separate(length);
        }
        if self.word_bytes + length > LONGEST_WORD {
            self.end_word();
        }
        if c.is_ascii() {
            self.word.push(c.to_ascii_lowercase())
        } else {
            self.word.extend(c.to_lowercase())
        }
        self.word_bytes += length;
        self.position += length;
    }

    fn separate(&mut self, length: usize) {
        self.end_word();
        self.position += length;
        self.boundary = self.position;
    }

    fn end_word(&mut self) {
        self.boundary = self.position;
        if self.word.is_empty() {
            return;
        }
        match self.counts.get_mut(&self.word) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(self.word.clone(), 1)),
        }
        self.word.clear();
        self.word_bytes = 0;
    }

    /// The end of the text: what comes next is another one.
    pub(super) fn end_text(&mut self) {
        let cut_off = std::mem::take(&mut self.incomplete).len();
        self.separate(cut_off);
    }

    /// The last place, in bytes from the start, where the text can be cut without changing its words.
    pub(super) fn boundary(&self) -> usize {
        self.boundary
    }

    /// The words of all texts that ended.
    pub(super) fn into_counts(self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(pieces: &[&[u8]]) -> Vec<(String, u64)> {
        let mut counter = Counter::default();
        pieces.iter().for_each(|piece| counter.feed(piece));
        counter.end_text();
        let mut counts: Vec<_> = counter.into_counts().into_iter().collect();
        counts.sort();
        counts
    }

    fn of(words: &[(&str, u64)]) -> Vec<(String, u64)> {
        words
            .iter()
            .map(|(word, n)| ((*word).to_owned(), *n))
            .collect()
    }

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        assert_eq!(
            count(&[b"The cat, the CAT's 2 hats.\n"]),
            of(&[("2", 1), ("cat", 2), ("hats", 1), ("s", 1), ("the", 2)])
        );
        assert_eq!(
            count(&["Übung\u{3000}ÜBUNG".as_bytes()]),
            of(&[("übung", 2)])
        );
        assert!(count(&[b""]).is_empty());
    }

    #[test]
    fn bytes_that_are_not_text_separate_words() {
        assert_eq!(count(&[b"a\xffb\xc3"]), of(&[("a", 1), ("b", 1)]));
    }

    #[test]
    fn it_does_not_matter_where_a_text_is_cut_into_pieces() {
        let text = "naïve Straße \u{1f600} x\u{ffff}y é".as_bytes();
        let broken = [text, b"\xe2\x82 tail\xf0\x9f\x98x\xf0\x9f"].concat();
        let whole = count(&[&broken]);
        for cut in 0..broken.len() {
            for second in cut..broken.len() {
                let pieces = [&broken[..cut], &broken[cut..second], &broken[second..]];
                assert_eq!(count(&pieces), whole, "cut at {cut} and {second}");
            }
        }
    }

    #[test]
    fn a_long_run_is_cut_at_the_same_places_whatever_comes_in_one_piece() {
        let run = vec![b'x'; 3 * LONGEST_WORD + 7];
        let expected = of(&[("xxxxxxx", 1), (&"x".repeat(LONGEST_WORD), 3)]);
        assert_eq!(count(&[&run]), expected);
        assert_eq!(count(&[&run[..1500], &run[1500..]]), expected);
    }
}
