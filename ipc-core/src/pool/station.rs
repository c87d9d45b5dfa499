//! A process's hold on a pool's object, and how that is made, opened and sent to workers.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::control::{self, Control, PoolPhase, Word};
use crate::{
    error::{Error, Result},
    object::{
        Kind, Namespace,
        lifetime::{self, Object, Removal, Species, Ticket},
        making::{Blueprint, Making},
        membership::Membership,
        seat::Notes,
        wait::{Attempt, Deadline, Patience, WaitStrategy, Waiting},
    },
};

/// Who may be attached beside workers: those who look and give orders, and the dead that nobody has swept yet.
const OTHERS: usize = 64;
/// How often making a pool under a name may lose to others who do the same.
const RACES: u32 = 100;

/// One process's handle.
#[derive(Debug, Clone)]
pub(super) struct Station {
    pub(super) member: Arc<Membership>,
    pub(super) control: Arc<Control>,
}

fn species() -> Species<'static> {
    Species {
        kind: Kind::Pool,
        type_name: Some(""),
    }
}

impl Station {
    fn over((object, control): (Arc<Object>, Arc<Control>)) -> Self {
        Self {
            member: Arc::new(Membership::new(object)),
            control,
        }
    }

    /// Makes a pool's object for so many workers at the most. A name that a dead process has left is taken over.
    pub(super) fn create(
        namespace: Option<&Namespace>,
        name: Option<&str>,
        most: usize,
        wanted: usize,
    ) -> Result<Self> {
        let making = Making {
            participants: (most + OTHERS) as u32,
            namespace: namespace.cloned(),
            ..Making::default()
        };
        making.check()?;
        let participants = making.participants;
        let bytes = control::file_bytes(most, participants).unwrap_or_default();
        let blueprint = Blueprint {
            species: species(),
            geometry: [most as u64, 0, 0, 0, 0, 0, 0, 0],
            bytes,
            place: &|fresh| {
                control::place(fresh, most, participants)?;
                let control = Control::over(fresh.region(), most, participants)?;
                control.set(Word::Wanted, wanted as u64);
                control.set(Word::Parent, u64::from(std::process::id()));
                Ok(())
            },
        };
        let Some(name) = name else {
            return making
                .anonymous(&blueprint, &control::build)
                .map(Self::over);
        };
        let path = making.place()?.file_of(name)?;
        for _ in 0..RACES {
            match making.create(name, &blueprint, &control::build) {
                Err(e @ Error::Exists { .. }) => clear(&path, e)?,
                other => return other.map(Self::over),
            }
        }
        making
            .create(name, &blueprint, &control::build)
            .map(Self::over)
    }

    pub(super) fn open(namespace: Option<&Namespace>, name: &str) -> Result<Self> {
        let making = Making {
            namespace: namespace.cloned(),
            ..Making::default()
        };
        making
            .open(name, species(), &control::build)
            .map(Self::over)
    }

    /// Waits until there are more orders than `seen`. How many there are.
    pub(super) fn wait_for_orders(&self, seen: u64) -> Result<u64> {
        let me = self.member.ready().map_err(|e| *e)?;
        let control = &*self.control;
        let patience = Patience::new();
        let waiting = Waiting {
            word: control.doorbell(),
            strategy: WaitStrategy::Sleep,
            patience: &patience,
            deadline: Deadline::NEVER,
            notes: Notes::Table(&control.notes, me),
        };
        let attempt = || match control.orders() {
            orders if orders != seen => Attempt::Done(Ok(orders)),
            _ => Attempt::Blocked(control.doorbell()),
        };
        let look = || match self.member.object.look() {
            Ok(_) => self.member.check_whole().err().map(|e| Err(*e)),
            Err(e) => Some(Err(e)),
        };
        match waiting.until(attempt, || control.orders() != seen, look) {
            Some(outcome) => outcome,
            None => Ok(seen),
        }
    }

    /// What the pool does, if that can be trusted.
    pub(super) fn phase(&self) -> Result<PoolPhase> {
        self.member.check().map_err(|e| *e)?;
        let phase = self.control.phase();
        phase.map_err(|damage| *self.member.remember(damage))
    }
}

/// Removes the pool under `path` whose process is dead. The error `exists` if it lives.
fn clear(path: &Path, exists: Error) -> Result<()> {
    let label = path.to_string_lossy();
    let file = crate::os::file::open_read_only(path);
    let seen = file.and_then(|file| Ok((crate::os::file::facts(&file)?.inode, file)));
    let (inode, file) = match seen {
        Ok(seen) => seen,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(_) => return Err(exists),
    };
    match lifetime::examine(&label, &file, false) {
        Ok((_, facts)) if facts.kind == Kind::Pool.number() => {}
        _ => return Err(exists),
    }
    match lifetime::remove_if(path, Removal::Unused, Some(inode)) {
        Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
        Err(Error::InUse { .. }) => Err(exists),
        Err(e) => Err(e),
    }
}

impl Serialize for Station {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.member.object.ticket().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Station {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        let made = ticket.redeem(species(), &control::build);
        made.map(Self::over).map_err(D::Error::custom)
    }
}
