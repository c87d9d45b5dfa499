//! Who waits for whom: the search for circles, over plain data.
//!
//! A wait is *stuck* when nothing that is on its way can end it. All waits are taken for stuck at first; those are struck out
//! that end once somebody goes on who is not stuck himself, until none is left to strike out. Each wait that remains has a
//! holder in its way that remains too, so that following them comes round in a circle.

/// Something that is held and waited for, by parties of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource<P> {
    pub(super) name: String,
    /// Whether it is enough for those who wait that one of the holders goes on, or whether all have to.
    pub(super) needs: Needs,
    pub(super) holders: Vec<P>,
    pub(super) waiters: Vec<P>,
}

/// What has to happen for a wait to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// A lock: each holder has to release it.
    AllHolders,
    /// A semaphore without a free permit: any holder has to release its own.
    AnyHolder,
    /// Others may end it, or it is about to end.
    Nobody,
}

/// One arc of a circle: `holder` has `held` and goes on only when `waiter` does, which is most often the same, and waits for
/// what the next step holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step<'a, P> {
    pub(super) holder: &'a P,
    pub(super) held: &'a Resource<P>,
    pub(super) waiter: &'a P,
    pub(super) awaited: &'a Resource<P>,
}

/// Circles of stuck waits: at least one for each set of parties that are stuck with each other, and each wait in one at
/// the most. `depends` says whether a holder goes on only when a waiter does.
pub(super) fn circles<P: PartialEq>(
    resources: &[Resource<P>],
    depends: impl Fn(&P, &P) -> bool,
) -> Vec<Vec<Step<'_, P>>> {
    let mut waits: Vec<Wait> = Vec::new();
    for (resource, Resource { waiters, .. }) in resources.iter().enumerate() {
        waits.extend((0..waiters.len()).map(|waiter| Wait { resource, waiter }));
    }
    let graph = Graph {
        in_the_way: in_the_way(resources, &waits, depends),
        resources,
        waits,
    };
    let stuck = graph.stuck();
    graph.rounds(&stuck)
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    resource: usize,
    waiter: usize,
}

struct Graph<'a, P> {
    resources: &'a [Resource<P>],
    waits: Vec<Wait>,
    /// For each holder of each resource: the waits that have to end before it goes on.
    in_the_way: Vec<Vec<Vec<usize>>>,
}

fn in_the_way<P>(
    resources: &[Resource<P>],
    waits: &[Wait],
    depends: impl Fn(&P, &P) -> bool,
) -> Vec<Vec<Vec<usize>>> {
    let of_holder = |holder: &P| {
        let waits = waits.iter().enumerate();
        waits
            .filter(|(_, wait)| depends(holder, &resources[wait.resource].waiters[wait.waiter]))
            .map(|(index, _)| index)
            .collect()
    };
    resources
        .iter()
        .map(|resource| {
            // Who holds what nobody waits for, or what others can give, is in nobody's way.
            let is_harmless = resource.waiters.is_empty() || resource.needs == Needs::Nobody;
            let holders = if is_harmless {
                &[][..]
            } else {
                &resource.holders
            };
            holders.iter().map(of_holder).collect()
        })
        .collect()
}

impl<'a, P: PartialEq> Graph<'a, P> {
    fn stuck(&self) -> Vec<bool> {
        let mut stuck = vec![true; self.waits.len()];
        let mut has_changed = true;
        while has_changed {
            has_changed = false;
            for wait in 0..stuck.len() {
                if stuck[wait] && !self.is_stuck(wait, &stuck) {
                    stuck[wait] = false;
                    has_changed = true;
                }
            }
        }
        stuck
    }

    fn is_stuck(&self, wait: usize, stuck: &[bool]) -> bool {
        let resource = self.waits[wait].resource;
        let mut holders = self.in_the_way[resource].iter();
        let cannot_go_on = |ways: &Vec<usize>| ways.iter().any(|&other| stuck[other]);
        match self.resources[resource].needs {
            Needs::AllHolders => holders.any(cannot_go_on),
            Needs::AnyHolder => !self.in_the_way[resource].is_empty() && holders.all(cannot_go_on),
            Needs::Nobody => false,
        }
    }

    fn rounds(&self, stuck: &[bool]) -> Vec<Vec<Step<'a, P>>> {
        let mut is_seen = vec![false; self.waits.len()];
        let mut rounds = Vec::new();
        for start in (0..self.waits.len()).filter(|&wait| stuck[wait]) {
            // The waits on the way, each with the holder that the wait before it led to.
            let mut way: Vec<(usize, usize)> = Vec::new();
            let mut next = Some((start, 0));
            while let Some((wait, through)) = next {
                if let Some(first) = way.iter().position(|&(seen, _)| seen == wait) {
                    let mut round = way.split_off(first);
                    round[0].1 = through;
                    rounds.push(self.steps(&round));
                    break;
                }
                if is_seen[wait] {
                    break; // joins a way that was walked before
                }
                is_seen[wait] = true;
                way.push((wait, through));
                next = self.blocker(wait, stuck);
            }
        }
        rounds
    }

    /// A stuck wait that is in the way of `wait`, and whose holder it is.
    fn blocker(&self, wait: usize, stuck: &[bool]) -> Option<(usize, usize)> {
        let holders = self.in_the_way[self.waits[wait].resource]
            .iter()
            .enumerate();
        holders
            .filter_map(|(holder, ways)| {
                let other = ways.iter().find(|&&other| stuck[other])?;
                Some((*other, holder))
            })
            .next()
    }

    fn steps(&self, round: &[(usize, usize)]) -> Vec<Step<'a, P>> {
        let before = round.iter().cycle().skip(round.len() - 1);
        round
            .iter()
            .zip(before)
            .map(|(&(wait, holder), &(previous, _))| {
                let held = &self.resources[self.waits[previous].resource];
                let Wait { resource, waiter } = self.waits[wait];
                let awaited = &self.resources[resource];
                Step {
                    holder: &held.holders[holder],
                    held,
                    waiter: &awaited.waiters[waiter],
                    awaited,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(
        name: &str,
        needs: Needs,
        holders: &[&'static str],
        waiters: &[&'static str],
    ) -> Resource<&'static str> {
        Resource {
            name: name.to_owned(),
            needs,
            holders: holders.to_vec(),
            waiters: waiters.to_vec(),
        }
    }

    fn lock(
        name: &str,
        holders: &[&'static str],
        waiters: &[&'static str],
    ) -> Resource<&'static str> {
        resource(name, Needs::AllHolders, holders, waiters)
    }

    fn semaphore(
        name: &str,
        holders: &[&'static str],
        waiters: &[&'static str],
    ) -> Resource<&'static str> {
        resource(name, Needs::AnyHolder, holders, waiters)
    }

    /// `parent/child` is a child that `parent` waits for.
    fn depends(holder: &&str, waiter: &&str) -> bool {
        waiter
            .strip_prefix(*holder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Each circle as `holder has held, waiter wants awaited; …`.
    fn found(resources: &[Resource<&'static str>]) -> Vec<String> {
        circles(resources, depends)
            .iter()
            .map(|circle| {
                let steps = circle.iter().map(|s| {
                    format!(
                        "{} has {}, {} wants {}",
                        s.holder, s.held.name, s.waiter, s.awaited.name
                    )
                });
                steps.collect::<Vec<_>>().join("; ")
            })
            .collect()
    }

    #[test]
    fn two_locks_in_opposite_order_are_a_circle() {
        let both = [lock("x", &["A"], &["B"]), lock("y", &["B"], &["A"])];
        assert_eq!(found(&both), ["B has y, B wants x; A has x, A wants y"]);
    }

    #[test]
    fn three_come_round_and_who_waits_behind_them_is_not_part_of_it() {
        let locks = [
            lock("w", &["D"], &[]),
            lock("x", &["A"], &["D", "C"]),
            lock("y", &["B"], &["A"]),
            lock("z", &["C"], &["B"]),
        ];
        let circles = found(&locks);
        assert_eq!(circles.len(), 1, "{circles:?}");
        assert_eq!(circles[0].matches(';').count(), 2, "{circles:?}");
        assert!(!circles[0].contains('D'), "{circles:?}");
    }

    #[test]
    fn a_chain_that_ends_is_no_circle() {
        let chain = [
            lock("x", &["A"], &["B"]),
            lock("y", &["B"], &["C"]),
            lock("z", &["C"], &[]),
        ];
        assert_eq!(found(&chain), [""; 0]);
        assert_eq!(
            found(&[lock("x", &[], &["A"])]),
            [""; 0],
            "free, and soon taken"
        );
        assert_eq!(found(&[]), [""; 0]);
    }

    #[test]
    fn who_waits_for_what_it_has_waits_for_ever() {
        let upgrade = [lock("x", &["A", "B"], &["A"])];
        assert_eq!(found(&upgrade), ["A has x, A wants x"]);
    }

    #[test]
    fn one_reader_that_is_stuck_is_enough() {
        let locks = [lock("x", &["R", "A"], &["B"]), lock("y", &["B"], &["A"])];
        assert_eq!(found(&locks), ["B has y, B wants x; A has x, A wants y"]);
    }

    #[test]
    fn a_semaphore_is_stuck_only_when_all_its_holders_are() {
        let one_goes_on = [
            semaphore("s", &["A", "free"], &["B"]),
            lock("y", &["B"], &["A"]),
        ];
        assert_eq!(found(&one_goes_on), [""; 0]);
        let all_are_stuck = [
            semaphore("s", &["A", "C"], &["B"]),
            lock("y", &["B"], &["A", "C"]),
        ];
        assert_eq!(
            found(&all_are_stuck),
            ["B has y, B wants s; A has s, A wants y"]
        );
        let permits = [semaphore("s", &["A", "B"], &["A", "B"])];
        assert_eq!(
            found(&permits),
            ["A has s, A wants s"],
            "each wants a second one"
        );
        let lent = resource("s", Needs::Nobody, &["A"], &["B"]);
        assert_eq!(found(&[lent, lock("y", &["B"], &["A"])]), [""; 0]);
    }

    #[test]
    fn who_waits_for_its_child_is_stuck_with_it() {
        let locks = [lock("x", &["P"], &["Q/1"]), lock("y", &["Q"], &["P/1"])];
        assert_eq!(
            found(&locks),
            ["Q has y, Q/1 wants x; P has x, P/1 wants y"]
        );
        assert_eq!(
            found(&[lock("x", &["P"], &["P/1"])]),
            ["P has x, P/1 wants x"]
        );
        let brothers = [lock("x", &["P/1"], &["P/2"])];
        assert_eq!(found(&brothers), [""; 0]);
    }

    #[test]
    fn circles_apart_are_all_found() {
        let locks = [
            lock("a", &["A"], &["B"]),
            lock("b", &["B"], &["A"]),
            lock("c", &["C"], &["D"]),
            lock("d", &["D"], &["C"]),
        ];
        assert_eq!(found(&locks).len(), 2);
    }
}
