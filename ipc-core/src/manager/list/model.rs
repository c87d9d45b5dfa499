//! Loom model of a list's one ordering. What readers find in nodes that are freed meanwhile, the heap's models show; what writers do to one
//! another, the lock's.

use std::sync::Arc;

use loom::thread;

use super::core::{ListCore, Plan, Root};
use crate::{
    object::lifetime,
    prim::{AtomicU64, Relaxed, Witnesses},
    region::Fresh,
    slab::heap::{Geometry, Ref},
};

const PARTICIPANTS: u32 = 2;

/// An empty list on the heap of one process, with as little memory as that needs.
fn list() -> ListCore {
    let geometry = Geometry {
        chunk_bytes: 512,
        chunks: 1,
        initial: 1,
    };
    let plan = Plan::of(geometry, PARTICIPANTS).unwrap();
    let mut fresh = Fresh::on_heap(plan.end).unwrap();
    lifetime::place_header(&mut fresh, PARTICIPANTS).unwrap();
    plan.place(&mut fresh, geometry, PARTICIPANTS).unwrap();
    ListCore::over(&fresh.share(), geometry, PARTICIPANTS).unwrap()
}

#[test]
fn who_sees_a_root_sees_the_nodes_below_it() {
    loom::model(|| {
        // The witness stands for the nodes.
        let world = Arc::new((list(), Witnesses::new(1)));
        let other = Arc::clone(&world);
        let t = thread::spawn(move || {
            let (list, nodes) = &*other;
            if list.root().name().is_some() {
                // loom tells two moments of a thread apart only by an access to an atomic in between.
                AtomicU64::new(0).store(1, Relaxed);
                nodes.read(0);
            }
        });
        let (list, nodes) = &*world;
        AtomicU64::new(0).store(1, Relaxed);
        nodes.write(0);
        list.set_root(Root::default().next(Ref::from_bits(7)));
        t.join().unwrap();
    });
}
