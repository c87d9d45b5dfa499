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
    cell::Cell,
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::Duration,
};

use super::{
    family,
    kind::Kind,
    namespace::{self, Namespace},
    participant::{
        AttachError, Census, EXISTENCE, KernelProbe, MAX_PARTICIPANTS, Owner, Participants, Probe,
        REMOVAL, Repair, Slot, SweepError,
    },
    wait::WATCH_NS,
};
use crate::{
    error::{Damage, Error, Result},
    os::{
        clock,
        file::{self, HALF_MADE, Inode, Unpublished},
        fork::{self, Process},
        map,
        process::{self, Me},
        token::{self, Claim, Token},
    },
    prim::Relaxed,
    region::{
        Fresh, OutOfBounds, Planner, Region,
        identity::{Facts, Identity, LAYOUT_VERSION, WORD, hash},
    },
};

/// The object goes with its last user.
const IS_EPHEMERAL: u32 = 1;
/// Opening races with removal at most so often before we say so.
const RETRIES: u32 = 100;
/// Younger half-made files are left alone.
const HALF_MADE_AT_LEAST: Duration = Duration::from_secs(60);
/// At most so often does one process look for ephemeral objects of the dead.
const COLLECT_EVERY_NS: u64 = 1_000_000_000;

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

    /// What another process needs to come to this object.
    pub(crate) fn ticket(&self) -> Ticket {
        TICKETS.set(TICKETS.get().wrapping_add(1));
        Ticket {
            path: self.path.clone(),
            inode: self.inode,
            pid: std::process::id(),
            descriptor: self.file.as_raw_fd(),
        }
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

thread_local! {
    /// How many tickets this thread has written.
    static TICKETS: Cell<u64> = const { Cell::new(0) };
}

/// Calls `write`, and says whether that has written any ticket: who redeems one needs that the object is still there.
pub(crate) fn noting_tickets<R>(write: impl FnOnce() -> R) -> (R, bool) {
    let before = TICKETS.get();
    let written = write();
    (written, TICKETS.get() != before)
}

/// A handle on its way to another process.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ticket {
    path: PathBuf,
    inode: Inode,
    pid: u32,
    descriptor: i32,
}

impl Ticket {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// Comes to the object: by its path, or, once that is gone, through the sender while it lives.
    pub(crate) fn redeem<S: Repair + 'static>(
        &self,
        species: Species<'_>,
        build: Build<'_, S>,
    ) -> Result<(Arc<Object>, Arc<S>)> {
        let is_it = |file: &File| file::facts(file).is_ok_and(|f| f.inode == self.inode);
        // Of a family that is gone, only who still has the member can give it.
        let (keeper, is_gone) = match family::keeper_of(&self.path) {
            Ok(keeper) => (keeper, false),
            Err(Error::NotFound { .. }) => (None, true),
            Err(e) => return Err(e),
        };
        // Looked at first: the sender may have named a device.
        let is_file = file::facts_at(&self.path).is_ok_and(|f| f.is_regular);
        let by_path = if is_file && !is_gone {
            file::open(&self.path).ok().filter(is_it)
        } else {
            None
        };
        let file = by_path.or_else(|| {
            file::open_of_process(self.pid, self.descriptor)
                .ok()
                .filter(is_it)
        });
        let label = || self.path.to_string_lossy().into_owned();
        let file = file.ok_or_else(|| Error::NotFound { object: label() })?;
        Object::kept(&self.path, file, keeper, species, build)
    }
}

/// This process's objects, so that each is mapped once. Locked only while no fork can happen.
static OBJECTS: LazyLock<Mutex<HashMap<Inode, Weak<Object>>>> = LazyLock::new(Mutex::default);

fn recall(inode: Inode) -> Option<Arc<Object>> {
    let _no_fork = fork::hold_forks();
    let objects = OBJECTS.lock().unwrap_or_else(PoisonError::into_inner);
    objects.get(&inode).and_then(Weak::upgrade)
}

/// Keeps `object` findable, or returns the one that another thread brought here first; and whether it is ours.
fn remember(object: Object) -> (Arc<Object>, bool) {
    let object = Arc::new(object);
    let no_fork = fork::hold_forks();
    let mut objects = OBJECTS.lock().unwrap_or_else(PoisonError::into_inner);
    if objects.len() >= 64 && objects.len().is_power_of_two() {
        objects.retain(|_, known| known.strong_count() > 0);
    }
    if let Some(known) = objects.get(&object.inode).and_then(Weak::upgrade) {
        drop(objects);
        drop(no_fork);
        return (known, false);
    }
    objects.insert(object.inode, Arc::downgrade(&object));
    (object, true)
}

/// Reads and checks the header of `file` and maps all of it.
pub(crate) fn examine(label: &str, file: &File, is_writable: bool) -> Result<(Arc<Region>, Facts)> {
    let on_disk = file::facts(file).map_err(|e| Error::from_io(label, "examine", &e))?;
    let object = || label.to_owned();
    if !on_disk.is_regular {
        return Err(Error::NotAnObject {
            object: object(),
            why: "it is not a regular file",
        });
    }
    let is_shared_with_us = on_disk.mode & 0o060 == 0o060 && process::is_in_group(on_disk.gid);
    if on_disk.uid != process::user() && !is_shared_with_us {
        return Err(Error::ForeignOwner {
            object: object(),
            uid: on_disk.uid,
        });
    }
    let too_short = Error::NotAnObject {
        object: object(),
        why: "it is shorter than an object's header",
    };
    let length = usize::try_from(on_disk.bytes).map_err(|_| too_short.clone())?;
    if length < size_of::<Identity>() {
        return Err(too_short);
    }
    let map = if is_writable {
        map::shared(file, length)
    } else {
        map::read_only(file, length)
    };
    let map = map.map_err(|e| Error::from_io(label, "map", &e))?;
    let region = Region::mapped(map).map_err(|OutOfBounds| too_short.clone())?;
    let identity = region.one::<Identity>(0).map_err(|OutOfBounds| too_short)?;
    let facts = identity.read().ok_or_else(|| Error::NotAnObject {
        object: object(),
        why: "its first bytes are not those of one",
    })?;
    if (facts.version, facts.word) != (LAYOUT_VERSION, WORD) {
        let show = |version, word: u32| {
            format!(
                "version {version} for {}-bit words",
                (word & 0xff).wrapping_mul(8)
            )
        };
        return Err(Error::IncompatibleLayout {
            object: object(),
            found: show(facts.version, facts.word),
            expected: show(LAYOUT_VERSION, WORD),
        });
    }
    if facts.file_bytes > on_disk.bytes {
        return Err(Error::Truncated {
            object: object(),
            found: on_disk.bytes,
            expected: facts.file_bytes,
        });
    }
    if facts.participants == 0 || facts.participants > MAX_PARTICIPANTS {
        return Err(Damage("its number of participant slots is impossible").of(label));
    }
    Ok((region, facts))
}

/// The slots of an examined object, and whether it is ephemeral.
pub(crate) fn census_of(
    region: &Arc<Region>,
    facts: &Facts,
    file: Arc<File>,
    inode: Inode,
) -> Result<(Participants, bool), OutOfBounds> {
    let (_, offsets) = plan(facts.participants).ok_or(OutOfBounds)?;
    let census = region.one::<Census>(offsets.census)?;
    let slots = region.span::<Slot>(offsets.slots, facts.participants as usize)?;
    let is_ephemeral = census.flags.load(Relaxed) & IS_EPHEMERAL != 0;
    Ok((
        Participants::new(census, slots, Probe::Kernel(KernelProbe::new(file, inode))),
        is_ephemeral,
    ))
}

fn check_species(label: &str, facts: &Facts, wanted: Species<'_>) -> Result<()> {
    if facts.kind != wanted.kind.number() {
        return Err(Error::WrongKind {
            object: label.to_owned(),
            found: Kind::from(facts.kind).to_string(),
            expected: wanted.kind.to_string(),
        });
    }
    match wanted.type_name {
        Some(expected) if facts.type_hash != hash(expected) => Err(Error::WrongType {
            object: label.to_owned(),
            found: facts.type_name.clone(),
            expected: expected.to_owned(),
        }),
        _ => Ok(()),
    }
}

pub(crate) fn open_error(label: &str, e: &io::Error) -> Error {
    match e.raw_os_error() {
        Some(libc::EISDIR | libc::ENXIO | libc::ENODEV) => Error::NotAnObject {
            object: label.to_owned(),
            why: "it is not a regular file",
        },
        _ => Error::from_io(label, "open", e),
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

/// Under which condition a name may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// In any case.
    Forced,
    /// If nobody is attached.
    Unused,
}

/// Removes the name `path` of whatever object or half-made file has it.
pub(crate) fn remove(path: &Path, removal: Removal) -> Result<()> {
    remove_if(path, removal, None)
}

/// As [`remove`], provided that it still means `expected`.
pub(crate) fn remove_if(path: &Path, removal: Removal, expected: Option<Inode>) -> Result<()> {
    let label = path.to_string_lossy();
    let failed = |e: io::Error| open_error(&label, &e);
    for _ in 0..RETRIES {
        let file = file::open(path).map_err(failed)?;
        let inode = file::facts(&file).map_err(failed)?.inode;
        if expected.is_some_and(|expected| expected != inode) {
            return Err(Error::NotFound {
                object: label.into_owned(),
            });
        }
        let claim = Claim::new(&file, inode, fork::epoch(), fork::hold_forks()).map_err(failed)?;
        if removal == Removal::Unused && !claim.try_exclusive(EXISTENCE).map_err(failed)? {
            drop(claim);
            return Err(Error::InUse {
                object: label.into_owned(),
                participants: living(&file),
            });
        }
        // Without it, two who remove the same object could remove a successor's name.
        let is_ours = claim.try_exclusive(REMOVAL).map_err(failed)?;
        let named = file::facts_at(path).map_err(failed)?;
        if is_ours && named.inode == inode {
            return std::fs::remove_file(path).map_err(failed);
        }
        drop(claim);
        std::thread::yield_now();
    }
    Err(Error::BeingRemoved {
        object: label.into_owned(),
    })
}

fn living(file: &File) -> u32 {
    let count = || -> Option<u32> {
        let (region, facts) = examine("", file, false).ok()?;
        let inode = file::facts(file).ok()?.inode;
        let (participants, _) =
            census_of(&region, &facts, Arc::new(file.try_clone().ok()?), inode).ok()?;
        Some(participants.living())
    };
    count().unwrap_or(0)
}

/// The size of the nameless or half-made object at `path` if nobody is attached to it.
pub(crate) fn bytes_if_abandoned(path: &Path) -> io::Result<Option<u64>> {
    let file = file::open(path)?;
    let facts = file::facts(&file)?;
    let is_half_made = path
        .file_name()
        .is_some_and(|n| n.to_string_lossy().starts_with(HALF_MADE));
    // Its creator attaches only once it is filled in.
    let may_be_in_the_making = is_half_made && facts.age < HALF_MADE_AT_LEAST;
    let is_used = may_be_in_the_making || token::is_locked(file.as_fd(), EXISTENCE)?;
    Ok(if is_used { None } else { Some(facts.bytes) })
}

/// Collects ephemeral objects of the dead, now and then.
pub(crate) fn collect_sometimes(namespace: &Namespace) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = clock::monotonic_ns();
    let last = LAST.load(Ordering::Relaxed);
    let is_due = last == 0 || now.saturating_sub(last) > COLLECT_EVERY_NS;
    if is_due
        && LAST
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        // A namespace that cannot be read reports that to whoever lists it.
        let _ = namespace.collect_nameless();
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
pub(crate) fn header_of(region: &Arc<Region>, participants: u32, probe: Probe) -> Participants {
    let (_, offsets) = plan(participants).unwrap();
    let slots = region
        .span::<Slot>(offsets.slots, participants as usize)
        .unwrap();
    Participants::new(region.one(offsets.census).unwrap(), slots, probe)
}
