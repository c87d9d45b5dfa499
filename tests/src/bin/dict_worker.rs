//! Hammers a dictionary until it is killed, or the dictionary says that it is over. `tests/dict.rs` starts it, many times.

use std::process::ExitCode;

use clap::Parser;
use ipc_core::{Dict, DictError, Namespace};
use ipc_tests::dict_soak::{KEYS, LASTING, Shelf, check, is_over, value};
use ipc_tests::random::Random;

/// Hammers a dictionary
#[derive(Debug, Parser)]
struct Args {
    /// Directory of the namespace
    directory: std::path::PathBuf,
    /// Which worker this is
    id: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match hammer(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("worker {}: {e}", args.id);
            ExitCode::FAILURE
        }
    }
}

fn hammer(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let namespace = Namespace::at(&args.directory)?;
    let shelf: Shelf = Dict::options().namespace(&namespace).open("shelf")?;
    let counts: Dict<String, u64> = Dict::options().namespace(&namespace).open("counts")?;
    let mut random = Random::new(args.seed);
    while !is_over(&counts)? {
        for _ in 0..50 {
            step(&shelf, &mut random, args.id)?;
        }
        // The first is never behind the second, nor further ahead than this worker was killed.
        counts.add(&format!("first {}", args.id), 1)?;
        counts.add(&format!("second {}", args.id), 1)?;
        counts.add(&"all".to_owned(), 1)?;
    }
    Ok(())
}

fn step(shelf: &Shelf, random: &mut Random, id: u64) -> Result<(), Box<dyn std::error::Error>> {
    let key = random.below(KEYS) as u32;
    let new = value(key, id, random.number());
    let is_lasting = key < LASTING;
    let result = match random.below(10) {
        0..=3 => match shelf.get(&key)? {
            Some(found) => {
                check(key, &found)?;
                Ok(())
            }
            None if is_lasting => return Err(format!("{key} is lost").into()),
            None => Ok(()),
        },
        4..=6 => shelf.insert(&key, &new).map(|_| ()),
        7 if !is_lasting => shelf.remove(&key).map(|_| ()),
        8 => shelf.update(&key, |value| *value = new.clone()).map(|_| ()),
        9 if random.one_in(200) => {
            let mut pairs = shelf.iter();
            let lasting = pairs.by_ref().filter(|(key, value)| {
                assert!(check(*key, value).is_ok(), "{key} is torn");
                *key < LASTING
            });
            let lasting = lasting.count();
            match pairs.error() {
                Some(e) => Err(e.clone()),
                None if lasting != LASTING as usize => {
                    return Err(format!("{lasting} of {LASTING} lasting pairs were seen").into());
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    };
    match result {
        // Full until others remove something.
        Ok(()) | Err(DictError::NoSpace { .. }) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
