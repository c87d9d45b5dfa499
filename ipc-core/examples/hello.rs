//! One queue, one child process, both directions of the clock: the smallest whole program.
use ipc_core::{Namespace, Plain, Queue};
use std::time::Instant;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ns = Namespace::at("/dev/shm/ipc-hello")?;
    let q: Queue<String> = Queue::options(4).namespace(&ns).open_or_create("hello")?;
    for i in 0..4 {
        q.put(format!("message {i}"))?;
    }
    println!(
        "full {} len {} {:?}",
        q.is_full(),
        q.len(),
        q.try_put("x".into())
    );
    println!("{:?}", ns.inspect("hello")?);
    for _ in 0..4 {
        println!("{}", q.get()?);
    }
    q.put("y".repeat(100_000))?;
    println!("{} {}", q.get()?.len(), q.len());
    println!("{:?}", q.get_timeout(std::time::Duration::from_millis(50)));
    q.unlink()?;
    let p: Queue<Plain<[u8; 64]>> = Queue::options(1024).namespace(&ns).anonymous()?;
    for _ in 0..3 {
        let t = Instant::now();
        for i in 0..1_000_000u32 {
            p.put(Plain([i as u8; 64])).unwrap();
            let x = p.get().unwrap();
            assert_eq!(x.0[3], i as u8);
        }
        println!("put+get {:?} ns", t.elapsed().as_nanos() as f64 / 1e6);
    }
    let p2 = p.clone();
    let t = Instant::now();
    let h = std::thread::spawn(move || {
        for i in 0..5_000_000u32 {
            p2.put(Plain([i as u8; 64])).unwrap();
        }
        p2.close();
    });
    let mut n = 0u32;
    for m in &p {
        assert_eq!(m?.0[5], n as u8);
        n += 1;
    }
    h.join().unwrap();
    println!(
        "1-1 {n} {:.1} M/s",
        n as f64 / t.elapsed().as_secs_f64() / 1e6
    );
    drop(p);
    println!("{:?}", ns.leftovers()?);
    std::fs::remove_dir_all("/dev/shm/ipc-hello")?;
    Ok(())
}
