//! Data directories: where they are by default, who has one, and the small secret files in them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use protocol::ids::WorkerId;
use protocol::signature::SigningKey;
use ring::hkdf;
use ring::rand::SystemRandom;

use crate::exit::Failure;

/// The directory of all data: `$XDG_DATA_HOME/parley`, or `~/.local/share/parley`.
fn root(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Failure> {
    let path = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    path("XDG_DATA_HOME")
        .or_else(|| path("HOME").map(|home| home.join(".local/share")))
        .map(|share| share.join("parley"))
        .ok_or(Failure::NoDataDirectory)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where a hub keeps its data unless it is told.
pub fn of_hub() -> Result<PathBuf, Failure> {
    Ok(root(environment)?.join("hub"))
}

/// Where a worker keeps its data unless it is told.
pub fn of_worker(id: &WorkerId) -> Result<PathBuf, Failure> {
    Ok(root(environment)?.join("workers").join(id.as_str()))
}

/// Makes a directory for its owner alone.
pub fn make(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Failure::file("cannot make", path))
}

/// A worker's data directory, which is this process's alone.
#[derive(Debug)]
pub struct WorkerDirectory {
    path: PathBuf,
    _lock: Flock<File>,
}

impl WorkerDirectory {
    /// Opens or makes a directory and takes it.
    pub fn open(path: PathBuf) -> Result<Self, Failure> {
        make(&path)?;
        let file = path.join("worker.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&file)
            .map_err(Failure::file("cannot open", &file))?;
        let lock =
            Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|_| Failure::InUse(path.clone()))?;
        Ok(Self { path, _lock: lock })
    }

    /// The worker's key, made when there is none.
    pub fn key(&self) -> Result<SigningKey, Failure> {
        let path = self.path.join("worker.key");
        match std::fs::read(&path) {
            Ok(bytes) => SigningKey::from_pkcs8(&bytes).map_err(|_| Failure::Key(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (key, bytes) =
                    SigningKey::generate(&SystemRandom::new()).map_err(|_| Failure::Randomness)?;
                write_secret(&path, &bytes)?;
                Ok(key)
            }
            Err(source) => Err(Failure::File { doing: "cannot read", path, source }),
        }
    }

    /// The file with the known hubs, a line each: URL and key.
    pub fn known_hubs(&self) -> PathBuf {
        self.path.join("known-hubs")
    }

    /// The key that the hub at a URL had before; none for a hub that is new.
    pub fn hub_key(&self, url: &str) -> Result<Option<String>, Failure> {
        let known = self.known_hubs();
        let text = match std::fs::read_to_string(&known) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(source) => return Err(Failure::File { doing: "cannot read", path: known, source }),
        };
        let key = text.lines().find_map(|line| {
            let (there, key) = line.split_once(' ')?;
            (there == url).then(|| key.to_owned())
        });
        Ok(key)
    }

    /// Remembers the key of a hub that is new.
    pub fn remember_hub(&self, url: &str, key: &str) -> Result<(), Failure> {
        let known = self.known_hubs();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&known)
            .map_err(Failure::file("cannot open", &known))?;
        file.write_all(format!("{url} {key}\n").as_bytes()).map_err(Failure::file("cannot write", &known))
    }
}

/// Writes a file that only its owner can read and that was not there before.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Failure::file("cannot make", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Failure::file("cannot write", path))
}

/// The key of a simulated worker: the same for the same join secret, name and seed, so that it keeps
/// its name when it is started again, and nobody without the secret can take it.
pub fn derived_key(secret: &str, worker: &WorkerId, seed: u64) -> Result<SigningKey, Failure> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"parley simulated worker key v1");
    let mut bytes = [0_u8; 32];
    salt.extract(secret.as_bytes())
        .expand(&[worker.as_str().as_bytes(), &seed.to_be_bytes()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut bytes))
        .map_err(|_| Failure::Randomness)?;
    SigningKey::from_seed(&bytes).map_err(|_| Failure::Randomness)
}

/// A hub's own join secret: kept in its directory, made when there is none. The flag says whether it
/// is new.
pub fn kept_secret(directory: &Path) -> Result<(String, bool), Failure> {
    make(directory)?;
    let path = directory.join("join-secret");
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok((text.trim().to_owned(), false)),
        Ok(_) => Err(Failure::Content {
            path,
            wanted: "a join secret",
            problem: "it is empty; remove it".to_owned(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = random_text()?;
            write_secret(&path, format!("{secret}\n").as_bytes())?;
            Ok((secret, true))
        }
        Err(source) => Err(Failure::File { doing: "cannot read", path, source }),
    }
}

/// 256 random bits as hexadecimal digits.
pub fn random_text() -> Result<String, Failure> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::Randomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a join secret could be guessed. Loopback takes it all the same.
#[must_use]
pub fn is_weak(secret: &str) -> bool {
    let mut different: Vec<char> = secret.chars().collect();
    different.sort_unstable();
    different.dedup();
    secret.chars().count() < 32 || different.len() < 8
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::exit::Exit;

    fn worker(name: &str) -> WorkerId {
        WorkerId::parse(name).unwrap()
    }

    #[test]
    fn data_lies_where_the_platform_wants_it() {
        let with = |xdg: Option<&str>, home: Option<&str>| {
            root(|name| if name == "HOME" { home } else { xdg }.map(str::to_owned)).ok()
        };
        assert_eq!(with(Some("/x"), Some("/h")), Some("/x/parley".into()));
        assert_eq!(with(Some("relative"), Some("/h")), Some("/h/.local/share/parley".into()));
        assert_eq!(with(None, Some("")), None);
    }

    #[test]
    fn a_directory_has_one_worker_and_keeps_its_key() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("w");
        let directory = WorkerDirectory::open(path.clone()).unwrap();
        let key = directory.key().unwrap();
        let mode = std::fs::metadata(path.join("worker.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(WorkerDirectory::open(path.clone()).unwrap_err().exit(), Exit::DataDirectoryInUse);
        drop(directory);
        let again = WorkerDirectory::open(path.clone()).unwrap();
        assert_eq!(again.key().unwrap().public(), key.public());
        std::fs::write(path.join("worker.key"), b"rubbish").unwrap();
        assert_eq!(again.key().map(|_| ()).unwrap_err().exit(), Exit::StorageDamaged);
    }

    #[test]
    fn a_hub_is_known_again() {
        let home = tempfile::tempdir().unwrap();
        let directory = WorkerDirectory::open(home.path().join("w")).unwrap();
        assert_eq!(directory.hub_key("http://a").unwrap(), None);
        directory.remember_hub("http://a", "k1").unwrap();
        directory.remember_hub("http://b", "k2").unwrap();
        assert_eq!(directory.hub_key("http://a").unwrap().as_deref(), Some("k1"));
        assert_eq!(directory.hub_key("http://b").unwrap().as_deref(), Some("k2"));
        assert_eq!(directory.hub_key("http://a/b").unwrap(), None);
    }

    #[test]
    fn a_derived_key_depends_on_secret_name_and_seed() {
        let key = |secret: &str, name: &str, seed| {
            derived_key(secret, &worker(name), seed).unwrap().public().to_owned()
        };
        assert_eq!(key("s", "w", 1), key("s", "w", 1));
        assert_ne!(key("s", "w", 1), key("t", "w", 1));
        assert_ne!(key("s", "w", 1), key("s", "v", 1));
        assert_ne!(key("s", "w", 1), key("s", "w", 2));
    }

    #[test]
    fn a_generated_secret_is_kept_and_strong() {
        let home = tempfile::tempdir().unwrap();
        let (first, new) = kept_secret(home.path()).unwrap();
        assert!(new);
        assert_eq!(kept_secret(home.path()).unwrap(), (first.clone(), false));
        assert!(!is_weak(&first));
        assert!(is_weak("secret"));
        assert!(is_weak(&"a".repeat(64)));
    }
}
