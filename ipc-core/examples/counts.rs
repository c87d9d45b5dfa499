//! A dictionary `{"count": 100}` that ten processes count down, each by ten: under a lock, by atomic updates, and with neither, which may lose
//! some. Then a dictionary and a list that a child changes, and its parent sees.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example counts
//! ```

use std::{
    env,
    error::Error,
    process::{Child, Command},
    thread,
};

use ipc_core::{Dict, List, Lock, Manager};
use serde::{Deserialize, Serialize};

const PROCESSES: usize = 10;
const EACH: i64 = 10;

type Counts = Dict<String, i64>;

/// Keys and values of several types.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
enum Thing {
    Number(f64),
    Text(String),
    Nothing,
}

type Things = Dict<Thing, Thing>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => lead(),
        [how, handles] if how == "change" => change(&serde_json::from_str(handles)?),
        [how, handles] => count_down(how, &serde_json::from_str(handles)?),
        _ => Err("the example takes no argument".into()),
    }
}

fn start(what: &str, handles: &str) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    Ok(command.args([what, handles]).spawn()?)
}

fn count_down(how: &str, (counts, lock): &(Counts, Lock)) -> Result<(), Box<dyn Error>> {
    for _ in 0..EACH {
        if how == "with add" {
            counts.add("count", -1)?;
            continue;
        }
        let _guard = match how {
            "with a lock" => Some(lock.acquire()?),
            _ => None,
        };
        let count = counts.get("count")?.ok_or("there is no count")?;
        thread::yield_now(); // as others might come between
        counts.set("count", &(count - 1))?;
    }
    Ok(())
}

fn change((things, list): &(Things, List<u32>)) -> Result<(), Box<dyn Error>> {
    let text = |text: &str| Thing::Text(text.to_owned());
    things.set(&Thing::Number(1.0), &text("1"))?;
    things.set(&text("2"), &Thing::Number(2.0))?;
    things.set(&Thing::Number(0.25), &Thing::Nothing)?;
    list.reverse()?;
    Ok(())
}

fn lead() -> Result<(), Box<dyn Error>> {
    let team = Manager::new()?;
    let (counts, lock): (Counts, Lock) = (team.dict()?, team.lock()?);
    let handles = serde_json::to_string(&(&counts, &lock))?;
    for how in ["with a lock", "with add", "with neither"] {
        counts.set("count", &100)?;
        let children = (0..PROCESSES).map(|_| start(how, &handles));
        for mut child in children.collect::<Result<Vec<_>, _>>()? {
            assert!(child.wait()?.success());
        }
        let left = counts.get("count")?;
        println!("{how}: {} left", left.ok_or("there is no count")?);
    }

    let things: Things = team.dict()?;
    let list: List<u32> = team.list()?;
    list.extend(0..10)?;
    let handles = serde_json::to_string(&(&things, &list))?;
    assert!(start("change", &handles)?.wait()?.success());
    let mut all = things.snapshot()?;
    all.sort_by(|(a, _), (b, _)| a.partial_cmp(b).expect("no key is NaN"));
    for (key, value) in all {
        println!("{key:?}: {value:?}");
    }
    println!("{:?}", list.to_vec()?);
    Ok(())
}
