//! `ipc shm`.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read, Write as _},
};

use ipc_core::{Error, SharedMemory};
use serde::Serialize;

use super::{for_all, set};
use crate::{
    args::{
        shm::{Create, Dump, Load, Ls, Rm, Verb},
        values::Format,
    },
    exit::{Failure, Outcome},
    inlet::Inlet,
    output::{
        human, json, print,
        table::{Cell, Table},
        written,
    },
    signals::Signals,
};

/// As much is copied at once.
const PIECE: usize = 64 << 10;
/// Bytes in a line of a dump.
const LINE: usize = 16;

pub(crate) fn run(verb: Verb) -> Outcome {
    match verb {
        Verb::Create(args) => create(&args),
        Verb::Dump(args) => dump(&args),
        Verb::Load(args) => load(&args),
        Verb::Rm(args) => for_all(&args.names, |name| remove(name, &args)),
        Verb::Ls(args) => list(&args),
    }
}

fn create(args: &Create) -> Outcome {
    let options = SharedMemory::options(args.size);
    let options = set(options, args.mode, |o, mode| o.mode(mode));
    let options = set(options, args.group, |o, gid| o.group(gid));
    if args.if_missing {
        options.open_or_create(&args.name)?;
    } else {
        options.create(&args.name)?;
    }
    Ok(())
}

fn dump(args: &Dump) -> Outcome {
    let block = SharedMemory::open_read_only(&args.name)?;
    let count = args.count;
    let count = count.unwrap_or_else(|| block.size().saturating_sub(args.offset));
    check(&block, args.offset, count)?;
    let signals = Signals::watch()?;
    let mut out = io::stdout().lock();
    let mut at = args.offset;
    let end = args.offset + count;
    while at < end {
        signals.check()?;
        let piece = block.read_vec(at, PIECE.min(end - at))?;
        let bytes = match args.hex {
            true => lines(at, &piece).into_bytes(),
            false => piece.clone(),
        };
        written(out.write_all(&bytes))?;
        at += piece.len();
    }
    written(out.flush())
}

/// Whether there are so many bytes.
fn check(block: &SharedMemory, offset: usize, bytes: usize) -> Outcome {
    match offset.checked_add(bytes) {
        Some(end) if end <= block.size() => Ok(()),
        _ => Err(Error::OutOfBounds {
            object: block.name().to_owned(),
            offset,
            bytes,
            size: block.size(),
        }
        .into()),
    }
}

/// As `hexdump -C` prints them.
fn lines(offset: usize, bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in bytes.chunks(LINE).enumerate() {
        let _ = write!(text, "{:08x} ", offset + number * LINE); // a String takes everything
        for at in 0..LINE {
            text.push_str(if at == LINE / 2 { "  " } else { " " });
            match line.get(at) {
                Some(byte) => {
                    let _ = write!(text, "{byte:02x}");
                }
                None => text.push_str("  "),
            }
        }
        let shown = line.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        });
        let _ = writeln!(text, "  |{}|", shown.collect::<String>());
    }
    text
}

fn load(args: &Load) -> Outcome {
    let block = SharedMemory::open(&args.name)?;
    check(&block, args.offset, 0)?;
    let mut at = args.offset;
    let mut take = |piece: &[u8]| -> Outcome {
        let room = block.size() - at;
        let fitting = &piece[..piece.len().min(room)];
        block.write(at, fitting)?;
        at += fitting.len();
        if fitting.len() == piece.len() {
            Ok(())
        } else {
            Err(too_long(&block, args.offset).after("what fits was written"))
        }
    };
    let signals = Signals::watch()?;
    let Some(path) = &args.file else {
        let inlet = Inlet {
            signals: &signals,
            format: Format::Raw,
            most_bytes: usize::MAX,
        };
        return inlet.pieces(take);
    };
    let mut file = File::open(path).map_err(Failure::Input)?;
    let length = file.metadata().map_err(Failure::Input)?;
    if length.is_file() && length.len() > (block.size() - args.offset) as u64 {
        return Err(too_long(&block, args.offset));
    }
    let mut piece = vec![0; PIECE];
    loop {
        signals.check()?;
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => take(&piece[..length])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::Input(e)),
        }
    }
}

fn too_long(block: &SharedMemory, offset: usize) -> Failure {
    Failure::Other(format!(
        "the input is longer than the {} bytes of {} behind the offset",
        block.size() - offset,
        block.name()
    ))
}

fn remove(name: &str, args: &Rm) -> Outcome {
    if args.dry_run {
        SharedMemory::open_read_only(name)
            .map(drop)
            .or_else(|e| match e {
                Error::Truncated { .. } => Ok(()), // never finished; it can go
                e => Err(e),
            })?;
        return print(format!("would remove {name}\n").as_bytes());
    }
    Ok(SharedMemory::remove(name)?)
}

/// A block.
#[derive(Serialize)]
struct Block {
    name: String,
    size: u64,
    reserved_bytes: u64,
    uid: u32,
    gid: u32,
    /// In octal.
    mode: String,
    modified: String,
}

#[derive(Serialize)]
struct Blocks {
    blocks: Vec<Block>,
}

fn list(args: &Ls) -> Outcome {
    let found = SharedMemory::list()?;
    if args.json {
        let blocks = found.into_iter().map(|stat| Block {
            size: stat.size,
            reserved_bytes: stat.reserved_bytes,
            uid: stat.uid,
            gid: stat.gid,
            mode: format!("{:04o}", stat.mode),
            modified: human::time(stat.modified_unix_ns),
            name: stat.name,
        });
        let blocks = blocks.collect();
        return json::print(&Blocks { blocks });
    }
    let mut table = Table::new(&["NAME", "SIZE", "RESERVED", "UID", "MODE", "AGE"]);
    for stat in found {
        table.row([
            Cell::from(&stat.name),
            Cell::from(human::bytes(stat.size)),
            Cell::from(human::bytes(stat.reserved_bytes)),
            Cell::from(stat.uid),
            Cell::from(format!("{:04o}", stat.mode)),
            Cell::from(human::age(human::since(stat.modified_unix_ns))),
        ]);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_looks_as_hexdump_makes_it() {
        let text = lines(0x20, b"0123456789abcdef\x00\xff ");
        let expected = "\
00000020  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|
00000030  00 ff 20                                          |.. |
";
        assert_eq!(text, expected);
    }
}
