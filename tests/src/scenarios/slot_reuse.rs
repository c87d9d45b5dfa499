//! A sweeper is stopped; others finish its sweep, and the dead participant's slot goes to a newcomer, which is at work
//! under the same owner number when the sweeper goes on. Whatever the sweeper read before, it must not rob the newcomer.

use ipc_core::ParticipantState;

use super::act::{self, Act, DONE, FAILED};
use super::aftermath;
use super::trial::{FIRST_OF_REPAIRER, Setting, Trial};
use crate::mapping::Shared;
use crate::step::{Campaign, End, Expectation, Operation, Outcome, Scenario};

/// What the newcomer does, and behind how many changes it stands when the sweeper goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotReuse {
    pub(super) name: &'static str,
    pub(super) setting: Setting,
    pub(super) newcomer: (Act, u32),
    pub(super) stride: Option<u64>,
}

impl Scenario for SlotReuse {
    type State = Trial;

    fn name(&self) -> String {
        format!("queue/{}", self.name)
    }

    fn campaigns(&self) -> Vec<(Campaign, Expectation)> {
        vec![(Campaign::Stop, Expectation::Holds)]
    }

    fn fresh(&self) -> Trial {
        Trial::new(self.setting)
    }

    fn shared<'a>(&self, trial: &'a Trial) -> Vec<Shared<'a>> {
        trial.shared()
    }

    fn stride(&self) -> Option<u64> {
        self.stride
    }

    fn arm<'a>(&'a self, trial: &'a Trial) -> Operation<'a> {
        trial.arm(Act::Sweep, 0)
    }

    fn verify(&self, _: &Trial, _: Outcome) -> Result<(), String> {
        Err("this scenario has no kill campaign".to_owned())
    }

    fn while_stopped(&self, trial: &Trial) -> Result<(), String> {
        trial.survivor().sweep().map_err(|e| e.to_string())?;
        if trial.participants(ParticipantState::Dead)? != 0 {
            return Err("after a sweep, somebody is dead".to_owned());
        }
        let (act, changes) = self.newcomer;
        let newcomer = trial.process_after(|| trial.arm(act, FIRST_OF_REPAIRER), changes);
        trial.others.borrow_mut().push(newcomer);
        Ok(())
    }

    fn verify_after_stop(&self, trial: &Trial, outcome: Outcome) -> Result<(), String> {
        if !matches!(outcome, Outcome::Completed(result) if result != FAILED) {
            return Err(format!("the resumed sweeper: {outcome:?}"));
        }
        let newcomer = trial.others.borrow_mut().pop();
        let mut newcomer = newcomer.ok_or("there is a newcomer")?;
        let end = newcomer.resume_to_end().map_err(|e| e.to_string())?;
        let result = match end {
            End::Completed(result) if result != FAILED => result,
            other => return Err(format!("the newcomer was robbed: {other:?}")),
        };
        let (act, _) = self.newcomer;
        let put = match result {
            DONE => act.puts(FIRST_OF_REPAIRER),
            _ => Vec::new(),
        };
        let came = [aftermath::ids(&trial.before), put].concat();
        let went = [act::got(result), aftermath::ids(&trial.messages())].concat();
        if aftermath::sorted(came.clone()) != aftermath::sorted(went.clone()) {
            return Err(format!("{came:?} came, {went:?} went or are left"));
        }
        trial.sweep_and_count()?;
        trial.drain_and_refill()
    }
}

/// The newcomers.
pub(super) fn newcomers() -> Vec<SlotReuse> {
    let left_by = |contents, act, changes| Setting {
        left_by: Some((act, changes)),
        ..Setting::with(contents)
    };
    let large_put = left_by("", Act::Put('l'), 15);
    let large_get = left_by("ls", Act::Get, 3);
    // Between its looks at a block, the slot and the cell that refers to the block, and its act, a sweeper changes no
    // byte. That is some 200 instructions with optimisation, and ten times as many without.
    let window = if cfg!(debug_assertions) { 1000 } else { 100 };
    let scenario = |name, setting, newcomer, stride| SlotReuse {
        name,
        setting,
        newcomer,
        stride,
    };
    vec![
        // The dead one's message was complete, so its blocks were in use; the newcomer has taken it, and frees them.
        scenario(
            "slot-reused-to-free-blocks",
            large_put,
            (Act::Get, 3),
            Some(window),
        ),
        scenario(
            "slot-reused-to-get-orphan",
            large_get,
            (Act::Get, 1),
            Some(2 * window),
        ),
        scenario(
            "slot-reused-to-put",
            left_by("s", Act::Put('s'), 1),
            (Act::Put('s'), 1),
            None,
        ),
        scenario(
            "slot-reused-to-put-large",
            left_by("s", Act::Put('l'), 4),
            (Act::Put('l'), 4),
            None,
        ),
    ]
}
