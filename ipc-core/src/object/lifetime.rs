//! How an object comes to be, how a process comes to it, and how it goes.
//!
//! **Creation** has no half-made state: a file without a name is allocated in full (so that no later store can find the
//! file system full and raise SIGBUS), filled in, attached to by its creator, and only then given its name.
//!
//! **Opening** checks owner, size and identity, takes a shared lock on the existence byte, and looks at the name again:
//! if it no longer names this very file, somebody removed it in between, and the search starts over.
//!
//! **Removal** holds an exclusive lock on the removal byte and, unless forced, on the existence byte (nobody is attached),
//! and compares the inode under the name: never is a name removed that has come to mean another file.
//!
//! An *ephemeral* object is removed by its last user, or, when that one was killed, by whoever next makes an ephemeral
//! object in the namespace or runs [`Namespace::collect`].
//!
//! In one process, all handles on an object share one [`Object`]: one mapping, one slot, found by inode.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    family,
    kind::Kind,
    namespace::{self, Namespace},
    participant::{
        AttachError, Card, Census, EXISTENCE, Owner, Participants, Repair, Slot, SweepError,
    },
    wait::WATCH_NS,
};
use crate::{
    error::{Damage, Error, Result},
    os::{
        clock,
        file::{self, Inode, Unpublished},
        fork::{self, Process},
        map,
        process::{self, Me},
        token::{Claim, Token},
    },
    prim::Relaxed,
    region::{
        Fresh, OutOfBounds, Planner, Region,
        identity::{Facts, Identity, LAYOUT_VERSION, WORD, hash},
    },
};

mod examine;
mod removal;
mod ticket;

use examine::check_species;
pub(crate) use examine::{census_of, examine, open_error};
pub(crate) use removal::{Removal, bytes_if_abandoned, collect_sometimes, remove, remove_if};
pub(crate) use ticket::{Ticket, noting_tickets};
use ticket::{recall, remember};

/// The object goes with its last user.
const IS_EPHEMERAL: u32 = 1;
/// Opening races with removal at most so often before we say so.
const RETRIES: u32 = 100;

/// What an object is, in the words of its creator or opener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Species<'a> {
    pub(crate) kind: Kind,
    /// `None` for who does not look at values, only repairs.
    pub(crate) type_name: Option<&'a str>,
}

/// How an object is made.
#[derive(Clone, Copy)]
pub(crate) struct Recipe<'a> {
    pub(crate) geometry: [u64; 8],
    pub(crate) participants: u32,
    /// Size of the whole file.
    pub(crate) bytes: usize,
    /// So many of them are allocated now; who wants more reserves them ([`Region::reserve`]).
    pub(crate) allocated: usize,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    /// Begins the life of the structure behind the header.
    pub(crate) place: &'a dyn Fn(&mut Fresh) -> Result<(), OutOfBounds>,
}

/// Plans header and slots; the structure comes behind them.
pub(crate) fn plan(participants: u32) -> Option<(Planner, Offsets)> {
    let mut planner = Planner::default();
    planner.place::<Identity>(1, 1)?;
    let census = planner.place::<Census>(1, 1)?;
    let slots = planner.place::<Slot>(participants as usize, 1)?;
    Some((planner, Offsets { census, slots }))
}

/// Where header parts lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offsets {
    census: usize,
    slots: usize,
}

/// The structure that an object carries, as its own module builds it over the region.
pub(crate) type Build<'a, S> = &'a dyn Fn(&Arc<Region>, &Facts) -> Result<Arc<S>, Damage>;

/// One process's hold on an object, shared by all of the process's handles.
pub(crate) struct Object {
    label: String,
    path: PathBuf,
    inode: Inode,
    facts: Facts,
    file: Arc<File>,
    region: Arc<Region>,
    participants: Participants,
    structure: Arc<dyn Repair>,
    is_ephemeral: bool,
    /// Of a member, its family: alive as long as this process has the member.
    keeper: Option<Arc<Object>>,
    /// `fork epoch << 32 | owner`, so that one comparison tells a forked child that it is not attached.
    member: AtomicU64,
    token: Mutex<Option<(u32, Owner, Token)>>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Object {
    /// Makes an object under `path`; see the module's documentation.
    pub(crate) fn create<S: Repair + 'static>(
        path: PathBuf,
        is_ephemeral: bool,
        species: Species<'_>,
        recipe: &Recipe<'_>,
        build: Build<'_, S>,
    ) -> Result<(Arc<Self>, Arc<S>)> {
        let label = path.to_string_lossy().into_owned();
        let type_name = species.type_name.unwrap_or_default();
        let keeper = family::keeper_of(&path)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        let failed = |operation| move |e: io::Error| (operation, e);
        let make = || -> Result<_, (&'static str, io::Error)> {
            let unpublished = Unpublished::new(dir).map_err(failed("create"))?;
            unpublished
                .allocate(recipe.allocated as u64)
                .map_err(failed("allocate"))?;
            if recipe.allocated < recipe.bytes {
                let extended = unpublished.extend(recipe.bytes as u64);
                extended.map_err(failed("extend"))?;
            }
            unpublished
                .share(recipe.mode, recipe.group)
                .map_err(failed("share"))?;
            let map = map::shared(unpublished.file(), recipe.bytes).map_err(failed("map"))?;
            Ok((unpublished, map))
        };
        let (unpublished, map) =
            make().map_err(|(operation, e)| creation_error(&label, dir, recipe, operation, &e))?;
        let out_of_bounds = |OutOfBounds| Damage("the file is smaller than its parts").of(&label);
        let mut fresh = Fresh::mapped(map).map_err(out_of_bounds)?;
        place_header(&mut fresh, recipe.participants).map_err(out_of_bounds)?;
        (recipe.place)(&mut fresh).map_err(out_of_bounds)?;
        let region = fresh.share();
        let facts = Facts {
            version: LAYOUT_VERSION,
            word: WORD,
            kind: species.kind.number(),
            file_bytes: recipe.bytes as u64,
            participants: recipe.participants,
            geometry: recipe.geometry,
            created_unix_ns: clock::unix_ns(),
            boot_id: process::boot_id(),
            type_hash: hash(type_name),
            type_name: type_name.to_owned(),
        };
        region
            .one::<Identity>(0)
            .map_err(out_of_bounds)?
            .write(&facts);
        let file = unpublished
            .file()
            .try_clone()
            .map_err(|e| Error::from_io(&label, "duplicate", &e))?;
        let (object, structure) = Self::over(&path, file, keeper, region, facts, build)?;
        let mut object = object;
        if is_ephemeral {
            object.is_ephemeral = true;
            let (_, offsets) =
                plan(recipe.participants).ok_or_else(|| out_of_bounds(OutOfBounds))?;
            let census = object
                .region
                .one::<Census>(offsets.census)
                .map_err(out_of_bounds)?;
            census.flags.store(IS_EPHEMERAL, Relaxed);
        }
        object.attach()?;
        unpublished
            .publish(&path)
            .map_err(|e| Error::from_io(&label, "publish", &e))?;
        Ok((remember(object).0, structure))
    }

    /// Comes to the object under `path`.
    pub(crate) fn open<S: Repair + 'static>(
        path: &Path,
        species: Species<'_>,
        build: Build<'_, S>,
    ) -> Result<(Arc<Self>, Arc<S>)> {
        let label = path.to_string_lossy();
        let keeper = family::keeper_of(path)?;
        for _ in 0..RETRIES {
            let file = file::open(path).map_err(|e| open_error(&label, &e))?;
            let (object, structure) = Self::kept(path, file, keeper.clone(), species, build)?;
            let is_still_named =
                file::facts_at(path).is_ok_and(|f| f.inode == object.inode && f.links > 0);
            if is_still_named {
                return Ok((object, structure));
            }
        }
        Err(Error::BeingRemoved {
            object: label.into_owned(),
        })
    }

    /// Comes to the object in `file`, whatever its name is by now.
    pub(crate) fn of_file<S: Repair + 'static>(
        path: &Path,
        file: File,
        species: Species<'_>,
        build: Build<'_, S>,
    ) -> Result<(Arc<Self>, Arc<S>)> {
        Self::kept(path, file, None, species, build)
    }

    /// As [`Self::of_file`], for a member of a family that this process is attached to.
    fn kept<S: Repair + 'static>(
        path: &Path,
        file: File,
        keeper: Option<Arc<Object>>,
        species: Species<'_>,
        build: Build<'_, S>,
    ) -> Result<(Arc<Self>, Arc<S>)> {
        let label = path.to_string_lossy();
        let inode = file::facts(&file)
            .map_err(|e| Error::from_io(&label, "examine", &e))?
            .inode;
        if let Some(object) = recall(inode) {
            check_species(&label, &object.facts, species)?;
            if object.owner().is_none() {
                object.attach()?;
            }
            let structure = build(&object.region, &object.facts).map_err(|d| d.of(&label))?;
            return Ok((object, structure));
        }
        let (region, facts) = examine(&label, &file, true)?;
        check_species(&label, &facts, species)?;
        let (object, structure) = Self::over(path, file, keeper, region, facts, build)?;
        object.attach()?;
        let (object, is_ours) = remember(object);
        let structure = if is_ours {
            structure
        } else {
            build(&object.region, &object.facts).map_err(|d| d.of(&label))?
        };
        Ok((object, structure))
    }

    /// An object whose region is mapped and checked, not yet attached to.
    fn over<S: Repair + 'static>(
        path: &Path,
        file: File,
        keeper: Option<Arc<Object>>,
        region: Arc<Region>,
        facts: Facts,
        build: Build<'_, S>,
    ) -> Result<(Self, Arc<S>)> {
        let label = path.to_string_lossy().into_owned();
        let inode = file::facts(&file)
            .map_err(|e| Error::from_io(&label, "examine", &e))?
            .inode;
        let file = Arc::new(file);
        region.set_file(Arc::clone(&file));
        let (participants, is_ephemeral) = census_of(&region, &facts, Arc::clone(&file), inode)
            .map_err(|OutOfBounds| Damage("the file is smaller than its header says").of(&label))?;
        let structure = build(&region, &facts).map_err(|d| d.of(&label))?;
        let object = Self {
            label,
            path: path.to_owned(),
            inode,
            facts,
            file,
            region,
            participants,
            structure: Arc::clone(&structure) as Arc<dyn Repair>,
            is_ephemeral,
            keeper,
            member: AtomicU64::new(0),
            token: Mutex::new(None),
        };
        Ok((object, structure))
    }

    /// Who is attached.
    pub(crate) fn cards(&self) -> Vec<Card> {
        self.participants.cards()
    }

    /// This process as the object's claim words name it; `None` before [`Self::attach`], also in a forked child.
    #[inline(always)]
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.owner_in(Process::this())
    }

    /// As [`Self::owner`], for who knows already which process this is.
    #[inline(always)]
    pub(crate) fn owner_in(&self, process: Process) -> Option<Owner> {
        let member = self.member.load(Ordering::Acquire);
        let is_mine = process.is_epoch((member >> 32) as u32);
        Owner::from_bits(member as u16).filter(|_| is_mine)
    }

    /// Takes a slot for this process, once.
    #[cold]
    pub(crate) fn attach(&self) -> Result<Owner> {
        if let Some(family) = self.keeper.as_ref().filter(|f| f.owner().is_none()) {
            family.attach()?;
        }
        let epoch = fork::epoch();
        // Dropped last: no thread is in here while another forks, so a child never finds `token` locked.
        let no_fork = fork::hold_forks();
        let io_error = |e: io::Error| Error::from_io(&self.label, "attach to", &e);
        let claim = Claim::new(&self.file, self.inode, epoch, no_fork).map_err(io_error)?;
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let held = token.as_ref().filter(|(at, _, _)| *at == epoch);
        if let Some(owner) = held.map(|(_, owner, _)| *owner) {
            drop(token);
            return Ok(owner);
        }
        let taken = self
            .lock_existence(&claim)
            .and_then(|()| self.take_slot(&claim));
        let owner = match taken {
            Ok(owner) => owner,
            Err(e) => {
                drop(token);
                return Err(e);
            }
        };
        let (pinned, no_fork) = claim.pin();
        *token = Some((epoch, owner, pinned));
        self.member
            .store(u64::from(epoch) << 32 | owner.bits(), Ordering::Release);
        drop(token);
        drop(no_fork);
        Ok(owner)
    }

    /// Only who removes the object holds the byte in exclusive mode, for an instant, and may find that it must not.
    fn lock_existence(&self, claim: &Claim) -> Result<()> {
        for _ in 0..RETRIES {
            let is_locked = claim.try_shared(EXISTENCE);
            if is_locked.map_err(|e| Error::from_io(&self.label, "attach to", &e))? {
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(Error::BeingRemoved {
            object: self.label.clone(),
        })
    }

    fn take_slot(&self, claim: &Claim) -> Result<Owner> {
        let me = Me::now();
        let mut has_swept = false;
        loop {
            match self.participants.attach(claim, &me) {
                Ok(owner) => return Ok(owner),
                Err(AttachError::Io(e)) => {
                    return Err(Error::from_io(&self.label, "attach to", &e));
                }
                Err(AttachError::Full) if has_swept => {
                    return Err(Error::TooManyParticipants {
                        object: self.label.clone(),
                        max: self.participants.limit(),
                    });
                }
                Err(AttachError::Full) => {
                    self.sweep()?;
                    has_swept = true;
                }
            }
        }
    }

    /// Repairs what dead participants left. Returns how many there were.
    pub(crate) fn sweep(&self) -> Result<u32> {
        self.participants
            .sweep(&*self.structure)
            .map_err(|e| self.sweep_error(e))
    }

    /// As [`Self::sweep`], unless somebody did within the watch period.
    #[cold]
    pub(crate) fn look(&self) -> Result<u32> {
        self.participants
            .look(&*self.structure, WATCH_NS)
            .map_err(|e| self.sweep_error(e))
    }

    fn sweep_error(&self, e: SweepError) -> Error {
        match e {
            SweepError::Damage(damage) => damage.of(&self.label),
            SweepError::Io(e) => Error::from_io(&self.label, "probe the participants of", &e),
        }
    }

    /// The process that `owner_bits` of a claim word names.
    pub(crate) fn pid_of(&self, owner_bits: u64) -> u32 {
        self.participants.pid_of(owner_bits)
    }

    /// Set once a peer cut the object's file short while it is in use here. Meaningful while the object lives.
    pub(crate) fn cut_flag(&self) -> &'static AtomicBool {
        self.region.cut_flag()
    }

    /// The path under which the object was created or opened.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// The object's name, unless it has none.
    pub(crate) fn name(&self) -> Option<&str> {
        let name = self.path.file_name()?.to_str()?;
        let has_name = !self.is_ephemeral && !name.starts_with('.');
        has_name.then_some(name)
    }

    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// The directory that the object is in, as a namespace.
    pub(crate) fn namespace_around(&self) -> Namespace {
        Namespace::in_directory(self.path.parent().unwrap_or(Path::new("/")))
    }

    /// Where the object is, or was, and its file.
    pub(crate) fn place(&self) -> (&Path, BorrowedFd<'_>) {
        (&self.path, self.file.as_fd())
    }

    /// Removes the object's name if it still means this object.
    pub(crate) fn unlink(&self) -> Result<()> {
        remove_if(&self.path, Removal::Forced, Some(self.inode))
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let held = self
            .token
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((epoch, owner, token)) = held
            && epoch == fork::epoch()
        {
            if !self.structure.names(owner) {
                self.participants.detach(owner);
            }
            drop(token);
        }
        if self.is_ephemeral && namespace::is_ephemeral_file(&self.path) {
            // Fails unless we were the last, which is the point.
            let _ = remove_if(&self.path, Removal::Unused, Some(self.inode));
        }
        if let Some(family) = family::dir_of_own_file(&self.path) {
            let _ = family::collect(family); // the same
        }
    }
}

fn creation_error(
    label: &str,
    dir: &Path,
    recipe: &Recipe<'_>,
    operation: &'static str,
    e: &io::Error,
) -> Error {
    match e.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG | libc::ENOMEM) => Error::NoSpace {
            object: label.to_owned(),
            needed: recipe.allocated as u64,
            available: file::space(dir).map_or(0, |(_, available)| available),
        },
        _ => Error::from_io(label, operation, e),
    }
}

/// Begins the life of header and slots.
pub(crate) fn place_header(fresh: &mut Fresh, participants: u32) -> Result<(), OutOfBounds> {
    let (_, offsets) = plan(participants).ok_or(OutOfBounds)?;
    fresh.place::<Identity>(0, 1)?;
    fresh.place::<Census>(offsets.census, 1)?;
    fresh.place::<Slot>(offsets.slots, participants as usize)
}

#[cfg(any(test, loom))]
pub(crate) fn header_of(
    region: &Arc<Region>,
    participants: u32,
    probe: super::participant::Probe,
) -> Participants {
    let (_, offsets) = plan(participants).unwrap();
    let slots = region
        .span::<Slot>(offsets.slots, participants as usize)
        .unwrap();
    Participants::new(region.one(offsets.census).unwrap(), slots, probe)
}
