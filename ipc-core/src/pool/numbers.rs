//! Numbers travel as they lie in memory: of a map over many small ones, most of the time went into finding out how few bytes they need.

use core::any::Any;

/// Runs `$do` with each type that is written so.
macro_rules! each_number {
    ($number:ident => $do:block) => {
        each_number!($number => $do: u16 u32 u64 u128 usize i16 i32 i64 i128 isize f32 f64)
    };
    ($number:ident => $do:block: $($type:ty)*) => {
        $({
            type $number = $type;
            $do
        })*
    };
}

/// Has `append` append the bytes of a value that is a number, or a tuple of one. Whether it is.
#[inline(always)]
pub(super) fn put<T: 'static>(value: &T, mut append: impl FnMut(&[u8])) -> bool {
    let value: &dyn Any = value; // of one type, so nothing is left of the questions
    each_number!(Number => {
        let in_tuple = || value.downcast_ref::<(Number,)>().map(|(number,)| number);
        if let Some(number) = value.downcast_ref::<Number>().or_else(in_tuple) {
            append(&number.to_le_bytes());
            return true;
        }
    });
    false
}

/// The value at the start of `bytes`, which go on behind it; `None` if that is no number, or not there.
#[inline(always)]
pub(super) fn take<T: 'static>(bytes: &mut &[u8]) -> Option<T> {
    let mut value: Option<T> = None;
    let room: &mut dyn Any = &mut value;
    each_number!(Number => {
        let number = || {
            let (number, rest) = bytes.split_first_chunk()?;
            Some((Number::from_le_bytes(*number), rest))
        };
        if let Some(room) = room.downcast_mut::<Option<Number>>() {
            let (number, rest) = number()?;
            (*room, *bytes) = (Some(number), rest);
        } else if let Some(room) = room.downcast_mut::<Option<(Number,)>>() {
            let (number, rest) = number()?;
            (*room, *bytes) = (Some((number,)), rest);
        }
    });
    value
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn there_and_back<T: PartialEq + Copy + core::fmt::Debug + 'static>(value: T) -> bool {
        let mut bytes = Vec::new();
        if !put(&value, |more| bytes.extend_from_slice(more)) {
            assert_eq!(take::<T>(&mut &[1; 99][..]), None);
            return false;
        }
        assert_eq!(bytes.len(), size_of::<T>());
        assert_eq!(take::<T>(&mut &bytes[1..]), None, "too short");
        bytes.push(9);
        let mut left = &bytes[..];
        assert_eq!(take(&mut left), Some(value));
        assert_eq!(left, [9]);
        true
    }

    #[test]
    fn numbers_come_back_and_nothing_else_is_one() {
        assert!(there_and_back(7_u64) && there_and_back((i128::MIN,)));
        assert!(there_and_back(-0.5_f32) && there_and_back((usize::MAX,)));
        assert!(!there_and_back(()) && !there_and_back((1_u32, 2_u32)));
        assert!(!there_and_back('x') && !there_and_back(Some(1_u64)));
    }
}
