//! What the figures depend on: the machine and the versions.

use std::{fs, path::Path, process::Command};

/// The processor and the kernel.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |line| {
        line.trim_start_matches(['\t', ' ', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {model}, Linux {}", kernel.trim())
}

/// What `program --version` prints, or nothing if it does not start.
pub fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let is_version = output.status.success();
    is_version.then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version of a dependency, from `Cargo.lock`.
pub fn version_of(dependency: &str) -> String {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = fs::read_to_string(lock).expect("there is a Cargo.lock");
    let start = format!("name = \"{dependency}\"\nversion = \"");
    let (_, rest) = lock.split_once(&start).expect("it is a dependency");
    let (version, _) = rest.split_once('"').expect("it has a version");
    version.to_owned()
}
