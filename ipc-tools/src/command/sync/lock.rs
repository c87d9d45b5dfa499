//! `ipc lock`.

use ipc_core::{Kind, Lock, Namespace, RLock, RwLock};

use super::{
    waiting::{Stage, Target, acquire},
    wrapped,
};
use crate::{
    args::{
        Place,
        sync::{LockCreate, LockRun, LockVerb},
        values::Patience,
    },
    command::set,
    exit::{Failure, Outcome, say},
    signals::Signals,
};

pub(crate) fn run(place: &Place, verb: &LockVerb) -> Outcome {
    match verb {
        LockVerb::Create(args) => create(place, args),
        LockVerb::Run(args) => run_locked(place, args)
            .map_err(|failure| failure.with_conflict_code(args.wrapped.conflict_exit_code)),
    }
}

fn create(place: &Place, args: &LockCreate) -> Outcome {
    let mut options = RwLock::options().namespace(&place.namespace()?);
    options = set(options, args.readers, |o, n| o.readers(n));
    created!(options, args.make, &args.name);
    Ok(())
}

fn run_locked(place: &Place, args: &LockRun) -> Outcome {
    let signals = Signals::watch()?;
    let namespace = place.namespace()?;
    let lock = AnyLock::open(&namespace, &args.name, args.shared)?;
    let target = Target {
        namespace: &namespace,
        name: &args.name,
        signals: &signals,
    };
    let patience = args.attempt.patience();
    target.hold(
        |stage| lock.hold(stage, patience, args.keep_inconsistent),
        |owner_died| {
            signals.check()?;
            if owner_died {
                say(format_args!(
                    "a holder of {} was killed before it was done; what the lock protects may be half-changed",
                    args.name
                ));
            }
            wrapped::run(&args.wrapped.command, &signals)
        },
    )
}

/// A lock of any kind.
#[derive(Debug)]
enum AnyLock {
    Shared(RwLock),
    Exclusive(RwLock),
    Plain(Lock),
    Recursive(RLock),
}

impl AnyLock {
    /// Opens the lock, which is made if there is none.
    fn open(namespace: &Namespace, name: &str, is_shared: bool) -> Outcome<Self> {
        let kind = match namespace.inspect(name) {
            Err(ipc_core::Error::NotFound { .. }) => Kind::RwLock,
            other => other?.kind,
        };
        match kind {
            Kind::RwLock => {
                let options = RwLock::options().namespace(namespace);
                let lock = options.open_or_create(name).map_err(explained)?;
                Ok(if is_shared {
                    Self::Shared(lock)
                } else {
                    Self::Exclusive(lock)
                })
            }
            Kind::Lock | Kind::RLock if is_shared => Err(Failure::WrongKind(format!(
                "{name} is a {kind}, which one at a time holds; leave --shared out, or use a read-write lock"
            ))),
            Kind::Lock => {
                let lock = Lock::opener().namespace(namespace).open(name);
                Ok(Self::Plain(lock.map_err(explained)?))
            }
            Kind::RLock => Ok(Self::Recursive(
                RLock::opener().namespace(namespace).open(name)?,
            )),
            other => Err(Failure::WrongKind(format!(
                "{name} is a {other}, and no lock"
            ))),
        }
    }

    /// Acquires the lock and holds it until the stage says that it is enough. Whether a holder was killed is news.
    fn hold(
        &self,
        stage: &Stage<'_, bool>,
        patience: Patience,
        keeps_inconsistent: bool,
    ) -> Outcome {
        /// For guards that differ only in their type.
        macro_rules! hold {
            ($guard:expr) => {{
                let mut guard = $guard;
                let owner_died = guard.owner_died();
                if owner_died && !keeps_inconsistent {
                    guard.mark_consistent();
                }
                stage.holding(owner_died);
            }};
        }
        match self {
            Self::Shared(lock) => {
                let within = |time| lock.read_timeout(time);
                let guard = acquire(patience, || lock.try_read(), within, || lock.read())?;
                stage.holding(guard.owner_died()); // only who writes can mark it
            }
            Self::Exclusive(lock) => {
                let within = |time| lock.write_timeout(time);
                hold!(acquire(
                    patience,
                    || lock.try_write(),
                    within,
                    || lock.write()
                )?);
            }
            Self::Plain(lock) => {
                let within = |time| lock.acquire_timeout(time);
                hold!(acquire(
                    patience,
                    || lock.try_acquire(),
                    within,
                    || lock.acquire()
                )?);
            }
            Self::Recursive(lock) => {
                let within = |time| lock.acquire_timeout(time);
                // It is marked through a shared reference.
                #[expect(unused_mut, reason = "the guards of the others need it")]
                {
                    hold!(acquire(
                        patience,
                        || lock.try_acquire(),
                        within,
                        || lock.acquire()
                    )?);
                }
            }
        }
        Ok(())
    }
}

/// Says which locks the command line can hold.
fn explained(e: ipc_core::Error) -> Failure {
    match e {
        e @ ipc_core::Error::WrongType { .. } => {
            Failure::from(e).after("the command line holds locks without a value")
        }
        e => e.into(),
    }
}
