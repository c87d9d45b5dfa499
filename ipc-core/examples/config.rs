//! A configuration that one process sets and three others read: each change is seen at once, by the next `get` of any process. What
//! the readers write, the first process sees as well.
//!
//! From the shell, a configuration with a name is changed by `ipc dict set config rate 200`, and `ipc dict items config` shows it.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example config
//! ```

use std::{
    env,
    error::Error,
    process::{Child, Command},
};

use ipc_core::{Barrier, Dict, Manager};

const READERS: usize = 3;

type Config = Dict<String, String>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => lead(),
        [reader, handles] => read(reader, &serde_json::from_str(handles)?),
        _ => Err("the example takes no argument".into()),
    }
}

fn read(reader: &str, (config, step): &(Config, Barrier)) -> Result<(), Box<dyn Error>> {
    let first = config.get("rate")?.ok_or("there is no rate")?;
    step.wait()?;
    // Here it is changed.
    step.wait()?;
    let second = config.get("rate")?.ok_or("there is no rate any more")?;
    let mode = config.get("mode")?;
    let seen = format!("rate {first}, then {second} and mode {mode:?}");
    config.set(&format!("reader {reader}"), &seen)?;
    Ok(())
}

fn lead() -> Result<(), Box<dyn Error>> {
    // One lifetime for both: they go with this process, and with the last reader.
    let team = Manager::new()?;
    let config: Config = team.dict()?;
    let step = team.barrier(READERS + 1)?;
    config.set("rate", "100")?;
    config.set("mode", "slow")?;

    let handles = serde_json::to_string(&(&config, &step))?;
    let readers = (1..=READERS).map(|reader| {
        let mut command = Command::new(env::current_exe()?);
        command.args([&reader.to_string(), &handles]).spawn()
    });
    let mut readers = readers.collect::<Result<Vec<Child>, _>>()?;

    step.wait()?; // each has seen the first rate
    config.update("rate", |rate| *rate = "200".into())?;
    config.remove("mode")?;
    step.wait()?;
    for reader in &mut readers {
        assert!(reader.wait()?.success());
    }
    let mut all = config.snapshot()?;
    all.sort();
    for (key, value) in all {
        println!("{key}: {value}");
    }
    Ok(())
}
