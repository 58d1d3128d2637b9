//! An independent statement of the rules, over sets of numbers, and the
//! property that the door agrees with it on random states and changes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{Change, Committer, LeafUpdate, Proposer, Removal, authorize};
use super::{
    DEVICES, IDENTITIES, NAMES, Tag, add, certificate, days_from_now, group_policy, name,
    pair_policy, roster,
};
use crate::roles::{Access, GroupRules, Policy, Role, Rules};
use crate::state::LeafIndex;

type Powers = BTreeMap<usize, u8>;

/// A group's policy in numbers: 0 member, 1 admin, 2 owner.
#[derive(Debug, Clone, PartialEq)]
struct Law {
    powers: Powers,
    public: bool,
    banned: BTreeSet<usize>,
    put_out: BTreeSet<usize>,
}

impl Law {
    /// What an account may do if it is in.
    fn power(&self, account: usize) -> Option<u8> {
        let unnamed = (self.public && !self.banned.contains(&account)).then_some(0);
        self.powers.get(&account).copied().or(unnamed)
    }

    fn can_be_written(&self) -> bool {
        self.powers.values().any(|power| *power == 2)
            && !(self.public && self.powers.values().any(|power| *power == 0))
            && self
                .banned
                .union(&self.put_out)
                .all(|account| !self.powers.contains_key(account))
            && self.banned.is_disjoint(&self.put_out)
            && (!self.public || self.put_out.is_empty())
    }
}

#[derive(Debug, Clone)]
struct World {
    /// `None` is the pair of accounts 0 and 1.
    group: Option<Law>,
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
    law: Option<Law>,
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
        Some(law) => group(world, wish, &outcome, law),
    }
}

fn external(world: &World, wish: &Wish, joiner: Tag) -> bool {
    let leaves = &world.leaves;
    let is_in = leaves.iter().any(|tag| tag.0 == joiner.0);
    let may_come = match &world.group {
        Some(law) => law.public && !law.banned.contains(&joiner.0),
        None => false,
    };
    wish.path == Some(joiner)
        && (is_in || may_come)
        && wish.adds.is_empty()
        && wish.law.is_none()
        && wish
            .removes
            .iter()
            .all(|(leaf, by)| by.is_none() && leaves[*leaf] == joiner)
}

fn pair(world: &World, wish: &Wish, outcome: &Outcome) -> bool {
    let leaves = &world.leaves;
    let actor = outcome.actor.0;
    wish.law.is_none()
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

fn group(world: &World, wish: &Wish, outcome: &Outcome, law: &Law) -> bool {
    let leaves = &world.leaves;
    let actor = outcome.actor.0;
    let power = law.power(actor).unwrap();
    let next = wish.law.as_ref().unwrap_or(law);
    let to_put_out = |account| {
        if law.power(account).unwrap_or(0) == 0 {
            1
        } else {
            2
        }
    };
    let may_remove = |(leaf, by): &(usize, Option<usize>)| {
        let target = leaves[*leaf].0;
        match by {
            Some(by) => leaves.get(*by).is_some_and(|tag| tag.0 == target),
            None => target == actor || power >= to_put_out(target),
        }
    };
    let may_set = |account: usize| {
        // What an unnamed account is that is in, as the law before and after has it.
        let unnamed = law.public.then_some(0);
        let old = law.powers.get(&account).copied().or(unnamed);
        let new = next.powers.get(&account).copied();
        if new.is_none() && !outcome.accounts.contains(&account) {
            return true;
        }
        match (old, new.or(unnamed)) {
            (None, Some(0)) => power >= 1,
            (None, Some(_)) => power == 2,
            (Some(old), Some(new)) => old == new || power == 2 || (account == actor && new < old),
            (_, None) => true,
        }
    };
    let may_ban = |account: &usize| {
        law.banned.contains(account) == next.banned.contains(account)
            || power
                >= if next.banned.contains(account) {
                    to_put_out(*account)
                } else {
                    1
                }
    };
    let named: BTreeSet<usize> = next.powers.keys().copied().collect();
    let fits = if law.public {
        named.is_subset(&outcome.accounts) && next.banned.is_disjoint(&outcome.accounts)
    } else {
        named == outcome.accounts
    };
    wish.adds
        .iter()
        .all(|(tag, _)| tag.0 == actor || power >= 1)
        && wish.removes.iter().all(may_remove)
        && (0..NAMES).all(may_set)
        && (0..NAMES).all(|account| may_ban(&account))
        && (law.put_out == next.put_out || power >= 1)
        && !(wish.law.is_some() && wish.skips_version)
        && next.public == law.public
        && next.can_be_written()
        && fits
}

fn role(power: u8) -> Role {
    [Role::Member, Role::Admin, Role::Owner][usize::from(power)]
}

fn rules(law: &Law) -> Rules {
    Rules::Group(GroupRules {
        roles: law
            .powers
            .iter()
            .map(|(account, power)| (name(*account), role(*power)))
            .collect(),
        access: if law.public {
            Access::Public
        } else {
            Access::Closed
        },
        banned: law.banned.iter().map(|account| name(*account)).collect(),
        put_out: law.put_out.iter().map(|account| name(*account)).collect(),
    })
}

/// The real question, where it can be asked: a policy without an owner cannot even be written.
fn real(world: &World, wish: &Wish) -> bool {
    let policy = match &world.group {
        None => pair_policy(),
        Some(law) => group_policy(&[(0, Role::Owner)]).next(rules(law)).unwrap(),
    };
    let roster = roster(policy.clone(), &world.leaves);
    let next_policy = match &wish.law {
        None => None,
        Some(law) => {
            let base = if wish.skips_version {
                policy.next(policy.rules().clone()).unwrap()
            } else {
                policy
            };
            match base.next(rules(law)) {
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

/// A consistent state: a leaf for some devices, roles for exactly their
/// accounts (in a public group for those above members), bans for others.
fn world() -> impl Strategy<Value = World> {
    let devices = prop::collection::btree_set((0..NAMES, 0..DEVICES), 1..6);
    (
        0..3_u8,
        devices,
        prop::collection::vec(0..3_u8, NAMES),
        prop::collection::vec(0..4_u8, NAMES),
    )
        .prop_map(|(kind, devices, powers, outside)| {
            let mut leaves: Vec<Tag> = devices
                .into_iter()
                .filter(|(account, _)| kind != 0 || *account < 2)
                .map(|(account, device)| (account, 0, device))
                .collect();
            if leaves.is_empty() {
                leaves.push((0, 0, 0));
            }
            let mut named: Powers = leaves.iter().map(|tag| (tag.0, powers[tag.0])).collect();
            let public = kind == 2;
            let is_in: BTreeSet<usize> = named.keys().copied().collect();
            named.insert(leaves[0].0, 2);
            named.retain(|_, power| !public || *power > 0);
            let out = |which: u8| {
                let is_out = |account: &usize| outside[*account] == which;
                let out = (0..NAMES).filter(|account| !is_in.contains(account));
                out.filter(is_out).collect::<BTreeSet<_>>()
            };
            let banned = out(1);
            let put_out = if public { BTreeSet::new() } else { out(2) };
            let law = Law {
                powers: named,
                public,
                banned,
                put_out,
            };
            World {
                group: (kind != 0).then_some(law),
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
    let law = prop::option::weighted(
        0.3,
        (
            prop::collection::btree_map(0..NAMES, 0..3_u8, 1..=NAMES),
            any::<bool>(),
            prop::collection::btree_set(0..NAMES, 0..2),
            prop::collection::btree_set(0..NAMES, 0..2),
        )
            .prop_map(|(powers, public, banned, put_out)| Law {
                powers,
                public,
                banned,
                put_out,
            }),
    );
    (
        rarely(tag()),
        0..6_usize,
        rarely(tag()),
        adds,
        removes,
        rarely(updates),
        law,
        any::<[u8; 3]>(),
    )
        .prop_map(
            |(external, committer, path, adds, removes, updates, law, dice)| Wish {
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
                law,
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
        wish.law = None;
    }
    if let (Some(before), Some(law)) = (&world.group, &mut wish.law) {
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
        let wanted = law.powers.clone();
        let default = |account| before.powers.get(&account).copied().unwrap_or(0);
        let power = |account| wanted.get(&account).copied().unwrap_or(default(account));
        law.powers = accounts
            .iter()
            .map(|account| (*account, power(*account)))
            .filter(|(_, power)| !before.public || *power > 0)
            .collect();
        law.public = before.public;
        // Some are banned anew, most of the others stay so.
        law.banned
            .extend(before.banned.iter().filter(|account| *account % 2 == 0));
        law.banned.retain(|account| !accounts.contains(account));
        law.put_out
            .extend(before.put_out.iter().filter(|account| *account % 2 == 1));
        let Law { banned, public, .. } = &*law;
        let (banned, public) = (banned.clone(), *public);
        law.put_out
            .retain(|account| !public && !accounts.contains(account) && !banned.contains(account));
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
            if let Some(law) = &wish.law {
                prop_assert!(law.powers.values().any(|power| *power == 2));
            }
            prop_assert!(wish.external.is_some() || !wish.removes.iter().any(|(leaf, _)| *leaf == wish.committer));
        }
    }
}

#[test]
fn the_model_sees_both_answers_often() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut allowed: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..12_000 {
        let world = world().new_tree(&mut runner).unwrap().current();
        let wish = fitted(&world, wish().new_tree(&mut runner).unwrap().current());
        if model(&world, &wish) {
            let is_in = |joiner: Tag| world.leaves.iter().any(|tag| tag.0 == joiner.0);
            let bans = |law: &Law, before: &Law| law.banned != before.banned;
            let outs = |law: &Law, before: &Law| law.put_out != before.put_out;
            let kind = match (&wish.external, &world.group, &wish.law) {
                (Some(joiner), _, _) if is_in(*joiner) => "own device",
                (Some(_), _, _) => "newcomer",
                (_, None, _) => "pair",
                (_, Some(law), None) if law.public => "public",
                (_, Some(_), None) => "closed",
                (_, Some(law), Some(next)) if bans(next, law) => "bans",
                (_, Some(law), Some(next)) if outs(next, law) => "put out",
                (_, Some(law), Some(_)) if law.public => "policy of a public group",
                (_, Some(_), Some(_)) => "policy of a closed group",
            };
            *allowed.entry(kind).or_default() += 1;
        }
    }
    let often = allowed.values().filter(|count| **count >= 20).count();
    assert_eq!(often, 9, "{allowed:?}");
}
