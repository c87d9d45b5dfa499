//! A run's figures as ratios to the floors of the same run, sample by sample.
//!
//! # Why the ratios are paired
//! On a virtual machine two cores may share a cache at one moment and sit far apart at the next: a cache-line round trip
//! was seen to move between 70 and 450 ns within seconds, and a peer measured in good weather then beats a floor measured
//! in bad. So each sample of a figure is followed at once by a short sample of what it is held against, and the ratio is
//! the median over such pairs. A cache-line probe before and after each sample tells the weather; samples in which it
//! changed are left out.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Probes further apart than this factor mean that the cores moved while the sample was taken.
const STEADY: f64 = 1.5;
/// Fewer steady samples than this say nothing.
const ENOUGH: usize = 5;

/// Where criterion leaves its estimates: `$CRITERION_HOME`, else `criterion/` in cargo's target folder.
pub fn directory() -> PathBuf {
    if let Some(home) = std::env::var_os("CRITERION_HOME") {
        return home.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
        .join("criterion")
}

/// One sample of a figure and what was measured around it, all in nanoseconds.
#[derive(Clone, Debug)]
pub struct Sample {
    /// For one item or byte.
    pub time: f64,
    /// A cache-line round trip before and after.
    pub probes: [f64; 2],
    /// For one item or byte of each base, in the order of [`Figure::bases`].
    pub bases: Vec<f64>,
}

impl Sample {
    fn is_steady(&self) -> bool {
        let [before, after] = self.probes;
        before.max(after) <= STEADY * before.min(after)
    }

    fn to_json(&self) -> Value {
        json!({ "time": self.time, "probes": self.probes, "bases": self.bases })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let probes = [value["probes"][0].as_f64()?, value["probes"][1].as_f64()?];
        let bases = value["bases"]
            .as_array()?
            .iter()
            .map(Value::as_f64)
            .collect::<Option<_>>()?;
        Some(Self {
            time: value["time"].as_f64()?,
            probes,
            bases,
        })
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Figure {
    /// `group/name`, as criterion calls it.
    pub id: String,
    /// Items or bytes an operation.
    pub amount: u64,
    /// Whether the amount is bytes.
    pub is_bytes: bool,
    /// Names of the floors and peers it is held against.
    pub bases: Vec<String>,
    /// At least one.
    pub samples: Vec<Sample>,
}

impl Figure {
    /// The steady samples; all of them, and `false`, when there are too few.
    fn steady(&self) -> (Vec<&Sample>, bool) {
        let steady: Vec<&Sample> = self
            .samples
            .iter()
            .filter(|sample| sample.is_steady())
            .collect();
        if steady.len() >= ENOUGH {
            (steady, true)
        } else {
            (self.samples.iter().collect(), false)
        }
    }

    fn row(&self) -> String {
        let (samples, is_steady) = self.steady();
        let over = |value: &dyn Fn(&Sample) -> f64| {
            Quartiles::of(samples.iter().map(|sample| value(sample)).collect())
        };
        let amount = self.amount as f64;
        let times = over(&|sample| sample.time * amount);
        let rate = match (self.is_bytes, amount / times.median) {
            (true, per_nanosecond) => format!("{per_nanosecond:.2} GB/s"),
            (false, per_nanosecond) => format!("{:.2} M/s", per_nanosecond * 1e3),
        };
        let ratio = |(n, name): (usize, &String)| {
            let ratio = over(&|sample| sample.time / sample.bases[n]);
            format!(
                "**{:.2}** ({:.2}–{:.2}) × {name}",
                ratio.median, ratio.low, ratio.high
            )
        };
        let ratios: Vec<String> = self.bases.iter().enumerate().map(ratio).collect();
        let probe = over(&|sample| sample.probes[0]);
        let weather = if is_steady { "" } else { " unsteady" };
        let (median, low, high) = (time(times.median), time(times.low), time(times.high));
        let ratios = ratios.join(", ");
        format!(
            "| {} | {median} | {low}–{high} | {rate} | {}{weather} | {ratios} |",
            self.id,
            time(probe.median)
        )
    }

    fn to_json(&self) -> Value {
        let samples: Vec<Value> = self.samples.iter().map(Sample::to_json).collect();
        json!({
            "id": self.id, "amount": self.amount, "is_bytes": self.is_bytes, "bases": self.bases, "samples": samples
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let name = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            id: name(&value["id"])?,
            amount: value["amount"].as_u64()?,
            is_bytes: value["is_bytes"].as_bool()?,
            bases: value["bases"]
                .as_array()?
                .iter()
                .map(name)
                .collect::<Option<_>>()?,
            samples: value["samples"]
                .as_array()?
                .iter()
                .map(Sample::from_json)
                .collect::<Option<_>>()?,
        })
    }
}

struct Quartiles {
    low: f64,
    median: f64,
    high: f64,
}

impl Quartiles {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        Self {
            low: at(1),
            median: at(2),
            high: at(3),
        }
    }
}

/// Nanoseconds with a unit that people read.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

/// The figures in Markdown: time an operation and its quartiles, rate, the cache-line round trip at the time, and the
/// paired ratios (time over time for the same amount; less is faster).
pub fn table(figures: &[Figure]) -> String {
    let mut table = String::from(
        "| figure | median | quartiles | rate | cache line | time over floor or peer (quartiles) |\n\
         |---|--:|--:|--:|--:|:--|\n",
    );
    for figure in figures {
        let _ = writeln!(table, "{}", figure.row());
    }
    table
}

/// Keeps the figures beside criterion's estimates, for `ratios`.
///
/// # Errors
/// When the file cannot be written.
pub fn save(figures: &[Figure]) -> io::Result<()> {
    let figures: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    fs::create_dir_all(directory())?;
    fs::write(
        directory().join("run.json"),
        format!("{:#}\n", Value::Array(figures)),
    )
}

/// The figures of the last run.
///
/// # Errors
/// When there was none, or `run.json` is not ours.
pub fn load() -> io::Result<Vec<Figure>> {
    let run: Value = serde_json::from_slice(&fs::read(directory().join("run.json"))?)?;
    let figures = run
        .as_array()
        .and_then(|figures| figures.iter().map(Figure::from_json).collect());
    figures.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "run.json is not a run of this suite",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(samples: &[(f64, [f64; 2], f64)]) -> Figure {
        let sample = |&(time, probes, base)| Sample {
            time,
            probes,
            bases: vec![base],
        };
        let samples = samples.iter().map(sample).collect();
        Figure {
            id: "group/name".into(),
            amount: 32,
            is_bytes: false,
            bases: vec!["floor".into()],
            samples,
        }
    }

    #[test]
    fn a_ratio_is_taken_in_one_weather() {
        let (near, far, moved) = (
            (10.0, [70.0; 2], 5.0),
            (60.0, [450.0; 2], 30.0),
            (60.0, [450.0, 70.0], 5.0),
        );
        let row = figure(&[near, near, far, far, near, moved, moved]).row();
        assert!(row.contains("**2.00** (2.00–2.00) × floor"), "{row}");
        assert!(!row.contains("unsteady"), "{row}");
    }

    #[test]
    fn a_figure_survives_its_file() {
        let written = figure(&[(1.5, [70.0, 80.0], 3.0)]);
        let read = Figure::from_json(&written.to_json()).expect("our own file");
        assert_eq!(read.row(), written.row());
    }
}
