use ipc_core::{Namespace, Plain, Queue, WaitStrategy};
use std::time::Instant;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ns = Namespace::at("/dev/shm/ipc-hello")?;
    let p: Queue<Plain<[u8; 64]>> = Queue::options(1024)
        .namespace(&ns)
        .wait(WaitStrategy::Spin)
        .anonymous()?;
    for _ in 0..5 {
        let t = Instant::now();
        for i in 0..2_000_000u32 {
            p.put(Plain([i as u8; 64])).unwrap();
            let x = p.get().unwrap();
            assert_eq!(x.0[3], i as u8);
        }
        println!("put+get {:?} ns", t.elapsed().as_nanos() as f64 / 2e6);
    }
    for batch in [1usize, 32] {
        let p2 = p.clone();
        let n = 5_000_000usize;
        let t = Instant::now();
        let h = std::thread::spawn(move || {
            if batch == 1 {
                for i in 0..n {
                    p2.put(Plain([i as u8; 64])).unwrap();
                }
            } else {
                for i in (0..n).step_by(batch) {
                    p2.put_many((i..i + batch).map(|i| Plain([i as u8; 64])))
                        .unwrap();
                }
            }
        });
        let mut got = 0;
        while got < n {
            if batch == 1 {
                p.get().unwrap();
                got += 1
            } else {
                got += p.get_many(batch).unwrap().len()
            }
        }
        println!(
            "1-1 batch {batch}: {:.1} M/s",
            got as f64 / t.elapsed().as_secs_f64() / 1e6
        );
        h.join().unwrap();
    }
    drop(p);
    std::fs::remove_dir_all("/dev/shm/ipc-hello")?;
    Ok(())
}
