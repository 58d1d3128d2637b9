//! Keeps a file that arrived: in one folder and nowhere else, readable by its owner alone, under
//! a clean name, and never in another's place. Until the whole is verified it lies there under a
//! hidden name that nothing opens; a download goes on from it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::name::{clean_name, numbered};

/// Names tried before giving up.
const NUMBERS_MAX: u32 = 999;
/// For its owner alone.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Why a file could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SaveError {
    /// The folder is not there, or is none.
    #[error("cannot save in {folder}: {source}")]
    Folder {
        /// As it was given.
        folder: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Writing failed.
    #[error("the file could not be written: {0}")]
    Write(#[source] io::Error),
    /// The unfinished file was replaced by something else.
    #[error("an unfinished file in the folder is not as it was left; delete it and try again")]
    Meddled,
    /// All names like it are taken.
    #[error("too many files of this name are in the folder; choose another with --to")]
    NamesTaken,
}

impl From<Errno> for SaveError {
    fn from(error: Errno) -> Self {
        Self::Write(error.into())
    }
}

/// A folder to save in. What its path meant when it was opened is what is used.
pub(crate) struct Folder {
    directory: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder that exists.
    ///
    /// # Errors
    /// When it does not, or is no folder.
    pub(crate) fn open(path: &Path) -> Result<Self, SaveError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let directory =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|error| SaveError::Folder {
                folder: path.display().to_string(),
                source: error.into(),
            })?;
        Ok(Self {
            directory,
            path: path.to_owned(),
        })
    }

    /// Begins an unfinished file, or goes on with it; `tag` names it for this download alone.
    ///
    /// # Errors
    /// When something else lies under that name, or the disk refuses.
    pub(crate) fn unfinished(self, tag: &str) -> Result<Unfinished, SaveError> {
        let name = format!(".sotto-{tag}.part");
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fresh = flags | OFlags::CREATE | OFlags::EXCL;
        let opened = match rustix::fs::openat(&self.directory, &name, fresh, PRIVATE) {
            Err(Errno::EXIST) => {
                let known = rustix::fs::openat(&self.directory, &name, flags, Mode::empty());
                let known = known.map_err(|_| SaveError::Meddled)?;
                check_own(&known)?;
                known
            }
            other => other?,
        };
        Ok(Unfinished {
            file: File::from(opened),
            name,
            folder: self,
        })
    }
}

/// What is gone on with is a plain file of this person's, under one name, for nobody else.
fn check_own(file: &OwnedFd) -> Result<(), SaveError> {
    let found = rustix::fs::fstat(file)?;
    let plain = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    let own = found.st_uid == rustix::process::geteuid().as_raw();
    let hidden = Mode::from_raw_mode(found.st_mode) & Mode::from_raw_mode(0o777) == PRIVATE;
    if plain && own && hidden && found.st_nlink == 1 {
        Ok(())
    } else {
        Err(SaveError::Meddled)
    }
}

/// A file that is not whole yet.
pub(crate) struct Unfinished {
    file: File,
    name: String,
    folder: Folder,
}

impl Unfinished {
    /// The file itself, to read what is there and to write more.
    pub(crate) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Deletes it.
    pub(crate) fn discard(self) {
        // It may be gone already; then that is done.
        let _ = rustix::fs::unlinkat(&self.folder.directory, &self.name, AtFlags::empty());
    }

    /// Gives it its name, or, where that is taken, one with a number; returns where it lies.
    ///
    /// # Errors
    /// When the disk refuses, or 999 names are taken.
    pub(crate) fn finish(mut self, claimed: &str) -> Result<PathBuf, SaveError> {
        self.file.flush().map_err(SaveError::Write)?;
        self.file.sync_all().map_err(SaveError::Write)?;
        let clean = clean_name(claimed);
        let names = std::iter::once(clean.clone())
            .chain((1..=NUMBERS_MAX).map(|number| numbered(&clean, number)));
        let directory = &self.folder.directory;
        for name in names {
            // A link never takes another's place, and follows nothing.
            match rustix::fs::linkat(directory, &self.name, directory, &name, AtFlags::empty()) {
                Ok(()) => {
                    rustix::fs::unlinkat(directory, &self.name, AtFlags::empty())?;
                    return Ok(self.folder.path.join(name));
                }
                Err(Errno::EXIST) => {}
                // File systems without links.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                    if self.rename(&name)? == Renamed::Yes {
                        return Ok(self.folder.path.join(name));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(SaveError::NamesTaken)
    }

    /// Takes the name with an empty file first, which nobody else can do after that.
    fn rename(&self, name: &str) -> Result<Renamed, SaveError> {
        let directory = &self.folder.directory;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, name, flags, PRIVATE) {
            Ok(_) => {}
            Err(Errno::EXIST) => return Ok(Renamed::Taken),
            Err(error) => return Err(error.into()),
        }
        rustix::fs::renameat(directory, &self.name, directory, name)?;
        Ok(Renamed::Yes)
    }
}

#[derive(PartialEq, Eq)]
enum Renamed {
    Yes,
    Taken,
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{corpus, is_sound};
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn save(folder: &Path, name: &str, content: &[u8]) -> Result<PathBuf, SaveError> {
        let mut unfinished = Folder::open(folder)?.unfinished("test")?;
        unfinished.file().write_all(content).unwrap();
        unfinished.finish(name)
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// H10.
    #[test]
    fn whatever_a_file_is_called_it_stays_in_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("downloads");
        std::fs::create_dir(&folder).unwrap();
        for name in corpus() {
            let path = save(&folder, &name, b"x").unwrap();
            assert_eq!(path.parent(), Some(folder.as_path()), "{name:?}");
            let saved = path.file_name().unwrap().to_str().unwrap();
            assert!(is_sound(saved), "{name:?} was saved as {saved:?}");
            let mode = std::fs::symlink_metadata(&path)
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o600, "{name:?}");
        }
        assert_eq!(entries(&folder).len(), corpus().len(), "one file each");
        assert_eq!(entries(outer.path()), ["downloads"], "and nothing beside");
    }

    #[test]
    fn nothing_is_overwritten_and_no_link_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.txt"), "mine").unwrap();
        std::fs::create_dir(at("a (1).txt")).unwrap();
        symlink(at("nowhere"), at("a (2).txt")).unwrap();
        symlink("/etc/passwd", at("a (3).txt")).unwrap();
        let path = save(folder.path(), "a.txt", b"theirs").unwrap();
        assert_eq!(path, at("a (4).txt"));
        assert_eq!(std::fs::read(at("a.txt")).unwrap(), b"mine");
        assert!(!at("nowhere").exists());
    }

    #[test]
    fn an_unfinished_file_is_gone_on_with_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join(".sotto-test.part");
        let open = || Folder::open(folder.path()).unwrap().unfinished("test");
        open().unwrap().file().write_all(b"half").unwrap();
        let mut again = open().unwrap();
        let mut content = String::new();
        again.file().read_to_string(&mut content).unwrap();
        assert_eq!(content, "half");
        again.discard();
        assert!(entries(folder.path()).is_empty());
        // Somebody else's, a link, a folder, one that others may read: all refused.
        symlink("/etc/passwd", &part).unwrap();
        assert!(matches!(open().err(), Some(SaveError::Meddled)));
        std::fs::remove_file(&part).unwrap();
        std::fs::create_dir(&part).unwrap();
        assert!(matches!(open().err(), Some(SaveError::Meddled)));
        std::fs::remove_dir(&part).unwrap();
        std::fs::write(&part, "planted").unwrap();
        std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(open().err(), Some(SaveError::Meddled)));
        std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::hard_link(&part, folder.path().join("second")).unwrap();
        assert!(matches!(open().err(), Some(SaveError::Meddled)));
    }

    #[test]
    fn a_folder_that_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file, folder.path().join("missing")] {
            assert!(matches!(
                Folder::open(&path).err(),
                Some(SaveError::Folder { .. })
            ));
        }
    }
}
