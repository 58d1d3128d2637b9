//! The number that two people compare to know that nobody stands between them.

use sha2::{Digest as _, Sha512};
use sotto_protocol::{DeploymentId, Username};

/// Hash rounds: makes searching for a look-alike identity dear.
const ROUNDS: u32 = 5200;
const LABEL: &[u8] = b"sotto safety number v1\0";

/// The safety number over two identities: twelve groups of five digits,
/// separated by spaces; the same from both sides.
#[must_use]
pub fn safety_number(
    deployment: &DeploymentId,
    one: (&Username, &[u8; 32]),
    other: (&Username, &[u8; 32]),
) -> String {
    let mut halves = [half(deployment, one), half(deployment, other)];
    halves.sort();
    halves.concat().join(" ")
}

/// Six groups of five digits that stand for one identity.
fn half(deployment: &DeploymentId, (username, key): (&Username, &[u8; 32])) -> Vec<String> {
    let mut state = [
        LABEL,
        deployment.as_bytes(),
        key,
        username.as_str().as_bytes(),
    ]
    .concat();
    for _ in 0..ROUNDS {
        let mut hash = Sha512::new();
        hash.update(&state);
        hash.update(key);
        state = hash.finalize().to_vec();
    }
    state
        .chunks_exact(5)
        .take(6)
        .map(|chunk| {
            let number = chunk
                .iter()
                .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
            format!("{:05}", number % 100_000)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    #[test]
    fn both_sides_see_the_same_sixty_digits() {
        let deployment = DeploymentId::from_bytes([1; 16]);
        let (alice, bob) = (name("alice"), name("bob"));
        let from_alice = safety_number(&deployment, (&alice, &[2; 32]), (&bob, &[3; 32]));
        let from_bob = safety_number(&deployment, (&bob, &[3; 32]), (&alice, &[2; 32]));
        assert_eq!(from_alice, from_bob);
        assert_eq!(from_alice.split(' ').count(), 12);
        assert!(from_alice.split(' ').all(|group| group.len() == 5));
        insta::assert_snapshot!(from_alice);
    }

    #[test]
    fn another_key_name_or_deployment_gives_another_number() {
        let deployment = DeploymentId::from_bytes([1; 16]);
        let (alice, bob) = (name("alice"), name("bob"));
        let number = safety_number(&deployment, (&alice, &[2; 32]), (&bob, &[3; 32]));
        let swapped = safety_number(&deployment, (&alice, &[4; 32]), (&bob, &[3; 32]));
        let renamed = safety_number(&deployment, (&name("alise"), &[2; 32]), (&bob, &[3; 32]));
        let elsewhere = DeploymentId::from_bytes([9; 16]);
        let moved = safety_number(&elsewhere, (&alice, &[2; 32]), (&bob, &[3; 32]));
        assert!(![swapped, renamed, moved].contains(&number));
    }
}
