//! Unix sockets that keep packets apart, by which processes that know a name come to private memory.
//!
//! A socket's path may be longer than a socket's address: sockets are named through a descriptor of their directory.

#![allow(unsafe_code)]

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use nix::{
    cmsg_space,
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{
            AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown,
            SockFlag, SockType, UnixAddr, accept4, bind, connect, getsockopt, listen, recvmsg,
            sendmsg, setsockopt, shutdown, socket, sockopt,
        },
        time::TimeVal,
    },
};

/// The kernel sends no more descriptors than so many at once.
const MOST_DESCRIPTORS: usize = 253;

/// Who is at the other end of a socket: as it was when that end connected, or began to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A packet.
#[derive(Debug)]
pub(crate) struct Received {
    /// 0 once the other end is closed.
    pub(crate) length: usize,
    /// Of the files that came with it.
    pub(crate) files: Vec<OwnedFd>,
}

/// A directory of sockets, and one socket's name in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) name: &'a str,
}

impl Place<'_> {
    /// Calls `with` on the socket's address, which means something as long as that takes.
    fn address<R>(self, with: impl FnOnce(&UnixAddr) -> io::Result<R>) -> io::Result<R> {
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(self.dir)?;
        let path = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), self.name);
        with(&UnixAddr::new(path.as_str())?)
    }
}

/// Makes a socket under a name that nothing has, and listens.
pub(crate) fn listen_at(place: Place<'_>, mode: u32, group: Option<u32>) -> io::Result<OwnedFd> {
    let listening = new(SockFlag::SOCK_NONBLOCK)?;
    place.address(|address| Ok(bind(listening.as_raw_fd(), address)?))?;
    let path = place.dir.join(place.name);
    let serve = || {
        share(&path, mode, group)?;
        Ok(listen(&listening, Backlog::MAXCONN)?)
    };
    serve().inspect_err(|_: &io::Error| {
        // Nobody can have connected.
        let _ = fs::remove_file(&path);
    })?;
    Ok(listening)
}

/// Lets others connect, who cannot before somebody listens. Whatever stands under the name by now, only a socket is changed.
fn share(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    let ours = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    if ours.metadata()?.mode() & libc::S_IFMT != libc::S_IFSOCK {
        return Err(Errno::ENOTSOCK.into());
    }
    let pinned = format!("/proc/self/fd/{}", ours.as_raw_fd());
    if group.is_some() {
        std::os::unix::fs::chown(&pinned, None, group)?;
    }
    fs::set_permissions(&pinned, Permissions::from_mode(mode))
}

/// Connects to who listens under a name; waits for at most `timeout` (`WouldBlock`) while too many are connecting.
/// `NotFound` and `ConnectionRefused` if nobody listens.
pub(crate) fn connect_to(place: Place<'_>, timeout: Duration) -> io::Result<OwnedFd> {
    let connecting = new(SockFlag::empty())?;
    let micros = timeout.as_micros().clamp(1, 1_000_000_000) as i64;
    let timeout = TimeVal::new(micros / 1_000_000, micros % 1_000_000);
    setsockopt(&connecting, sockopt::SendTimeout, &timeout)?;
    place.address(|address| Ok(connect(connecting.as_raw_fd(), address)?))?;
    Ok(connecting)
}

fn new(flags: SockFlag) -> io::Result<OwnedFd> {
    Ok(socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        flags | SockFlag::SOCK_CLOEXEC,
        None,
    )?)
}

/// The next who has connected; `None` if nobody has, or who had is gone.
pub(crate) fn accept(listening: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match accept4(
        listening.as_raw_fd(),
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    ) {
        Ok(accepted) => Ok(Some(own(accepted))),
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel made it for the call that returned it just now: nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

pub(crate) fn peer(connected: BorrowedFd<'_>) -> io::Result<Credentials> {
    let found = getsockopt(&connected, sockopt::PeerCredentials)?;
    Ok(Credentials {
        pid: u32::try_from(found.pid()).unwrap_or(0),
        uid: found.uid(),
        gid: found.gid(),
    })
}

/// Sends a packet, and with it a descriptor, without waiting for room.
pub(crate) fn send(
    connected: BorrowedFd<'_>,
    packet: &[u8],
    file: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let files: Vec<RawFd> = file.iter().map(AsRawFd::as_raw_fd).collect();
    let with = [ControlMessage::ScmRights(&files)];
    let with = if files.is_empty() { &[] } else { &with[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let packet = [IoSlice::new(packet)];
    sendmsg::<UnixAddr>(connected.as_raw_fd(), &packet, with, flags, None)?;
    Ok(())
}

/// Receives the next packet, as much of it as fits, without waiting for it.
pub(crate) fn receive(connected: BorrowedFd<'_>, packet: &mut [u8]) -> io::Result<Received> {
    // Room for all that can come: what has no room would be open here, and known to nobody.
    let mut control = cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let mut packet = [IoSliceMut::new(packet)];
    let descriptor = connected.as_raw_fd();
    let received = recvmsg::<UnixAddr>(descriptor, &mut packet, Some(&mut control), flags)?;
    let mut files = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(came) = message {
            files.extend(came.into_iter().map(own));
        }
    }
    Ok(Received {
        length: received.bytes,
        files,
    })
}

/// Waits until there is something to receive, or the other end is closed, for at most `timeout`.
pub(crate) fn wait_readable(connected: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    let mut polled = [PollFd::new(connected, PollFlags::POLLIN)];
    let millis = u16::try_from(timeout.as_millis().saturating_add(1)).unwrap_or(u16::MAX);
    match poll(&mut polled, PollTimeout::from(millis)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Ends a connection, or listening, for both sides, also where a forked child has a copy of the socket.
pub(crate) fn hang_up(socket: OwnedFd) {
    // Fails if the other side was first.
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
}

/// Tells which of several sockets have something to say.
#[derive(Debug)]
pub(crate) struct Watch(Epoll);

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    pub(crate) fn add(&self, socket: BorrowedFd<'_>, id: u64) -> io::Result<()> {
        Ok(self
            .0
            .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, id))?)
    }

    /// To be called before `socket` is closed: a forked child may keep it open.
    pub(crate) fn remove(&self, socket: BorrowedFd<'_>) {
        // Fails if it is not watched, which is what was asked for.
        let _ = self.0.delete(socket);
    }

    /// The ids of some that have something to say; waits for at most `timeout` until one has, without it for ever.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<u64>> {
        let timeout = match timeout {
            Some(Duration::ZERO) => EpollTimeout::ZERO,
            Some(time) => u16::try_from(time.as_millis().saturating_add(1))
                .map_or(EpollTimeout::from(u16::MAX), EpollTimeout::from),
            None => EpollTimeout::NONE,
        };
        let mut events = [EpollEvent::empty(); 16];
        match self.0.wait(&mut events, timeout) {
            Ok(count) => Ok(events[..count].iter().map(EpollEvent::data).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

/// The sockets in `dir`, by name.
pub(crate) fn sockets_in(dir: &Path) -> io::Result<Vec<String>> {
    use std::os::unix::fs::FileTypeExt;
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_socket() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}
