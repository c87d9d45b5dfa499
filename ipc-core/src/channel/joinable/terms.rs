//! On which terms jobs are leased: the options of a [`JoinableQueue`], and what its geometry says of them.

use std::time::Duration;

use super::{JoinableQueue, table};
use crate::{
    channel::options::QueueOptions,
    error::{Damage, Error, Result},
    message::Message,
    os::membarrier,
};

/// The most records of leased jobs. A look at all of them is part of each repair.
const MOST_LEASES: usize = 1 << 20;
/// Records where the options do not say how many: as many as cells, within these bounds.
const USUAL_LEASES: core::ops::RangeInclusive<usize> = 32..=1024;
const USUAL_ATTEMPTS: u32 = 3;
/// How many consumers that died in a get a cell can count.
const MOST_FAILURES: u64 = 15;

/// Checked once; private. All zero where no jobs are leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Terms {
    /// Records of leased jobs; 0 in options that do not say.
    pub(crate) leases: usize,
    /// How often a job is delivered; 0 in options that do not say.
    pub(crate) max_attempts: u32,
    /// How long a lease is; 0 if it has no end.
    pub(crate) lease_ns: u64,
    /// Whether who finishes a job leaves the fence to who waits for that.
    pub(crate) is_asymmetric: bool,
}

impl Terms {
    pub(crate) fn to_words(self) -> [u64; 3] {
        let flag = u64::from(self.is_asymmetric) << 32;
        [
            self.leases as u64,
            u64::from(self.max_attempts) | flag,
            self.lease_ns,
        ]
    }

    pub(crate) fn from_words(words: [u64; 3]) -> Result<Self, Damage> {
        let read = Self {
            leases: usize::try_from(words[0]).unwrap_or(usize::MAX),
            max_attempts: words[1] as u32,
            lease_ns: words[2],
            is_asymmetric: words[1] >> 32 & 1 == 1,
        };
        let is_plausible = (1..=MOST_LEASES).contains(&read.leases)
            && words[1] >> 33 == 0
            && read.max_attempts > 0;
        if is_plausible {
            Ok(read)
        } else {
            Err(Damage("its terms of lease are impossible"))
        }
    }

    /// What was asked for, and the rest as is usual.
    pub(crate) fn complete(self, capacity: usize) -> Result<Self> {
        if self.leases > MOST_LEASES {
            return Err(Error::BadOption {
                option: "leases",
                why: format!("a joinable queue leases 1 to {MOST_LEASES} jobs"),
            });
        }
        let usual = capacity.clamp(*USUAL_LEASES.start(), *USUAL_LEASES.end());
        let or = |asked, usual| if asked == 0 { usual } else { asked };
        Ok(Self {
            leases: or(self.leases, usual),
            max_attempts: or(self.max_attempts as usize, USUAL_ATTEMPTS as usize) as u32,
            lease_ns: self.lease_ns,
            is_asymmetric: membarrier::register(),
        })
    }

    /// Whether a job that was delivered so often is delivered once more.
    pub(super) fn allows_another(&self, attempts: u64) -> bool {
        attempts < u64::from(self.max_attempts)
    }

    /// The same, of a job still in its cell, which counts `failures` up to [`MOST_FAILURES`] and then from 0 again.
    pub(super) fn allows_another_get(&self, failures: u64) -> bool {
        self.max_attempts == u32::MAX || failures < MOST_FAILURES && self.allows_another(failures)
    }
}

const _: () = assert!(MOST_LEASES * table::MOST_RECORD <= 1 << 32);

impl<T: Message> QueueOptions<T, JoinableQueue<T>> {
    /// How long a worker may keep a job before others may take it from it, unless it [renews](crate::Job::renew) its lease. It
    /// is noticed by who waits for a job or finds none, within about 100 ms. Default, and what 0 means: no end. (A worker
    /// that *died* loses its jobs in any case.)
    pub fn lease_time(mut self, time: Duration) -> Self {
        self.terms.lease_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    /// How often a job is delivered before it becomes a dead letter, but at most 15 times to workers that die before the get has
    /// returned. Default, and what 0 means: 3. `u32::MAX`: without end.
    pub fn max_attempts(mut self, count: u32) -> Self {
        self.terms.max_attempts = count;
        self
    }

    /// How many jobs may be leased, waiting for another attempt, or dead letters at once: up to 1,048,576, at 192 to 320 bytes
    /// each. While there are so many, gets wait. Default, and what 0 means: the capacity, but 32 to 1,024.
    pub fn leases(mut self, count: usize) -> Self {
        self.terms.leases = count;
        self
    }
}
