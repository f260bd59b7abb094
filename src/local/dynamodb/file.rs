//! The file that keeps the tables of an embedded DynamoDB.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read},
    path::Path,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags};

/// How every SQLite database begins (<https://www.sqlite.org/fileformat.html>).
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// What SQLite puts beside a database while it is open, or after a crash
/// (<https://www.sqlite.org/tempfiles.html>).
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Makes the file at the absolute path `path` ready to keep tables: makes it where it is not
/// there, and lets nobody but its owner read and write it and what is beside it.
///
/// # Errors
/// Why it cannot keep tables, as a phrase after the file's name. Nothing is written then.
pub(super) fn prepare(path: &str) -> Result<(), String> {
    match File::open(path) {
        Ok(file) => check(path, file)?,
        Err(error) if error.kind() == ErrorKind::NotFound => create(path)?,
        Err(error) => return Err(error.to_string()),
    }
    for suffix in BESIDE.iter().chain(&[""]) {
        keep_private(Path::new(&format!("{path}{suffix}")));
    }
    Ok(())
}

/// Refuses a file that is neither empty nor a database of the embedded DynamoDB.
fn check(path: &str, file: File) -> Result<(), String> {
    let mut head = Vec::new();
    file.take(SQLITE.len() as u64)
        .read_to_end(&mut head)
        .map_err(|error| error.to_string())?;
    let other = |what| {
        format!("this is {what}, and no file of this service; choose another file for --data")
    };
    if head.is_empty() {
        return Ok(());
    }
    if head != SQLITE {
        return Err(other("not a database"));
    }
    match tables(path) {
        Ok(tables) if tables.is_empty() || tables.iter().any(|table| table == "_tables") => Ok(()),
        Ok(_) => Err(other("the SQLite database of another program")),
        Err(error) => Err(format!("the database cannot be read: {error}")),
    }
}

/// The tables of the SQLite database, which is left as it is.
fn tables(path: &str) -> rusqlite::Result<Vec<String>> {
    // A log of changes holds the newest ones. Where there is none, `immutable` keeps SQLite
    // from making one.
    let immutable = match Path::new(&format!("{path}-wal")).exists() {
        true => "",
        false => "&immutable=1",
    };
    let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
    let uri = format!("file:///{path}?mode=ro{immutable}");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let database = Connection::open_with_flags(uri, flags)?;
    let mut tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let tables = tables.query_map([], |row| row.get(0))?;
    tables.collect()
}

fn create(path: &str) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let created = options.open(path);
    created.map(drop).map_err(|error| error.to_string())
}

/// Lets nobody but its owner read and write a file, where there is one.
fn keep_private(file: &Path) {
    #[cfg(unix)]
    if file.is_file() {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        if let Err(error) = std::fs::set_permissions(file, permissions) {
            let cause = error.to_string();
            tracing::warn!(cause, "others may be able to read the file of --data");
        }
    }
    #[cfg(not(unix))]
    let _ = file;
}
