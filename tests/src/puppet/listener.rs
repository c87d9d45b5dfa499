//! What a puppet does with a listener `here`, or as its client; also as a client that is written after docs/format.md alone, and
//! can stop anywhere.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Debug;
use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use ipc_core::{Bytes, Client, Connection, Listener, Namespace, PeerCredentials, WaitStrategy};
use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg,
    sendmsg, socket,
};

type Answer = Result<String, Box<dyn Error>>;

thread_local! {
    static LISTENER: RefCell<Option<Listener<Bytes>>> = RefCell::default();
    static CONNECTION: RefCell<Option<Connection<Bytes>>> = RefCell::default();
    static RAW: RefCell<Option<OwnedFd>> = RefCell::default();
}

/// Does as told.
///
/// # Errors
///
/// When the listener or the client refuses, or nobody knows what is meant.
pub fn obey(namespace: &Namespace, line: &str) -> Answer {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let client = || Client::<Bytes>::options().namespace(namespace);
    match command {
        "bind" => {
            let mut options = Listener::options().namespace(namespace);
            if let Ok(group) = rest.parse() {
                options = options.mode(0o660).group(group);
            }
            let bound = options.bind("here")?;
            LISTENER.set(Some(bound));
        }
        "accept" => {
            let accepted = LISTENER.with_borrow(|listener| {
                let listener = listener.as_ref().ok_or("nothing is bound")?;
                listener.accept().map_err(|e| e.to_string())
            })?;
            return Ok(keep(accepted.connection, accepted.peer));
        }
        "close-listener" => LISTENER.set(None),
        "connect" => {
            let client = match rest.parse() {
                Ok(millis) => client().connect_timeout("here", Duration::from_millis(millis)),
                Err(_) => client().connect("here"),
            };
            let client = client.map_err(debug)?;
            return Ok(keep(client.connection, client.peer));
        }
        "connect-for-ever" => loop {
            // Until somebody ends this.
            let _ = client().connect("here");
        },
        "send" | "recv" | "close" => return use_connection(command, rest),
        "raw-connect" => RAW.set(Some(raw_connect(namespace)?)),
        "raw-say" => RAW.with_borrow(|raw| raw_say(raw.as_ref(), rest))?,
        "raw-hear" => return RAW.with_borrow(|raw| raw_hear(raw.as_ref())),
        _ => return Err(format!("what is {command:?}?").into()),
    }
    Ok(String::new())
}

fn keep(mut connection: Connection<Bytes>, peer: PeerCredentials) -> String {
    connection.set_wait_strategy(WaitStrategy::Sleep);
    CONNECTION.set(Some(connection));
    format!("{} {} {}", peer.pid, peer.uid, peer.gid)
}

fn use_connection(command: &str, rest: &str) -> Answer {
    CONNECTION.with_borrow_mut(|connection| {
        if command == "close" {
            *connection = None;
            return Ok(String::new());
        }
        let connection = connection.as_mut().ok_or("nothing is connected")?;
        if command == "send" {
            connection.send(rest.into()).map_err(debug)?;
            return Ok(String::new());
        }
        Ok(String::from_utf8(connection.recv().map_err(debug)?.0)?)
    })
}

/// FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn raw_connect(namespace: &Namespace) -> Result<OwnedFd, Box<dyn Error>> {
    let file = fs::read(namespace.path().join("here"))?;
    let number = file.get(40..48).ok_or("no listener's file")?;
    let number = u64::from_ne_bytes(number.try_into()?);
    let name = format!("{:016x}-{number:016x}", hash("here"));
    let path = namespace.path().join(".listeners").join(name);
    let raw = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    connect(raw.as_raw_fd(), &UnixAddr::new(&path)?)?;
    Ok(raw)
}

fn raw_say(raw: Option<&OwnedFd>, what: &str) -> Result<(), Box<dyn Error>> {
    let raw = raw.ok_or("not connected")?.as_raw_fd();
    let packet = match what {
        "ready" => b"ipc-redy".to_vec(),
        _ => {
            let mut packet = b"ipc-helo".to_vec();
            // Protocol, word, layout, status.
            for number in [1_u32, 0x108, 1, 0] {
                packet.extend_from_slice(&number.to_ne_bytes());
            }
            packet.extend_from_slice(&hash(what).to_ne_bytes());
            packet.extend_from_slice(what.as_bytes());
            packet.resize(160, 0);
            packet
        }
    };
    let (packet, flags) = ([IoSlice::new(&packet)], MsgFlags::MSG_NOSIGNAL);
    sendmsg::<UnixAddr>(raw, &packet, &[], flags, None)?;
    Ok(())
}

/// Answers the status, how many files came, and what the first one is called.
fn raw_hear(raw: Option<&OwnedFd>) -> Answer {
    let raw = raw.ok_or("not connected")?.as_raw_fd();
    let mut packet = [0; 256];
    let mut room = [IoSliceMut::new(&mut packet)];
    let mut control = cmsg_space!([RawFd; 4]);
    let flags = MsgFlags::empty();
    let heard = recvmsg::<UnixAddr>(raw, &mut room, Some(&mut control), flags)?;
    if heard.bytes == 0 {
        return Err("the listener hung up".into());
    }
    let mut files = 0;
    for message in heard.cmsgs()? {
        if let ControlMessageOwned::ScmRights(came) = message {
            files += came.len();
        }
    }
    let (length, status) = (heard.bytes, &packet[20..24]);
    let status = u32::from_ne_bytes(status.try_into()?);
    let name = String::from_utf8_lossy(&packet[160..224]);
    let name = name.trim_end_matches('\0');
    if &packet[..8] != b"ipc-answ" || length != 224 {
        return Err("that is no answer".into());
    }
    Ok(format!("{status} {files} {}", name.len()))
}

/// The text of an error that also carries its fields.
fn debug(e: impl Debug) -> String {
    format!("{e:?}")
}
