//! A process that listens under a name, and four that connect to it: each gets a private pipe, and is known by its process id.
//!
//! One client sends another type and is refused, one is killed in the middle; the listener serves the others to the end.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example listener
//! ```

use std::{
    env, fs,
    process::{Child, Command},
    time::Duration,
};

use ipc_core::{
    AcceptError, Client, ConnectError, Connection, Error, Listener, Namespace, RecvError,
};

type Failure = Box<dyn std::error::Error>;

const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            let dir = env::temp_dir().join(format!("ipc-example-listener-{}", std::process::id()));
            let served = serve(&Namespace::at(&dir)?);
            fs::remove_dir_all(dir)?;
            served
        }
        [part, dir] => ask(part, &Namespace::at(dir)?),
        _ => Err("the example takes no argument".into()),
    }
}

fn serve(namespace: &Namespace) -> Result<(), Failure> {
    // Clients that come earlier wait for it.
    let start = |part: &str| {
        let mut client = Command::new(env::current_exe()?);
        client.arg(part).arg(namespace.path()).spawn()
    };
    let mut clients = ["ada", "grace", "number", "hasty"]
        .map(start)
        .into_iter()
        .collect::<Result<Vec<Child>, _>>()?;
    let listener = Listener::options().namespace(namespace).bind("echo")?;
    for _ in 0..clients.len() {
        match listener.accept() {
            Ok(accepted) => {
                let pid = accepted.peer.pid; // from the kernel: no client can say that it is another
                let client = clients.iter_mut().find(|client| client.id() == pid);
                answer(accepted.connection, client.ok_or("a stranger")?)?;
            }
            Err(AcceptError::Peer { error, .. }) => println!("a client is refused: {error}"),
            Err(e) => return Err(e.into()),
        }
    }
    for client in &mut clients {
        client.wait()?;
    }
    Ok(())
}

/// Answers a client until it has gone.
fn answer(mut connection: Connection<String>, client: &mut Child) -> Result<(), Failure> {
    loop {
        match connection.recv() {
            Ok(text) if text == "wait for me" => client.kill()?,
            Ok(text) => connection.send(format!("{text}, too"))?,
            Err(RecvError::EndOfFile) => break,
            Err(e) => return Err(e.into()),
        }
    }
    println!("a client has gone");
    Ok(())
}

fn ask(part: &str, namespace: &Namespace) -> Result<(), Failure> {
    if part == "number" {
        let client = Client::<u64>::options().namespace(namespace);
        let refused = client.connect_timeout("echo", PATIENCE);
        assert!(matches!(
            refused,
            Err(ConnectError::Failed(Error::WrongType { .. }))
        ));
        return Ok(());
    }
    let client = Client::<String>::options().namespace(namespace);
    let mut connection = client.connect_timeout("echo", PATIENCE)?.connection;
    if part == "hasty" {
        connection.send("wait for me".to_owned())?;
    } else {
        connection.send(format!("hello from {part}"))?;
    }
    println!("{part} hears: {}", connection.recv()?); // the hasty one is killed here
    Ok(())
}
