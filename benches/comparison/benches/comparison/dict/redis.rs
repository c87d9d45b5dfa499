//! Redis over a Unix socket: a command at a time, each answered before the next. It keeps nothing on disk.

use super::server::{Child, Place};
use super::{Key, Mix, PAIRS, SERVED, Store, Value, fresh_path, key};
use bytemuck::{bytes_of, pod_read_unaligned};
use ipc_benches::crew::{Crew, Workers::Processes};
use redis::{Client, Connection, cmd};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Pairs that are set at once when it is filled.
const AT_ONCE: u64 = 1000;

pub(super) fn crew(mix: Mix) -> Crew {
    crew_beside(mix, Place::Anywhere)
}

/// A wake on the client's own core takes less than one on another that sleeps.
pub(super) fn crew_on_one_core(mix: Mix) -> Crew {
    crew_beside(mix, Place::Here)
}

fn crew_beside(mix: Mix, place: Place) -> Crew {
    let socket = fresh_path();
    mix.crew_of(Processes, move |worker| {
        let server = (worker == 0).then(|| Server::start(&socket, place));
        let mut connection = connect(&socket);
        if worker == 0 {
            fill(&mut connection);
        }
        Remote {
            connection,
            _server: server,
        }
    })
}

/// A server, stopped when this is dropped.
struct Server {
    _child: Child,
    socket: PathBuf,
}

impl Server {
    fn start(socket: &Path, place: Place) -> Self {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no"]);
        command.arg("--unixsocket").arg(socket);
        command.stdout(Stdio::null()).stdin(Stdio::null());
        Self {
            _child: Child::start(command, place),
            socket: socket.to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A name that stays is no reason to panic in a drop.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Once the server listens.
fn connect(socket: &Path) -> Connection {
    let address = format!("unix://{}", socket.display());
    let client = Client::open(address).expect("an address");
    let began = Instant::now();
    loop {
        match client.get_connection() {
            Ok(connection) => return connection,
            Err(e) => assert!(began.elapsed() < SERVED, "Redis does not answer: {e}"),
        }
        std::thread::yield_now();
    }
}

fn fill(connection: &mut Connection) {
    for first in (0..PAIRS).step_by(AT_ONCE as usize) {
        let mut command = cmd("MSET");
        for number in first..PAIRS.min(first + AT_ONCE) {
            command.arg(bytes_of(&key(number)));
            command.arg(bytes_of(&[number; 8]));
        }
        command.query::<()>(connection).expect("set many");
    }
}

struct Remote {
    connection: Connection,
    _server: Option<Server>,
}

impl Store for Remote {
    fn get(&mut self, key: &Key) -> Value {
        let mut command = cmd("GET");
        let got = command.arg(bytes_of(key)).query(&mut self.connection);
        let got: Vec<u8> = got.expect("get");
        pod_read_unaligned(&got)
    }

    fn set(&mut self, key: &Key, value: &Value) {
        let mut command = cmd("SET");
        command.arg(bytes_of(key)).arg(bytes_of(value));
        command.query::<()>(&mut self.connection).expect("set");
    }
}
