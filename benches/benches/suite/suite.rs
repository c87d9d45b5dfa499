//! How a figure is taken: criterion's samples, each paired with the floors and peers that it is held against.

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use ipc_benches::crew::Crew;
use ipc_benches::report::{self, Figure, Sample};
use ipc_benches::ring::cache_line;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Criterion's warm-up, in which nothing is paired.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);
/// What starting one more base than a few may take of the warm-up on a busy machine. If nothing of it were left, criterion would
/// take the start for the figure, and the samples would be too short to count.
const START: Duration = Duration::from_millis(100);
const A_FEW: usize = 2;
/// How long a base runs beside each sample.
const BESIDE: Duration = Duration::from_millis(20);
/// Round trips of the probe: under a millisecond.
const PROBE: u64 = 1000;

/// How to start a figure's crew, and what one step of it moves.
#[derive(Clone)]
struct Plan {
    start: Rc<dyn Fn() -> Crew>,
    amount: u64,
}

/// Criterion, the figures so far, and how to start each again as a base for others.
pub(crate) struct Suite {
    criterion: Criterion,
    plans: HashMap<String, Plan>,
    figures: Vec<Figure>,
    /// For figures from here on, when it is not criterion's own.
    time: Option<Duration>,
    /// What starting one more base than a few may take.
    start: Duration,
}

#[allow(dead_code)] // the comparison with other systems is another program, and needs other parts
impl Suite {
    pub(crate) fn new(criterion: Criterion) -> Self {
        Self {
            criterion,
            plans: HashMap::new(),
            figures: Vec::new(),
            time: None,
            start: START,
        }
    }

    /// From here on, starting one more base than a few may take so long.
    pub(crate) fn start_bases_within(&mut self, time: Duration) {
        self.start = time;
    }

    /// From here on, each figure is measured for so long.
    pub(crate) fn measure_for(&mut self, time: Duration) {
        self.time = Some(time);
    }

    /// Measures `group/name`, held against the named earlier figures of the same group, or of another as
    /// `group/name`. Crews start when criterion asks
    /// for the first sample (a filtered figure costs nothing) and end with the figure.
    pub(crate) fn figure(
        &mut self,
        (group, name): (&str, &str),
        against: &[&str],
        moved: Throughput,
        start: impl Fn() -> Crew + 'static,
    ) {
        let (amount, is_bytes) = match moved {
            Throughput::Bytes(bytes) => (bytes, true),
            Throughput::Elements(items) => (items, false),
            other => panic!("a figure moves items or bytes, not {other:?}"),
        };
        let id = format!("{group}/{name}");
        let plan = Plan {
            start: Rc::new(start),
            amount,
        };
        self.plans.insert(id.clone(), plan.clone());
        let bases: Vec<Plan> = against
            .iter()
            .map(|base| match base.contains('/') {
                true => self.plans[*base].clone(),
                false => self.plans[&format!("{group}/{base}")].clone(),
            })
            .collect();

        let mut session = None;
        let mut measured = self.criterion.benchmark_group(group);
        measured.sampling_mode(SamplingMode::Flat).throughput(moved);
        let more = u32::try_from(bases.len().saturating_sub(A_FEW)).expect("a handful of bases");
        measured.warm_up_time(WARM_UP + more * self.start);
        if let Some(time) = self.time {
            measured.measurement_time(time);
        }
        measured.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|count| {
                session
                    .get_or_insert_with(|| Session::start(&plan, &bases))
                    .sample(count)
            });
        });
        measured.finish();

        let samples = session.map(|session| session.samples).unwrap_or_default();
        if !samples.is_empty() {
            let bases = against.iter().map(|&base| base.to_owned()).collect();
            self.figures.push(Figure {
                id,
                amount,
                is_bytes,
                bases,
                samples,
            });
        }
    }

    /// Ends the run with the table, and keeps it for `ratios`.
    pub(crate) fn finish(self) {
        self.criterion.final_summary();
        if !self.figures.is_empty() {
            report::save(&self.figures).expect("keep the run beside criterion's estimates");
            println!("\n{}", report::table(&self.figures));
        }
    }
}

/// A figure being taken.
struct Session {
    began: Instant,
    crew: Crew,
    amount: u64,
    probe: Crew,
    bases: Vec<Base>,
    samples: Vec<Sample>,
}

impl Session {
    fn start(plan: &Plan, bases: &[Plan]) -> Self {
        let (crew, probe) = ((plan.start)(), cache_line());
        let bases = bases.iter().map(Base::start).collect();
        Self {
            began: Instant::now(),
            crew,
            amount: plan.amount,
            probe,
            bases,
            samples: Vec::new(),
        }
    }

    /// The time of `count` steps; past the warm-up, with the probe around it and the bases after it.
    fn sample(&mut self, count: u64) -> Duration {
        if self.began.elapsed() < WARM_UP {
            return self.crew.run(count);
        }
        let before = per_unit(&mut self.probe, PROBE, 1);
        let time = self.crew.run(count);
        let bases = self.bases.iter_mut().map(Base::sample).collect();
        let after = per_unit(&mut self.probe, PROBE, 1);
        let unit = time.as_nanos() as f64 / (count * self.amount) as f64;
        self.samples.push(Sample {
            time: unit,
            probes: [before, after],
            bases,
        });
        time
    }
}

/// A floor or peer that runs beside a figure.
struct Base {
    crew: Crew,
    count: u64,
    amount: u64,
}

impl Base {
    /// Starts the crew and finds out how many steps it does in [`BESIDE`].
    fn start(plan: &Plan) -> Self {
        let mut crew = (plan.start)();
        let mut count = 1;
        let time = loop {
            let time = crew.run(count);
            if time > BESIDE / 4 {
                break time;
            }
            count *= 2;
        };
        let count = (count as f64 * BESIDE.as_secs_f64() / time.as_secs_f64()).ceil() as u64;
        Self {
            crew,
            count,
            amount: plan.amount,
        }
    }

    fn sample(&mut self) -> f64 {
        per_unit(&mut self.crew, self.count, self.amount)
    }
}

/// Nanoseconds for one item or byte, over `count` steps.
fn per_unit(crew: &mut Crew, count: u64, amount: u64) -> f64 {
    crew.run(count).as_nanos() as f64 / (count * amount) as f64
}
