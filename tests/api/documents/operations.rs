//! The table of operations and `openapi.yaml` have the same operations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use user_service::{
    http::operations::{OPERATIONS, Operation, Parameters},
    service::{Scope, Verdict},
};

use crate::support::contract::{CONTRACT, DOCUMENT};

const OPENAPI_COGNITO: &str = include_str!("../../../openapi.cognito.yaml");

/// A method in lower case, a path template, an operation id, and the scope of a token.
type Row = (String, String, String, &'static str);

/// The rows of the table. An operation has a row for each way to address it.
fn rows_of_the_table() -> BTreeSet<Row> {
    let rows = |operation: &Operation| -> Vec<Row> {
        let method = operation.method.as_str().to_lowercase();
        let scope = scope(operation);
        operation
            .at
            .iter()
            .map(|(template, id)| {
                let path = template.split('?').next().unwrap();
                (method.clone(), path.to_owned(), (*id).to_owned(), scope)
            })
            .collect()
    };
    OPERATIONS.iter().flat_map(rows).collect()
}

fn scope(operation: &Operation) -> &'static str {
    match operation.rule.scope {
        Scope::Read => "users/read",
        Scope::Write => "users/write",
    }
}

/// The operations on users and deleted users in a document, each with its path and its method. `HEAD` is `GET`,
/// and `OPTIONS` asks for no scope: the table has neither.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    let of_users = |path: &str| path.starts_with("/users") || path.starts_with("/deleted-users");
    for (path, item) in paths.iter().filter(|(path, _)| of_users(path)) {
        for (method, operation) in item.as_object().unwrap() {
            if ["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                operations.push((path.as_str(), method.as_str(), operation));
            }
        }
    }
    operations
}

#[test]
fn each_operation_of_the_table_is_in_the_document_and_each_of_the_document_in_the_table() {
    let with_scopes: Value = serde_saphyr::from_str(OPENAPI_COGNITO).unwrap();
    let rows: BTreeSet<Row> = operations(&with_scopes)
        .into_iter()
        .map(|(path, method, operation)| {
            let id = operation["operationId"].as_str().unwrap();
            (
                method.to_owned(),
                path.to_owned(),
                id.to_owned(),
                scope_of_the_document(operation),
            )
        })
        .collect();
    assert_eq!(rows, rows_of_the_table());
}

/// The scope in the security of an operation in `openapi.cognito.yaml`.
fn scope_of_the_document(operation: &Value) -> &'static str {
    for (security, scope) in [
        (json!([{ "read": ["users/read"] }]), "users/read"),
        (json!([{ "signedRead": ["users/read"] }]), "users/read"),
        (json!([{ "write": ["users/write"] }]), "users/write"),
    ] {
        if operation["security"] == security {
            return scope;
        }
    }
    panic!("{}", operation["security"]);
}

#[test]
fn each_operation_of_the_document_asks_for_the_security_of_its_scope() {
    for (path, method, operation) in operations(&DOCUMENT) {
        let is_at = |(template, _): &(&str, &str)| template.split('?').next() == Some(path);
        let mut rows = OPERATIONS.iter().filter(|row| row.at.iter().any(is_at));
        let row = rows
            .find(|row| row.method.as_str().eq_ignore_ascii_case(method))
            .unwrap();
        let expected = match (row.rule.scope, row.rule.anyone) {
            (Scope::Read, Verdict::Allowed) => json!([{ "read": [] }]),
            // In `NONE`, where others need no credentials, these need a signature.
            (Scope::Read, Verdict::Denied | Verdict::Hidden) => {
                json!([{ "signedRead": [] }])
            }
            (Scope::Write, _) => json!([{ "write": [] }]),
        };
        assert_eq!(operation["security"], expected, "{method} {path}");
    }
}

/// The query parameters of an operation in the document.
fn query_parameters_of_the_document(path: &str, method: &str) -> BTreeSet<String> {
    let operation = &DOCUMENT["paths"][path][method];
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters
        .map(|parameter| CONTRACT.resolve(parameter))
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_operation_knows_the_query_parameters_of_the_document() {
    let mut known: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
    for operation in &OPERATIONS {
        for (template, _) in operation.at {
            let (path, selecting) = template
                .split_once('?')
                .map_or((*template, None), |(path, name)| (path, Some(name)));
            let own = match operation.parameters {
                Parameters::Only(own) => own,
                Parameters::Any => continue,
            };
            let method = operation.method.as_str().to_lowercase();
            let names = own.iter().copied().chain(selecting).map(str::to_owned);
            known.entry((path, method)).or_default().extend(names);
        }
    }
    for ((path, method), names) in known {
        let documented = query_parameters_of_the_document(path, &method);
        assert_eq!(names, documented, "{method} {path}");
    }
}
