//! A directory for the objects of one trial.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io, process};

/// An empty directory in `/dev/shm`, removed with all that is in it when dropped (not when the process is killed).
#[derive(Debug)]
pub struct TrialDirectory {
    path: PathBuf,
    maker: u32,
}

impl TrialDirectory {
    /// Makes a directory with a name that nobody else in this pid namespace uses.
    pub fn create() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let maker = process::id();
        // Relaxed: only the number has to differ.
        let path = PathBuf::from(format!(
            "/dev/shm/ipc-trial-{maker}-{}",
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir(&path)?;
        Ok(Self { path, maker })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TrialDirectory {
    fn drop(&mut self) {
        // A victim that unwinds must not take its trial's directory away.
        if self.maker == process::id() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
