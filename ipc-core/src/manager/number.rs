//! Types whose values can be added to where they are.

use core::ops::{BitAnd, BitOr, BitXor};

use bytemuck::{CheckedBitPattern, NoUninit};

mod sealed {
    pub trait Sealed {
        /// Whether adding wraps around at the type's end, as the processor's does.
        const WRAPS: bool;

        /// The sum; of integers, wrapped around.
        fn plus(self, other: Self) -> Self;

        /// What to add in order to subtract it.
        fn negated(self) -> Self;
    }
}

/// An integer or a float: what can be added to a [`Value`](crate::Value) or an element of an [`Array`](crate::Array) in one step. Sealed.
pub trait PlainNumber: NoUninit + CheckedBitPattern + sealed::Sealed {}

/// An integer, which also has bits, and a least and a greatest of two. Sealed.
pub trait PlainInteger:
    PlainNumber + Ord + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self>
{
}

macro_rules! integers {
    ($($integer:ty)*) => {
        $(
            impl sealed::Sealed for $integer {
                const WRAPS: bool = true;

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    self.wrapping_add(other)
                }

                #[inline(always)]
                fn negated(self) -> Self {
                    self.wrapping_neg()
                }
            }

            impl PlainNumber for $integer {}
            impl PlainInteger for $integer {}
        )*
    };
}

macro_rules! floats {
    ($($float:ty)*) => {
        $(
            impl sealed::Sealed for $float {
                const WRAPS: bool = false;

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    self + other
                }

                #[inline(always)]
                fn negated(self) -> Self {
                    -self
                }
            }

            impl PlainNumber for $float {}
        )*
    };
}

integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
floats!(f32 f64);
