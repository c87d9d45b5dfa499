use std::{os::unix::fs::MetadataExt, path::PathBuf, sync::Arc};

use super::{
    on_heap::Fixture,
    words::{ChunkCtl, ChunkState},
    *,
};
use crate::{
    object::participant::Owner,
    os::{
        file::{Unpublished, make_dir, unique},
        map,
    },
};

fn fixture(limit: usize) -> (Fixture, Arc<AtomicU64>) {
    let dead = Arc::new(AtomicU64::new(0));
    let geometry = Geometry::of(limit, 0).unwrap();
    (Fixture::new(geometry, 2, Arc::clone(&dead)), dead)
}

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + seed) as u8).collect()
}

fn read(heap: &Heap, name: Ref, start: usize, length: usize) -> Option<Vec<u8>> {
    let view = heap.view(name)?;
    let mut out = Vec::new();
    let is_read = view.copy_out(start, length, &mut out);
    (is_read && view.is_still()).then_some(out)
}

#[test]
fn an_item_of_any_length_is_read_as_it_was_stored_until_it_is_discarded() {
    let (fixture, _) = fixture(8 << 20);
    let (heap, me) = (&fixture.heap, Fixture::owner(0));
    let mut items = Vec::new();
    for length in (0..200).chain([
        1000, 4000, 20_000, 30_000, 60_000, 65_300, 100_000, 1_000_003,
    ]) {
        let (first, second) = (bytes(length / 3, 1), bytes(length, 2));
        let item = heap.store(me, length as u32, &[&first, &second]).unwrap();
        heap.publish(&item);
        items.push((length, item));
    }
    for (length, item) in items {
        let (first, second) = (bytes(length / 3, 1), bytes(length, 2));
        let name = item.name();
        let at = item::words_of(first.len());
        assert_eq!(read(heap, name, 0, first.len()), Some(first.clone()));
        assert_eq!(
            read(heap, name, at, length),
            Some(second.clone()),
            "{length}"
        );
        let view = heap.view(name).unwrap();
        assert!(view.has_at(0, &first) && view.has_at(at, &second));
        assert!(length == 0 || !view.has_at(at, &bytes(length, 3)));
        assert_eq!(view.info(), length as u32);
        let claimed = heap.claim(me, name).unwrap();
        assert!(view.is_still(), "claimed is not gone");
        heap.discard(me, claimed).unwrap();
        assert!(!view.is_still() && heap.view(name).is_none());
        assert!(heap.claim(me, name).is_err());
    }
    assert_eq!(heap.usage().0, 0);
}

#[test]
fn a_full_heap_says_so_stays_intact_and_is_as_large_again_once_it_is_empty() {
    let (fixture, _) = fixture(1 << 20);
    let (heap, me) = (&fixture.heap, Fixture::owner(0));
    let fill = |length: usize| {
        let mut names = Vec::new();
        loop {
            match heap.store(me, 0, &[&bytes(length, names.len())]) {
                Ok(item) => {
                    heap.publish(&item);
                    names.push(item.name());
                }
                Err(AllocError::Full { .. }) => return names,
                Err(e) => panic!("{e:?}"),
            }
        }
    };
    let mut counts = Vec::new();
    for length in [100, 3000, 50_000, 100, 3000, 50_000] {
        let names = fill(length);
        assert!(
            names.len() * length * 8 > (1 << 20) * 5,
            "{} of {length}",
            names.len()
        );
        for (seed, name) in names.iter().enumerate() {
            assert_eq!(read(heap, *name, 0, length), Some(bytes(length, seed)));
            heap.discard(me, heap.claim(me, *name).unwrap()).unwrap();
        }
        assert_eq!(heap.usage().0, 0);
        counts.push(names.len());
    }
    assert_eq!(counts[..3], counts[3..]);
    assert!(matches!(
        heap.store(me, 0, &[&vec![0; 2 << 20]]),
        Err(AllocError::TooLarge)
    ));
}

#[test]
fn where_all_chunks_are_taken_a_short_item_gets_a_longer_block() {
    let (fixture, _) = fixture(1 << 20);
    let (heap, me) = (&fixture.heap, Fixture::owner(0));
    let store = |length: usize| {
        let item = heap.store(me, 0, &[&bytes(length, length)])?;
        heap.publish(&item);
        Ok::<Ref, AllocError>(item.name())
    };
    let mut names: Vec<Ref> = core::iter::from_fn(|| store(1000).ok()).collect();
    assert!(matches!(store(10), Err(AllocError::Full { .. })));
    let free = |name| heap.discard(me, heap.claim(me, name).unwrap()).unwrap();
    free(names.pop().unwrap());
    let short = store(10).unwrap();
    assert_eq!(read(heap, short, 0, 10), Some(bytes(10, 10)));
    assert!(matches!(store(1000), Err(AllocError::Full { .. })));
    free(short);
    names.push(store(1000).unwrap());
    for name in names {
        assert_eq!(read(heap, name, 0, 1000), Some(bytes(1000, 1000)));
        free(name);
    }
    assert_eq!(heap.usage().0, 0);
}

/// Where a participant may die between the steps of making and taking out an item.
#[test]
fn of_what_the_dead_left_exactly_that_stays_which_the_container_refers_to() {
    for length in [50, 200_000] {
        for step in 0..5 {
            let (fixture, dead) = fixture(4 << 20);
            let (heap, victim) = (&fixture.heap, Fixture::owner(0));
            let refer = |name: Option<Ref>| fixture.slot.store(name.map_or(0, Ref::bits), Relaxed);
            let item = heap.store(victim, 0, &[&bytes(length, 5)]).unwrap();
            let name = item.name();
            let is_referred = (1..4).contains(&step);
            if step > 0 {
                refer(Some(name));
            }
            if step > 1 {
                heap.publish(&item);
            }
            if step > 2 {
                let _ = heap.claim(victim, name).unwrap();
            }
            if step > 3 {
                refer(None);
            }
            dead.store(1, Relaxed);
            assert_eq!(fixture.everybody.sweep(&fixture).unwrap(), 1);
            let there = read(heap, name, 0, length);
            assert_eq!(there.is_some(), is_referred, "{length} bytes, step {step}");
            if is_referred {
                assert_eq!(there, Some(bytes(length, 5)));
                let survivor = Fixture::owner(1);
                let claimed = heap.claim(survivor, name).unwrap();
                refer(None);
                heap.discard(survivor, claimed).unwrap();
            }
            assert_eq!(heap.usage().0, 0, "{length} bytes, step {step}");
        }
    }
}

#[test]
fn a_chunk_that_the_dead_were_dividing_or_retiring_is_in_use_again() {
    let (fixture, dead) = fixture(1 << 20);
    let (heap, victim) = (&fixture.heap, Fixture::owner(0));
    let item = heap.store(victim, 0, &[&[1; 100]]).unwrap();
    let chunk = heap.chunk_of(item.name().block());
    heap.publish(&item);
    fixture.slot.store(item.name().bits(), Relaxed);
    let used = heap.ctl(chunk).unwrap();
    heap.control[chunk][CTL].store(used.retiring(victim).0, Relaxed);
    let size = heap.classes.size(used.class()).unwrap();
    for head in heap.heads(chunk, size).skip(1).take(10) {
        let found = words::Head(head.load(Relaxed));
        head.store(found.become_of(victim, words::State::Retired).0, Relaxed);
    }
    let free = (0..heap.geometry.chunks)
        .find(|chunk| heap.ctl(*chunk).and_then(ChunkCtl::state) == Some(ChunkState::Free));
    let ctl = &heap.control[free.unwrap()][CTL];
    ctl.store(ChunkCtl(ctl.load(Relaxed)).formatting(3, victim).0, Relaxed);
    heap.growth
        .0
        .store(words::Growth(0).held(victim).0, Relaxed);
    dead.store(1, Relaxed);
    fixture.everybody.sweep(&fixture).unwrap();
    let next_turn = used.retiring(victim).used();
    assert_eq!(heap.ctl(chunk), Some(next_turn));
    // Or a sweeper that is late would take what a later participant does there for the dead one's.
    assert_ne!(next_turn.retiring(victim), used.retiring(victim));
    assert_eq!(ChunkCtl(ctl.load(Relaxed)).state(), Some(ChunkState::Free));
    assert!(!words::Growth(heap.growth.0.load(Relaxed)).is_held());
    assert_eq!(heap.usage().0, size);
    assert!(heap.has_bits(chunk));
}

#[test]
fn words_that_lie_are_values_and_nothing_else() {
    let (fixture, _) = fixture(4 << 20);
    let (heap, me) = (&fixture.heap, Fixture::owner(0));
    let names: Vec<Ref> = (0..20)
        .map(|i| {
            let item = heap.store(me, 3, &[&bytes(i * 9000, i)]).unwrap();
            heap.publish(&item);
            item.name()
        })
        .collect();
    let mut random = 1_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..3000 {
        let name = names[next() as usize % names.len()];
        let word = name.word() + 1 + next() as usize % 3;
        let lie = match next() % 3 {
            0 => next(),
            1 => heap.words[word].load(Relaxed) ^ 1 << (next() % 64),
            _ => u64::MAX,
        };
        heap.words[word].store(lie, Relaxed);
        let _ = read(heap, name, next() as usize % 4, next() as usize % 9000);
        if let Ok(item) = heap.claim(me, name) {
            heap.publish(&item);
        }
    }
    for control in heap.control.iter() {
        control[CTL].store(next(), Relaxed);
        let _ = heap.store(me, 0, &[&[1; 3000]]);
        let _ = heap.reclaim(me);
        heap.usage();
    }
}

/// A heap in a file.
struct InFile {
    dir: PathBuf,
    region: Arc<Region>,
    file: Arc<std::fs::File>,
    at: Offsets,
    geometry: Geometry,
}

impl InFile {
    fn new(limit: usize, initial: usize) -> Self {
        let base = std::path::Path::new("/dev/shm");
        let base = if base.is_dir() {
            base.to_owned()
        } else {
            std::env::temp_dir()
        };
        let dir = base.join(format!("ipc-heap-{}", unique()));
        make_dir(&dir, 0o700).unwrap();
        let geometry = Geometry::of(limit, initial).unwrap();
        let mut planner = Planner::default();
        let at = Offsets::plan(&mut planner, geometry).unwrap();
        let unpublished = Unpublished::new(&dir).unwrap();
        unpublished.allocate(at.allocated(geometry) as u64).unwrap();
        unpublished.extend(planner.end() as u64).unwrap();
        let map = map::shared(unpublished.file(), planner.end()).unwrap();
        let mut fresh = Fresh::mapped(map).unwrap();
        at.place(&mut fresh, geometry).unwrap();
        let region = fresh.share();
        let file = Arc::new(unpublished.file().try_clone().unwrap());
        region.set_file(Arc::clone(&file));
        Self {
            dir,
            region,
            file,
            at,
            geometry,
        }
    }

    fn heap(&self) -> Heap {
        Heap::new(&self.region, self.at, self.geometry).unwrap()
    }

    fn file_system_bytes(&self) -> usize {
        self.file.metadata().unwrap().blocks() as usize * 512
    }
}

impl Drop for InFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn a_heap_takes_memory_as_it_grows_and_gives_it_back() {
    let file = InFile::new(16 << 20, 128 << 10);
    let heap = file.heap();
    let me = Owner::of_slot(0).unwrap();
    let new = file.file_system_bytes();
    assert!(new < 400 << 10, "{new} bytes at first");
    let mut names = Vec::new();
    for seed in 0..80_000 {
        let item = heap.store(me, 0, &[&bytes(100, seed)]).unwrap();
        heap.publish(&item);
        names.push(item.name());
    }
    let full = file.file_system_bytes();
    let (used, allocated) = heap.usage();
    assert!(
        (8 << 20..12 << 20).contains(&full),
        "{full} bytes when it holds 80,000"
    );
    assert!(used <= allocated && allocated <= full);
    for (seed, name) in names.into_iter().enumerate() {
        assert_eq!(read(&heap, name, 0, 100), Some(bytes(100, seed)));
        heap.discard(me, heap.claim(me, name).unwrap()).unwrap();
    }
    let some = file.file_system_bytes();
    assert!(some < new + (2 << 20), "{some} bytes while it is empty");
    heap.give_all_back(me).unwrap();
    let (used, allocated) = heap.usage();
    assert_eq!((used, allocated), (0, 128 << 10));
    assert!(file.file_system_bytes() <= new);
    assert!(!file.region.is_cut());
}

#[test]
fn who_leaves_lets_others_know_of_the_free_blocks_it_knew_of() {
    let file = InFile::new(1 << 20, 1 << 20);
    for round in 0..2000 {
        let heap = file.heap();
        let me = Owner::of_slot(0).unwrap();
        let item = heap.store(me, 0, &[&bytes(100, round)]).unwrap();
        heap.discard(me, item).unwrap();
    }
    let heap = file.heap();
    let me = Owner::of_slot(0).unwrap();
    let is_used =
        |chunk: &usize| heap.ctl(*chunk).and_then(ChunkCtl::state) == Some(ChunkState::Used);
    assert!((0..heap.geometry.chunks).filter(is_used).count() <= 1);
    assert!(heap.store(me, 0, &[&bytes(100, 0)]).is_ok());
}
