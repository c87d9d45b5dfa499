//! What a [`DictWatch`] is ready for.

use core::sync::atomic::Ordering;
use std::sync::{Arc, atomic::AtomicU64};

use super::{super::table::Table, DictWatch};
use crate::object::{
    source::{Readiness, Source, Watched},
    wait::WaitWord,
};

impl<K, V> DictWatch<K, V> {
    pub(crate) fn watched(&self) -> Watched {
        let next = NextChange {
            table: Arc::clone(&self.dict.inner.table),
            untold: Arc::clone(&self.untold),
            log: self.reader.source(),
        };
        Watched::new(Arc::new(next), &self.dict.inner.member.object)
    }
}

/// A change, or that some were missed. The watcher may go before this.
#[derive(Debug)]
struct NextChange {
    table: Arc<Table>,
    /// The watcher's own.
    untold: Arc<AtomicU64>,
    log: Arc<dyn Source>,
}

impl Source for NextChange {
    /// Who leaves a change untold wakes the log's readers as well.
    fn word(&self) -> &WaitWord {
        self.log.word()
    }

    fn mark(&self) -> u64 {
        self.log.mark()
    }

    fn look(&self, mark: u64) -> Readiness {
        if self.table.untold() != self.untold.load(Ordering::Relaxed) {
            return Readiness::Ready;
        }
        self.log.look(mark)
    }
}
