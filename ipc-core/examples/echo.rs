//! A TCP echo server whose connections are handled by a pool of three processes: a fourth client waits until one leaves.
//!
//! The workers inherit the listening socket and accept for themselves, so no connection has to travel.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example echo
//! ```

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    process,
    time::Duration,
};

use ipc_core::Pool;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

type Failure = Box<dyn std::error::Error>;

/// Accepts one connection, and sends back what comes until its end. Who did it.
fn serve(listener: RawFd) -> u32 {
    #[expect(unsafe_code, reason = "an inherited descriptor is only a number")]
    // SAFETY: the parent has left it open for this process, which does not close it.
    let listener = unsafe { BorrowedFd::borrow_raw(listener) };
    let listener = listener.try_clone_to_owned().map(TcpListener::from);
    let (mut stream, _) = listener
        .and_then(|listener| listener.accept())
        .expect("a client connects");
    let mut back = stream.try_clone().expect("one descriptor more");
    io::copy(&mut stream, &mut back).expect("the client listens");
    process::id()
}

/// A client, with what it has to read.
struct Client(TcpStream, BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self(stream, reader))
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.0, "{text}")
    }

    /// What comes back in time.
    fn hear(&mut self, patience: Duration) -> io::Result<String> {
        self.0.set_read_timeout(Some(patience))?;
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty()))?; // inheritable
    let pool = Pool::new(3)?;
    let connections = (0..4)
        .map(|_| pool.apply_async(serve, (listener.as_raw_fd(),)))
        .collect::<Result<Vec<_>, _>>()?;

    let long = Duration::from_secs(20);
    let mut clients = Vec::new();
    for number in 1..=3 {
        let mut client = Client::new(listener.local_addr()?)?;
        client.say(&format!("hello from {number}"))?;
        println!("echo: {}", client.hear(long)?);
        clients.push(client);
    }
    let mut fourth = Client::new(listener.local_addr()?)?;
    fourth.say("hello from 4")?;
    let waits = fourth.hear(Duration::from_millis(100)).is_err();
    println!("the fourth waits: {waits}");
    drop(clients.remove(0));
    println!("echo: {}", fourth.hear(long)?);
    drop((fourth, clients));

    let mut pids = BTreeSet::new();
    for connection in connections {
        pids.insert(connection.get()?);
    }
    println!(
        "{} processes, none of them this one: {}",
        pids.len(),
        !pids.contains(&process::id())
    );
    Ok(())
}
