//! Functions that another process can run, of any number of arguments.

use serde::{Serialize, de::DeserializeOwned};

use crate::message::Message;

/// A function that takes the tuple `Arguments` as its arguments, one each: `f()` with `()`, `f(a)` with `(a,)`, `f(a, b)` with `(a, b)`, up to
/// eight. Implemented for all functions and closures of that shape; sealed by that.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function of the arguments `{Arguments}`",
    label = "cannot be called with these arguments",
    note = "arguments are a tuple with one element for each parameter: `()`, `(a,)`, `(a, b)`"
)]
pub trait Function<Arguments>: Send + 'static {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(self, arguments: Arguments) -> Self::Output;
}

/// Does not compile for a function that captures something.
pub(super) const fn check<F>() {
    assert!(
        size_of::<F>() == 0 && !core::mem::needs_drop::<F>(),
        "a function that another process is to run cannot capture anything, nor be a function pointer: give what it needs as arguments"
    );
}

macro_rules! functions {
    ($([$($name:ident)*])*) => {$(
        impl<F, R, $($name),*> Function<($($name,)*)> for F
        where
            F: FnOnce($($name),*) -> R + Send + 'static,
        {
            type Output = R;

            #[allow(non_snake_case, reason = "a type and its value have the same name here")]
            fn call(self, ($($name,)*): ($($name,)*)) -> R {
                self($($name),*)
            }
        }
    )*};
}

functions! { [] [A] [A B] [A B C] [A B C D] [A B C D E] [A B C D E G] [A B C D E G H] [A B C D E G H I] }

/// A type whose values do a process's work, as Python's subclasses of `Process` with a `run` of their own: the value travels to a new process,
/// which runs it.
///
/// ```no_run
/// use ipc_core::{Process, Worker};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Greeter {
///     whom: String,
/// }
///
/// impl Worker for Greeter {
///     type Output = usize;
///
///     fn run(self) -> usize {
///         println!("hello, {}", self.whom);
///         self.whom.len()
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ipc_core::init();
///     let greeter = Process::start(Greeter { whom: "ada".into() })?; // its name is Greeter-1
///     assert_eq!(greeter.join()?, 3);
///     Ok(())
/// }
/// ```
pub trait Worker: Serialize + DeserializeOwned + Send + 'static {
    /// What comes back to who started it.
    type Output: Message;

    /// Does the work, in the new process.
    fn run(self) -> Self::Output;
}

/// The function of a process that is started for a worker.
pub(super) fn work<W: Worker>(worker: W) -> W::Output {
    worker.run()
}
