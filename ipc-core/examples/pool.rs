//! A pool of three workers: apply, map, starmap, imap and their kin, an initializer, a callback in the parent.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example pool
//! ```

use std::{collections::BTreeSet, process, sync::mpsc, thread, time::Duration};

use ipc_core::Pool;

type Failure = Box<dyn std::error::Error>;

fn square(n: u64) -> u64 {
    n * n
}

fn who(_task: u32) -> u32 {
    thread::sleep(Duration::from_millis(50)); // so that everybody gets some
    process::id()
}

fn hello() {
    println!("a worker begins");
}

fn main() -> Result<(), Failure> {
    ipc_core::init();
    let pool = Pool::builder().workers(3).initializer(hello, ()).build()?;
    println!("apply: {}", pool.apply(square, (7,))?);
    println!("map: {:?}", pool.map(square, 0..8)?);
    println!("starmap: {:?}", pool.starmap(u64::pow, [(2, 5), (3, 2)])?);
    let later = pool.map_async(square, 0..8)?;
    let imap: Result<Vec<_>, _> = pool.imap(square, 0..8)?.collect();
    println!("imap: {:?}", imap?);
    let unordered: Result<BTreeSet<_>, _> = pool.imap_unordered(square, 0..8)?.collect();
    println!("imap_unordered: {:?}", unordered?);
    println!("map_async: {:?}", later.get()?);

    let (told, tells) = mpsc::channel();
    let parent = process::id();
    let result = pool.apply_async(square, (12,))?;
    let _result = result.callback(move |n| {
        let _ = told.send((n, process::id() == parent));
    });
    let (value, is_here) = tells.recv()?;
    println!("callback: {value}, in the parent: {is_here}");

    let pids: BTreeSet<u32> = pool.map_chunked(who, 0..10, 1)?.into_iter().collect();
    println!("{} workers did ten tasks", pids.len());
    pool.close();
    pool.join()?;
    println!(
        "no worker is left: {}",
        ipc_core::active_children().is_empty()
    );

    let other = Pool::new(2)?;
    let endless = other.apply_async(|| thread::sleep(Duration::from_secs(3600)), ())?;
    other.terminate();
    other.join()?;
    println!(
        "terminated: {}",
        endless.get().expect_err("it was not done")
    );
    Ok(())
}
