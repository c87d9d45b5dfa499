//! What goes through the kernel: pipes, Unix sockets, and ipc-channel, which is one of those. A batch is one write where there are
//! no messages but bytes.

use crate::traffic::{Link, Load, check, fill};
use bytemuck::{cast_slice, cast_slice_mut};
use ipc_benches::crew::Workers::Processes;
use ipc_channel::TryRecvError;
use ipc_channel::ipc::bytes_channel;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt,
};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// A stream of bytes: whole batches in, whole batches out.
fn stream(
    mut writer: impl Write + Send + 'static,
    mut reader: impl Read + Send + 'static,
    load: Load,
) -> Link {
    let put = move || {
        let mut words = vec![0_u64; load.words() * load.batch];
        move |first| {
            load.batches(first, |first| {
                for (number, words) in (first..).zip(words.chunks_mut(load.words())) {
                    fill(words, number);
                }
                writer.write_all(cast_slice(&words)).expect("write");
            })
        }
    };
    let get = move || {
        let mut words = vec![0_u64; load.words() * load.batch];
        move |first| {
            load.batches(first, |first| {
                reader.read_exact(cast_slice_mut(&mut words)).expect("read");
                for (number, words) in (first..).zip(words.chunks(load.words())) {
                    check(words, number);
                }
            })
        }
    };
    Link::new(Processes, put, get)
}

pub(crate) fn pipe(load: Load) -> Link {
    let (reader, writer) = std::io::pipe().expect("make a pipe");
    stream(writer, reader, load)
}

pub(crate) fn unix_stream(load: Load) -> Link {
    let (here, there) = UnixStream::pair().expect("make a pair of sockets");
    stream(here, there, load)
}

/// A socket that keeps packets apart, each a message.
pub(crate) fn unix_seqpacket(load: Load) -> Link {
    let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
    let pair = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC);
    let (here, there) = pair.expect("make a pair of sockets");
    // As much as the kernel allows, where it takes less for a message by itself.
    let _ = setsockopt(&here, sockopt::SndBuf, &(4 * load.bytes.max(64 << 10)));
    let put = move || {
        let mut words = vec![0; load.words()];
        move |first| {
            load.batches(first, |number| {
                fill(&mut words, number);
                let sent = send(here.as_raw_fd(), cast_slice(&words), MsgFlags::empty());
                assert_eq!(sent.expect("send"), load.bytes);
            })
        }
    };
    let get = move || {
        let mut words = vec![0_u64; load.words()];
        move |first| {
            load.batches(first, |number| {
                let came = recv(
                    there.as_raw_fd(),
                    cast_slice_mut(&mut words),
                    MsgFlags::empty(),
                );
                assert_eq!(came.expect("receive"), load.bytes);
                check(&words, number);
            })
        }
    };
    Link::new(Processes, put, get)
}

/// ipc-channel's channel of bytes.
pub(crate) fn ipc_channel(load: Load) -> Link {
    let (sender, receiver) = bytes_channel().expect("make a channel");
    let put = move || {
        let mut words = vec![0_u64; load.words()];
        move |first| {
            load.batches(first, |number| {
                fill(&mut words, number);
                sender.send(cast_slice(&words)).expect("send");
            })
        }
    };
    let get = move || {
        let mut words = vec![0_u64; load.words()];
        move |first| {
            load.batches(first, |number| {
                let bytes = if load.sleeps {
                    receiver.recv().expect("receive")
                } else {
                    loop {
                        match receiver.try_recv() {
                            Ok(bytes) => break bytes,
                            Err(TryRecvError::Empty) => std::hint::spin_loop(),
                            Err(e) => panic!("receive: {e}"),
                        }
                    }
                };
                cast_slice_mut::<u64, u8>(&mut words).copy_from_slice(&bytes);
                check(&words, number);
            })
        }
    };
    Link::new(Processes, put, get)
}
