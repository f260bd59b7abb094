//! The documents beside the code say what the code does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use user_service::user::{Access, FIELDS, Presence, Source};

const README: &str = include_str!("../../../README.md");
const API: &str = include_str!("../../../docs/api.md");
const OPENAPI: &str = include_str!("../../../openapi.yaml");
const ERRORS: &str = include_str!("../../../src/http/error.rs");

/// README.md, ARCHITECTURE.md and every document of docs/.
fn documents() -> Vec<Document> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_docs = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "md"));
    let documents: Vec<_> = ["README.md", "ARCHITECTURE.md"]
        .map(|name| root.join(name))
        .into_iter()
        .chain(in_docs)
        .map(Document::read)
        .collect();
    assert!(documents.len() >= 3, "{documents:#?}");
    documents
}

/// A document in Markdown.
#[derive(Debug)]
struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    /// The blocks of code, each with what is said of its language.
    fn blocks(&self) -> Vec<(&str, String)> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines().map(str::trim_start);
        while let Some(fence) = lines.find(|line| line.starts_with("```")) {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((fence.trim_start_matches('`'), block.join("\n")));
        }
        blocks
    }

    /// The lines outside the blocks of code, without what is code in them.
    fn prose(&self) -> Vec<String> {
        let mut is_code = false;
        let without_code = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let lines = self
            .text
            .lines()
            .filter(|line| {
                let is_fence = line.trim_start().starts_with("```");
                is_code ^= is_fence;
                !is_code && !is_fence
            })
            .map(without_code)
            .collect();
        assert!(!is_code, "{}", self.path.display());
        lines
    }

    /// What the links and images of the prose point to.
    fn targets(&self) -> Vec<String> {
        let mut targets = Vec::new();
        for line in self.prose() {
            for (before, after) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
                let found = line
                    .split(before)
                    .skip(1)
                    .filter_map(|rest| rest.split_once(after));
                targets.extend(found.map(|(target, _)| target.to_owned()));
            }
        }
        targets
    }

    /// The names that links call its headings by.
    fn anchors(&self) -> BTreeSet<String> {
        let mut is_code = false;
        self.text
            .lines()
            .filter(|line| {
                is_code ^= line.trim_start().starts_with("```");
                !is_code && line.starts_with('#')
            })
            .map(anchor)
            .collect()
    }
}

/// The name that links call a heading by.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then_some(c),
        })
        .collect()
}

#[test]
fn every_error_code_is_in_the_documents_and_the_contract() {
    let code = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let describe = ERRORS.split("fn describe(").nth(1).unwrap();
    let in_code: BTreeSet<&str> = describe
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| text.contains('_') && code(text))
        .collect();
    assert!(in_code.len() > 10, "{in_code:?}");

    // The gateway has codes of its own, for what it answers itself.
    let in_gateway = OPENAPI
        .split("\"code\":\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let all: BTreeSet<&str> = in_code.into_iter().chain(in_gateway).collect();

    let rows = section("Errors")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once("` | ").map(|(name, _)| name));
    assert_eq!(rows.collect::<BTreeSet<_>>(), all);

    let enumeration = OPENAPI.split("    ErrorCode:\n").nth(1).unwrap();
    let enumeration = enumeration.split("    Problem:\n").next().unwrap();
    let names = enumeration
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "));
    assert_eq!(names.collect::<BTreeSet<_>>(), all);
}

/// The section of docs/api.md with this heading.
fn section(heading: &str) -> &'static str {
    let (_, section) = API.split_once(&format!("\n## {heading}\n")).unwrap();
    section.split("\n## ").next().unwrap()
}

/// zsh, which is the shell of macOS, takes `#` for a word like any other.
#[test]
fn no_block_to_paste_has_a_comment_or_a_word_to_replace() {
    let documents = documents();
    let blocks: Vec<_> = documents
        .iter()
        .flat_map(Document::blocks)
        .filter(|(language, _)| *language == "sh")
        .map(|(_, block)| block)
        .collect();
    assert!(blocks.len() > 10, "{blocks:#?}");
    for block in blocks {
        for word in block.split_whitespace() {
            assert!(!word.starts_with('#'), "{block}");
            assert!(!word.contains("<you>"), "{block}");
        }
    }
}

#[test]
fn the_documents_name_every_parameter_of_a_query() {
    let document: Value = serde_saphyr::from_str(OPENAPI).unwrap();
    let parameters = document["components"]["parameters"].as_object().unwrap();
    let in_query = parameters
        .values()
        .filter(|parameter| parameter["in"] == "query");
    let names: BTreeSet<&str> = in_query
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    assert!(names.contains("cursor"), "{names:?}");
    for document in [README, API] {
        let code = document.split('`').skip(1).step_by(2);
        let words: BTreeSet<&str> = code
            .flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric()))
            .collect();
        for name in &names {
            assert!(words.contains(name), "{name}");
        }
    }
}

/// What no document of ours can change, and clients meet.
#[test]
fn the_documents_say_where_api_gateway_answers_otherwise_than_the_service() {
    let section = section("Differences on API Gateway");
    for word in [
        "`TRACE`",
        "over 10 MB",
        "`Content-Length: 0`",
        "`x-amzn-Remapped-Content-Length`",
    ] {
        assert!(section.contains(word), "{word}");
    }
}

#[test]
fn the_readme_has_at_most_200_lines() {
    let count = README.lines().count();
    assert!(count <= 200, "{count}");
}

#[test]
fn every_relative_link_of_a_document_points_to_something() {
    let mut count = 0;
    for document in documents() {
        let folder = document.path.parent().unwrap();
        for target in document.targets() {
            if ["http://", "https://"]
                .iter()
                .any(|it| target.starts_with(it))
            {
                continue;
            }
            let from = document.path.display();
            let (file, anchor) = match target.split_once('#') {
                Some((file, anchor)) => (file, Some(anchor)),
                None => (target.as_str(), None),
            };
            let file = match file {
                "" => document.path.clone(),
                file => folder.join(file),
            };
            assert!(file.exists(), "{from}: {target}");
            if let Some(anchor) = anchor {
                let anchors = Document::read(file).anchors();
                assert!(anchors.contains(anchor), "{from}: {target} in {anchors:?}");
            }
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

/// The fields that the first cells of a table in docs/api.md name, with the second cells.
fn fields_of_table(header: &str) -> BTreeMap<&'static str, &'static str> {
    let (_, table) = API.split_once(header).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names = cells[0].split('`').skip(1).step_by(2);
        names.map(move |name| (name, cells[1])).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_tables_of_fields_have_every_field_with_who_writes_and_who_sees_it() {
    let documented = fields_of_table("| field | who writes it | rules |");
    let seen =
        fields_of_table("| field | services and admins | users, and callers without credentials |");
    let names: BTreeSet<&str> = FIELDS.iter().map(|field| field.name).collect();
    let in_table: BTreeSet<&str> = documented.keys().copied().collect();
    let missing: Vec<_> = names.difference(&in_table).collect();
    let unknown: Vec<_> = in_table.difference(&names).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "table of fields in docs/api.md: missing {missing:?}; not of FIELDS in src/user/fields.rs \
         {unknown:?}"
    );
    for field in &FIELDS {
        let who = documented[field.name];
        let writers = match (&field.source, field.access) {
            (Source::Service(_), _) => "the service",
            (Source::Client(..), Access::Everyone) => "the client",
            (Source::Client(..), Access::WrittenInFullView | Access::SeenInFullView) => {
                "services and admins"
            }
        };
        assert!(who.contains(writers), "{}: {who}", field.name);
        let presence = match &field.source {
            Source::Client(Presence::Required, _) => "required",
            Source::Client(Presence::Optional | Presence::Retained, _) => "optional",
            Source::Service(_) => "",
        };
        assert!(who.contains(presence), "{}: {who}", field.name);
        let is_special = field.access != Access::Everyone;
        assert_eq!(seen.contains_key(field.name), is_special, "{}", field.name);
    }
    for (document, text) in [
        ("README.md", README),
        ("ARCHITECTURE.md", include_str!("../../../ARCHITECTURE.md")),
    ] {
        for field in &FIELDS {
            let name = format!("`{}`", field.name);
            assert!(text.contains(&name), "{document} does not name {name}");
        }
    }
}
