//! The table "Calls of DynamoDB" of `ARCHITECTURE.md` has the calls that the service makes.

use std::collections::BTreeSet;

use http::Method;
use user_service::http::operations::{OPERATIONS, Operation};

use crate::support::{Service, ada, some_id};

const ARCHITECTURE: &str = include_str!("../../../ARCHITECTURE.md");

/// A row of the table.
#[derive(Debug)]
struct Row {
    /// The method and the path template, such as `GET /users/{userId}`.
    operation: &'static str,
    /// The header field of the request, if the row names one.
    header: Option<(&'static str, &'static str)>,
    /// The query of the request, if the row names one.
    query: Option<&'static str>,
    calls: Vec<&'static str>,
}

impl Row {
    fn read(line: &'static str) -> Self {
        let (request, calls) = line.trim_matches('|').split_once('|').unwrap();
        let mut code = request.split('`').skip(1).step_by(2);
        let (operation, more) = (code.next().unwrap(), code.next());
        Self {
            operation,
            header: more.and_then(|field| field.split_once(": ")),
            query: more.filter(|query| query.contains('=')),
            calls: calls.split(',').map(str::trim).collect(),
        }
    }
}

fn rows() -> Vec<Row> {
    let (_, section) = ARCHITECTURE.split_once("\n## Calls of DynamoDB\n").unwrap();
    section
        .lines()
        .skip_while(|line| !line.starts_with("| `"))
        .take_while(|line| line.starts_with("| `"))
        .map(Row::read)
        .collect()
}

/// How the table names an operation.
fn name(operation: &Operation) -> String {
    let (template, _) = operation.at[0];
    let query = if template.contains('?') { "=" } else { "" };
    format!("{} {template}{query}", operation.method)
}

#[test]
fn the_table_of_calls_has_each_operation_and_no_other() {
    let in_table: BTreeSet<String> = rows().iter().map(|row| row.operation.to_owned()).collect();
    let in_code: BTreeSet<String> = OPERATIONS.iter().map(name).collect();
    assert_eq!(in_table, in_code);
}

#[tokio::test]
async fn the_service_makes_the_calls_of_the_table() {
    let service = Service::start().await;
    for row in rows() {
        assert_eq!(calls_of(&service, &row, None).await, row.calls, "{row:?}");
    }
}

#[tokio::test]
async fn an_admin_who_acts_on_others_makes_one_call_more() {
    let service = Service::start().await;
    let mut root = ada();
    root["userId"] = some_id().into();
    let _ = service.post("/users", &root).await.has_status(201);
    let root = format!("{}:admin", root["userId"].as_str().unwrap());
    for row in rows() {
        let more = calls_of(&service, &row, Some(&root)).await;
        assert_eq!(
            more,
            [&["BatchGetItem"], &row.calls[..]].concat(),
            "{row:?}"
        );
    }
}

/// The calls of the request of a row, which succeeds: by a service, or by this local caller.
async fn calls_of(service: &Service, row: &Row, caller: Option<&str>) -> Vec<String> {
    let (method, template) = row.operation.split_once(' ').unwrap();
    let user = service.post("/users", &ada()).await.has_status(201).json();
    let text = |field: &str| user[field].as_str().unwrap().to_owned();
    // A request that creates is for a user who is not there.
    let is_creation = row.operation == "POST /users" || row.header == Some(("If-None-Match", "*"));
    let user_id = if is_creation {
        some_id()
    } else {
        text("userId")
    };
    let mut path = template.replace("{userId}", &user_id);
    if path.ends_with("?email=") {
        path += &text("email");
    }
    if let Some(query) = row.query {
        path += &format!("?{query}");
    }
    if template.starts_with("/deleted-users/") {
        let deleted = service.delete(&format!("/users/{user_id}")).await;
        let _ = deleted.has_status(204);
    }
    service.store().take_calls();
    let caller = caller.map(|caller| ("X-Local-Caller", caller));
    let headers: Vec<_> = row.header.into_iter().chain(caller).collect();
    let has_body = ["POST", "PUT", "PATCH"].contains(&method) && !template.contains("restore");
    let method: Method = method.parse().unwrap();
    let answer = if has_body {
        service.send_json(method, &path, &headers, &ada()).await
    } else {
        service.send(method, &path, &headers, "").await
    };
    assert!(answer.status.is_success(), "{row:?}: {answer:?}");
    service.store().take_calls()
}
