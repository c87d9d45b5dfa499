//! Numbers that can be added to in place.

use crate::message::{Message, Plain};

/// A number: an integer or a floating-point number, or a [`Plain`] one. Sealed.
pub trait Number: Message + Copy + sealed::Sealed {}

impl<N: Message + Copy + sealed::Sealed> Number for N {}

mod sealed {
    pub trait Sealed {
        /// Zero.
        const ZERO: Self;

        /// The sum; of integers modulo their range.
        fn plus(self, other: Self) -> Self;
    }
}

macro_rules! integers {
    ($($number:ty)*) => {$(
        impl sealed::Sealed for $number {
            const ZERO: Self = 0;

            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
        }
        impl sealed::Sealed for Plain<$number> {
            const ZERO: Self = Plain(0);

            fn plus(self, other: Self) -> Self {
                Plain(self.0.wrapping_add(other.0))
            }
        }
    )*};
}

macro_rules! floats {
    ($($number:ty)*) => {$(
        impl sealed::Sealed for $number {
            const ZERO: Self = 0.0;

            fn plus(self, other: Self) -> Self {
                self + other
            }
        }
        impl sealed::Sealed for Plain<$number> {
            const ZERO: Self = Plain(0.0);

            fn plus(self, other: Self) -> Self {
                Plain(self.0 + other.0)
            }
        }
    )*};
}

integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
floats!(f32 f64);

/// `a + b`.
pub(super) fn sum<N: Number>(a: N, b: N) -> N {
    a.plus(b)
}

/// Zero.
pub(super) fn zero<N: Number>() -> N {
    N::ZERO
}
