//! Starting another program, by its file.

use std::{
    ffi::{CString, OsStr},
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
};

use super::{
    Process,
    builder::ProcessBuilder,
    child::{Newborn, Pipes},
    children::Children,
    start::by,
    status::{Exit, SpawnError},
};
use crate::{
    error::Error,
    os::{process, vfork::Program},
};

impl ProcessBuilder {
    /// Starts another program, as [`command`](Self::command) does, by the path of its file, which is not looked for. `arguments` begin with what the program
    /// takes for its name. All settings are the builder's.
    ///
    /// Where it is to end with this process ([`parent_death`](Self::parent_death)), this is cheaper: `command` copies this process
    /// for that (`fork`), and this does not (`vfork`). From the first thread of a process it is cheaper still.
    ///
    /// ```
    /// use ipc_core::{Exit, ParentDeath, Process};
    ///
    /// let builder = Process::builder().parent_death(ParentDeath::Kill).new_group();
    /// assert_eq!(builder.program("/bin/sh", ["sh", "-c", "exit 3"])?.join()?, Exit::Code(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SpawnError::Failed`]: there is no such program, or the system refused.
    pub fn program<A: AsRef<OsStr>>(
        &self,
        path: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Process<Exit>, SpawnError> {
        let path = path.as_ref();
        let arguments = arguments.into_iter().map(|text| c_string(text.as_ref()));
        let started = arguments
            .collect::<io::Result<Vec<CString>>>()
            .and_then(|arguments| self.start_program(path, arguments));
        started.map_err(|e| {
            let label = path.display().to_string();
            SpawnError::Failed(Error::from_io(&label, "start", &e))
        })
    }

    fn start_program(&self, path: &Path, arguments: Vec<CString>) -> io::Result<Process<Exit>> {
        let children = Children::this();
        let thread = children.thread()?;
        let path = c_string(path.as_os_str())?;
        let directory = self.directory.as_ref().map(|it| c_string(it.as_os_str()));
        let directory = directory.transpose()?;
        let environment = self.variables()?;
        let streams = self.opened_streams()?;
        let (leads_group, ends_by) = (self.leads_group, self.parting());
        let start = move || {
            let program = Program {
                path: &path,
                arguments: &arguments,
                environment: &environment.texts(),
                streams: streams
                    .each_ref()
                    .map(|fd| fd.as_ref().map(AsRawFd::as_raw_fd)),
                directory: directory.as_deref(),
                leads_group,
                ends_by,
            };
            program.start()
        };
        let pid = match ends_by {
            Some(_) if !process::is_first_thread() => by(&thread, start)?,
            _ => start()?, // the first thread lives as long as the process
        };
        let newborn = Newborn {
            name: self.name_for("Process", children.next()),
            is_daemon: self.is_daemon,
            letter: None,
            kept: None,
            pipes: Pipes::default(),
        };
        children.adopt(pid, newborn).map(Process::of_command)
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}
