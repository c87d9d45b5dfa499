//! What the coordinator knows about the chunks of one pass. A `get` gives a message to one worker at most once, so what a
//! killed worker had in its hand is given out again, and what is counted twice for that reason is added up once.

use std::collections::{HashMap, VecDeque};

use super::{protocol::Span, words::Counts};

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the queue, or on its way into or out of it.
    Underway,
    InHandOf(u64),
    Counted,
}

/// The chunks of one pass, and the totals so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pass: u32,
    chunks: HashMap<Span, State>,
    /// How many chunks there are, once the producer has said so.
    expected: Option<u64>,
    counted: u64,
    /// To be given out again.
    again: VecDeque<Span>,
    pub(super) totals: Counts,
    /// Bytes of text in all counted chunks.
    pub(super) bytes: u64,
    /// Chunks that were counted again although somebody had done it.
    pub(super) duplicates: u64,
}

impl Ledger {
    pub(super) fn new(pass: u32) -> Self {
        Self {
            pass,
            ..Self::default()
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.expected == Some(self.counted)
    }

    pub(super) fn counted(&self) -> u64 {
        self.counted
    }

    pub(super) fn expect(&mut self, pass: u32, chunks: u64) {
        if pass == self.pass {
            self.expected = Some(chunks);
        }
    }

    pub(super) fn sending(&mut self, span: Span) {
        if span.pass == self.pass {
            self.chunks.entry(span).or_insert(State::Underway);
        }
    }

    pub(super) fn took(&mut self, worker: u64, span: Span) {
        if let Some(state @ (State::Underway | State::InHandOf(_))) = self.chunks.get_mut(&span) {
            *state = State::InHandOf(worker);
        }
    }

    /// Whether `worker` has a chunk in its hand.
    pub(super) fn is_at_work(&self, worker: u64) -> bool {
        self.chunks
            .values()
            .any(|state| *state == State::InHandOf(worker))
    }

    /// Adds the counts up, unless somebody's counts of this chunk are in.
    pub(super) fn add(&mut self, span: Span, counts: Counts) {
        match self.chunks.get_mut(&span) {
            None => {} // late news of an earlier pass
            Some(State::Counted) => self.duplicates += 1,
            Some(state) => {
                *state = State::Counted;
                self.counted += 1;
                self.bytes += u64::from(span.length);
                for (word, count) in counts {
                    *self.totals.entry(word).or_default() += count;
                }
            }
        }
    }

    /// Gives out again what `worker` had in its hand. Returns how many chunks that are.
    pub(super) fn bury(&mut self, worker: u64) -> u64 {
        let lost = self.give_again(|state| state == State::InHandOf(worker));
        lost as u64
    }

    /// Gives out again whatever is not counted, but for what is in a hand: a worker may have been killed before it said
    /// what it took. Only when the queue is empty and all is quiet.
    pub(super) fn give_stragglers_again(&mut self) {
        if self.expected.is_some() {
            self.give_again(|state| state == State::Underway);
        }
    }

    fn give_again(&mut self, is_lost: impl Fn(State) -> bool) -> usize {
        let before = self.again.len();
        for (span, state) in &mut self.chunks {
            if is_lost(*state) {
                *state = State::Underway;
                self.again.push_back(*span);
            }
        }
        self.again.len() - before
    }

    /// The next chunk to give out again.
    pub(super) fn next_again(&mut self) -> Option<Span> {
        self.again.pop_front()
    }

    /// It did not fit into the queue now.
    pub(super) fn postpone(&mut self, span: Span) {
        self.again.push_front(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span {
        pass: 1,
        file: 0,
        offset: 0,
        length: 10,
    };

    fn one() -> Counts {
        [("word".to_owned(), 1)].into()
    }

    #[test]
    fn a_chunk_that_is_counted_twice_is_added_up_once() {
        let mut ledger = Ledger::new(1);
        ledger.sending(SPAN);
        ledger.add(SPAN, one());
        ledger.add(SPAN, one());
        ledger.expect(1, 1);
        assert!(ledger.is_complete());
        assert_eq!((ledger.totals, ledger.duplicates), (one(), 1));
    }

    #[test]
    fn what_a_killed_worker_had_in_its_hand_is_given_out_again() {
        let mut ledger = Ledger::new(1);
        ledger.sending(SPAN);
        ledger.took(7, SPAN);
        assert_eq!(ledger.bury(8), 0);
        assert_eq!(ledger.bury(7), 1);
        assert_eq!(ledger.next_again(), Some(SPAN));
        assert_eq!(ledger.bury(7), 0);
    }

    #[test]
    fn news_of_another_pass_change_nothing() {
        let mut ledger = Ledger::new(2);
        ledger.sending(SPAN);
        ledger.add(SPAN, one());
        ledger.expect(1, 1);
        assert!(!ledger.is_complete());
        assert!(ledger.totals.is_empty());
    }
}
