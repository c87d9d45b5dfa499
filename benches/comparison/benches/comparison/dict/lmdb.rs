//! LMDB, by `heed`, in a directory in memory. A lookup is a read transaction, as one that is to see the last change must be; a replacement is
//! a write transaction.
//!
//! Nothing is flushed (`NO_SYNC`, `NO_META_SYNC`), as ours is not: what is committed outlives any process, but not the machine. Locks stay on,
//! so that processes may read and write at once. With `WRITE_MAP` it writes in the mapping instead of by system calls, and a stray pointer can
//! damage it.

use super::{Key, Mix, PAIRS, Store, Value, fresh_path, key};
use bytemuck::{bytes_of, pod_read_unaligned};
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};
use ipc_benches::crew::{Crew, Workers::Processes};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that it may grow to.
const LIMIT: usize = 256 << 20;

pub(super) fn crew(mix: Mix) -> Crew {
    crew_with(mix, EnvFlags::empty())
}

pub(super) fn crew_of_write_map(mix: Mix) -> Crew {
    crew_with(mix, EnvFlags::WRITE_MAP)
}

fn crew_with(mix: Mix, flags: EnvFlags) -> Crew {
    let place = fresh_path();
    fs::create_dir(&place).expect("make a directory");
    mix.crew_of(Processes, move |worker| {
        let mut lmdb = Lmdb::open(place, flags);
        if worker == 0 {
            lmdb.fill();
        } else {
            lmdb.place = None; // the first's to remove
        }
        lmdb
    })
}

/// An environment; its directory goes with it.
struct Lmdb {
    env: Env,
    pairs: Database<Bytes, Bytes>,
    place: Option<PathBuf>,
}

impl Lmdb {
    fn open(place: PathBuf, flags: EnvFlags) -> Self {
        let env = Self::environment(&place, flags);
        let mut txn = env.write_txn().expect("begin to write");
        let pairs = env.create_database(&mut txn, None);
        let pairs = pairs.expect("open the database");
        txn.commit().expect("commit");
        Self {
            env,
            pairs,
            place: Some(place),
        }
    }

    fn environment(place: &Path, flags: EnvFlags) -> Env {
        let mut options = EnvOpenOptions::new();
        options.map_size(LIMIT);
        // SAFETY: what is lost with the machine is in memory anyway; and nobody else writes into the mapping.
        unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC | flags) };
        // SAFETY: a directory of this program's, whose file nobody truncates; this process has it open once.
        unsafe { options.open(place) }.expect("open the environment")
    }

    fn fill(&self) {
        let mut txn = self.env.write_txn().expect("begin to write");
        for number in 0..PAIRS {
            let (key, value) = (key(number), [number; 8]);
            let put = self.pairs.put(&mut txn, bytes_of(&key), bytes_of(&value));
            put.expect("put");
        }
        txn.commit().expect("commit");
    }
}

impl Drop for Lmdb {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            // A directory that stays is no reason to panic in a drop.
            let _ = fs::remove_dir_all(place);
        }
    }
}

impl Store for Lmdb {
    fn get(&mut self, key: &Key) -> Value {
        let txn = self.env.read_txn().expect("begin to read");
        let got = self.pairs.get(&txn, bytes_of(key)).expect("get");
        pod_read_unaligned(got.expect("it is there"))
    }

    fn set(&mut self, key: &Key, value: &Value) {
        let mut txn = self.env.write_txn().expect("begin to write");
        let put = self.pairs.put(&mut txn, bytes_of(key), bytes_of(value));
        put.expect("put");
        txn.commit().expect("commit");
    }
}
