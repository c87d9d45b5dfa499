use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::{Bytes, Kind, Leftover, Listener};

/// A namespace of its own, which goes with it.
struct Place(Namespace);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipc-manager-{}-{number}", std::process::id());
        Self(Namespace::at(Path::new("/dev/shm").join(name)).unwrap())
    }

    fn options(&self) -> ManagerOptions {
        Manager::options().namespace(&self.0)
    }

    fn families(&self) -> Vec<PathBuf> {
        family::all(&self.0).unwrap()
    }

    /// A family that looks as one whose users were all killed, with one member of each sort.
    fn orphans(&self) -> PathBuf {
        let team = self.options().create("team").unwrap();
        let named = Queue::<Bytes>::options(1).namespace(&team.members());
        drop((team.event().unwrap(), named.create("jobs").unwrap()));
        let dir = team.members().path().to_owned();
        drop(team);
        fs::remove_file(self.0.path().join("team")).unwrap();
        dir
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.path());
    }
}

fn sent<T: serde::Serialize>(handle: &T) -> Vec<u8> {
    postcard::to_stdvec(handle).unwrap()
}

fn come<T: serde::de::DeserializeOwned>(sent: &[u8]) -> Option<T> {
    postcard::from_bytes(sent).ok()
}

#[test]
fn a_change_in_a_dictionary_within_a_dictionary_is_seen() {
    let place = Place::new();
    let team = place.options().anonymous().unwrap();
    let outer = team.dict::<String, Dict<String, u64>>().unwrap();
    let inner = team.dict::<String, u64>().unwrap();
    outer.insert(&"inner".to_owned(), &inner).unwrap();
    let found = outer.get(&"inner".to_owned()).unwrap().unwrap();
    found.insert(&"count".to_owned(), &1).unwrap();
    assert_eq!(inner.get(&"count".to_owned()).unwrap(), Some(1));
    let dir = team.members().path().to_owned();
    drop((team, outer, inner));
    found.add(&"count".to_owned(), 1).unwrap();
    assert_eq!(found.get(&"count".to_owned()).unwrap(), Some(2));
    assert_eq!(family::members(&dir).unwrap().len(), 2);
    drop(found);
    assert_eq!(place.families(), [] as [PathBuf; 0]);
}

#[test]
fn a_member_stays_though_nobody_has_it_and_goes_with_the_family() {
    let place = Place::new();
    let team = place.options().anonymous().unwrap();
    let event = team.event().unwrap();
    event.set().unwrap();
    assert_eq!((event.name(), team.name()), (None, None));
    let letter = sent(&event);
    drop(event);
    assert!(come::<Event>(&letter).unwrap().is_set());
    let dir = team.members().path().to_owned();
    assert_eq!(family::members(&dir).unwrap().len(), 1);
    assert_eq!(place.0.leftovers().unwrap(), []);
    let (second, letter_of_team) = (team.clone(), sent(&team));
    drop(team);
    assert!(come::<Manager>(&letter_of_team).unwrap().lock().is_ok());
    drop(second);
    assert!(come::<Event>(&letter).is_none() && come::<Manager>(&letter_of_team).is_none());
    assert_eq!(place.families(), [] as [PathBuf; 0]);
}

#[test]
fn a_members_handle_keeps_the_family() {
    let place = Place::new();
    let team = place.options().anonymous().unwrap();
    let (lock, other) = (team.lock_with(1u32).unwrap(), team.queue::<u8>(1).unwrap());
    let letters = (sent(&lock), sent(&other), sent(&team));
    drop((team, other));
    assert_eq!(place.0.collect().unwrap().removed, []);
    let come_back: Manager = come(&letters.2).unwrap();
    drop((lock, come_back.event().unwrap()));
    drop(come_back);
    assert!(come::<Lock<u32>>(&letters.0).is_none() && come::<Queue<u8>>(&letters.1).is_none());
    assert!(place.families().is_empty());
}

#[test]
fn a_member_is_a_value_in_another() {
    let place = Place::new();
    let team = place.options().anonymous().unwrap();
    let outer: Queue<(String, Queue<u64>)> = team.queue(4).unwrap();
    outer
        .put(("squares".into(), team.queue(4).unwrap()))
        .unwrap();
    drop(team); // the outer one keeps the inner one
    let (name, inner) = outer.peek().unwrap();
    inner.put(49).unwrap();
    drop(inner);
    let (same_name, same) = outer.get().unwrap();
    drop(outer); // and it keeps itself
    assert_eq!((name, same.get().unwrap()), (same_name, 49));
    drop(same);
    assert!(place.families().is_empty());
}

#[test]
fn a_named_family_stays_until_its_name_goes_and_its_last_user() {
    let place = Place::new();
    let team = place.options().create("team").unwrap();
    assert_eq!(team.name(), Some("team"));
    let jobs = Queue::<u64>::options(8).namespace(&team.members());
    jobs.create("jobs").unwrap().put(5).unwrap();
    drop(team);
    assert_eq!(
        (place.0.leftovers().unwrap(), place.families().len()),
        (vec![], 1)
    );
    let team = place.options().open("team").unwrap();
    let same: Manager = come(&sent(&team)).unwrap();
    assert_eq!(
        (same.name(), same.members().list().unwrap()),
        (Some("team"), vec!["jobs".into()])
    );
    assert!(matches!(jobs.create("jobs"), Err(Error::Exists { .. })));
    let queue = jobs.open("jobs").unwrap();
    assert_eq!((queue.name(), queue.get().unwrap()), (Some("jobs"), 5));
    same.unlink().unwrap();
    assert!(matches!(team.unlink(), Err(Error::NotFound { .. })));
    assert!(matches!(
        place.options().open("team"),
        Err(Error::NotFound { .. })
    ));
    let successor = place.options().create("team").unwrap();
    assert!(
        team.unlink().is_err() && team.semaphore(1).is_ok(),
        "who has it keeps it"
    );
    drop((team, same, queue));
    assert_eq!(place.families(), [successor.members().path().to_owned()]);
}

#[test]
fn a_name_is_one_familys_and_a_refused_one_leaves_nothing() {
    let place = Place::new();
    let team = place.options().create("team").unwrap();
    for refused in [
        place.options().create("team"),
        place.options().participants(0).create("x"),
    ] {
        refused.unwrap_err();
    }
    assert!(matches!(
        place.options().create("team"),
        Err(Error::Exists { .. })
    ));
    assert!(matches!(
        place.options().create(".."),
        Err(Error::BadName { .. })
    ));
    let same = place.options().open_or_create("team").unwrap();
    assert_eq!(same.members(), team.members());
    assert_eq!(place.families().len(), 1);
    Event::options()
        .namespace(&place.0)
        .create("event")
        .unwrap();
    assert!(matches!(
        place.options().open("event"),
        Err(Error::WrongKind { .. })
    ));
    let wrong = Event::options().namespace(&place.0).open("team");
    assert!(matches!(wrong, Err(Error::WrongKind { .. })), "{wrong:?}");
}

#[test]
fn a_removal_by_name_takes_the_members_along_unless_they_are_used() {
    let place = Place::new();
    let team = place.options().create("team").unwrap();
    let event = team.event().unwrap();
    drop(team);
    assert!(matches!(
        place.0.unlink_unused("team"),
        Err(Error::InUse { .. })
    ));
    place.0.unlink("team").unwrap();
    assert_eq!(place.families().len(), 1, "who has it keeps it");
    drop(event);
    assert!(place.families().is_empty());
    drop(place.options().create("team").unwrap().event().unwrap());
    place.0.unlink_unused("team").unwrap();
    assert!(place.families().is_empty() && place.0.list().unwrap().is_empty());
}

#[test]
fn what_the_dead_left_is_found_and_collected_as_a_whole() {
    let place = Place::new();
    let dir = place.orphans();
    let [Leftover { path, bytes }] = &place.0.leftovers().unwrap()[..] else {
        panic!("one family")
    };
    assert!(*path == dir && *bytes > 1 << 20, "{bytes} bytes");
    assert_eq!(place.0.collect().unwrap().removed.len(), 1);
    assert!(place.families().is_empty());
    // One of whom somebody died in the middle of removing it: nobody comes to its members any more.
    let dir = place.orphans();
    let jobs = Queue::<Bytes>::options(1).namespace(&Namespace::in_directory(&dir));
    let letter = sent(&jobs.open("jobs").unwrap());
    let dir = place.orphans();
    let jobs = Queue::<Bytes>::options(1).namespace(&Namespace::in_directory(&dir));
    fs::remove_file(dir.join(".family")).unwrap();
    assert!(matches!(jobs.open("jobs"), Err(Error::NotFound { .. })));
    assert!(matches!(jobs.create("more"), Err(Error::NotFound { .. })));
    assert!(come::<Queue<Bytes>>(&letter).is_none());
    assert_eq!(place.0.collect().unwrap().removed.len(), 1);
    assert!(place.families().is_empty());
}

#[test]
fn a_family_in_the_making_is_left_alone() {
    let place = Place::new();
    drop(place.options().anonymous().unwrap());
    let young = place.0.path().join(".families").join("0".repeat(32));
    fs::create_dir(&young).unwrap();
    assert_eq!(place.0.collect().unwrap().removed, []);
    assert!(young.exists());
    // Who finds it again, as its last user does, removes it; then its maker begins anew.
    assert!(family::collect(&young).unwrap() && !young.exists());
}

#[test]
fn a_link_among_the_families_leads_nowhere() {
    let place = Place::new();
    drop(place.options().anonymous().unwrap());
    let elsewhere = place.0.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("precious"), "x").unwrap();
    let link = place.0.path().join(".families").join("1".repeat(32));
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    assert_eq!(place.0.collect().unwrap().removed, []);
    assert!(family::collect(&link).is_err());
    assert!(elsewhere.join("precious").exists());
}

#[test]
fn a_lie_about_where_a_family_is_is_an_error() {
    let place = Place::new();
    let (one, other) = (
        place.options().create("one"),
        place.options().create("other"),
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    fs::copy(
        other.members().path().join(".family"),
        place.0.path().join("lie"),
    )
    .unwrap();
    let refused = place.options().open("lie").unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    place.0.unlink("lie").unwrap();
    assert_eq!(place.families().len(), 2, "nothing else went with it");
    drop((one, other));
    fs::remove_dir_all(place.0.path().join(".families")).unwrap();
    let refused = place.options().open("one").unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}

#[test]
fn families_hold_no_families_and_no_listeners() {
    let place = Place::new();
    let team = place.options().anonymous().unwrap();
    let inner = Manager::options().namespace(&team.members());
    assert!(matches!(inner.anonymous(), Err(Error::BadOption { .. })));
    let listener = Listener::<Bytes>::options().namespace(&team.members());
    assert!(listener.bind("x").is_err());
}

#[test]
fn a_member_that_is_unlinked_goes_before_the_family() {
    let place = Place::new();
    let team = place.options().anonymous().unwrap();
    let queue = team.queue::<u8>(4).unwrap();
    queue.unlink().unwrap();
    queue.put(1).unwrap();
    let letter = sent(&queue);
    assert_eq!(
        come::<Queue<u8>>(&letter).unwrap().get().unwrap(),
        1,
        "through who has it"
    );
    drop(queue);
    assert!(come::<Queue<u8>>(&letter).is_none());
    assert!(family::members(team.members().path()).unwrap().is_empty());
}

#[test]
fn a_manager_makes_every_kind() {
    let place = Place::new();
    let team = place.options().anonymous().unwrap();
    team.joinable_queue::<u8>(1).unwrap();
    team.lifo::<u8>(1).unwrap();
    team.priority::<u8>(1).unwrap();
    team.broadcast::<u8>(1).unwrap();
    team.lock().unwrap();
    team.rlock().unwrap();
    team.rwlock().unwrap();
    team.rwlock_with(1u8).unwrap();
    team.bounded_semaphore(1).unwrap();
    team.condition().unwrap();
    team.barrier(1).unwrap();
    let (mut first, mut second) = team.pipe::<u8>().unwrap();
    first.send(7).unwrap();
    assert_eq!(second.recv().unwrap(), 7);
    let (mut receiver, mut sender) = team.simplex::<u8>().unwrap();
    sender.send(8).unwrap();
    assert_eq!(receiver.recv().unwrap(), 8);
    assert_eq!(family::members(team.members().path()).unwrap().len(), 13);
}

#[test]
fn the_namespace_knows_families() {
    let place = Place::new();
    let team = place.options().create("team").unwrap();
    let jobs = Queue::<Bytes>::options(1).namespace(&team.members());
    let (_jobs, _event) = (jobs.create("jobs").unwrap(), team.event().unwrap());
    let found = place.0.inspect("team").unwrap();
    assert_eq!((found.kind, found.participants.len()), (Kind::Manager, 1));
    let family = found.family.unwrap();
    let members: Vec<_> = family
        .members
        .iter()
        .map(|m| (m.name.as_deref(), m.kind))
        .collect();
    assert_eq!(members, [(None, Kind::Event), (Some("jobs"), Kind::Queue)]);
    assert!(family.members.iter().all(|m| (m.living, m.dead) == (1, 0)));
    assert!(found.state.starts_with("2 members"), "{}", found.state);
    assert_eq!(place.0.sweep("team").unwrap(), 0);
    assert_eq!(team.sweep().unwrap(), 0);
}

#[test]
fn who_comes_while_the_last_one_leaves_has_all_or_nothing() {
    let place = Place::new();
    for _ in 0..200 {
        let team = place.options().anonymous().unwrap();
        let letters: Vec<_> = (0..3).map(|_| sent(&team.event().unwrap())).collect();
        let newcomer = std::thread::scope(|scope| {
            let newcomer = scope.spawn(|| come::<Event>(&letters[0]));
            drop(team);
            newcomer.join().unwrap()
        });
        let others = letters
            .iter()
            .filter(|letter| come::<Event>(letter).is_some());
        let expected = if newcomer.is_some() { 3 } else { 0 };
        assert_eq!(others.count(), expected);
        drop(newcomer);
        assert!(place.families().is_empty());
    }
}
