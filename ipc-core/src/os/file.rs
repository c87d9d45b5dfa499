//! Files that appear under their name only when they are complete.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::fd::AsRawFd,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{
        AT_FDCWD, AtFlags, FallocateFlags, RenameFlags, fallocate, posix_fallocate, renameat2,
    },
    sys::stat::{Mode, fchmod},
    unistd::{Gid, fchown, linkat},
};

/// Prefix of the names under which files are made where the file system cannot make them without a name.
pub(crate) const HALF_MADE: &str = ".new-";

/// A file that has no name yet; gone without a trace unless it is published.
#[derive(Debug)]
pub(crate) struct Unpublished {
    file: File,
    /// Only where the file system lacks O_TMPFILE.
    half_made: Option<PathBuf>,
}

impl Unpublished {
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let nameless = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC)
            .open(dir);
        match nameless {
            Ok(file) => Ok(Self {
                file,
                half_made: None,
            }),
            Err(e) if lacks_tmpfile(&e) => Self::with_name(dir),
            Err(e) => Err(e),
        }
    }

    fn with_name(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("{HALF_MADE}{}", unique()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)?;
        Ok(Self {
            file,
            half_made: Some(path),
        })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Reserves every byte now, so that no later write can find the file system full.
    pub(crate) fn allocate(&self, bytes: u64) -> io::Result<()> {
        reserve(&self.file, 0, bytes)
    }

    /// Makes the file so long. What is added must not be touched before it is reserved.
    pub(crate) fn extend(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    pub(crate) fn share(&self, mode: u32, group: Option<u32>) -> io::Result<()> {
        share(&self.file, mode, group)
    }

    /// Gives the file its name; `AlreadyExists` if something has it.
    pub(crate) fn publish(mut self, path: &Path) -> io::Result<()> {
        if let Some(from) = self.half_made.take() {
            let renamed = renameat2(
                AT_FDCWD,
                &from,
                AT_FDCWD,
                path,
                RenameFlags::RENAME_NOREPLACE,
            );
            if renamed.is_err() {
                self.half_made = Some(from);
            }
            return Ok(renamed?);
        }
        let from = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        Ok(linkat(
            AT_FDCWD,
            &from,
            AT_FDCWD,
            path,
            AtFlags::AT_SYMLINK_FOLLOW,
        )?)
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if let Some(path) = &self.half_made {
            // Best effort: what stays is collected by the next lock probe.
            let _ = fs::remove_file(path);
        }
    }
}

/// Reserves some bytes of a file, so that no later write there can find the file system full.
pub(crate) fn reserve(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let offset = i64::try_from(offset).map_err(|_| Errno::EFBIG)?;
    let length = i64::try_from(bytes).map_err(|_| Errno::EFBIG)?;
    loop {
        match posix_fallocate(file, offset, length) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Gives a file its group and permissions, whatever the umask.
pub(crate) fn share(file: &File, mode: u32, group: Option<u32>) -> io::Result<()> {
    if let Some(group) = group {
        fchown(file, None, Some(Gid::from_raw(group)))?;
    }
    fchmod(file, Mode::from_bits_truncate(mode))?;
    Ok(())
}

/// Gives some whole pages of a file back to the file system.
pub(crate) fn punch(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let offset = i64::try_from(offset).map_err(|_| Errno::EFBIG)?;
    let length = i64::try_from(bytes).map_err(|_| Errno::EFBIG)?;
    let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(file, how, offset, length)?)
}

fn lacks_tmpfile(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
    )
}

/// A name part that no other process picks at the same time.
pub(crate) fn unique() -> String {
    let random = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let random = random.trim();
    if random.is_empty() {
        format!("{}-{}", std::process::id(), super::clock::unix_ns())
    } else {
        random.to_owned()
    }
}

/// As a name part, a number that no other process picks at the same time.
pub(crate) fn unique_number() -> [u64; 2] {
    let digits: String = unique().chars().filter(char::is_ascii_hexdigit).collect();
    let half = |text: Option<&str>| u64::from_str_radix(text?, 16).ok();
    let halves = (half(digits.get(..16)), half(digits.get(16..32)));
    match halves {
        (Some(first), Some(second)) => [first, second],
        _ => [u64::from(std::process::id()), super::clock::unix_ns()],
    }
}

/// Opens a directory, never through a symbolic link.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    options()
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(path)
}

/// Opens an existing file for reading and writing, never through a symbolic link.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    options()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
}

/// As [`open`], for looking only.
pub(crate) fn open_read_only(path: &Path) -> io::Result<File> {
    options()
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
}

/// Opens what another process has open as descriptor `fd`, also when its name is gone.
pub(crate) fn open_of_process(pid: u32, fd: i32) -> io::Result<File> {
    let path = format!("/proc/{pid}/fd/{fd}");
    // A descriptor may name a terminal or a FIFO by now: look before opening.
    if !fs::metadata(&path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    options()
        .write(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// The identity of an inode: device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

/// What the kernel says about a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) inode: Inode,
    pub(crate) bytes: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) links: u64,
    pub(crate) is_regular: bool,
    /// Since the last write.
    pub(crate) age: Duration,
}

impl From<fs::Metadata> for Facts {
    fn from(m: fs::Metadata) -> Self {
        Self {
            inode: Inode {
                device: m.dev(),
                number: m.ino(),
            },
            bytes: m.len(),
            uid: m.uid(),
            gid: m.gid(),
            mode: m.mode() & 0o7777,
            links: m.nlink(),
            is_regular: m.is_file(),
            age: m
                .modified()
                .ok()
                .and_then(|at| at.elapsed().ok())
                .unwrap_or_default(),
        }
    }
}

pub(crate) fn facts(file: &File) -> io::Result<Facts> {
    Ok(file.metadata()?.into())
}

/// Bytes that the file system has given to the file.
pub(crate) fn allocated(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.blocks().saturating_mul(512))
}

/// The facts of whatever has this name now, itself and not what a link points to.
pub(crate) fn facts_at(path: &Path) -> io::Result<Facts> {
    Ok(fs::symlink_metadata(path)?.into())
}

/// Makes `dir` with `mode` unless it exists. Parents must exist.
pub(crate) fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Bytes on the file system that holds `dir`: all of them, and those this user may still take.
pub(crate) fn space(dir: &Path) -> io::Result<(u64, u64)> {
    let s = nix::sys::statvfs::statvfs(dir)?;
    Ok((
        s.blocks() * s.fragment_size(),
        s.blocks_available() * s.fragment_size(),
    ))
}

/// Bytes that this user may still take on the file system of `file`.
pub(crate) fn space_beside(file: &File) -> io::Result<u64> {
    let s = nix::sys::statvfs::fstatvfs(file)?;
    Ok(s.blocks_available() * s.fragment_size())
}

/// Whether `dir` is on a network file system, whose locks and mappings do not hold across machines.
pub(crate) fn is_network(dir: &Path) -> io::Result<bool> {
    const NETWORK: [i64; 8] = [
        0x6969,      // nfs
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x517b,      // smb
        0x0102_1997, // 9p
        0x5346_414f, // afs
        0x00c3_6400, // ceph
        0x0bd0_0bd0, // lustre
    ];
    Ok(NETWORK.contains(&nix::sys::statfs::statfs(dir)?.filesystem_type().0))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A directory of this test's own, gone with it.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            let dir = std::env::temp_dir().join(format!("ipc-file-{}", unique()));
            make_dir(&dir, 0o700).unwrap();
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_has_its_name_once_and_only_when_published() {
        let dir = Dir::new();
        let path = dir.0.join("object");
        type Make = fn(&Path) -> io::Result<Unpublished>;
        for make in [Unpublished::new as Make, Unpublished::with_name as Make] {
            let file = make(&dir.0).unwrap();
            file.allocate(10_000).unwrap();
            assert!(!path.exists());
            file.publish(&path).unwrap();
            assert_eq!(facts_at(&path).unwrap().bytes, 10_000);
            let second = make(&dir.0).unwrap();
            assert_eq!(
                second.publish(&path).unwrap_err().kind(),
                io::ErrorKind::AlreadyExists
            );
            fs::remove_file(&path).unwrap();
            assert_eq!(
                fs::read_dir(&dir.0).unwrap().count(),
                0,
                "nothing half-made stays"
            );
        }
    }
}
