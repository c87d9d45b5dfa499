//! Our own queue and pipe.

use crate::traffic::{Link, Load, check, fill, message};
use bytemuck::{cast_slice, cast_slice_mut};
use ipc_benches::crew::Workers::Processes;
use ipc_benches::queue::{fresh_name, namespace};
use ipc_core::{Bytes, Message, Pipe, Plain, Queue, WaitStrategy};

fn strategy(load: Load) -> WaitStrategy {
    if load.sleeps {
        WaitStrategy::Sleep
    } else {
        WaitStrategy::Spin
    }
}

/// Bytes that a pipe adds to a message of whole cache lines that is written in place.
const FRAME: usize = 64;

/// A pipe's name, which goes with this.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        // A name that stays is no reason to panic in a drop.
        let _ = namespace().unlink(&self.0);
    }
}

/// One with room for all messages of the load, each `frame` bytes longer.
fn pipe<M: Message>(load: Load, frame: usize) -> Named {
    let name = fresh_name();
    let options = Pipe::<M>::options().one_way();
    let options = options.capacity(load.capacity * (load.bytes + frame));
    drop(
        options
            .namespace(&namespace())
            .create(&name)
            .expect("make a pipe"),
    );
    Named(name)
}

fn open_pipe<M: Message>(name: &str, load: Load) -> Pipe<M> {
    let options = Pipe::options().namespace(&namespace()).wait(strategy(load));
    options.open(name).expect("open the pipe")
}

/// A pipe of values that are copied as they lie in memory.
pub(crate) fn pipe_plain<const N: usize>(load: Load) -> Link
where
    [u64; N]: bytemuck::Pod,
{
    let named = pipe::<Plain<[u64; N]>>(load, 0);
    let (here, there) = (named.0.clone(), named.0.clone());
    let put = move || {
        let mut sender = open_pipe(&here, load).sender().expect("it is free");
        move |first| {
            load.batches(first, |first| {
                if load.batch == 1 {
                    return sender.send(Plain(message::<N>(first))).expect("send");
                }
                let messages = (0..load.batch as u64).map(|n| Plain(message::<N>(first + n)));
                let sent = sender.send_many(messages).expect("send a batch");
                assert_eq!(sent, load.batch);
            })
        }
    };
    let get = move || {
        let pipe = open_pipe::<Plain<[u64; N]>>(&there, load);
        let mut receiver = pipe.receiver().expect("it is free");
        let mut messages = Vec::new();
        move |first| {
            load.batches(first, |first| {
                if load.batch == 1 {
                    return check(&receiver.recv().expect("receive").0, first);
                }
                let mut got = 0;
                while got < load.batch as u64 {
                    let most = load.batch - got as usize;
                    let came = receiver.recv_many_into(&mut messages, most);
                    came.expect("receive a batch");
                    for message in messages.drain(..) {
                        check(&message.0, first + got);
                        got += 1;
                    }
                }
            })
        }
    };
    Link::new(Processes, put, get).keeping(named)
}

/// A queue of values that are copied as they lie in memory.
pub(crate) fn queue_plain<const N: usize>(load: Load) -> Link
where
    [u64; N]: bytemuck::Pod,
{
    let named = ipc_benches::queue::Named::create(Queue::<Plain<[u64; N]>>::options(load.capacity));
    let (here, there) = (
        named.open_with(strategy(load)),
        named.open_with(strategy(load)),
    );
    let put = move || {
        let queue = here();
        move |first| {
            load.batches(first, |first| {
                if load.batch == 1 {
                    return queue.put(Plain(message::<N>(first))).expect("put");
                }
                let messages = (0..load.batch as u64).map(|n| Plain(message::<N>(first + n)));
                queue.put_many(messages).expect("put a batch");
            })
        }
    };
    let get = move || {
        let queue = there();
        move |first| {
            load.batches(first, |first| {
                let mut got = 0;
                while got < load.batch as u64 {
                    let most = load.batch - got as usize;
                    if most == 1 {
                        check(&queue.get().expect("get").0, first + got);
                        got += 1;
                        continue;
                    }
                    for message in queue.get_many(most).expect("get a batch") {
                        check(&message.0, first + got);
                        got += 1;
                    }
                }
            })
        }
    };
    Link::new(Processes, put, get).keeping(named)
}

/// A pipe of bytes that are written and read in place.
pub(crate) fn pipe_lent(load: Load) -> Link {
    let named = pipe::<Bytes>(load, FRAME);
    let (here, there) = (named.0.clone(), named.0.clone());
    let put = move || {
        let mut sender = open_pipe::<Bytes>(&here, load)
            .sender()
            .expect("it is free");
        move |first| {
            load.batches(first, |number| {
                let mut loan = sender.loan(load.bytes).expect("take a loan");
                // SAFETY: nobody but this process writes to a loan, and `fill` stores every byte.
                fill(cast_slice_mut(unsafe { loan.as_mut_slice() }), number);
                loan.send().expect("send");
            })
        }
    };
    let get = move || {
        let pipe = open_pipe::<Bytes>(&there, load);
        let mut receiver = pipe.receiver().expect("it is free");
        move |first| {
            load.batches(first, |number| {
                let message = receiver.recv_ref().expect("receive");
                assert!(message.is_in_place());
                // SAFETY: its sender is of this program, and does not write to what it has sent.
                check(cast_slice(unsafe { message.as_slice() }), number);
                message.done().expect("give it back");
            })
        }
    };
    Link::new(Processes, put, get).keeping(named)
}

/// A queue of bytes that are written and read in place.
pub(crate) fn queue_lent(load: Load) -> Link {
    let options = Queue::<Bytes>::options(load.capacity).memory(0);
    let options = options.loans(load.capacity, load.bytes);
    let named = ipc_benches::queue::Named::create(options);
    let (here, there) = (
        named.open_with(strategy(load)),
        named.open_with(strategy(load)),
    );
    let put = move || {
        let queue = here();
        move |first| {
            load.batches(first, |number| {
                let mut loan = queue.loan(load.bytes).expect("take a loan");
                // SAFETY: nobody but this process writes to a loan, and `fill` stores every byte.
                fill(cast_slice_mut(unsafe { loan.as_mut_slice() }), number);
                loan.put().expect("put");
            })
        }
    };
    let get = move || {
        let queue = there();
        move |first| {
            load.batches(first, |number| {
                let message = queue.get_ref().expect("get");
                assert!(message.is_in_place());
                // SAFETY: its producer is of this program, and does not write to what it has put.
                check(cast_slice(unsafe { message.as_slice() }), number);
                message.done().expect("give it back");
            })
        }
    };
    Link::new(Processes, put, get).keeping(named)
}
