//! Query parameters: an operation refuses those that it does not know, but for a lookup by `userId`.

use http::Method;
use serde_json::{Value, json};
use user_service::http::operations::{OPERATIONS, Parameters};

use crate::support::{Service, ada, some_email, some_id};

#[tokio::test]
async fn an_unknown_parameter_is_refused_by_every_operation_but_a_lookup_by_user_id() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let user = service.post("/users", &user).await.has_status(201).json();
    let user_id = user["userId"].as_str().unwrap();
    for operation in &OPERATIONS {
        for (template, id) in operation.at {
            let path = template.replace("{userId}", user_id);
            let path = match path.split_once('?') {
                Some((path, "email")) => format!("{path}?email={}", some_email()),
                Some((path, name)) => format!("{path}?{name}={user_id}"),
                None => path,
            };
            let mark = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{mark}dryRun=true");
            let method = &operation.method;
            let answer = service
                .send_json(method.clone(), &path, &[], &json!({}))
                .await;
            match operation.parameters {
                Parameters::Any => {
                    assert_eq!(answer.status, 200, "{method} {path}");
                }
                Parameters::Only(_) => {
                    let refused = answer.has_problem(400, "invalid_parameter");
                    assert_eq!(refused.field_errors()[0].0, "/dryRun", "{id}");
                }
            }
        }
    }
    assert_eq!(service.get(&format!("/users/{user_id}")).await.json(), user);
}

#[tokio::test]
async fn a_misspelt_parameter_of_a_write_is_answered_with_the_name_that_was_meant() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let patch = json!({ "phone": "+14155550123" });
    for (method, path, message) in [
        (
            Method::PATCH,
            format!("{path}?takeEmial=true"),
            "takeEmial is not a parameter of this request; did you mean takeEmail?",
        ),
        (
            Method::DELETE,
            format!("{path}?earse=true"),
            "earse is not a parameter of this request; did you mean erase?",
        ),
        (
            Method::POST,
            String::from("/users?dryRun=true"),
            "dryRun is not a parameter of this request; there are none",
        ),
        (
            Method::PUT,
            format!("{path}?userId=1"),
            "userId is not a parameter of this request; there are none",
        ),
        (
            Method::PATCH,
            format!("/users?userId={}&upsert=1", &path["/users/".len()..]),
            "upsert is not a parameter of this request; there are takeEmail, userId",
        ),
    ] {
        let refused = service.send_json(method, &path, &[], &patch).await;
        let refused = refused.has_problem(400, "invalid_parameter");
        assert_eq!(refused.json()["message"], message);
    }
    assert_eq!(service.get(path).await.body, created.body);
    // The signature of a URL is no parameter of the operation.
    let signed = format!("{path}?X-Amz-Signature=canary");
    let _ = service.patch(&signed, &patch).await.has_status(200);
}

#[tokio::test]
async fn an_address_in_a_query_that_no_address_can_be_is_refused_and_says_how_to_write_a_plus() {
    let service = Service::start().await;
    let email = some_email().replace('@', "+tag@");
    let user = json!({ "name": "A canary", "email": email });
    let _ = service.post("/users", &user).await.has_status(201);
    let find = async |query: &str| service.get(&format!("/users?email={query}")).await;
    let found = find(&email.replace('+', "%2B")).await.has_status(200);
    assert_eq!(found.json()["email"], json!(email));
    let refused = find(&email).await.has_problem(400, "invalid_parameter");
    let message: Value = refused.json()["message"].clone();
    assert!(message.as_str().unwrap().contains("%2B"), "{message}");
    for query in ["@example.com", "ada@", "", "ada", "%20@example.com"] {
        let _ = find(query).await.has_problem(400, "invalid_parameter");
    }
}
