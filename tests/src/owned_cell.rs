//! The positive control: one cell whose state word names who is at work in it, so that a survivor can repair it. And
//! the same cell with a fault built in, one for each kind of campaign.
//!
//! | word | means | next |
//! |---|---|---|
//! | `EMPTY` | no value | `put`: `BUSY` with its pid |
//! | `BUSY \| pid` | `pid` writes the value | its put: `FULL`; when it died, anybody's repair: `EMPTY` |
//! | `FULL` | the value counts | `take`: `EMPTY` |
//! | `REPAIR` | only in [`CellFault::RepairInTwoSteps`]: somebody repairs, and nobody knows who | `EMPTY` |
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mapping::Mapping;
use crate::mapping::Shared;
use crate::step::{Campaign, Expectation, Operation, Outcome, Scenario};

const EMPTY: u64 = 0;
const FULL: u64 = 1;
const REPAIR: u64 = 2;
const BUSY: u64 = 1 << 32;

#[repr(C)]
struct Layout {
    word: AtomicU64,
    value: AtomicU64,
}

/// What is wrong with a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellFault {
    /// Nothing: no campaign may find a failure.
    None,
    /// It takes every owner for dead. Only a stopped victim shows it.
    Impatience,
    /// Its repair claims the cell without a name. Only a killed repairer shows it.
    RepairInTwoSteps,
}

/// A cell in memory shared with forked processes. SeqCst throughout: it is here for its steps.
#[derive(Debug)]
pub struct OwnedCell {
    memory: Mapping,
    fault: CellFault,
    /// Whether the put of a survivor succeeded while the victim was stopped; not shared.
    overtaken: Cell<bool>,
}

impl OwnedCell {
    /// An empty cell.
    pub fn create(fault: CellFault) -> io::Result<Self> {
        let memory = Mapping::anonymous(size_of::<Layout>())?;
        Ok(Self {
            memory,
            fault,
            overtaken: Cell::new(false),
        })
    }

    /// Stores a value; false when the cell is full or somebody alive is at work in it.
    pub fn try_put(&self, value: u64) -> bool {
        self.repair();
        let mine = BUSY | u64::from(process::id());
        if !self.change(EMPTY, mine) {
            return false;
        }
        self.layout().value.store(value, Ordering::SeqCst);
        // A store and not a compare-exchange: while its owner lives, nobody else changes a busy word.
        self.layout().word.store(FULL, Ordering::SeqCst);
        true
    }

    /// Takes the value, when there is one.
    pub fn try_take(&self) -> Option<u64> {
        self.repair();
        let value = self.layout().value.load(Ordering::SeqCst);
        self.change(FULL, EMPTY).then_some(value)
    }

    /// Empties a cell whose owner died.
    pub fn repair(&self) {
        let word = self.layout().word.load(Ordering::SeqCst);
        if word & BUSY == 0 || !self.is_taken_for_dead(word as u32) {
            return;
        }
        if self.fault == CellFault::RepairInTwoSteps {
            if self.change(word, REPAIR) {
                self.layout().word.store(EMPTY, Ordering::SeqCst);
            }
        } else {
            self.change(word, EMPTY);
        }
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.layout()
            .word
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    fn is_taken_for_dead(&self, pid: u32) -> bool {
        self.fault == CellFault::Impatience || is_dead(pid)
    }

    fn layout(&self) -> &Layout {
        // SAFETY: `create` mapped this many zeroed bytes, page-aligned, and every field is an atomic.
        unsafe { self.memory.start().cast::<Layout>().as_ref() }
    }
}

/// Asks the kernel. A zombie is dead. (A real structure must not trust a pid, which may be given again.)
fn is_dead(pid: u32) -> bool {
    // SAFETY: pidfd_open reads its two integers, no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(fd @ 0..) = i32::try_from(fd) else {
        return true;
    };
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid entry, and no waiting.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    ready > 0
}

/// The scenario: a victim puts 7 into an empty cell.
#[derive(Debug, Clone, Copy)]
pub struct CellPut(pub CellFault);

impl Scenario for CellPut {
    type State = OwnedCell;

    fn name(&self) -> String {
        match self.0 {
            CellFault::None => "control/owned-cell-put".to_owned(),
            CellFault::Impatience => "control/impatient-cell-put".to_owned(),
            CellFault::RepairInTwoSteps => "control/two-step-repair-cell-put".to_owned(),
        }
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        let broken = match self.0 {
            CellFault::None => None,
            CellFault::Impatience => Some(Campaign::Stop),
            CellFault::RepairInTwoSteps => Some(Campaign::Nested),
        };
        let expect = |campaign| match broken == Some(campaign) {
            true => (campaign, Expectation::Breaks),
            false => (campaign, Expectation::Holds),
        };
        [Campaign::Kill, Campaign::Stop, Campaign::Nested]
            .map(expect)
            .to_vec()
    }

    fn fresh(&self) -> OwnedCell {
        OwnedCell::create(self.0).expect("a cell can be made")
    }

    fn shared<'a>(&self, cell: &'a OwnedCell) -> Vec<Shared<'a>> {
        vec![cell.memory.shared().part(0, size_of::<Layout>())]
    }

    fn arm<'a>(&'a self, cell: &'a OwnedCell) -> Operation<'a> {
        Box::new(|| cell.try_put(7).into())
    }

    fn arm_repair<'a>(&'a self, cell: &'a OwnedCell) -> Operation<'a> {
        Box::new(|| {
            cell.repair();
            0
        })
    }

    fn verify(&self, cell: &OwnedCell, outcome: Outcome) -> Result<(), String> {
        let found = cell.try_take();
        match (outcome, found) {
            (Outcome::Completed(1), Some(7)) | (Outcome::Killed, None | Some(7)) => {}
            _ => return Err(format!("after {outcome:?} a survivor finds {found:?}")),
        }
        if !cell.try_put(8) {
            return Err("stuck: a survivor cannot put into the emptied cell".to_owned());
        }
        match cell.try_take() {
            Some(8) => Ok(()),
            other => Err(format!("a survivor put 8 and finds {other:?}")),
        }
    }

    fn while_stopped(&self, cell: &OwnedCell) -> Result<(), String> {
        // Fails while the victim is at work, for it is alive; otherwise it comes first, or finds the cell full.
        cell.overtaken.set(cell.try_put(9));
        Ok(())
    }

    fn verify_after_stop(&self, cell: &OwnedCell, outcome: Outcome) -> Result<(), String> {
        let found = cell.try_take();
        match (outcome, cell.overtaken.get(), found) {
            (Outcome::Completed(1), false, Some(7)) | (Outcome::Completed(0), true, Some(9)) => {
                self.verify(cell, Outcome::Killed)
            }
            (_, overtaken, _) => Err(format!(
                "the resumed victim: {outcome:?}; overtaken: {overtaken}; a survivor finds {found:?}"
            )),
        }
    }
}
