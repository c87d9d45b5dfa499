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

/// Bytes that a frame of a pipe adds, at the most.
const FRAME: usize = 16;

/// A pipe's name, which goes with this.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        // A name that stays is no reason to panic in a drop.
        let _ = namespace().unlink(&self.0);
    }
}

fn pipe<M: Message>(load: Load) -> Named {
    let name = fresh_name();
    let options = Pipe::<M>::options().one_way();
    let options = options.capacity(load.capacity * (load.bytes + FRAME));
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
    let named = pipe::<Plain<[u64; N]>>(load);
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

/// A pipe of bytes, from and into private memory.
pub(crate) fn pipe_bytes(load: Load) -> Link {
    let named = pipe::<Bytes>(load);
    let (here, there) = (named.0.clone(), named.0.clone());
    let put = move || {
        let mut sender = open_pipe::<Bytes>(&here, load)
            .sender()
            .expect("it is free");
        let mut words = vec![0; load.words()];
        move |first| {
            load.batches(first, |number| {
                fill(&mut words, number);
                sender.send_bytes(cast_slice(&words)).expect("send");
            })
        }
    };
    let get = move || {
        let pipe = open_pipe::<Bytes>(&there, load);
        let mut receiver = pipe.receiver().expect("it is free");
        let mut words = vec![0_u64; load.words()];
        move |first| {
            load.batches(first, |number| {
                let length = receiver.recv_bytes_into(cast_slice_mut(&mut words));
                assert_eq!(length.expect("receive"), load.bytes);
                check(&words, number);
            })
        }
    };
    Link::new(Processes, put, get).keeping(named)
}

/// A queue of bytes, from and into private memory.
pub(crate) fn queue_bytes(load: Load) -> Link {
    let options = Queue::<Bytes>::options(load.capacity).memory(load.capacity * load.bytes);
    let named = ipc_benches::queue::Named::create(options);
    let (here, there) = (
        named.open_with(strategy(load)),
        named.open_with(strategy(load)),
    );
    let put = move || {
        let queue = here();
        let mut words = vec![0; load.words()];
        move |first| {
            load.batches(first, |number| {
                fill(&mut words, number);
                queue.put_slice(cast_slice(&words)).expect("put");
            })
        }
    };
    let get = move || {
        let (queue, mut bytes) = (there(), Vec::new());
        let mut words = vec![0_u64; load.words()];
        move |first| {
            load.batches(first, |number| {
                assert_eq!(queue.get_into(&mut bytes).expect("get"), load.bytes);
                match bytemuck::try_cast_slice(&bytes) {
                    Ok(words) => check(words, number),
                    Err(_) => {
                        cast_slice_mut::<u64, u8>(&mut words).copy_from_slice(&bytes);
                        check(&words, number);
                    }
                }
            })
        }
    };
    Link::new(Processes, put, get).keeping(named)
}
