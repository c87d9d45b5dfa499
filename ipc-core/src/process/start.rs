//! Starting this program again.

use std::{
    any::Any,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    sync::Arc,
};

use super::{
    Process,
    builder::{Change, ProcessBuilder, Stdio},
    child::{Child, Kept, Newborn, Pipes},
    children::{Children, Thread},
    current::Current,
    entry,
    letter::{Letter, Order},
    logging,
    status::SpawnError,
};
use crate::{
    error::Error,
    message::Message,
    object::lifetime,
    os::{
        child::{self, Environment, Start},
        image::Entry,
    },
};

/// What is to be started, beside the settings.
struct Launch<'a> {
    entry: &'static Entry,
    distance: usize,
    number: u32,
    name: &'a str,
    arguments: &'a [u8],
}

impl ProcessBuilder {
    /// Starts this program again.
    pub(super) fn launch<A: Message + Send + 'static, R: Message>(
        &self,
        entry: &'static Entry,
        arguments: A,
        stem: &str,
    ) -> Result<Process<R>, SpawnError> {
        if !entry::is_initialised() {
            return Err(SpawnError::NotInitialised);
        }
        let distance = entry.distance().ok_or(SpawnError::NotInProgram {
            function: entry.name(),
        })?;
        let children = Children::this();
        let number = children.next();
        let name = self.name_for(stem, number);
        let (bytes, has_handles) = lifetime::noting_tickets(|| arguments.encode(<[u8]>::to_vec));
        let bytes = bytes?;
        // Those with handles in them stay until the child has its own.
        let kept = has_handles.then(|| Box::new(arguments) as Box<dyn Any + Send>);
        let launch = Launch {
            entry,
            distance,
            number,
            name: &name,
            arguments: &bytes,
        };
        let started = self.try_launch(children, &launch, kept);
        match started {
            Ok(child) => Ok(Process::of_function(child)),
            Err(e) => {
                let label = format!("process {name:?}");
                Err(SpawnError::Failed(Error::from_io(&label, "start", &e)))
            }
        }
    }

    fn try_launch(
        &self,
        children: &Children,
        launch: &Launch<'_>,
        kept: Option<Box<dyn Any + Send>>,
    ) -> io::Result<Arc<Child>> {
        let thread = children.thread()?;
        let letter = Letter::new()?;
        let (kept, teller) = kept.map(keep).transpose()?.unzip();
        let taken = kept.as_ref().map(|kept| kept.taken.as_raw_fd());
        letter.send(
            &self.order(launch, letter.number(), taken)?,
            launch.arguments,
        )?;
        // What the child needs takes numbers that the parent has and the child does not need.
        let spare = thread.spare.as_raw_fd();
        let mut passed = vec![
            (letter.number(), spare),
            (thread.this_process.as_raw_fd(), letter.number()),
        ];
        passed.extend(teller.as_ref().map(AsRawFd::as_raw_fd).zip(taken));
        let streams = self.opened_streams()?;
        let start = Start {
            environment: self.environment(spare, letter.nonce())?,
            leads_group: self.leads_group,
            streams: streams
                .each_ref()
                .map(|fd| fd.as_ref().map(AsRawFd::as_raw_fd)),
            passed,
        };
        let pid = match self.parting() {
            None => start.now()?,
            Some(_) => by(&thread, move || start.now())?,
        };
        let newborn = Newborn {
            name: launch.name.to_owned(),
            is_daemon: self.is_daemon,
            letter: Some(letter),
            kept,
            pipes: Pipes::default(),
        };
        children.adopt(pid, newborn)
    }

    fn order(&self, launch: &Launch<'_>, number: i32, taken: Option<i32>) -> io::Result<Order> {
        let current = Current::get();
        let mut identity = current.identity.clone();
        identity.push(launch.number);
        let directory = self.directory.as_ref();
        // Looked at here, where the error is of use.
        if let Some(directory) = directory
            && !std::fs::metadata(directory)?.is_dir()
        {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Order {
            program: current.program,
            function: launch.entry.name().to_owned(),
            distance: launch.distance,
            name: launch.name.to_owned(),
            identity,
            is_daemon: self.is_daemon,
            parent_death: self.policy(),
            parent_name: current.name.clone(),
            parent_pid: std::process::id(),
            number,
            taken,
            directory: directory.cloned(),
            command_name: current.command_name.clone(),
            log_level: logging::inherited(),
        })
    }

    /// Its streams where they are not inherited, with numbers that no standard stream has.
    pub(super) fn opened_streams(&self) -> io::Result<[Option<Arc<OwnedFd>>; 3]> {
        let mut opened = [None, None, None];
        for (to, stream) in opened.iter_mut().zip(&self.streams) {
            *to = match stream {
                Stdio::Inherit => None,
                Stdio::Descriptor(fd) if fd.as_raw_fd() > 2 => Some(Arc::clone(fd)),
                Stdio::Descriptor(fd) => {
                    Some(Arc::new(child::duplicate_above_streams(fd.as_fd())?))
                }
                Stdio::Null => {
                    let null = OpenOptions::new()
                        .read(true)
                        .write(true)
                        .open("/dev/null")?;
                    Some(Arc::new(child::above_streams(null.into())?))
                }
            };
        }
        Ok(opened)
    }

    /// All variables, and the one that tells the child what it is.
    fn environment(&self, number: i32, nonce: u64) -> io::Result<Environment> {
        let mut environment = self.variables()?;
        let calling = entry::calling(number, nonce);
        environment.push(entry::VARIABLE.as_ref(), calling.as_ref())?;
        Ok(environment)
    }

    /// All variables but that one.
    pub(super) fn variables(&self) -> io::Result<Environment> {
        let mut environment = Environment::default();
        let is_set =
            |change: &Change, key: &OsStr| matches!(change, Change::Set(it, _) if it == key);
        if let [] | [Change::Set(..)] = &self.environment[..] {
            let change = self.environment.first();
            for (key, value) in std::env::vars_os() {
                if key != entry::VARIABLE && !change.is_some_and(|change| is_set(change, &key)) {
                    environment.push(&key, &value)?;
                }
            }
            if let Some(Change::Set(key, value)) = change {
                check(key)?;
                if key != entry::VARIABLE {
                    environment.push(key, value)?;
                }
            }
        } else {
            let mut all: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
            for change in &self.environment {
                match change {
                    Change::Clear => all.clear(),
                    Change::Remove(key) => drop(all.remove(key)),
                    Change::Set(key, value) => {
                        check(key)?;
                        all.insert(key.clone(), value.clone());
                    }
                }
            }
            all.remove(OsStr::new(entry::VARIABLE));
            for (key, value) in &all {
                environment.push(key, value)?;
            }
        }
        Ok(environment)
    }

    pub(super) fn name_for(&self, stem: &str, number: u32) -> String {
        self.name.clone().unwrap_or_else(|| {
            let ancestors = Current::get().identity.iter();
            let numbers: Vec<String> = ancestors.chain([&number]).map(u32::to_string).collect();
            format!("{stem}-{}", numbers.join(":"))
        })
    }
}

/// Refuses what is no name of a variable.
fn check(key: &OsStr) -> io::Result<()> {
    match key.is_empty() || key.as_bytes().contains(&b'=') {
        true => Err(io::ErrorKind::InvalidInput.into()),
        false => Ok(()),
    }
}

fn keep(arguments: Box<dyn Any + Send>) -> io::Result<(Kept, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let kept = Kept {
        taken: child::above_streams(reader.into())?,
        _arguments: arguments,
    };
    Ok((kept, child::above_streams(writer.into())?))
}

/// Has the thread that ends with this process start something.
pub(super) fn by<R: Send + 'static>(
    thread: &Thread,
    start: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let gone = || Err(io::Error::from_raw_os_error(libc::EBADF));
    thread.make(start).unwrap_or_else(gone)
}
