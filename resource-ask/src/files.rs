//! Files that are written whole or not at all.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// A file in the making, next to its place; it vanishes unless [`Draft::keep`] is called.
pub struct Draft {
    file: NamedTempFile,
    path: std::path::PathBuf,
}

impl Draft {
    /// Begins a file.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return Err(Failure::usage(format!("{} is a directory", path.display())));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let made = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")));
        Ok(Self { file: made.map_err(|error| cannot_write(path, error))?, path: path.to_owned() })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| cannot_write(&self.path, error))
    }

    /// Puts the file in its place, where it replaces an older one at once.
    pub fn keep(self) -> Result<(), Failure> {
        // Synchronised before it gets its name: a crash leaves the old file or the new one, never half.
        self.file.as_file().sync_all().map_err(|error| cannot_write(&self.path, error))?;
        make_readable(self.file.as_file()).map_err(|error| cannot_write(&self.path, error))?;
        let persisted = self.file.persist(&self.path);
        persisted.map(drop).map_err(|error| cannot_write(&self.path, error.error))
    }
}

/// Temporary files are for their owner only; a result has the usual permissions.
fn make_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

fn cannot_write(path: &Path, source: std::io::Error) -> Failure {
    Failure::File { doing: "cannot write", path: path.display().to_string(), source }
}

/// Writes a file whole or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut draft = Draft::new(path)?;
    draft.write(bytes)?;
    draft.keep()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_draft_that_is_dropped_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.json");
        write_atomically(&path, b"old").unwrap();
        let mut draft = Draft::new(&path).unwrap();
        draft.write(b"new").unwrap();
        drop(draft);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_directory_is_refused_before_anything_is_downloaded() {
        let directory = tempfile::tempdir().unwrap();
        let refused = Draft::new(directory.path()).err().map(|failure| failure.exit());
        assert_eq!(refused, Some(Exit::Usage));
        let missing = Draft::new(&directory.path().join("no/such/place")).err().map(|failure| failure.exit());
        assert_eq!(missing, Some(Exit::Failed));
    }
}
