//! Whom Postgres runs as. It refuses to run as root, so root hands it to `postgres` or `nobody`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::PostgresError;
use crate::process::RunAs;

/// Users that root may hand Postgres to, best first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// Chooses the user for Postgres: ourselves, or when we are root an unprivileged one.
///
/// # Errors
/// Fails as root when neither `postgres` nor `nobody` is in the password file.
pub fn choose() -> Result<RunAs, PostgresError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(RunAs::Myself);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    from_passwd(&passwd).ok_or(PostgresError::NoUser)
}

fn from_passwd(passwd: &str) -> Option<RunAs> {
    CANDIDATES.iter().find_map(|name| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == *name).then_some(())?;
            let uid: u32 = fields.nth(1)?.parse().ok()?;
            let gid: u32 = fields.next()?.parse().ok()?;
            (uid != 0).then_some(RunAs::Other { uid, gid })
        })
    })
}

/// Whether the user can reach (not list) the directory: every ancestor must grant execution.
pub fn can_traverse(run_as: &RunAs, path: &Path) -> bool {
    let RunAs::Other { uid, gid } = run_as else {
        return true;
    };
    path.ancestors().all(|folder| {
        let Ok(meta) = folder.metadata() else {
            return folder.as_os_str().is_empty();
        };
        let mode = meta.permissions().mode();
        let granted = if meta.uid() == *uid {
            0o100
        } else if meta.gid() == *gid {
            0o010
        } else {
            0o001
        };
        mode & granted != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_preferred_and_root_never_chosen() {
        let both = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(from_passwd(both), Some(RunAs::Other { uid: 101, gid: 104 }));
        let nobody = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(
            from_passwd(nobody),
            Some(RunAs::Other {
                uid: 65534,
                gid: 65533
            })
        );
        assert_eq!(from_passwd("postgres:x:0:0::/:/bin/sh\n"), None);
        assert_eq!(from_passwd("postgres:x\n\n:::"), None);
    }

    #[test]
    fn a_closed_parent_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let stranger = RunAs::Other {
            uid: 54321,
            gid: 54321,
        };
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!can_traverse(&stranger, &inner));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        assert!(can_traverse(&stranger, &inner));
        assert!(can_traverse(&RunAs::Myself, &inner));
    }
}
