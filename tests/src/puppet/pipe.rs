//! What a puppet does with the ends of a pipe of bytes, of which it has one connection at a time.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::time::Duration;

use ipc_core::{Bytes, Connection, Namespace, Pipe, WaitStrategy};

use crate::random::Random;

type Answer = Result<String, Box<dyn Error>>;

thread_local! {
    static END: RefCell<Option<Connection<Bytes>>> = RefCell::default();
}

/// Does as told.
///
/// # Errors
///
/// When the pipe refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Answer {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let open = || Pipe::<Bytes>::options().namespace(namespace).open("pipe");
    END.with_borrow_mut(|end| {
        match command {
            "first" => *end = Some(asleep(open()?.first()?)),
            "second" => *end = Some(asleep(open()?.second()?)),
            "redeem" => *end = Some(asleep(serde_json::from_str(rest)?)),
            "close" => *end = None,
            _ => return act(end.as_mut().ok_or("no end is open")?, command, rest),
        }
        Ok(String::new())
    })
}

/// Waits that can be seen from outside.
fn asleep(mut end: Connection<Bytes>) -> Connection<Bytes> {
    end.set_wait_strategy(WaitStrategy::Sleep);
    end
}

fn act(end: &mut Connection<Bytes>, command: &str, rest: &str) -> Answer {
    match command {
        "ticket" => return Ok(serde_json::to_string(end)?),
        "send" => end.send(rest.into()).map_err(debug)?,
        "fill" => while end.try_send(rest.into()).is_ok() {},
        "recv" => return Ok(String::from_utf8(end.recv().map_err(debug)?.0)?),
        "recv-timeout" => {
            let timeout = Duration::from_millis(rest.parse()?);
            return Ok(String::from_utf8(
                end.recv_timeout(timeout).map_err(debug)?.0,
            )?);
        }
        "peer" => return Ok(format!("{:?}", end.peer())),
        "write" => {
            let (mut stream, count) = (Stream::default(), rest.parse()?);
            while stream.count < count {
                let chunk = stream.next_chunk(count);
                end.write_all(&chunk)?;
            }
            return Ok(stream.sum.to_string());
        }
        "read" => {
            let (mut buffer, mut sum, mut count) = (vec![0; 10_007], 0, 0);
            loop {
                match end.read(&mut buffer)? {
                    0 => return Ok(format!("{count} {sum}")),
                    read => sum = checksum(sum, &buffer[..read]),
                }
                count += 1;
            }
        }
        _ => return Err(format!("what is {command:?}?").into()),
    }
    Ok(String::new())
}

/// Bytes in pieces of random length, the same in every process.
#[derive(Debug)]
struct Stream {
    random: Random,
    count: usize,
    sum: u64,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            random: Random::new(7),
            count: 0,
            sum: 0,
        }
    }
}

impl Stream {
    /// The next piece of a stream of so many bytes.
    fn next_chunk(&mut self, count: usize) -> Vec<u8> {
        let length = 1 + self.random.index(20_000);
        let chunk: Vec<u8> = (0..length.min(count - self.count))
            .map(|_| self.random.below(256) as u8)
            .collect();
        self.count += chunk.len();
        self.sum = checksum(self.sum, &chunk);
        chunk
    }
}

/// One that depends on the order of the bytes.
fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The text of an error that also carries the message.
fn debug(e: impl Debug) -> String {
    format!("{e:?}")
}
