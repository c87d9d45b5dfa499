//! What those who copy a chain without taking it over ([`super::Slab::peek`]) may rely on.

use crate::prim;

/// Comes between the allocation of blocks and the first write to them: who has read any of what is written, and then fences, sees that
/// the last chain in these blocks is gone.
#[inline]
pub(super) fn fence_before_writing() {
    prim::full_fence_after_rmw(); // O3
}
