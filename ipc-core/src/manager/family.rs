//! One lifetime for a family of objects.
//!
//! How a family lives and goes is in [`crate::object::family`]; how an object belongs to one, in [`crate::object::lifetime`]. This is the public
//! face, and what a manager makes: one line a kind.

#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::{
    channel::{
        broadcast::Broadcast,
        joinable::JoinableQueue,
        ordered::{LifoQueue, PriorityQueue},
        pipe::{Connection, Pipe, Receiver, Sender},
        queue::Queue,
    },
    error::{Error, Result},
    manager::{Array, Attributes, List, Value, dict::Dict},
    message::Message,
    object::{
        Namespace, family,
        lifetime::{self, Object, Removal, Ticket},
        making::{self, Making},
    },
    sync::{Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RwLock, Semaphore},
};

/// A family of objects with one lifetime, as Python's `Manager`, but without a server process.
///
/// What a manager makes are the same objects as everywhere in this library, at the same speed. They are there as long as any process uses
/// the family, also while nobody has that one object; and they go together with the family's last user, also when that one was
/// killed.
///
/// # Users
///
/// A process uses a family while it has the manager or any member of it: a handle that arrives in another process, in a message or as a value
/// in another object, is enough. So a member can be kept as a value inside another one and nowhere else, and whoever gets it out
/// has the object itself, not a copy: what one process changes in it, the others see.
///
/// # Names
///
/// [`new`](Self::new) makes a family that goes with its last user. One that was made under a name ([`create`](Self::create)) is found by
/// [`open`](Self::open), and stays, as all objects with a name do, until the name is removed ([`unlink`](Self::unlink), `ipc rm`);
/// from then on it goes with its last user.
///
/// The methods here make members without a name. [`members`](Self::members) is a namespace in which the options of every kind make, open and
/// list members with one: this is how a process that has opened the family finds them.
///
/// # When a process dies
///
/// | killed | the others see |
/// |---|---|
/// | while it uses the family | what each member says about that; the family stays |
/// | as the last user | all members are gone at once; their memory is free when somebody next makes a manager or an object without a name in the namespace, or calls [`Namespace::collect`] (`ipc doctor --fix`) |
/// | in the making of a member | the member is there whole, or was never there |
/// | while it removes the family | the family is gone; the rest of its memory is free as above |
///
/// # Memory
///
/// A member's memory is in use until the family goes, or until [`unlink`](Queue::unlink) of the member and the end of its last handle. Members
/// that nobody can reach any more are not found out. A family holds no listeners and no other families.
///
/// # Example
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-manager-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::{Manager, Queue};
///
/// let team = Manager::options().namespace(&namespace).anonymous()?;
/// let desk: Queue<Queue<String>> = team.queue(16)?; // a queue of queues
/// let letters = team.queue(16)?;
/// letters.put("hello".to_owned())?;
/// desk.put(letters)?; // nobody has this one in hand now
///
/// let same: Queue<String> = desk.get()?; // in any process
/// assert_eq!(same.get()?, "hello");
///
/// let jobs = Queue::<u64>::options(100).namespace(&team.members()).create("jobs")?;
/// assert_eq!(team.members().list()?, ["jobs"]);
/// # drop((team, desk, same, jobs));
/// # assert!(namespace.leftovers()?.is_empty());
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Manager {
    family: Arc<Object>,
    /// The namespace that it is in, and its name there.
    name: Option<(Namespace, String)>,
}

impl Manager {
    /// Makes a family without a name, which goes with its last user, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`ManagerOptions::anonymous`].
    pub fn new() -> Result<Self> {
        Self::options().anonymous()
    }

    /// Makes a family under `name`, with default [options](Self::options).
    ///
    /// # Errors
    ///
    /// See [`ManagerOptions::create`].
    pub fn create(name: &str) -> Result<Self> {
        Self::options().create(name)
    }

    /// Comes to the family `name`.
    ///
    /// # Errors
    ///
    /// See [`ManagerOptions::open`].
    pub fn open(name: &str) -> Result<Self> {
        Self::options().open(name)
    }

    /// Comes to the family `name`, or makes it.
    ///
    /// # Errors
    ///
    /// See [`ManagerOptions::open_or_create`].
    pub fn open_or_create(name: &str) -> Result<Self> {
        Self::options().open_or_create(name)
    }

    /// Settings for a family.
    pub fn options() -> ManagerOptions {
        ManagerOptions {
            making: Making::default(),
        }
    }

    /// Where the members are: a namespace of the family's own, in which the options of every kind make and open members by name.
    /// Nothing can be made or opened there once the family is gone.
    #[must_use]
    pub fn members(&self) -> Namespace {
        self.family.namespace_around()
    }

    /// The family's name, unless it has none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|(_, name)| name.as_str())
    }

    /// Removes the family's name: nobody finds it any more, and it goes with its last user.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if it has no name, or the name is gone or means something else by now; [`Error::PermissionDenied`].
    pub fn unlink(&self) -> Result<()> {
        match &self.name {
            Some((namespace, name)) => lifetime::remove_if(
                &namespace.file_of(name)?,
                Removal::Forced,
                Some(self.family.inode()),
            ),
            None => Err(Error::NotFound {
                object: self.family.label().to_owned(),
            }),
        }
    }

    /// Repairs what dead users left in the family's own file, now instead of when its places run out. Returns how many there were. Each member
    /// has a `sweep` of its own, which is done when it is opened and while somebody waits.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn sweep(&self) -> Result<u32> {
        self.family.sweep()
    }

    /// A duplex pipe between two ends, both of which belong to this process until one is sent on.
    ///
    /// # Errors
    ///
    /// See [`PipeOptions::create`](crate::PipeOptions::create).
    pub fn pipe<T: Message>(&self) -> Result<(Connection<T>, Connection<T>)> {
        Pipe::options().namespace(&self.members()).duplex()
    }

    /// A pipe of one direction, of which both ends belong to this process until one is sent on.
    ///
    /// # Errors
    ///
    /// See [`PipeOptions::create`](crate::PipeOptions::create).
    pub fn simplex<T: Message>(&self) -> Result<(Receiver<T>, Sender<T>)> {
        Pipe::options().namespace(&self.members()).simplex()
    }
}

impl Manager {
    /// Names with values of any types, none at first: what Python's `Namespace` is.
    ///
    /// # Errors
    ///
    /// As [`dict`](Self::dict).
    pub fn namespace(&self) -> Result<Attributes> {
        self.dict().map(Attributes::from)
    }
}

/// What a manager makes: how the method is called, what it takes, what comes of it, and the options with which it is made.
macro_rules! members {
    ($(
        $(#[$doc:meta])*
        $name:ident [$($generics:tt)*] ($($arg:ident: $type:ty),*) -> $member:ty = $options:expr;
    )*) => {
        impl Manager {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// [`Error::BadOption`]; [`Error::NoSpace`], in which case nothing is left behind;
                /// [`Error::TooManyParticipants`] of the family, for a process that was forked.
                pub fn $name<$($generics)*>(&self, $($arg: $type),*) -> Result<$member> {
                    $options.namespace(&self.members()).anonymous()
                }
            )*
        }
    };
}

members! {
    /// A queue of `capacity` messages, first in first out.
    queue[T: Message](capacity: usize) -> Queue<T> = Queue::options(capacity);
    /// A queue of `capacity` jobs that come back unless they are reported as done.
    joinable_queue[T: Message](capacity: usize) -> JoinableQueue<T> = JoinableQueue::options(capacity);
    /// A queue of `capacity` messages, last in first out.
    lifo[T: Message](capacity: usize) -> LifoQueue<T> = LifoQueue::options(capacity);
    /// A queue of `capacity` messages, lowest priority first.
    priority[T: Message](capacity: usize) -> PriorityQueue<T> = PriorityQueue::options(capacity);
    /// A lossless broadcast of the last `capacity` messages.
    broadcast[T: Message](capacity: usize) -> Broadcast<T> = Broadcast::options(capacity);
    /// A lock.
    lock[]() -> Lock = Lock::options();
    /// A lock with `value` inside.
    lock_with[T: NoUninit + CheckedBitPattern](value: T) -> Lock<T> = Lock::options_with(value);
    /// A lock that its holder can take again.
    rlock[]() -> RLock = RLock::options();
    /// A lock that readers share.
    rwlock[]() -> RwLock = RwLock::options();
    /// A lock that readers share, with `value` inside.
    rwlock_with[T: NoUninit + CheckedBitPattern](value: T) -> RwLock<T> = RwLock::options_with(value);
    /// A semaphore with `permits` permits, which anybody may release.
    semaphore[](permits: u32) -> Semaphore = Semaphore::options(permits);
    /// A semaphore with `permits` permits, which come back when their holder dies.
    bounded_semaphore[](permits: usize) -> BoundedSemaphore = BoundedSemaphore::options(permits);
    /// An event, not set.
    event[]() -> Event = Event::options();
    /// A condition.
    condition[]() -> Condition = Condition::options();
    /// A barrier for `parties` parties.
    barrier[](parties: usize) -> Barrier = Barrier::options(parties);
    /// A value, at first `initial`.
    value[T: NoUninit + CheckedBitPattern](initial: T) -> Value<T> = Value::options(initial);
    /// As many values as `initial` has.
    array[T: NoUninit + CheckedBitPattern](initial: Vec<T>) -> Array<T> = Array::options(initial);
    /// An empty list.
    list[T: Message]() -> List<T> = List::options();
    /// An empty dictionary.
    dict[K: Message, V: Message]() -> Dict<K, V> = Dict::options();
}

/// Settings for a family, from [`Manager::options`].
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ipc-doc-manager-options-{}", std::process::id()));
/// # let namespace = ipc_core::Namespace::at(&dir)?;
/// use ipc_core::Manager;
///
/// let team = Manager::options().participants(1000).namespace(&namespace).create("team")?;
/// let ready = team.event()?;
/// team.unlink()?;
/// # drop((team, ready));
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options make nothing until `create`, `open`, `open_or_create` or `anonymous`"]
pub struct ManagerOptions {
    making: Making,
}

impl ManagerOptions {
    /// How many processes may use the family at once: 1 to 16,000, at 64 bytes each. Default: 128, as of each member.
    pub fn participants(mut self, count: u32) -> Self {
        self.making.participants = count;
        self
    }

    /// Permissions of the family's own file: who may not write it cannot use the family. Members have their own. Default: `0o600`.
    pub fn mode(mut self, mode: u32) -> Self {
        self.making.mode = mode;
        self
    }

    /// Group of the family's own file, by number. Default: the creator's.
    pub fn group(mut self, gid: u32) -> Self {
        self.making.group = Some(gid);
        self
    }

    /// Where the family is. Default: [`Namespace::current`].
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.making.namespace = Some(namespace.clone());
        self
    }

    /// Makes a family under a name.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::BadOption`]; [`Error::NoSpace`], in which case nothing is left behind; [`Error::BadName`];
    /// [`Error::PermissionDenied`]; [`Error::Io`] on a file system without hard links.
    pub fn create(&self, name: &str) -> Result<Manager> {
        self.make(Some(name))
    }

    /// Comes to an existing family.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::WrongKind`]; [`Error::TooManyParticipants`]; and those that say why the file cannot be trusted.
    pub fn open(&self, name: &str) -> Result<Manager> {
        let namespace = self.making.place()?;
        Ok(Manager {
            family: family::open(&namespace, name)?,
            name: Some((namespace, name.to_owned())),
        })
    }

    /// Comes to the family, or makes it if there is none. Processes that race here get the same family.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<Manager> {
        making::open_or_create(|| self.open(name), || self.create(name))
    }

    /// Makes a family without a name, which goes with its last user, also when that one is killed.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn anonymous(&self) -> Result<Manager> {
        self.make(None)
    }

    fn make(&self, name: Option<&str>) -> Result<Manager> {
        self.making.check()?;
        let namespace = self.making.place()?;
        if family::is_dir(namespace.path()) {
            return Err(Error::BadOption {
                option: "namespace",
                why: "a family holds no families; make it beside the other one".into(),
            });
        }
        lifetime::collect_sometimes(&namespace);
        Ok(Manager {
            family: family::create(&self.making, &namespace, name)?,
            name: name.map(|name| (namespace, name.to_owned())),
        })
    }
}

/// A manager on its way to another process.
#[derive(serde::Serialize, serde::Deserialize)]
struct Passage {
    family: Ticket,
    /// The directory of its namespace, and its name there.
    name: Option<(std::path::PathBuf, String)>,
}

impl serde::Serialize for Manager {
    /// Encodes what another process needs to come to the family, which must still have a user then.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.name.as_ref();
        let passage = Passage {
            family: self.family.ticket(),
            name: name.map(|(namespace, name)| (namespace.path().to_owned(), name.clone())),
        };
        passage.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Manager {
    /// Comes to the family.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let passage = Passage::deserialize(deserializer)?;
        let come = || -> Result<Self> {
            let name = passage.name;
            Ok(Self {
                family: family::redeem(&passage.family)?,
                name: name.map(|(dir, name)| (Namespace::in_directory(&dir), name)),
            })
        };
        come().map_err(serde::de::Error::custom)
    }
}
