//! The documents beside the code say what the code does.

use std::collections::BTreeSet;

use serde_json::Value;

const README: &str = include_str!("../../README.md");
const OPENAPI: &str = include_str!("../../openapi.yaml");
const ERRORS: &str = include_str!("../../src/http/error.rs");

#[test]
fn every_error_code_is_in_the_readme_and_the_contract() {
    let code = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let in_code = ERRORS.split("fn describe(").nth(1).unwrap();
    let in_code = in_code.split('"').skip(1).step_by(2);
    let in_code: BTreeSet<&str> = in_code
        .filter(|text| text.contains('_') && code(text))
        .collect();
    assert!(in_code.len() > 10, "{in_code:?}");

    // The gateway has codes of its own, for what it answers itself.
    let in_gateway = OPENAPI.split("\"code\":\"").skip(1);
    let in_gateway = in_gateway.map(|rest| rest.split('"').next().unwrap());
    let all: BTreeSet<&str> = in_code.into_iter().chain(in_gateway).collect();

    let rows = README.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| row.split_once("` | ").map(|(name, _)| name));
    let in_readme: BTreeSet<&str> = rows.filter(|name| code(name)).collect();
    assert_eq!(in_readme, all);

    let enumeration = OPENAPI.split("    ErrorCode:\n").nth(1).unwrap();
    let enumeration = enumeration.split("    Problem:\n").next().unwrap();
    let names = enumeration
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "));
    assert_eq!(names.collect::<BTreeSet<_>>(), all);
}

/// The blocks of the README that a reader pastes into a shell.
fn blocks_to_paste() -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while lines.any(|line| line.trim_start() == "```sh") {
        let block = lines.by_ref().take_while(|line| line.trim_start() != "```");
        blocks.push(block.collect::<Vec<_>>().join("\n"));
    }
    blocks
}

/// zsh, which is the shell of macOS, takes `#` for a word like any other.
#[test]
fn no_block_to_paste_has_a_comment_or_a_word_to_replace() {
    let blocks = blocks_to_paste();
    assert!(blocks.len() > 10, "{blocks:#?}");
    for block in blocks {
        for word in block.split_whitespace() {
            assert!(!word.starts_with('#'), "{block}");
            assert!(!word.contains("<you>"), "{block}");
        }
    }
}

#[test]
fn the_readme_names_every_parameter_of_a_query() {
    let document: Value = serde_saphyr::from_str(OPENAPI).unwrap();
    let parameters = document["components"]["parameters"].as_object().unwrap();
    let in_query = parameters
        .values()
        .filter(|parameter| parameter["in"] == "query");
    let names: BTreeSet<&str> = in_query
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    assert!(names.contains("cursor"), "{names:?}");
    let code = README.split('`').skip(1).step_by(2);
    let words: BTreeSet<&str> = code
        .flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric()))
        .collect();
    for name in names {
        assert!(words.contains(name), "{name}");
    }
}

/// What no document of ours can change, and clients meet.
#[test]
fn the_readme_says_where_api_gateway_answers_otherwise_than_the_service() {
    let section = README
        .split("\n### What API Gateway answers otherwise\n")
        .nth(1);
    let section = section.unwrap().split("\n### ").next().unwrap();
    for word in [
        "`TRACE`",
        "over 10 MB",
        "`Content-Length: 0`",
        "`x-amzn-Remapped-Content-Length`",
    ] {
        assert!(section.contains(word), "{word}");
    }
}
