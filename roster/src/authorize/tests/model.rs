//! An independent statement of the rules, over sets of numbers, and the
//! property that the door agrees with it on random states and changes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{Change, Committer, LeafUpdate, Proposer, Removal, authorize};
use super::{
    DEVICES, IDENTITIES, NAMES, Tag, add, certificate, days_from_now, group_policy, name,
    pair_policy, roster,
};
use crate::roles::{Policy, Role, Rules};
use crate::state::LeafIndex;

type Powers = BTreeMap<usize, u8>;

#[derive(Debug, Clone)]
struct World {
    /// `None` is the pair of accounts 0 and 1.
    group: Option<Powers>,
    leaves: Vec<Tag>,
}

#[derive(Debug, Clone)]
struct Wish {
    external: Option<Tag>,
    committer: usize,
    path: Option<Tag>,
    adds: Vec<(Tag, bool)>,
    /// Leaf, and who proposes when it is not the committer.
    removes: Vec<(usize, Option<usize>)>,
    updates: Vec<(usize, Tag)>,
    powers: Option<Powers>,
    skips_version: bool,
    strange: bool,
}

/// What follows from a wish, before any rule.
struct Outcome {
    actor: Tag,
    newcomers: Vec<Tag>,
    after: Vec<Tag>,
    accounts: BTreeSet<usize>,
}

fn outcome(world: &World, wish: &Wish) -> Option<Outcome> {
    let leaves = &world.leaves;
    let actor = wish
        .external
        .or_else(|| leaves.get(wish.committer).copied())?;
    let added = wish.adds.iter().map(|(tag, _)| *tag);
    let newcomers: Vec<Tag> = added.chain(wish.external).collect();
    let gone: BTreeSet<usize> = wish.removes.iter().map(|(leaf, _)| *leaf).collect();
    let kept = leaves
        .iter()
        .enumerate()
        .filter(|(leaf, _)| !gone.contains(leaf));
    let after: Vec<Tag> = kept.map(|(_, tag)| *tag).chain(newcomers.clone()).collect();
    let accounts = after.iter().map(|tag| tag.0).collect();
    Some(Outcome {
        actor,
        newcomers,
        after,
        accounts,
    })
}

/// What must hold whoever commits and wherever. Each line is a condition.
fn sound(world: &World, wish: &Wish, outcome: &Outcome) -> bool {
    let leaves = &world.leaves;
    let removed: BTreeSet<usize> = wish.removes.iter().map(|(leaf, _)| *leaf).collect();
    let devices: BTreeSet<(usize, usize)> =
        outcome.after.iter().map(|tag| (tag.0, tag.2)).collect();
    let seen: BTreeSet<(usize, usize)> = leaves
        .iter()
        .chain(&outcome.newcomers)
        .map(|tag| (tag.0, tag.1))
        .collect();
    !wish.strange
        && wish.adds.iter().all(|(_, fresh)| *fresh)
        && removed.len() == wish.removes.len()
        && removed.iter().all(|leaf| *leaf < leaves.len())
        && wish
            .updates
            .iter()
            .all(|(leaf, tag)| leaves.get(*leaf) == Some(tag))
        && devices.len() == outcome.after.len()
        && (0..NAMES).all(|account| seen.iter().filter(|pair| pair.0 == account).count() <= 1)
}

/// The rules once more.
fn model(world: &World, wish: &Wish) -> bool {
    let Some(outcome) = outcome(world, wish) else {
        return false;
    };
    if !sound(world, wish, &outcome) {
        return false;
    }
    if let Some(joiner) = wish.external {
        return external(world, wish, joiner);
    }
    let removes_itself = wish.removes.iter().any(|(leaf, _)| *leaf == wish.committer);
    if removes_itself || wish.path.is_some_and(|tag| tag != outcome.actor) {
        return false;
    }
    match &world.group {
        None => pair(world, wish, &outcome),
        Some(powers) => group(world, wish, &outcome, powers),
    }
}

fn external(world: &World, wish: &Wish, joiner: Tag) -> bool {
    let leaves = &world.leaves;
    wish.path == Some(joiner)
        && leaves
            .iter()
            .any(|tag| (tag.0, tag.1) == (joiner.0, joiner.1))
        && wish.adds.is_empty()
        && wish.powers.is_none()
        && wish
            .removes
            .iter()
            .all(|(leaf, by)| by.is_none() && leaves[*leaf] == joiner)
}

fn pair(world: &World, wish: &Wish, outcome: &Outcome) -> bool {
    let leaves = &world.leaves;
    let actor = outcome.actor.0;
    wish.powers.is_none()
        && outcome.accounts.iter().all(|account| *account < 2)
        && wish
            .adds
            .iter()
            .all(|(tag, _)| tag.0 == actor || leaves.iter().all(|leaf| leaf.0 != tag.0))
        && wish
            .removes
            .iter()
            .all(|(leaf, by)| by.is_none() && leaves[*leaf].0 == actor)
}

fn group(world: &World, wish: &Wish, outcome: &Outcome, powers: &Powers) -> bool {
    let leaves = &world.leaves;
    let actor = outcome.actor.0;
    let power = powers[&actor];
    let next = wish.powers.as_ref().unwrap_or(powers);
    let may_remove = |(leaf, by): &(usize, Option<usize>)| {
        let target = leaves[*leaf].0;
        match by {
            Some(by) => leaves.get(*by).is_some_and(|tag| tag.0 == target),
            None => target == actor || power >= if powers[&target] == 0 { 1 } else { 2 },
        }
    };
    let may_set = |account: usize| match (powers.get(&account), next.get(&account)) {
        (None, Some(0)) => power >= 1,
        (None, Some(_)) => power == 2,
        (Some(old), Some(new)) => old == new || power == 2 || (account == actor && new < old),
        _ => true,
    };
    wish.adds
        .iter()
        .all(|(tag, _)| tag.0 == actor || power >= 1)
        && wish.removes.iter().all(may_remove)
        && (0..NAMES).all(may_set)
        && !(wish.powers.is_some() && wish.skips_version)
        && outcome.accounts == next.keys().copied().collect()
        && next.values().any(|power| *power == 2)
}

fn role(power: u8) -> Role {
    [Role::Member, Role::Admin, Role::Owner][usize::from(power)]
}

fn rules(powers: &Powers) -> Rules {
    Rules::Group {
        roles: powers
            .iter()
            .map(|(account, power)| (name(*account), role(*power)))
            .collect(),
    }
}

/// The real question, where it can be asked: a policy without an owner cannot even be written.
fn real(world: &World, wish: &Wish) -> bool {
    let policy = match &world.group {
        None => pair_policy(),
        Some(powers) => group_policy(
            &powers
                .iter()
                .map(|(a, p)| (*a, role(*p)))
                .collect::<Vec<_>>(),
        ),
    };
    let roster = roster(policy.clone(), &world.leaves);
    let next_policy = match &wish.powers {
        None => None,
        Some(powers) => {
            let base = if wish.skips_version {
                policy.next(policy.rules().clone()).unwrap()
            } else {
                policy
            };
            match base.next(rules(powers)) {
                Ok(next) => Some(next),
                Err(_) => return false,
            }
        }
    };
    authorize(&roster, &change(wish, next_policy)).is_ok()
}

fn change(wish: &Wish, policy: Option<Policy>) -> Change {
    let leaf = |number: usize| LeafIndex(u32::try_from(number).unwrap());
    Change {
        committer: match wish.external {
            Some(tag) => Committer::External(certificate(tag)),
            None => Committer::Member(leaf(wish.committer)),
        },
        adds: wish
            .adds
            .iter()
            .map(|(tag, fresh)| {
                let mut added = add(*tag);
                if !fresh {
                    added.lifetime = days_from_now(-1, 14);
                }
                added
            })
            .collect(),
        removes: wish
            .removes
            .iter()
            .map(|(number, by)| Removal {
                leaf: leaf(*number),
                proposer: by.map_or(Proposer::Committer, |by| Proposer::Member(leaf(by))),
            })
            .collect(),
        updates: wish
            .updates
            .iter()
            .map(|(number, tag)| LeafUpdate {
                leaf: leaf(*number),
                certificate: certificate(*tag),
            })
            .collect(),
        path_leaf: wish.path.map(certificate),
        policy,
        other_proposals: usize::from(wish.strange),
        freshness: super::super::Freshness::Live {
            now_ms: super::NOW_MS,
        },
    }
}

fn tag() -> impl Strategy<Value = Tag> {
    // The second identity is rare, or hardly anything would be allowed.
    let identity = prop::sample::select(vec![0, 0, 0, 0, 0, 0, 0, IDENTITIES - 1]);
    (0..NAMES, identity, 0..DEVICES)
}

/// A consistent state: a leaf for some devices, roles for exactly their accounts.
fn world() -> impl Strategy<Value = World> {
    let devices = prop::collection::btree_set((0..NAMES, 0..DEVICES), 1..6);
    (
        any::<bool>(),
        devices,
        prop::collection::vec(0..3_u8, NAMES),
    )
        .prop_map(|(is_pair, devices, powers)| {
            let leaves: Vec<Tag> = devices
                .into_iter()
                .filter(|(account, _)| !is_pair || *account < 2)
                .map(|(account, device)| (account, 0, device))
                .collect();
            let leaves = if leaves.is_empty() {
                vec![(0, 0, 0)]
            } else {
                leaves
            };
            let mut group: Powers = leaves.iter().map(|tag| (tag.0, powers[tag.0])).collect();
            group.insert(leaves[0].0, 2);
            World {
                group: (!is_pair).then_some(group),
                leaves,
            }
        })
}

fn rarely<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.15, value)
}

fn wish() -> impl Strategy<Value = Wish> {
    let removes = prop::collection::vec((0..6_usize, rarely(0..6_usize)), 0..3);
    let adds = prop::collection::vec((tag(), prop::bool::weighted(0.9)), 0..3);
    let updates = prop::collection::vec((0..6_usize, tag()), 0..2);
    let powers = prop::option::weighted(
        0.3,
        prop::collection::btree_map(0..NAMES, 0..3_u8, 1..=NAMES),
    );
    (
        rarely(tag()),
        0..6_usize,
        rarely(tag()),
        adds,
        removes,
        rarely(updates),
        powers,
        any::<[u8; 3]>(),
    )
        .prop_map(
            |(external, committer, path, adds, removes, updates, powers, dice)| Wish {
                // An external joiner mostly states its own certificate, as the library makes it.
                path: if external.is_some() && dice[2] < 200 {
                    external
                } else {
                    path
                },
                external,
                committer,
                adds,
                removes,
                updates: updates.unwrap_or_default(),
                powers,
                skips_version: dice[0] < 20,
                strange: dice[1] < 10,
            },
        )
}

/// Bends a random policy towards one that fits the members, so that many are allowed.
fn fitted(world: &World, mut wish: Wish) -> Wish {
    let count = world.leaves.len();
    wish.committer %= count;
    for (leaf, _) in &mut wish.removes {
        *leaf %= count;
    }
    if wish.external.is_some() {
        wish.adds.clear();
        wish.powers = None;
    }
    if let (Some(before), Some(powers)) = (&world.group, &mut wish.powers) {
        let gone: BTreeSet<usize> = wish.removes.iter().map(|(leaf, _)| *leaf).collect();
        let staying = world
            .leaves
            .iter()
            .enumerate()
            .filter(|(leaf, _)| !gone.contains(leaf))
            .map(|(_, tag)| tag.0);
        let accounts: BTreeSet<usize> = staying
            .chain(wish.adds.iter().map(|(tag, _)| tag.0))
            .collect();
        let wanted = powers.clone();
        *powers = accounts
            .into_iter()
            .map(|account| {
                let default = before.get(&account).copied().unwrap_or(0);
                (account, wanted.get(&account).copied().unwrap_or(default))
            })
            .collect();
    }
    wish
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_door_agrees_with_the_model(world in world(), wish in wish(), fit in any::<bool>()) {
        let wish = if fit { fitted(&world, wish) } else { wish };
        prop_assert_eq!(real(&world, &wish), model(&world, &wish), "{:?} {:?}", world, wish);
    }

    #[test]
    fn what_is_allowed_keeps_a_member_and_an_owner(world in world(), wish in wish()) {
        let wish = fitted(&world, wish);
        if real(&world, &wish) {
            if let Some(powers) = &wish.powers {
                prop_assert!(powers.values().any(|power| *power == 2));
            }
            prop_assert!(wish.external.is_some() || !wish.removes.iter().any(|(leaf, _)| *leaf == wish.committer));
        }
    }
}

#[test]
fn the_model_sees_both_answers_often() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut allowed = BTreeMap::from([("pair", 0), ("group", 0), ("external", 0), ("policy", 0)]);
    for _ in 0..4_000 {
        let world = world().new_tree(&mut runner).unwrap().current();
        let wish = fitted(&world, wish().new_tree(&mut runner).unwrap().current());
        if model(&world, &wish) {
            let kind = match (&wish.external, &world.group, &wish.powers) {
                (Some(_), _, _) => "external",
                (_, None, _) => "pair",
                (_, Some(_), None) => "group",
                (_, Some(_), Some(_)) => "policy",
            };
            *allowed.get_mut(kind).unwrap() += 1;
        }
    }
    assert!(allowed.values().all(|count| *count >= 20), "{allowed:?}");
}
