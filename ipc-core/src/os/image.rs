//! A function of this program's, found again by another process of the same program.
//!
//! What travels is the distance of a small record from where the program lies in memory, which is another place in each process. The record
//! is a constant of the program's own, made by the compiler for each function. Whoever receives a distance reads the record there, inside
//! the program's own segments, and calls nothing before it has found the 16 bytes that every record begins with, and the name of
//! the function that was meant. A number that is wrong is thus an error, not a jump.

#![allow(unsafe_code)]

use core::{marker::PhantomData, mem, ops::Range, ptr};
use std::sync::OnceLock;

use super::fork::hold_forks;

/// What runs a function from bytes: its encoded arguments, and what to call once they are taken. Returns its encoded value.
pub(crate) trait Body<F> {
    fn run(function: F, arguments: Vec<u8>, taken: &mut dyn FnMut()) -> Result<Vec<u8>, String>;
}

/// As [`Body::run`], for one function.
type Run = fn(Vec<u8>, &mut dyn FnMut()) -> Result<Vec<u8>, String>;

/// Random, and nowhere else.
const MAGIC: [u64; 2] = [0x6f3b_91d2_5ce8_07a4, 0xc81d_44f6_b29a_e375];

/// The record of one function and its body.
#[repr(C)]
pub(crate) struct Entry {
    magic: [u64; 2],
    name: fn() -> &'static str,
    run: Run,
}

struct Record<F, B>(PhantomData<(F, B)>);

impl<F, B: Body<F>> Record<F, B> {
    const ENTRY: &'static Entry = &Entry {
        magic: MAGIC,
        name: core::any::type_name::<F>,
        run: start::<F, B>,
    };
}

fn start<F, B: Body<F>>(arguments: Vec<u8>, taken: &mut dyn FnMut()) -> Result<Vec<u8>, String> {
    const { assert!(size_of::<F>() == 0 && !mem::needs_drop::<F>()) };
    // SAFETY: no bytes make up a value of it, and this program has had one: only `Entry::of`, which was given one, leads here. It
    // is not dropped, so nobody notices that there are two.
    let function = unsafe { mem::zeroed::<F>() };
    B::run(function, arguments, taken)
}

impl Entry {
    /// The record of a function that captures nothing. For one that captures something this does not compile.
    pub(crate) fn of<F: Send + 'static, B: Body<F>>(_function: &F) -> &'static Self {
        Record::<F, B>::ENTRY
    }

    /// How the compiler calls the function.
    pub(crate) fn name(&self) -> &'static str {
        (self.name)()
    }

    /// How far it is from where the program lies. `None` if it is not in the program itself, but in a library.
    pub(crate) fn distance(&self) -> Option<usize> {
        let address = ptr::from_ref(self).addr();
        let program = Program::this();
        program
            .holds(address)
            .then(|| address.wrapping_sub(program.base))
    }

    /// What another process of this program calls [`Self::distance`] and [`Self::name`]. `None` if there is no such thing.
    pub(crate) fn at(distance: usize, name: &str) -> Option<&'static Self> {
        Self::at_if(distance, |found| found == name)
    }

    /// As [`Self::at`], for who knows its name in another way.
    pub(crate) fn at_if(distance: usize, is_it: impl Fn(&str) -> bool) -> Option<&'static Self> {
        let program = Program::this();
        let address = program.base.wrapping_add(distance);
        if !program.holds(address) {
            return None;
        }
        let place = ptr::with_exposed_provenance::<Self>(address);
        // SAFETY: aligned, and inside a readable segment of the program, which stays; any bytes are two numbers.
        let magic = unsafe { place.cast::<[u64; 2]>().read() };
        if magic != MAGIC {
            return None;
        }
        // SAFETY: only records begin so.
        let entry = unsafe { &*place };
        is_it(entry.name()).then_some(entry)
    }

    pub(crate) fn run(
        &self,
        arguments: Vec<u8>,
        taken: &mut dyn FnMut(),
    ) -> Result<Vec<u8>, String> {
        (self.run)(arguments, taken)
    }
}

/// Where the program itself lies in this process's memory.
#[derive(Debug, Default)]
struct Program {
    base: usize,
    /// Of what its file brings and everybody may read.
    segments: Vec<Range<usize>>,
}

impl Program {
    fn this() -> &'static Self {
        static THIS: OnceLock<Program> = OnceLock::new();
        if let Some(this) = THIS.get() {
            return this;
        }
        let _no_fork = hold_forks(); // a child must not find it half done
        THIS.get_or_init(|| {
            let mut program = Self::default();
            // SAFETY: the callback gets `program`, and nobody else has it meanwhile.
            unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut program).cast()) };
            program
        })
    }

    fn holds(&self, address: usize) -> bool {
        let end = address.saturating_add(size_of::<Entry>());
        address.is_multiple_of(align_of::<Entry>())
            && self
                .segments
                .iter()
                .any(|s| s.contains(&address) && end <= s.end)
    }
}

/// Called first, and here only, for the program itself.
unsafe extern "C" fn look(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    program: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the linker gives a valid one.
    let info = unsafe { &*info };
    // SAFETY: what `this` gave.
    let program = unsafe { &mut *program.cast::<Program>() };
    program.base = info.dlpi_addr as usize;
    // SAFETY: so many headers are there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0 {
            let start = program.base.wrapping_add(header.p_vaddr as usize);
            program
                .segments
                .push(start..start + header.p_filesz as usize);
        }
    }
    1
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Length;

    impl<F: Fn(usize) -> usize> Body<F> for Length {
        fn run(
            function: F,
            arguments: Vec<u8>,
            taken: &mut dyn FnMut(),
        ) -> Result<Vec<u8>, String> {
            taken();
            Ok(function(arguments.len()).to_ne_bytes().to_vec())
        }
    }

    fn double(n: usize) -> usize {
        2 * n
    }

    #[test]
    fn a_function_is_found_by_its_distance_and_its_name() {
        let entry = Entry::of::<_, Length>(&double);
        let distance = entry.distance().expect("it is in the test program");
        assert!(entry.name().ends_with("double"));
        let found = Entry::at(distance, entry.name()).expect("it is there");
        let mut is_taken = false;
        let value = found.run(vec![0; 4], &mut || is_taken = true);
        assert_eq!(value, Ok(8_usize.to_ne_bytes().to_vec()));
        assert!(is_taken);
    }

    #[test]
    fn closures_that_capture_nothing_are_functions_too() {
        let entry = Entry::of::<_, Length>(&|n: usize| n + 1);
        let found = Entry::at(entry.distance().expect("in the program"), entry.name());
        let value = found.expect("it is there").run(vec![0; 4], &mut || {});
        assert_eq!(value, Ok(5_usize.to_ne_bytes().to_vec()));
    }

    #[test]
    fn wrong_distances_and_names_are_no_function() {
        let entry = Entry::of::<_, Length>(&double);
        let distance = entry.distance().expect("in the program");
        assert!(Entry::at(distance, "another").is_none());
        for wrong in [0, 8, 1, usize::MAX, usize::MAX / 2, 1 << 40] {
            assert!(Entry::at(wrong, entry.name()).is_none(), "{wrong}");
        }
        for near in (0..4096).filter(|near| *near != 2048) {
            let wrong = (distance + near).wrapping_sub(2048);
            assert!(Entry::at(wrong, entry.name()).is_none(), "{near}");
        }
    }
}
