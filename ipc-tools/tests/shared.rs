//! Shared data in the tools that know objects of every kind.

mod support;

use ipc_core::{Array, List, Namespace, Value};
use support::Shell;

#[test]
fn values_arrays_and_lists_are_listed_and_described() {
    let shell = Shell::new();
    let namespace = Namespace::at(shell.dir()).unwrap();
    let value = Value::options(7u64).namespace(&namespace).create("hits");
    let array = Array::filled([0u8; 3], 5)
        .namespace(&namespace)
        .create("rows");
    let list = List::<String>::options()
        .namespace(&namespace)
        .create("names");
    let (value, array, list) = (value.unwrap(), array.unwrap(), list.unwrap());
    list.extend(["a", "b"].map(str::to_owned)).unwrap();
    let held = value.lock().unwrap();
    let table = shell.ok(&["ls"]);
    let row = |name: &str| table.lines().find(|l| l.starts_with(name)).unwrap();
    assert!(row("hits").contains("value") && row("hits").contains("1 × 8 bytes, held"));
    assert!(row("rows").contains("array") && row("rows").contains("5 × 3 bytes, free"));
    assert!(row("names").contains("list") && row("names").contains("2 elements, "));
    let stat = shell.ok(&["stat", "hits"]);
    assert!(
        stat.contains("plain u64 (8 bytes)") && stat.contains("1 holding"),
        "{stat}"
    );
    let stat = shell.ok(&["stat", "names"]);
    assert!(stat.contains("serde alloc::string::String"), "{stat}");
    assert!(shell.ok(&["who", "hits"]).contains("holding"));
    drop(held);
    drop((value, array, list));
    shell.ok(&["doctor"]);
    shell.ok(&["rm", "hits", "rows", "names"]);
}
