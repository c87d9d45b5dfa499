//! Our queue, pipe and dictionary against other systems, in one run that ends with a table of paired ratios; see docs/performance.md.
//!
//! What is sent and how it is checked is the same for all (`traffic`); a file a family of systems. Those that live in one process run
//! between threads, all others between processes.
#![allow(missing_docs)] // a program, not an API

mod dict;
mod iceoryx;
mod kernel;
mod ours;
mod rings;
#[path = "../../../benches/suite/suite.rs"]
mod suite;
mod traffic;

use criterion::{Criterion, Throughput};
use ipc_benches::report;
use std::time::Duration;
use suite::{Suite, WARM_UP};
use traffic::{Link, Load, one_way, round_trip};

/// A system, and how to make a link of it.
type Peer = (&'static str, fn(Load) -> Link);

/// The figures of `group`: each of ours is held against every peer.
fn compare(
    suite: &mut Suite,
    group: &'static str,
    moved: Throughput,
    peers: &[Peer],
    ours: &[Peer],
    crew: impl Fn(fn(Load) -> Link) -> ipc_benches::crew::Crew + Copy + 'static,
) {
    let names: Vec<&str> = peers.iter().map(|(name, _)| *name).collect();
    for (name, link) in peers.iter().copied() {
        suite.figure((group, name), &[], moved.clone(), move || crew(link));
    }
    for (name, link) in ours.iter().copied() {
        suite.figure((group, name), &names, moved.clone(), move || crew(link));
    }
}

/// Peers and ours for small messages of `N` words.
fn small<const N: usize>() -> (Vec<Peer>, Vec<Peer>)
where
    [u64; N]: bytemuck::Pod,
{
    let peers: Vec<Peer> = vec![
        ("peer_rtrb", rings::rtrb::<N>),
        ("peer_array_queue", rings::array_queue::<N>),
        ("peer_crossbeam", rings::channel::<N>),
        ("peer_shaq3", rings::shaq3::<N>),
        ("peer_shaq4", rings::shaq4::<N>),
        ("peer_iceoryx2", iceoryx::publish_subscribe),
        ("peer_ipc_channel", kernel::ipc_channel),
        ("peer_unix_stream", kernel::unix_stream),
        ("peer_unix_seqpacket", kernel::unix_seqpacket),
        ("peer_pipe", kernel::pipe),
    ];
    let ours: Vec<Peer> = vec![
        ("ipc_queue", ours::queue_plain::<N>),
        ("ipc_pipe", ours::pipe_plain::<N>),
    ];
    (peers, ours)
}

/// Peers and ours for messages of `N` words that are written and read in place where that is possible.
fn large<const N: usize>() -> (Vec<Peer>, Vec<Peer>) {
    let peers: Vec<Peer> = vec![
        ("peer_shaq3", rings::shaq3::<N>),
        ("peer_shaq4", rings::shaq4::<N>),
        ("peer_iceoryx2", iceoryx::publish_subscribe),
        ("peer_ipc_channel", kernel::ipc_channel),
        ("peer_unix_stream", kernel::unix_stream),
        ("peer_unix_seqpacket", kernel::unix_seqpacket),
        ("peer_pipe", kernel::pipe),
    ];
    let ours: Vec<Peer> = vec![
        ("ipc_queue", ours::queue_lent),
        ("ipc_pipe", ours::pipe_lent),
    ];
    (peers, ours)
}

fn streams(suite: &mut Suite) {
    let load = |bytes, step, batch, capacity| Load {
        bytes,
        step,
        batch,
        capacity,
        sleeps: false,
    };
    let way = |load: Load| move |link: fn(Load) -> Link| one_way(link(load), load);
    let items = |load: Load| Throughput::Elements(load.step as u64);
    let bytes = |load: Load| Throughput::Bytes((load.step * load.bytes) as u64);

    let of = load(8, 64, 1, 1024);
    let (peers, ours) = small::<1>();
    compare(suite, "8B", items(of), &peers, &ours, way(of));
    let (peers, ours) = small::<8>();
    let of = load(64, 64, 1, 1024);
    compare(suite, "64B", items(of), &peers, &ours, way(of));
    // Only who has batches, or can write several messages at once.
    let has_batches = |(name, _): &Peer| {
        ["rtrb", "shaq3", "shaq4", "unix_stream", "pipe"].contains(&&name["peer_".len()..])
    };
    let batching: Vec<Peer> = peers.into_iter().filter(has_batches).collect();
    let of = load(64, 64, 32, 1024);
    compare(suite, "64B_batch_32", items(of), &batching, &ours, way(of));
    let of = load(1 << 10, 16, 1, 256);
    let (peers, mut ours) = small::<128>();
    ours.push(("ipc_pipe_lent", ours::pipe_lent));
    compare(suite, "1KiB", items(of), &peers, &ours, way(of));
    let of = load(64 << 10, 1, 1, 16);
    let (peers, ours) = large::<{ (64 << 10) / 8 }>();
    compare(suite, "64KiB", bytes(of), &peers, &ours, way(of));
    // A socket takes no packet of this size.
    let (mut peers, ours) = large::<{ (1 << 20) / 8 }>();
    peers.retain(|(name, _)| *name != "peer_unix_seqpacket");
    let of = load(1 << 20, 1, 1, 4);
    compare(suite, "1MiB", bytes(of), &peers, &ours, way(of));
}

fn round_trips(suite: &mut Suite) {
    let load = |sleeps| Load {
        bytes: 64,
        step: 1,
        batch: 1,
        capacity: 16,
        sleeps,
    };
    let way = |load: Load| move |link: fn(Load) -> Link| round_trip(link(load), link(load));
    let only = |peers: Vec<Peer>, which: &[&str]| -> Vec<Peer> {
        let is_it = |(name, _): &Peer| which.contains(&&name["peer_".len()..]);
        peers.into_iter().filter(is_it).collect()
    };
    let (peers, ours) = small::<8>();
    let spinning = [
        "rtrb",
        "array_queue",
        "shaq3",
        "shaq4",
        "iceoryx2",
        "ipc_channel",
    ];
    let peers = only(peers, &spinning);
    let once = Throughput::Elements(1);
    let group = "round_trip_spinning";
    let mut ours = ours;
    ours.push(("ipc_pipe_lent", ours::pipe_lent));
    compare(suite, group, once.clone(), &peers, &ours, way(load(false)));
    let (peers, ours) = small::<8>();
    let blocking = [
        "crossbeam",
        "iceoryx2",
        "ipc_channel",
        "unix_stream",
        "unix_seqpacket",
        "pipe",
    ];
    let peers = only(peers, &blocking);
    compare(
        suite,
        "round_trip_blocking",
        once,
        &peers,
        &ours,
        way(load(true)),
    );
}

fn main() {
    if std::env::var_os("CRITERION_HOME").is_none() {
        // The main suite's last run is to stay.
        let home = report::directory().with_file_name("criterion-comparison");
        // SAFETY: there is no other thread yet.
        unsafe { std::env::set_var("CRITERION_HOME", home) };
    }
    let criterion = Criterion::default()
        .output_directory(&report::directory())
        .warm_up_time(WARM_UP)
        .measurement_time(Duration::from_secs(2))
        .sample_size(15)
        .nresamples(5_000)
        .configure_from_args();
    let mut suite = Suite::new(criterion);
    suite.start_bases_within(Duration::from_millis(500)); // a node of iceoryx2 takes its time
    streams(&mut suite);
    round_trips(&mut suite);
    dict::all(&mut suite);
    suite.finish();
}
