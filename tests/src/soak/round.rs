//! The supervisor: starts workers, kills them, and asks for their books.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_core::{
    Bytes, Inspection, Namespace, ParticipantState, Queue, QueueStat, TryGetError, TryPutError,
};

use super::account::{Remains, balance};
use super::crew::{Crew, Disturbance, Outcome, PATIENCE};
use super::message;
use super::worker::{QUEUE, Role, Subject};
use crate::random::Random;

/// Slots beside those of the workers: the supervisor's.
const SPARE_SLOTS: usize = 1;

/// What to do, and how hard.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program that runs [`super::worker::work`] when its first argument is `worker`.
    pub program: PathBuf,
    /// How long, in all.
    pub duration: Duration,
    /// How long a round takes, about.
    pub round: Duration,
    /// Seed of all choices but the scheduler's.
    pub seed: u64,
    /// Producers at a time.
    pub producers: usize,
    /// Consumers at a time.
    pub consumers: usize,
    /// Mean time between two kills.
    pub kill_every: Duration,
}

/// What happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    /// Rounds.
    pub rounds: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Processes killed.
    pub kills: u64,
    /// Processes stopped for a while.
    pub stops: u64,
    /// Processes that ended because their journal was full.
    pub retired: u64,
    /// Messages that died with a consumer to which they had been returned.
    pub lost: u64,
    /// The most that could have been lost in this way.
    pub in_hand: u64,
    /// Messages delivered late, as a killed consumer had not finished taking them.
    pub late: u64,
    /// Messages that were put although their producer was killed before put returned.
    pub in_doubt: u64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "rounds={} messages={} kills={} stops={} retired={} lost_in_window={} window={} redelivered_late={} \
             put_though_killed={}",
            self.rounds,
            self.messages,
            self.kills,
            self.stops,
            self.retired,
            self.lost,
            self.in_hand,
            self.late,
            self.in_doubt
        )
    }
}

/// The queue of one round.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    capacity: usize,
    memory: usize,
    inline_bytes: usize,
    large_every: u64,
}

/// How a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Producers end, the queue is closed, consumers drain it.
    Drained,
    /// The queue is closed while all are at it.
    ClosedUnderLoad,
    /// Everybody is killed at once; the next opener finds what is left.
    Massacre,
}

/// Runs rounds until the time is over, or one fails.
///
/// # Errors
///
/// Says what does not hold, with the round's seed.
pub fn soak(plan: &Plan, mut report: impl FnMut(&Figures)) -> Result<Figures, Box<dyn Error>> {
    let end = Instant::now() + plan.duration;
    let mut figures = Figures::default();
    while Instant::now() < end {
        let seed = plan.seed.wrapping_add(figures.rounds);
        let left = end.saturating_duration_since(Instant::now());
        let duration = plan.round.min(left.max(Duration::from_millis(200)));
        let mut random = Random::new(seed);
        let sizes = sizes(&mut random);
        let ending = random.pick(&[Ending::Drained, Ending::ClosedUnderLoad, Ending::Massacre]);
        let round = Round::begin(plan, sizes, random)
            .and_then(|mut round| round.run(duration, ending, &mut figures));
        round.map_err(|e| format!("round with seed {seed}, {sizes:?}, {ending:?}: {e}"))?;
        figures.rounds += 1;
        report(&figures);
    }
    Ok(figures)
}

fn sizes(random: &mut Random) -> Sizes {
    Sizes {
        capacity: random.pick(&[1, 2, 3, 4, 7, 16, 64, 300]),
        memory: random.pick(&[1024, 2048, 4096, 8192, 65_536]),
        inline_bytes: random.pick(&[104, 168, 232]),
        large_every: random.pick(&[0, 1, 2, 5, 20]),
    }
}

struct Round<'a> {
    plan: &'a Plan,
    crew: Crew,
    namespace: Namespace,
}

impl<'a> Round<'a> {
    fn begin(plan: &'a Plan, sizes: Sizes, random: Random) -> Outcome<Self> {
        let orders = ["--large-every", &sizes.large_every.to_string()].map(str::to_owned);
        let longest = sizes.memory.max(sizes.inline_bytes).to_string();
        let orders = [&orders[..], &["--longest".to_owned(), longest]].concat();
        let crew = Crew::new(plan.program.clone(), Subject::Queue, orders, random)?;
        let namespace = Namespace::at(crew.namespace())?;
        let participants = plan.producers + plan.consumers + SPARE_SLOTS;
        Queue::<Bytes>::options(sizes.capacity)
            .memory(sizes.memory)
            .inline_bytes(sizes.inline_bytes)
            .participants(u32::try_from(participants)?)
            .namespace(&namespace)
            .create(QUEUE)?;
        Ok(Self {
            plan,
            crew,
            namespace,
        })
    }

    fn run(&mut self, duration: Duration, ending: Ending, figures: &mut Figures) -> Outcome {
        for _ in 0..self.plan.producers {
            self.crew.start(Role::Producer)?;
        }
        for _ in 0..self.plan.consumers {
            self.crew.start(Role::Consumer)?;
        }
        let end = Instant::now() + duration;
        while Instant::now() < end {
            match self.crew.disturb(self.plan.kill_every)? {
                Disturbance::Kill => figures.kills += 1,
                Disturbance::Stop => figures.stops += 1,
            }
            figures.retired += self.crew.replace_retired()?;
            self.crew.watch()?;
        }
        let drained = self.end(ending, figures)?;
        self.settle(&drained, figures)
    }

    /// Ends all workers. Returns what was left in the queue.
    fn end(&mut self, ending: Ending, figures: &mut Figures) -> Outcome<Vec<u64>> {
        if ending == Ending::Massacre {
            figures.kills += self.crew.kill_all()?;
            return self.drain();
        }
        self.crew.resume_all()?;
        if ending == Ending::ClosedUnderLoad {
            self.open()?.close();
        }
        for worker in &self.crew.workers {
            worker.remains.journal.ask_to_stop();
        }
        if ending == Ending::Drained {
            self.wait_for("producers do not end", |crew| !crew.has(Role::Producer))?;
            self.open()?.close();
        }
        self.wait_for("workers of a closed queue do not end", |crew| {
            crew.workers.is_empty()
        })?;
        self.drain()
    }

    fn wait_for(&mut self, what: &str, is_over: impl Fn(&Crew) -> bool) -> Outcome {
        self.crew.wait_until(what, |crew| {
            crew.collect_ended()?;
            if crew.has(Role::Producer) && !crew.has(Role::Consumer) {
                crew.start(Role::Consumer)?; // their journals were full
            }
            Ok(is_over(crew))
        })
    }

    fn open(&self) -> ipc_core::Result<Queue<Bytes>> {
        Queue::options(1).namespace(&self.namespace).open(QUEUE)
    }

    fn drain(&self) -> Outcome<Vec<u64>> {
        let queue = self.open()?;
        let mut ids = Vec::new();
        let begin = Instant::now();
        loop {
            if begin.elapsed() > PATIENCE {
                let inspection = self.namespace.inspect(QUEUE);
                let stuck = self
                    .crew
                    .stuck("a closed queue without users is never drained");
                return Err(format!("{stuck}\n{inspection:#?}").into());
            }
            match queue.try_get() {
                Ok(bytes) => ids.push(message::check(&bytes)?),
                Err(TryGetError::Empty) if !queue.is_closed() => return Ok(ids),
                Err(TryGetError::Closed) => return Ok(ids),
                Err(TryGetError::Empty) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Balances the books and looks whether the queue is as good as new.
    fn settle(&mut self, drained: &[u64], figures: &mut Figures) -> Outcome {
        let mut sums = balance(&self.crew.remains, drained);
        let inspection = self.namespace.inspect(QUEUE)?;
        for complaint in complaints(&inspection) {
            sums.fail(complaint);
        }
        let attached = |r: &&Remains| r.is_killed && r.journal.is_attached();
        let least = self.crew.remains.iter().filter(attached).count() as u64;
        let most = self.crew.remains.iter().filter(|r| r.is_killed).count() as u64;
        if !(least..=most).contains(&inspection.deaths) {
            let deaths = inspection.deaths;
            sums.fail(format!(
                "{deaths} deaths were counted, of {least} to {most}"
            ));
        }
        let queue = self.open()?;
        if !queue.is_closed()
            && let Err(e) = fill(&queue)
        {
            sums.fail(e);
        }
        figures.messages += sums.delivered;
        figures.lost += sums.lost;
        figures.in_hand += sums.in_hand;
        figures.late += sums.late;
        figures.in_doubt += sums.in_doubt;
        if sums.failures.is_empty() {
            return Ok(());
        }
        sums.failures.truncate(20);
        Err(format!("{}\n{inspection:#?}", sums.failures.join("\n")).into())
    }
}

/// What an empty queue should not show.
fn complaints(inspection: &Inspection) -> Vec<String> {
    let mut found = Vec::new();
    let Some(QueueStat {
        len,
        memory_used,
        orphans,
        ..
    }) = inspection.queue
    else {
        return vec!["it is no queue".into()];
    };
    for (what, value) in [
        ("messages", len),
        ("bytes in use", memory_used),
        ("orphans", orphans),
    ] {
        if value != 0 {
            found.push(format!("{value} {what} are left in the drained queue"));
        }
    }
    for participant in &inspection.participants {
        if participant.state != ParticipantState::Alive || participant.pid != std::process::id() {
            found.push(format!("a participant is left: {participant:?}"));
        }
    }
    found
}

/// All cells and all memory can be used again.
fn fill(queue: &Queue<Bytes>) -> Result<(), String> {
    let capacity = queue.capacity();
    for i in 0..capacity {
        if let Err(e) = queue.try_put(message::make(i as u64, message::SHORTEST)) {
            return Err(format!("put {i} of {capacity} into an empty queue: {e}"));
        }
    }
    match queue.try_put(Bytes::default()) {
        Err(TryPutError::Full(_)) => {}
        other => return Err(format!("a put into a full queue: {other:?}")),
    }
    for i in 0..capacity {
        match queue.try_get() {
            Ok(bytes) if message::check(&bytes) == Ok(i as u64) => {}
            other => return Err(format!("get {i} of {capacity}: {other:?}")),
        }
    }
    let longest = message::make(0, queue.max_message_bytes());
    queue
        .try_put(longest.clone())
        .map_err(|e| format!("the longest message: {e}"))?;
    match queue.try_get() {
        Ok(bytes) if bytes == longest => Ok(()),
        other => Err(format!("getting the longest message: {other:?}")),
    }
}
