//! Arrays between threads of one process. What happens when processes die is in the `tests` package.

use std::{path::PathBuf, thread};

use super::*;
use crate::{Error, Namespace, Value};

/// A namespace of its own for one test, which goes with it.
struct Place(Namespace, PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-array-{test}-{}", std::process::id()));
        Self(Namespace::at(&dir).unwrap(), dir)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

#[test]
fn each_element_is_a_value() {
    let place = Place::new("elements");
    let array = Array::options([1i16, 2, 3, 4, 5])
        .namespace(&place.0)
        .create("a")
        .unwrap();
    assert_eq!((array.len(), array.is_empty()), (5, false));
    assert_eq!(array.swap(1, -2).unwrap(), 2);
    assert_eq!(array.fetch_add(0, -3).unwrap(), 1);
    assert_eq!(array.fetch_sub(2, 1).unwrap(), 3);
    assert_eq!(array.fetch_and(3, 6).unwrap(), 4);
    assert_eq!(array.fetch_or(3, 1).unwrap(), 4);
    assert_eq!(array.fetch_xor(3, 4).unwrap(), 5);
    assert_eq!(array.fetch_min(4, -7).unwrap(), 5);
    assert_eq!(array.fetch_max(4, 6).unwrap(), -7);
    assert_eq!(array.compare_exchange(4, 6, 7).unwrap(), 6);
    assert!(matches!(
        array.compare_exchange(4, 6, 8),
        Err(CompareExchangeError::Different(7))
    ));
    assert_eq!(array.to_vec().unwrap(), [-2, -2, 2, 1, 7]);
    let backwards: Result<Vec<_>> = array.iter().rev().collect();
    assert_eq!(backwards.unwrap(), [7, 1, 2, -2, -2]);
    assert_eq!((&array).into_iter().len(), 5);
    assert_eq!(place.0.inspect("a").unwrap().state, "5 × 2 bytes, free");
}

#[test]
fn elements_of_any_size_lie_side_by_side() {
    let place = Place::new("wide");
    let rows = [[1u8; 11], [2; 11], [3; 11]];
    let array = Array::options(rows)
        .namespace(&place.0)
        .create("a")
        .unwrap();
    array.set(1, [9; 11]).unwrap();
    array.set(1, [8; 11]).unwrap();
    assert_eq!(array.to_vec().unwrap(), [[1; 11], [8; 11], [3; 11]]);
    let bytes = Array::filled(7u8, 1000)
        .namespace(&place.0)
        .create("b")
        .unwrap();
    bytes.set(1, 0).unwrap();
    assert_eq!(bytes.get_slice(..4).unwrap(), [7, 0, 7, 7]);
    let size = |name| place.0.inspect(name).unwrap().file_bytes;
    let none = Array::<u8>::options([])
        .namespace(&place.0)
        .create("c")
        .unwrap();
    assert!(none.is_empty() && none.to_vec().unwrap().is_empty());
    assert_eq!(size("b") - size("c"), 1000, "a byte an element");
}

#[test]
fn what_is_out_of_range_says_the_length() {
    let place = Place::new("range");
    let array = Array::options([1u32, 2, 3])
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    let says = |e: Error| {
        matches!(
            e,
            Error::OutOfRange {
                index: 3,
                len: 3,
                ..
            }
        )
    };
    assert!(says(array.get(3).unwrap_err()));
    assert!(says(array.set(3, 0).unwrap_err()));
    assert!(says(array.fetch_add(3, 0).unwrap_err()));
    assert!(says(array.set_slice(2, &[7, 7]).unwrap_err()));
    assert!(array.get(usize::MAX).is_err());
    assert!(array.set_slice(usize::MAX, &[7, 7]).is_err());
    assert!(matches!(
        array.compare_exchange(3, 0, 0),
        Err(CompareExchangeError::Failed(e)) if says(e.clone())
    ));
    let wide = Array::options([[1u64; 3]; 3])
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    assert!(says(wide.get(3).unwrap_err()));
    assert!(says(wide.swap(3, [0; 3]).unwrap_err()));
    assert!(wide.set(usize::MAX, [0; 3]).is_err());
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3], "nothing was changed");
}

#[test]
fn slices_are_as_pythons() {
    let place = Place::new("slices");
    let array = Array::options(Vec::from_iter(0..10u64))
        .namespace(&place.0)
        .anonymous()
        .unwrap();
    assert_eq!(array.get_slice(2..5).unwrap(), [2, 3, 4]);
    assert_eq!(array.get_slice(8..100).unwrap(), [8, 9]);
    assert_eq!(array.get_slice(8..=usize::MAX).unwrap(), [8, 9]);
    assert_eq!(array.get_slice(50..).unwrap(), [] as [u64; 0]);
    array.set_slice(7, &[70, 80, 90]).unwrap();
    array.set_slice(10, &[]).unwrap();
    assert_eq!(array.get_slice(6..).unwrap(), [6, 70, 80, 90]);
    array.fill(1).unwrap();
    assert_eq!(array.to_vec().unwrap(), [1; 10]);
}

#[test]
fn an_array_of_another_length_or_kind_is_refused() {
    let place = Place::new("lengths");
    let array = Array::options([1u32, 2, 3])
        .namespace(&place.0)
        .create("a")
        .unwrap();
    let longer = Array::filled(0u32, 4)
        .namespace(&place.0)
        .open_or_create("a");
    let said = longer.unwrap_err().to_string();
    assert!(
        said.contains("holds 3 × plain u32 (4 bytes), not 4 ×"),
        "{said}"
    );
    let same = Array::filled(0u32, 3)
        .namespace(&place.0)
        .open_or_create("a")
        .unwrap();
    assert_eq!(same.to_vec().unwrap(), array.to_vec().unwrap());
    let any = Array::<u32>::opener()
        .namespace(&place.0)
        .open("a")
        .unwrap();
    assert_eq!(any.len(), 3);
    let value = Value::<u32>::opener().namespace(&place.0).open("a");
    assert!(matches!(value, Err(Error::WrongKind { .. })), "{value:?}");
    let typed = Array::<f32>::opener().namespace(&place.0).open("a");
    assert!(matches!(typed, Err(Error::WrongType { .. })), "{typed:?}");
    let huge = Array::filled([0u64; 3], usize::MAX / 8)
        .namespace(&place.0)
        .create("huge");
    assert!(matches!(huge, Err(Error::BadOption { .. })), "{huge:?}");
}

#[test]
fn threads_that_use_other_elements_do_not_meet() {
    let place = Place::new("threads");
    let array = Array::filled([0u64; 5], 4)
        .namespace(&place.0)
        .create("a")
        .unwrap();
    let bytes = Array::filled(0u8, 4)
        .namespace(&place.0)
        .create("b")
        .unwrap();
    thread::scope(|scope| {
        for index in 0..4 {
            let (array, bytes) = (&array, &bytes);
            scope.spawn(move || {
                for number in 1..=1000u64 {
                    array.set(index, [number; 5]).unwrap();
                    bytes.fetch_add(index, 1).unwrap();
                    let seen = array.get((index + 1) % 4).unwrap();
                    assert_eq!(seen, [seen[0]; 5]);
                }
            });
        }
    });
    assert_eq!(array.to_vec().unwrap(), [[1000; 5]; 4]);
    assert_eq!(bytes.to_vec().unwrap(), [(1000 % 256) as u8; 4]);
}
