//! Looks at encodings that the library does not offer. It opens nothing.
//!
//! A welcome for many devices is taken apart, into one for each: every part has
//! the secrets of one device and the sealed group info that all share (RFC 9420
//! 12.4.3.1). And of a group info it says which member signed it, and which
//! history it stands for (12.4.3).

use std::collections::BTreeMap;

/// `mls10` and `mls_welcome`, as an MLSMessage begins.
const HEAD: [u8; 4] = [0, 1, 0, 3];

/// Welcomes of one device each, by the reference of its key package.
type Parts = BTreeMap<Vec<u8>, Vec<u8>>;

/// A welcome of its own for each key package; `None` when the bytes are not a
/// welcome to the last.
pub(super) fn split_welcome(bytes: &[u8]) -> Option<Parts> {
    let mut rest = bytes.strip_prefix(&HEAD)?;
    let suite = take(&mut rest, 2)?;
    let mut secrets = vector(&mut rest)?;
    let group_info = rest;
    vector(&mut rest)?;
    if !rest.is_empty() {
        return None;
    }
    let mut parts = Parts::new();
    while !secrets.is_empty() {
        let all = secrets;
        let reference = vector(&mut secrets)?.to_vec();
        vector(&mut secrets)?;
        vector(&mut secrets)?;
        let one = all.get(..all.len() - secrets.len())?;
        let mut part = [&HEAD, suite].concat();
        part.extend(length(one.len())?);
        part.extend_from_slice(one);
        part.extend_from_slice(group_info);
        parts.insert(reference, part);
    }
    Some(parts)
}

/// The epoch that a group info describes and the hash over all commits that
/// led there; `None` when the bytes are not one.
pub(super) fn history_of(group_info: &[u8]) -> Option<(u64, &[u8])> {
    let mut rest = group_info.strip_prefix(&[0, 1, 0, 4])?;
    take(&mut rest, 4)?; // version and suite
    vector(&mut rest)?; // group id
    let epoch = u64::from_be_bytes(take(&mut rest, 8)?.try_into().ok()?);
    vector(&mut rest)?; // tree hash
    Some((epoch, vector(&mut rest)?))
}

/// The place in the tree of the member that signed a group info; `None` when
/// the bytes are not one to the last. The signature is for others to verify.
pub(super) fn signer_of(group_info: &[u8]) -> Option<u32> {
    let mut rest = group_info.strip_prefix(&[0, 1, 0, 4])?;
    take(&mut rest, 4)?; // version and suite
    vector(&mut rest)?; // group id
    take(&mut rest, 8)?; // epoch
    vector(&mut rest)?; // tree hash
    vector(&mut rest)?; // transcript hash
    vector(&mut rest)?; // extensions of the context
    vector(&mut rest)?; // extensions
    vector(&mut rest)?; // confirmation tag
    let signer = take(&mut rest, 4)?.try_into().ok()?;
    vector(&mut rest)?; // signature
    rest.is_empty().then(|| u32::from_be_bytes(signer))
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

/// A vector with its length before it, as a variable-size integer (RFC 9000 16).
fn vector<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let first = *rest.first()?;
    let size = match first >> 6 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => return None,
    };
    let mut length = 0_usize;
    for (place, byte) in take(rest, size)?.iter().enumerate() {
        let bits = if place == 0 { byte & 0x3f } else { *byte };
        length = length << 8 | usize::from(bits);
    }
    take(rest, length)
}

/// The shortest encoding of a length.
fn length(bytes: usize) -> Option<Vec<u8>> {
    let number = u32::try_from(bytes).ok()?;
    Some(match number {
        0..=0x3f => vec![u8::try_from(number).ok()?],
        0x40..=0x3fff => (0x4000 | u16::try_from(number).ok()?)
            .to_be_bytes()
            .to_vec(),
        0x4000..=0x3fff_ffff => (0x8000_0000 | number).to_be_bytes().to_vec(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(secrets: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for n in 0..secrets {
            for field in [vec![n as u8; 32], vec![1; 40], vec![2; 20_000]] {
                all.extend(length(field.len()).unwrap());
                all.extend(field);
            }
        }
        let mut bytes = [&HEAD[..], &[0, 3]].concat();
        bytes.extend(length(all.len()).unwrap());
        bytes.extend(all);
        bytes.extend(length(70).unwrap());
        bytes.extend([9; 70]);
        bytes
    }

    #[test]
    fn each_device_gets_its_own_part_and_nothing_else() {
        let parts = split_welcome(&welcome(3)).unwrap();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts.get(&vec![0; 32][..]).unwrap(), &welcome(1));
        for part in parts.values() {
            assert_eq!(split_welcome(part).unwrap().len(), 1);
        }
    }

    #[test]
    fn what_is_no_welcome_is_refused_without_a_panic() {
        let whole = welcome(2);
        for end in 0..whole.len() {
            assert!(split_welcome(&whole[..end]).is_none(), "{end}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(split_welcome(&longer).is_none());
        assert!(split_welcome(&[0, 1, 0, 3, 0, 3, 0xff, 0xff]).is_none());
    }
}
