//! Many jobs of bare bytes at a time, for who must not wait.

use core::mem;

use super::{JoinableQueue, job::Job};
use crate::{
    channel::{errors::Refused, queue::group::Group},
    error::Result,
    message::Bytes,
};

impl JoinableQueue<Bytes> {
    /// Puts jobs in order as long as there is room now; in groups, as [`JoinableQueue::put_many`]. Returns how many were put.
    pub(crate) fn try_put_each<'a>(&self, jobs: impl Iterator<Item = &'a [u8]>) -> Result<usize> {
        let mut group = Group::new(&self.inner.queue);
        let mut put = 0;
        for job in jobs {
            match group.put(job) {
                Ok(()) => put += 1,
                Err(Refused::Failed(e)) => return Err(*e),
                Err(_) => break, // there is no room, or there is never any for this one
            }
        }
        match group.commit() {
            Err(Refused::Failed(e)) => Err(*e),
            _ => Ok(put),
        }
    }
}

impl Job<'_, Bytes> {
    /// Takes the bytes out, and leaves the job what it is.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        mem::take(&mut self.value.0)
    }
}
