//! The crates that the programs are built of.

use std::collections::BTreeSet;

use tokio::process::Command;

use crate::support::program::output;

#[tokio::test]
async fn the_tests_need_no_dependency_of_the_local_server_built_again() {
    // Each crate with its features. Cargo builds it once for each set of features.
    let crates = async |edges: &str| -> BTreeSet<String> {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["tree", "--locked", "--prefix", "none", "--no-dedupe"])
            .args(["--format", "{p} {f}", "--edges", edges])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let tree = String::from_utf8(output(command).await.stdout).unwrap();
        let is_itself = |line: &&str| line.starts_with("user-service ");
        let others = tree.lines().filter(|line| !is_itself(line));
        others.map(str::to_owned).collect()
    };
    let built = crates("normal,build").await;
    assert!(
        built
            .iter()
            .any(|line| line.starts_with("aws-sdk-dynamodb "))
    );
    let tested = crates("normal,build,dev").await;
    let again: Vec<&String> = built.difference(&tested).collect();
    assert!(
        again.is_empty(),
        "the dev-dependencies turn on features of these crates; name the features in `unified` in \
         Cargo.toml: {again:#?}"
    );
}
