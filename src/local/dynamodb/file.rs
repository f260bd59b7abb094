//! The file that keeps the tables of an embedded DynamoDB.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    path::{self, Path},
};

use dynoxide::{Database, DynoxideError};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

/// The first bytes of every SQLite database (<https://www.sqlite.org/fileformat.html>).
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// The suffixes of the files that SQLite keeps beside a database while it is open, or after a crash
/// (<https://www.sqlite.org/tempfiles.html>).
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Why a file cannot keep tables, as a phrase that follows the name of the file.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read or made.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its path is not UTF-8.
    #[error("the path is not UTF-8")]
    Path,
    /// It has another format.
    #[error("this is not a database, and no file of this service; choose another file for --data")]
    NotADatabase,
    /// It is a SQLite database without the tables of the engine.
    #[error(
        "this is the SQLite database of another program, and no file of this service; choose \
         another file for --data"
    )]
    OfAnotherProgram,
    /// The folder of the file does not exist.
    #[error("there is no folder {0}; make it first")]
    NoFolder(String),
    /// A file beside it is a symbolic link.
    #[error("{0} is a symbolic link, which this service never makes; remove it")]
    Link(String),
    /// Another process has it open.
    #[error("another process uses the file; stop the server that runs with it")]
    InUse,
    /// SQLite cannot read it.
    #[error("the database cannot be read: {0}")]
    Unreadable(#[from] rusqlite::Error),
    /// The engine cannot use it.
    #[error(transparent)]
    Engine(#[from] DynoxideError),
}

/// Opens the database in `file`. Makes the file if it does not exist. Only the owner can read and
/// write it and the files that SQLite puts beside it.
///
/// # Errors
/// Why the file cannot keep tables. A file of another program is not changed.
pub(super) fn open(file: &Path) -> Result<Database, FileError> {
    let path = absolute(file)?;
    match File::open(&path) {
        Ok(file) => check(&path, file)?,
        Err(error) if error.kind() == ErrorKind::NotFound => create(&path)?,
        Err(error) => return Err(error.into()),
    }
    // The path of --data may have links, as SQLite follows them. What is beside the file may be none.
    let path = absolute(&fs::canonicalize(path)?)?;
    for suffix in BESIDE.iter().chain(&[""]) {
        keep_private(&format!("{path}{suffix}"))?;
    }
    Ok(Database::new(&path)?)
}

/// An absolute path is never one of SQLite's own names, such as `:memory:`.
fn absolute(file: &Path) -> Result<String, FileError> {
    let path = path::absolute(file)?.into_os_string();
    path.into_string().map_err(|_| FileError::Path)
}

/// Checks that no other process has `file` open. Also moves the contents of the write-ahead log
/// (`-wal`) into the file, and deletes the log.
///
/// # Errors
/// [`FileError::InUse`], or why the file cannot keep tables. A file of another program is not
/// changed.
pub(super) fn check_unused(file: &Path) -> Result<(), FileError> {
    // SQLite leaves the WAL mode only if there is no other connection, see
    // <https://www.sqlite.org/wal.html#persistence_of_wal_mode>.
    let path = absolute(file)?;
    check(&path, File::open(&path)?)?;
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    match connection.pragma_update(None, "journal_mode", "DELETE") {
        Ok(()) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Err(FileError::InUse)
        }
        Err(error) => Err(error.into()),
    }
}

/// Refuses a file that is neither empty nor a database of the embedded DynamoDB.
fn check(path: &str, file: File) -> Result<(), FileError> {
    let mut head = Vec::new();
    file.take(SQLITE.len() as u64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(());
    }
    if head != SQLITE {
        return Err(FileError::NotADatabase);
    }
    let tables = tables(path)?;
    if tables.is_empty() || tables.iter().any(|table| table == "_tables") {
        Ok(())
    } else {
        Err(FileError::OfAnotherProgram)
    }
}

/// The tables of the SQLite database. Does not change the database.
fn tables(path: &str) -> rusqlite::Result<Vec<String>> {
    // The write-ahead log (`-wal`) holds the newest changes. If there is no log, `immutable` keeps
    // SQLite from making one.
    let immutable = match Path::new(&format!("{path}-wal")).exists() {
        true => "",
        false => "&immutable=1",
    };
    let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
    let uri = format!("file:///{path}?mode=ro{immutable}");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)?
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn create(path: &str) -> Result<(), FileError> {
    let folder = Path::new(path).parent().filter(|folder| !folder.is_dir());
    if let Some(folder) = folder {
        return Err(FileError::NoFolder(folder.display().to_string()));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(path).map(drop)?)
}

/// Lets only its owner read and write a file, if the file exists.
///
/// # Errors
/// [`FileError::Link`]. Others who can write to the folder may have made it, to change another file.
#[cfg(unix)]
fn keep_private(path: &str) -> Result<(), FileError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    let mut options = OpenOptions::new();
    // Without waiting for a writer, if it is a pipe.
    options
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let changed = options
        .open(path)
        .and_then(|file| match file.metadata()?.is_file() {
            true => file.set_permissions(PermissionsExt::from_mode(0o600)),
            false => Ok(()),
        });
    match changed {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            Err(FileError::Link(path.to_owned()))
        }
        Err(error) => {
            let cause = error.to_string();
            tracing::warn!(cause, "others may be able to read the file of --data");
            Ok(())
        }
    }
}

#[cfg(not(unix))]
fn keep_private(_: &str) -> Result<(), FileError> {
    Ok(())
}
