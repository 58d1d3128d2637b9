//! Codes, offers and answers: what fits opens, and nothing else.

use proptest::prelude::*;

use super::*;

fn offer(agreement: &AgreementKey) -> LinkOffer {
    LinkOffer {
        deployment: DeploymentId::from_bytes([1; 16]),
        username: Username::parse("alice").unwrap(),
        device: DeviceId::from_bytes([2; 16]),
        device_key: [3; 32],
        agreement_key: agreement.public(),
        name: "laptop".to_owned(),
    }
}

fn exchange(plain: &[u8]) -> (LinkCode, AgreementKey, Vec<u8>, Vec<u8>) {
    let code = LinkCode::generate().unwrap();
    let agreement = AgreementKey::generate().unwrap();
    let sealed_offer = offer(&agreement).seal(&code).unwrap();
    let opened = LinkOffer::open(&code, &sealed_offer).unwrap();
    let answer = seal_answer(&code, &opened, &sealed_offer, plain).unwrap();
    (code, agreement, sealed_offer, answer)
}

#[test]
fn the_new_device_reads_what_the_old_one_answers() {
    let (code, agreement, sealed_offer, answer) = exchange(b"identity");
    let opened = LinkOffer::open(&code, &sealed_offer).unwrap();
    assert_eq!(opened, offer(&agreement));
    assert_eq!(opened.fingerprint(), offer(&agreement).fingerprint());
    assert_eq!(opened.fingerprint().len(), 9);
    let plain = agreement.open_answer(&code, &sealed_offer, &answer);
    assert_eq!(*plain.unwrap(), b"identity");
}

#[test]
fn who_has_another_code_or_key_or_offer_reads_nothing() {
    let (code, agreement, sealed_offer, answer) = exchange(b"identity");
    let other_code = LinkCode::generate().unwrap();
    let other_key = AgreementKey::generate().unwrap();
    let other_offer = offer(&agreement).seal(&code).unwrap();
    let refused = LinkError::NotSealedByCode;
    assert_eq!(
        LinkOffer::open(&other_code, &sealed_offer).unwrap_err(),
        refused
    );
    for opened in [
        agreement.open_answer(&other_code, &sealed_offer, &answer),
        other_key.open_answer(&code, &sealed_offer, &answer),
        agreement.open_answer(&code, &other_offer, &answer),
    ] {
        assert_eq!(opened.unwrap_err(), refused);
    }
}

#[test]
fn keys_that_contribute_nothing_are_refused() {
    let (code, agreement, sealed_offer, mut answer) = exchange(b"identity");
    for point in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let weak = LinkOffer {
            agreement_key: point,
            ..offer(&agreement)
        };
        let sealed = seal_answer(&code, &weak, &sealed_offer, b"identity");
        assert_eq!(sealed.unwrap_err(), LinkError::Malformed);
        answer[..32].copy_from_slice(&point);
        let opened = agreement.open_answer(&code, &sealed_offer, &answer);
        assert_eq!(opened.unwrap_err(), LinkError::Malformed);
    }
}

#[test]
fn sizes_tell_little() {
    for (length, size) in [
        (0, 8192),
        (8000, 8192),
        (9000, 16384),
        (ANSWER_PLAIN_BYTES_MAX, 65536),
    ] {
        assert_eq!(exchange(&vec![7; length]).3.len(), size);
    }
    let (code, agreement, sealed_offer, _) = exchange(b"");
    assert_eq!(sealed_offer.len(), 1024);
    let too_much = vec![7; ANSWER_PLAIN_BYTES_MAX + 1];
    let sealed = seal_answer(&code, &offer(&agreement), &sealed_offer, &too_much);
    assert_eq!(sealed.unwrap_err(), LinkError::TooLarge);
}

#[test]
fn codes_are_read_as_people_type_them() {
    let code = LinkCode::generate().unwrap();
    let text = code.to_text();
    assert_eq!(text.len(), 29);
    for typed in [
        text.to_lowercase(),
        text.replace('-', " "),
        text.replace('-', ""),
        text.replace('0', "o").replace('1', "l"),
    ] {
        let read = LinkCode::parse(&typed).unwrap();
        assert_eq!(read.rendezvous_id(), code.rendezvous_id());
    }
    for wrong in ["", "ABCD", "ABCD-EFGH-JKMN-PQRS-TVWX-YZ0U", &text[1..]] {
        assert_eq!(LinkCode::parse(wrong).err(), Some(LinkError::NotACode));
    }
}

proptest! {
    #[test]
    fn one_wrong_letter_is_noticed(place in 0_usize..24, step in 1_usize..32) {
        let code = LinkCode::generate().unwrap();
        let mut letters: Vec<u8> = code.to_text().bytes().filter(|b| *b != b'-').collect();
        let known = LETTERS.iter().position(|letter| *letter == letters[place]).unwrap();
        letters[place] = LETTERS[(known + step) % 32];
        let typed = String::from_utf8(letters).unwrap();
        // 20 bits of checking: about one wrong code in a million passes.
        prop_assert_eq!(LinkCode::parse(&typed).err(), Some(LinkError::Mistyped));
    }

    #[test]
    fn a_changed_byte_is_noticed(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let (code, agreement, mut sealed_offer, mut answer) = exchange(b"identity");
        let at = place.index(answer.len());
        answer[at] ^= flip;
        let opened = agreement.open_answer(&code, &sealed_offer, &answer);
        // X25519 ignores the highest bit of a key, which is bound by other means.
        prop_assert!(opened.is_err());
        let at = place.index(sealed_offer.len());
        sealed_offer[at] ^= flip;
        prop_assert!(LinkOffer::open(&code, &sealed_offer).is_err());
    }

    #[test]
    fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".*") {
        let code = LinkCode::generate().unwrap();
        let agreement = AgreementKey::generate().unwrap();
        prop_assert!(LinkOffer::open(&code, &bytes).is_err());
        prop_assert!(agreement.open_answer(&code, b"offer", &bytes).is_err());
        prop_assert!(LinkCode::parse(&text).is_err());
    }
}
