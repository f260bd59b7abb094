//! The limit of the processor that a request has on Lambda: a control group of Linux.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The share of one processor that a request has. A function with 256 MB has 256 ÷ 1769 of it.
pub const PERCENT: u32 = 15;

/// The period of Lambda's limit, in µs, as <https://arxiv.org/abs/2506.01283> measured it.
const PERIOD: u32 = 20_000;

/// A control group whose processes share a part of a processor.
#[derive(Debug)]
pub struct Limit {
    group: PathBuf,
    has_version_2: bool,
}

impl Limit {
    /// Makes the group, which is removed when this is dropped.
    ///
    /// # Errors
    /// Says why the system refuses, such as that only root may do this.
    pub fn new() -> Result<Self, String> {
        let root = Path::new("/sys/fs/cgroup");
        let has_version_2 = root.join("cgroup.controllers").exists();
        let parent = if has_version_2 {
            root.to_owned()
        } else {
            root.join("cpu")
        };
        let limit = Self {
            group: parent.join(format!("user-service-bench-{}", std::process::id())),
            has_version_2,
        };
        limit
            .make()
            .map_err(|error| format!("{} cannot be changed: {error}", parent.display()))?;
        Ok(limit)
    }

    fn make(&self) -> io::Result<()> {
        fs::create_dir(&self.group)?;
        if !self.has_version_2 {
            self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
        }
        self.set(100)
    }

    /// The file to which a process writes its id to join the group.
    ///
    /// A process joins before its init: to move it later takes Linux milliseconds, in which its caches
    /// become cold.
    pub fn processes(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }

    /// Limits the group to `percent` of one processor, and gives it the whole quota of a period. A
    /// function that has not run for 20 ms has it too.
    pub fn set(&self, percent: u32) -> io::Result<()> {
        let quota = PERIOD * percent / 100;
        if self.has_version_2 {
            self.write("cpu.max", &format!("{quota} {PERIOD}"))
        } else {
            self.write("cpu.cfs_quota_us", &quota.to_string())
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.group.join(file), text)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // A group without processes costs nothing if it stays.
        let _ = fs::remove_dir(&self.group);
    }
}
