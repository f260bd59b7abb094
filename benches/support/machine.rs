//! What the figures depend on: the machine and the versions.

use std::{fs, path::Path, process::Command};

/// The processor, the kernel and the compiler, in one sentence.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |line| {
        line.trim_start_matches(['\t', ' ', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    format!(
        "{cores} cores of {model}, Linux {}, {}.",
        kernel.trim(),
        rustc.unwrap_or_default().trim()
    )
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
