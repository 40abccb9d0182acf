//! Files with secrets: read only if nobody but the server's user can, and not from the data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sealed_crypto::rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{Env, Error};

/// The mode bits that give somebody else access.
const OTHERS: u32 = 0o077;

/// A path, and whether the file may be inside the data directory.
#[derive(Clone, Debug)]
pub struct PrivateFile {
    pub path: PathBuf,
    pub allow_in_data_directory: bool,
}

impl PrivateFile {
    /// Its content, up to `limit` bytes and one more, so that the caller sees what is too long. `None`
    /// if there is no such file.
    ///
    /// Links are followed first, and what they lead to is what is checked and opened: a harmless name
    /// for a file in the data directory is refused. The checks are made on the open file, so that it
    /// can't be exchanged between check and reading.
    pub fn read(&self, limit: usize, env: &Env) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let real = match fs::canonicalize(&self.path) {
            Ok(real) => real,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.io("open file", &e)),
        };
        self.check_place(&real, env)?;
        // Not blocking: opening a pipe would wait for a writer.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file =
            OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&real);
        let file = match file {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.io("open file", &e)),
        };
        self.check_access(&file)?;
        // Room for all of it from the start: growing would leave copies behind.
        let mut content = Zeroizing::new(Vec::with_capacity(limit + 1));
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most).read_to_end(&mut content).map_err(|e| self.io("read file", &e))?;
        Ok(Some(content))
    }

    /// Writes a new file, readable by the server's user alone, that is either whole and durable or not
    /// there. A file that somebody else has made in the meantime stays, and that is no error.
    pub fn create(&self, content: &[u8], rng: &mut impl CryptoRng, env: &Env) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(Error::NotRegularFile { path: self.path.clone() });
        };
        let parent = fs::canonicalize(parent).map_err(|e| self.io("open directory of", &e))?;
        let real = parent.join(name);
        self.check_place(&real, env)?;

        let draft = Draft(parent.join(format!(".pg_sealed.{:016x}", rng.next_u64())));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft.0)
            .map_err(|e| self.io("create file", &e))?;
        file.write_all(content).map_err(|e| self.io("write file", &e))?;
        file.sync_all().map_err(|e| self.io("fsync file", &e))?;
        // A link fails where a rename would replace: an existing key is never lost.
        match fs::hard_link(&draft.0, &real) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(self.io("create file", &e)),
        }
        drop(draft);
        let directory = File::open(&parent).and_then(|d| d.sync_all());
        directory.map_err(|e| self.io("fsync directory of", &e))
    }

    fn check_place(&self, real: &Path, env: &Env) -> Result<(), Error> {
        if self.allow_in_data_directory {
            return Ok(());
        }
        let data_dir = fs::canonicalize(env.data_dir).map_err(|e| Error::Io {
            action: "open data directory",
            path: env.data_dir.into(),
            kind: e.kind(),
        })?;
        if real.starts_with(data_dir) {
            return Err(Error::InDataDirectory { path: self.path.clone() });
        }
        Ok(())
    }

    fn check_access(&self, file: &File) -> Result<(), Error> {
        let path = || self.path.clone();
        let meta = file.metadata().map_err(|e| self.io("stat file", &e))?;
        if !meta.is_file() {
            return Err(Error::NotRegularFile { path: path() });
        }
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(Error::WrongOwner { path: path() });
        }
        if meta.mode() & OTHERS != 0 {
            return Err(Error::OpenPermissions { path: path(), mode: meta.mode() & 0o7777 });
        }
        Ok(())
    }

    fn io(&self, action: &'static str, e: &io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), kind: e.kind() }
    }
}

/// The file while it is being written, under a name of its own that goes away in any case.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there if creating it failed; there is nothing else to do about other failures.
        let _ = fs::remove_file(&self.0);
    }
}
