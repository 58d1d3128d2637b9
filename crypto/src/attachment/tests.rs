//! Nothing but the very file that was sealed is ever opened.

use super::*;
use proptest::prelude::*;
use sha2::Digest as _;

fn file(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn key() -> FileKey {
    FileKey::from_slice(&[7; 32]).unwrap()
}

fn seal_with(key: &FileKey, file: &[u8]) -> (Vec<u8>, Expected) {
    let plan = Plan::of(file).unwrap();
    let (size, plain_hash) = (plan.layout().size(), *plan.plain_hash());
    let mut sealer = Sealer::new(key, plan);
    let (mut sealed, mut rest) = (Vec::new(), file);
    while let Some(wanted) = sealer.wants() {
        let (now, later) = rest.split_at(wanted);
        sealer.seal(now, &mut sealed).unwrap();
        rest = later;
    }
    let expected = Expected {
        size,
        sealed_size: sealed.len() as u64,
        plain_hash,
        sealed_hash: sealer.finish().unwrap(),
    };
    (sealed, expected)
}

fn open(sealed: &[u8], expected: Expected, step: usize) -> Result<Vec<u8>, AttachmentError> {
    let mut opener = Opener::new(&key(), expected)?;
    let mut out = Vec::new();
    for bytes in sealed.chunks(step) {
        opener.push(bytes, &mut out)?;
    }
    opener.finish()?;
    Ok(out)
}

/// As an attacker would like it: the hash of what is served is the one expected.
fn resigned(sealed: &[u8], expected: Expected) -> Expected {
    Expected {
        sealed_hash: Sha256::digest(sealed).into(),
        ..expected
    }
}

#[test]
fn sizes_around_the_chunks_come_back() {
    let sizes = [
        0, 1, 4087, 4088, 4089, 65_527, 65_528, 65_529, 131_064, 200_000,
    ];
    for size in sizes {
        let (sealed, expected) = seal_with(&key(), &file(size));
        assert_eq!(
            expected.sealed_size,
            Layout::of(size as u64).unwrap().sealed_size()
        );
        assert_eq!(
            open(&sealed, expected, 10_000).unwrap(),
            file(size),
            "{size}"
        );
    }
}

#[test]
fn a_sealed_file_is_this() {
    let (sealed, expected) = seal_with(&key(), b"Sotto");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    insta::assert_snapshot!(format!(
        "{}\n{}",
        hex(&sealed[..64]),
        hex(&expected.sealed_hash)
    ));
}

#[test]
fn sealing_again_gives_the_same_bytes() {
    assert_eq!(
        seal_with(&key(), &file(150_000)).0,
        seal_with(&key(), &file(150_000)).0
    );
}

#[test]
fn a_file_that_changes_is_noticed_before_anything_is_sealed() {
    let before = file(200_000);
    for changed_at in [0, 65_527, 65_528, 199_999] {
        let mut now = before.clone();
        now[changed_at] ^= 1;
        let mut sealer = Sealer::new(&key(), Plan::of(&before).unwrap());
        let (honest, _) = seal_with(&key(), &before);
        let (mut sealed, mut rest) = (Vec::new(), now.as_slice());
        let outcome = loop {
            let Some(wanted) = sealer.wants() else {
                break Ok(());
            };
            let (chunk, later) = rest.split_at(wanted);
            rest = later;
            if let Err(error) = sealer.seal(chunk, &mut sealed) {
                break Err(error);
            }
        };
        assert_eq!(outcome, Err(AttachmentError::FileChanged));
        assert!(
            honest.starts_with(&sealed),
            "only what was surveyed was sealed"
        );
        assert_eq!(sealer.finish(), Err(AttachmentError::FileChanged));
    }
    let mut sealer = Sealer::new(&key(), Plan::of(&before).unwrap());
    assert_eq!(
        sealer.seal(&before[..100], &mut Vec::new()),
        Err(AttachmentError::FileChanged),
        "a file that became shorter"
    );
}

#[test]
fn chunks_cannot_be_swapped_repeated_left_out_or_appended() {
    let (sealed, expected) = seal_with(&key(), &file(300_000));
    let chunk = CHUNK_BYTES + TAG_BYTES;
    let (commitment, body) = sealed.split_at(COMMITMENT_BYTES);
    let chunks: Vec<&[u8]> = body.chunks(chunk).collect();
    let orders: [&[usize]; 6] = [
        &[1, 0, 2, 3, 4],
        &[0, 0, 2, 3, 4],
        &[0, 1, 2, 3],
        &[0, 1, 2, 3, 4, 4],
        &[0, 1, 2, 4],
        &[4, 3, 2, 1, 0],
    ];
    for order in orders {
        let mut other = commitment.to_vec();
        other.extend(order.iter().flat_map(|at| chunks[*at]));
        let refused = open(&other, resigned(&other, expected), chunk);
        assert_eq!(refused, Err(AttachmentError::Mismatch), "{order:?}");
    }
}

#[test]
fn another_file_under_the_same_key_is_refused() {
    let (_, expected) = seal_with(&key(), &file(100_000));
    let mut other = file(100_000);
    other[50_000] ^= 1;
    let (swapped, _) = seal_with(&key(), &other);
    assert_eq!(
        open(&swapped, expected, 999),
        Err(AttachmentError::Mismatch)
    );
    let resigned = resigned(&swapped, expected);
    assert_eq!(
        open(&swapped, resigned, 999),
        Err(AttachmentError::Mismatch)
    );
}

#[test]
fn another_key_is_refused_at_the_first_bytes() {
    let (sealed, expected) = seal_with(&FileKey::from_slice(&[8; 32]).unwrap(), &file(10));
    let mut opener = Opener::new(&key(), expected).unwrap();
    let mut out = Vec::new();
    let refused = opener.push(&sealed[..COMMITMENT_BYTES], &mut out);
    assert_eq!(refused, Err(AttachmentError::Mismatch));
    assert!(out.is_empty());
}

#[test]
fn sizes_that_do_not_belong_together_are_refused_before_a_download() {
    let (_, expected) = seal_with(&key(), &file(10));
    for (size, sealed_size) in [(10, 4145), (5000, 4144), (u64::MAX, 4144), (10, u64::MAX)] {
        let claimed = Expected {
            size,
            sealed_size,
            ..expected
        };
        assert!(Opener::new(&key(), claimed).is_err());
    }
    // The same padded size, and yet another length: the sealed length decides.
    let claimed = Expected {
        size: 11,
        ..expected
    };
    let (sealed, _) = seal_with(&key(), &file(10));
    assert_eq!(open(&sealed, claimed, 99), Err(AttachmentError::Mismatch));
}

#[test]
fn a_download_goes_on_after_a_restart() {
    let whole = file(300_000);
    let (sealed, expected) = seal_with(&key(), &whole);
    let mut first = Opener::new(&key(), expected).unwrap();
    let mut part = Vec::new();
    first.push(&sealed[..150_000], &mut part).unwrap();
    for damage in [false, true] {
        let mut kept = part.clone();
        if damage {
            kept[70_000] ^= 1;
        }
        let mut second = Opener::new(&key(), expected).unwrap();
        let mut rest = kept.as_slice();
        while let Some(wanted) = second.wants().filter(|wanted| *wanted <= rest.len()) {
            let (chunk, later) = rest.split_at(wanted);
            second.replay(chunk).unwrap();
            rest = later;
        }
        let at = usize::try_from(second.received()).unwrap();
        assert!(at > 130_000 && at < 150_000);
        second.push(&sealed[at..], &mut kept).unwrap();
        assert_eq!(second.finish().is_err(), damage);
        assert_eq!(kept == whole, !damage);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_is_opened(size in 0usize..200_000, step in 1usize..100_000) {
        let (sealed, expected) = seal_with(&key(), &file(size));
        prop_assert_eq!(open(&sealed, expected, step), Ok(file(size)));
    }

    #[test]
    fn surveys_do_not_depend_on_how_a_file_is_read(size in 0usize..200_000, step in 1usize..70_000) {
        let mut survey = Survey::default();
        for bytes in file(size).chunks(step) {
            survey.update(bytes).unwrap();
        }
        prop_assert_eq!(survey.finish().unwrap(), Plan::of(&file(size)).unwrap());
    }

    #[test]
    fn any_change_is_noticed(size in 0usize..140_000, at: prop::sample::Index, flip in 1u8..=255) {
        let (mut sealed, expected) = seal_with(&key(), &file(size));
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert_eq!(open(&sealed, expected, 70_000), Err(AttachmentError::Mismatch));
        prop_assert_eq!(open(&sealed, resigned(&sealed, expected), 70_000), Err(AttachmentError::Mismatch));
    }

    #[test]
    fn any_truncation_or_growth_is_noticed(size in 0usize..140_000, cut: prop::sample::Index, more in 1usize..70_000) {
        let (mut sealed, expected) = seal_with(&key(), &file(size));
        let cut = &sealed[..cut.index(sealed.len())];
        prop_assert_eq!(open(cut, resigned(cut, expected), 70_000), Err(AttachmentError::Mismatch));
        sealed.extend(vec![0; more]);
        prop_assert_eq!(open(&sealed, resigned(&sealed, expected), 70_000), Err(AttachmentError::Mismatch));
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..5000), size in 0u64..5000) {
        let layout = Layout::of(size).unwrap();
        let claimed = Expected {
            size,
            sealed_size: layout.sealed_size(),
            plain_hash: [0; 32],
            sealed_hash: Sha256::digest(&bytes).into(),
        };
        prop_assert!(open(&bytes, claimed, 1000).is_err());
    }
}
