//! A loom model of messages in place. It shares its orderings with those in `model` beside it.

use loom::thread;

use super::{
    on_heap::{World, geometry},
    reader::{Reader, RecvRefusal},
    writer::{SendRefusal, Writer},
};
use crate::prim::Relaxed;

impl Writer {
    /// Sends a number that is written in place.
    fn lend_for_model(&mut self, value: u64) -> Result<(), SendRefusal> {
        let piece = self.reserve_piece(8)?;
        self.piece(&piece)[0].store(value, Relaxed);
        self.fill_piece(&piece, 8);
        self.publish();
        Ok(())
    }
}

impl Reader {
    /// Receives a number in place.
    fn show_for_model(&mut self) -> Result<u64, RecvRefusal> {
        let frame = self.next_framed(self.head())?;
        let value = self.in_one_piece(&frame).unwrap()[0].load(Relaxed);
        self.in_one_piece(&frame).unwrap(); // it is still being read
        self.give_back(frame.end);
        Ok(value)
    }
}

#[test]
fn a_loan_is_seen_whole_and_its_room_lent_again_after_it_was_read() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check(|| {
        let w = World::new(geometry(32, None, true), 3);
        let (_, mut writer) = w.writer(0).unwrap();
        let (_, mut reader) = w.reader(1).unwrap();
        let t = thread::spawn(move || {
            for i in 1..=3 {
                while writer.lend_for_model(i) == Err(SendRefusal::Full) {
                    thread::yield_now();
                }
            }
        });
        for i in 1..=3 {
            let got = loop {
                match reader.show_for_model() {
                    Err(RecvRefusal::Empty) => thread::yield_now(),
                    got => break got,
                }
            };
            assert_eq!(got, Ok(i));
        }
        t.join().unwrap();
    });
}
