//! Whether a file is an object, whole, ours, and of the right kind.

use std::{fs::File, io, sync::Arc};

use super::{IS_EPHEMERAL, Species, plan};
use crate::{
    error::{Damage, Error, Result},
    object::{
        kind::Kind,
        participant::{Census, KernelProbe, MAX_PARTICIPANTS, Participants, Probe, Slot},
    },
    os::{
        file::{self, Inode},
        map, process,
    },
    prim::Relaxed,
    region::{
        OutOfBounds, Region,
        identity::{Facts, Identity, LAYOUT_VERSION, WORD, hash},
    },
};

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

pub(super) fn check_species(label: &str, facts: &Facts, wanted: Species<'_>) -> Result<()> {
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
