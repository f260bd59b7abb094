//! The handlers, and how they are built.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A program that runs under the Runtime API.
#[derive(Debug)]
pub struct Handler {
    /// Its name in the table.
    pub name: &'static str,
    /// Its executable file.
    pub program: PathBuf,
    /// Whether it calls DynamoDB. The floor does not.
    pub calls_dynamodb: bool,
}

/// Builds all handlers. The first is the floor, and the second is the service.
///
/// # Panics
/// A build failed. cargo has printed why.
pub fn build() -> Vec<Handler> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/benches");
    let service = [
        "--no-default-features",
        "--bin",
        "lambda",
        "--manifest-path",
        "Cargo.toml",
    ];
    cargo_build(root, &target.join("service"), &service);
    // One by one: built together, each would have the features of the others' dependencies.
    for peer in ["floor", "raw", "sdk-defaults"] {
        let peer = [
            "--manifest-path",
            "benches/peers/Cargo.toml",
            "--package",
            peer,
        ];
        cargo_build(root, &target.join("peers"), &peer);
    }
    let handler = |name, program: &str, calls_dynamodb| Handler {
        name,
        program: target.join(program),
        calls_dynamodb,
    };
    vec![
        handler("floor: answers at once", "peers/release/floor", false),
        handler("**user-service**", "service/release/lambda", true),
        handler(
            "GetItem, signed, over hyper and rustls",
            "peers/release/raw",
            true,
        ),
        handler(
            "GetItem, all defaults of the AWS SDK",
            "peers/release/sdk-defaults",
            true,
        ),
    ]
}

fn cargo_build(root: &Path, target: &Path, arguments: &[&str]) {
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(target)
        .args(arguments)
        .status();
    let is_built = status.is_ok_and(|status| status.success());
    assert!(is_built, "cargo build {arguments:?} failed");
}
