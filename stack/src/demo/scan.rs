//! Looking for plaintext where none may be: in every byte that Postgres keeps on the disk.

use std::fs;
use std::io;
use std::path::Path;

/// What a scan found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Bytes that were looked at.
    pub(crate) bytes: u64,
    /// Which of the needles were found, with the file, as sentences.
    pub(crate) found: Vec<String>,
}

/// Searches every file below a folder for needles. Files that vanish meanwhile are skipped:
/// Postgres is at work.
pub(crate) fn scan(folder: &Path, needles: &[String]) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                match fs::read(entry.path()) {
                    Ok(bytes) => search(&entry.path(), &bytes, needles, &mut scan),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(scan)
}

fn search(path: &Path, bytes: &[u8], needles: &[String], scan: &mut Scan) {
    scan.bytes += bytes.len() as u64;
    // One pass for all needles: unoptimised builds look through tens of megabytes too.
    let mut begins = [false; 256];
    for first in needles
        .iter()
        .filter_map(|needle| needle.as_bytes().first())
    {
        begins[usize::from(*first)] = true;
    }
    let mut found = vec![false; needles.len()];
    for (at, byte) in bytes.iter().enumerate() {
        if !begins[usize::from(*byte)] {
            continue;
        }
        for (needle, found) in needles.iter().zip(&mut found) {
            *found = *found || bytes[at..].starts_with(needle.as_bytes());
        }
    }
    let found = needles.iter().zip(found).filter(|(_, found)| *found);
    scan.found
        .extend(found.map(|(needle, _)| format!("“{needle}” in {}", path.display())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_are_found_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("base")).unwrap();
        fs::write(folder.path().join("base/1"), b"\0\0aasecret\0").unwrap();
        let needles = ["asecret".to_owned(), "other".to_owned()];
        let result = scan(folder.path(), &needles).unwrap();
        assert_eq!(result.bytes, 11);
        assert_eq!(result.found.len(), 1);
        assert!(
            result.found[0].starts_with("“asecret” in "),
            "{:?}",
            result.found
        );
    }
}
