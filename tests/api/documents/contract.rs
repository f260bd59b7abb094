//! `openapi.yaml` and the service agree, both ways. The support of the tests holds every answer
//! against the document. The tests here meet every operation and status in it.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};
use user_service::{
    store::Retention,
    user::{FIELDS, Field, Kept, Presence, Rule, Source, View},
};

use crate::support::{
    Answer, Service, Setup, ada,
    contract::{CONTRACT, DOCUMENT, OF_THE_GATEWAY, check, problem_schema},
    events::{Credentials, Gateway, event, with_body},
    some_id,
};

#[tokio::test]
async fn every_path_of_the_document_routes_and_has_its_methods() {
    let service = Service::start().await;
    let mut methods = BTreeMap::<&str, BTreeSet<String>>::new();
    for (path, method) in CONTRACT.operations.keys() {
        methods
            .entry(path)
            .or_default()
            .insert(method.to_uppercase());
    }
    for (path, methods) in methods {
        let instance = path.replace("{userId}", "7");
        let options = service
            .send(Method::OPTIONS, &instance, &[], "")
            .await
            .has_status(204);
        let allowed: BTreeSet<String> = options
            .header("allow")
            .split(", ")
            .map(str::to_owned)
            .collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

/// Whether a schema has a field.
type Has = fn(&Field) -> bool;

/// The schemas of users, each with the fields that it has.
const SCHEMAS_OF_USERS: [(&str, Has); 4] = [
    ("User", |_| true),
    ("NewUser", |field| {
        field.name == "userId" || field.is_written(View::Full)
    }),
    // Replacements and patches are addressed by their path.
    ("UserReplacement", |field| field.name != "userId"),
    ("UserPatch", |field| field.is_written(View::Full)),
];

/// The schema with this name, as the document has it.
fn schema(name: &str) -> &'static Value {
    &DOCUMENT["components"]["schemas"][name]
}

#[test]
fn the_schemas_of_users_have_every_field_and_nothing_else() {
    for (name, has) in SCHEMAS_OF_USERS {
        let fields = FIELDS.iter().filter(|field| has(field));
        let expected: BTreeSet<&str> = fields.map(|field| field.name).collect();
        let properties = schema(name)["properties"].as_object().unwrap();
        let named: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        let missing: Vec<_> = expected.difference(&named).collect();
        let unknown: Vec<_> = named.difference(&expected).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "schema {name} of openapi.yaml: missing {missing:?}; not of FIELDS in src/user/fields.rs \
             {unknown:?}"
        );
    }
}

#[test]
fn the_schemas_of_users_have_the_types_of_the_fields_and_what_they_must_have() {
    for (name, has) in SCHEMAS_OF_USERS {
        let is_input = name != "User";
        let mut required = Vec::new();
        for field in FIELDS.iter().filter(|field| has(field)) {
            let at = format!("{} in schema {name} of openapi.yaml", field.name);
            let (kind, values) = match &field.source {
                Source::Service(Kept::Text)
                | Source::Client(_, Rule::Text(_) | Rule::TrimmedText(_)) => ("string", None),
                Source::Client(_, Rule::OneOf(values)) => ("string", Some(*values)),
                Source::Service(Kept::Actor) | Source::Client(_, Rule::Object) => ("object", None),
                Source::Service(Kept::Version) => ("integer", None),
                Source::Client(_, Rule::Boolean) => ("boolean", None),
            };
            let property = resolved(&schema(name)["properties"][field.name]);
            // A nullable schema has the values in the schema that it extends.
            let extended = property["allOf"].get(0).map_or(property, resolved);
            assert_eq!(property["type"], kind, "{at}");
            assert_eq!(extended["type"], kind, "{at}");
            assert_eq!(
                extended.get("enum"),
                values.map(|it| json!(it)).as_ref(),
                "{at}"
            );

            let must_have = matches!(field.source, Source::Client(Presence::Required, _));
            let takes_null = is_input && !must_have;
            assert_eq!(property["nullable"] == true, takes_null, "{at}");
            if must_have {
                required.push(field.name);
            }
            // Rules may have been others, or none, when the item was written.
            for rule in ["pattern", "format", "minLength", "maxLength", "minimum"] {
                let is_free = property.get(rule).is_none() || property[rule] == "int64";
                assert!(is_input || is_free, "{rule} of {at}");
            }
        }
        let expected = match name {
            // Another client may have left out the others.
            "User" => json!(["userId"]),
            "UserPatch" => Value::Null,
            _ => json!(required),
        };
        assert_eq!(schema(name)["required"], expected, "{name}");
    }
}

/// The schema, or what its `$ref` points to, as the document has it.
fn resolved(schema: &'static Value) -> &'static Value {
    let reference = schema["$ref"].as_str();
    reference.map_or(schema, |it| {
        DOCUMENT.pointer(it.trim_start_matches('#')).unwrap()
    })
}

#[test]
fn every_answer_with_a_user_has_the_same_type() {
    let user = json!({ "$ref": "#/components/schemas/User" });
    for name in ["User", "Patched", "Created", "Restored"] {
        let response = &DOCUMENT["components"]["responses"][name];
        assert_eq!(response["content"]["application/json"]["schema"], user);
    }
    let read = &DOCUMENT["paths"]["/users/{userId}"]["get"]["responses"]["200"];
    assert_eq!(read["content"]["application/json"]["schema"], user);
}

#[test]
fn a_user_and_a_page_are_told_apart_by_what_each_must_have() {
    let answer = CONTRACT.schema(&json!({ "$ref": "#/components/schemas/UserOrPage" }));
    let members = &DOCUMENT["components"]["schemas"]["UserOrPage"]["oneOf"];
    let names = ["User", "UserPage"];
    let references = names.map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }));
    assert_eq!(*members, json!(references));
    let required = names.map(|name| &DOCUMENT["components"]["schemas"][name]["required"]);
    assert_eq!(required, [&json!(["userId"]), &json!(["items"])]);
    for (body, conforms) in [
        (json!({ "userId": "ada" }), true),
        (json!({ "userId": "ada", "items": [] }), true),
        (json!({ "items": [] }), true),
        (
            json!({ "items": [{ "userId": "ada", "name": "Ada" }], "nextCursor": "ATE" }),
            true,
        ),
        (json!({}), false),
        (json!({ "userId": "ada", "name": 7 }), false),
        (json!({ "items": [{ "userId": "ada", "name": 7 }] }), false),
    ] {
        assert_eq!(answer.is_valid(&body), conforms, "{body}");
    }
}

#[test]
fn the_document_names_every_member_of_what_is_kept_of_a_user() {
    let schemas = &DOCUMENT["components"]["schemas"];
    for (name, members) in [
        (
            "DeletedUser",
            &["deletedAt", "deletedBy", "expiresAt", "user", "userId"][..],
        ),
        (
            "HistoryRecord",
            &[
                "actor",
                "changed",
                "id",
                "requestId",
                "time",
                "type",
                "version",
            ],
        ),
        ("Export", &["deletedUser", "history", "user"]),
        ("Restoration", &["email"]),
    ] {
        let schema = &schemas[name];
        assert_eq!(schema["additionalProperties"], json!(false), "{name}");
        let mut names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, members, "{name}");
    }
    for (schema, member) in [("DeletedUser", "user"), ("Export", "user")] {
        let user = &schemas[schema]["properties"][member];
        assert_eq!(*user, json!({ "$ref": "#/components/schemas/User" }));
    }
}

/// One request for each way in which an operation can end.
#[tokio::test]
async fn every_operation_and_status_of_the_document_is_met() {
    let service = Service::start().await;
    let without_table = Setup {
        without_table: true,
        ..Setup::default()
    }
    .start()
    .await;
    let mut met = BTreeSet::new();
    for ((template, method), responses) in &CONTRACT.operations {
        for status in responses.keys() {
            let id = some_id();
            let mut user = ada();
            let has_user = !matches!(status.as_str(), "201" | "404");
            let is_of_deleted = template.starts_with("/deleted-users");
            if has_user {
                user["userId"] = json!(id);
                let _ = service.post("/users", &user).await.has_status(201);
            }
            if has_user && is_of_deleted {
                let path = format!("/users/{id}");
                let delete = service.send(Method::DELETE, &path, &[], "");
                let _ = delete.await.has_status(204);
            }
            // The path with the user in it, whichever way it is named.
            let one = match *template {
                "/users" if method == "post" => "/users".to_owned(),
                "/users" => format!("/users?userId={id}"),
                path => path.replace("{userId}", &id),
            };
            let too_long = "x".repeat(9000);
            let mut headers = vec![("content-type", "application/json")];
            let mut body = match *template {
                "/deleted-users/{userId}/restore" => String::from("{}"),
                _ => user.to_string(),
            };
            let mut path = one.clone();
            match status.as_str() {
                "201" if method == "put" => headers.push(("if-none-match", "*")),
                "304" => headers.push(("if-none-match", "*")),
                "409" if is_of_deleted => {
                    let _ = service.post("/users", &user).await.has_status(201);
                }
                "409" if method == "delete" => {
                    // One level more, and DynamoDB cannot store it.
                    let _ = service.set_attribute(&id, "deep", &nested(31)).await;
                }
                "409" if method != "post" => {
                    let mut other = ada();
                    other["userId"] = json!(some_id());
                    let _ = service.post("/users", &other).await.has_status(201);
                    body = json!({ "name": "A canary", "email": other["email"] }).to_string();
                }
                "400" if *template == "/deleted-users" => path = format!("{one}?limit=0"),
                "400" if is_of_deleted && method == "post" => body = String::from("[]"),
                "400" if method == "post" => body = String::from("{}"),
                "400" => path = one.replace(&id, "%00"),
                "412" => headers.push(("if-match", "\"9\"")),
                "413" => body = " ".repeat(300 * 1024),
                "414" if !template.contains('{') => path = format!("{template}?x={too_long}"),
                "414" => path = template.replace("{userId}", &too_long),
                "415" => headers[0].1 = "text/plain",
                "422" => {
                    headers.push(("idempotency-key", &id));
                    let other = ada();
                    let other = service.send_json(Method::POST, "/users", &headers, &other);
                    let _ = other.await.has_status(201);
                }
                _ => {}
            }
            let service = if status == "500" {
                &without_table
            } else {
                &service
            };
            let method_name = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let body = if ["post", "put", "patch"].contains(&method.as_str()) {
                body
            } else {
                String::new()
            };
            let credentials = match status.as_str() {
                "401" => Some(Credentials::None),
                "403" => Some(Credentials::token(&id, "", "")),
                _ => None,
            };
            let answer = match credentials {
                None => service.send(method_name, &path, &headers, body).await,
                Some(credentials) => {
                    let event = event(Gateway::Rest, method_name.as_str(), &path, &credentials);
                    let answer = service.answer(&with_body(event, &user)).await;
                    check(method_name.as_str(), &path, &answer);
                    answer
                }
            };
            if answer.status.as_str() == status {
                met.insert((*template, method.clone(), status.clone()));
            }
        }
    }
    let documented = CONTRACT
        .operations
        .iter()
        .flat_map(|((path, method), responses)| {
            responses
                .keys()
                .map(move |status| (*path, method.clone(), status.clone()))
        });
    let missed: Vec<_> = documented
        .filter(|(_, _, status)| !OF_THE_GATEWAY.contains(&status.as_str()))
        .filter(|documented| !met.contains(documented))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

/// A value of an attribute with so many lists in each other, in DynamoDB's JSON.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({ "S": "canary" }), |inner, _| json!({ "L": [inner] }))
}

/// The examples of errors.
fn examples_of_errors() -> Vec<Value> {
    let examples = DOCUMENT["components"]["examples"].as_object().unwrap();
    let values = examples.values().map(|example| &example["value"]);
    let errors = values.filter(|value| value["code"].is_string());
    errors.cloned().collect()
}

#[test]
fn every_answer_that_is_an_error_has_an_example_of_each_code_with_its_own_status() {
    let schemas = &DOCUMENT["components"]["schemas"];
    let codes = schemas["ErrorCode"]["enum"].as_array().unwrap();
    let problem = problem_schema();
    for (path, item) in CONTRACT.object("/paths") {
        let operations = item.as_object().unwrap().iter();
        for (method, operation) in operations.filter(|(name, _)| !name.starts_with("x-")) {
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                let response = CONTRACT.resolve(response);
                let content = &response["content"]["application/problem+json"];
                if content.is_null() {
                    continue;
                }
                let at = format!("{method} {path} {status}");
                let description = response["description"].as_str().unwrap();
                let named: BTreeSet<&str> = description.split('`').skip(1).step_by(2).collect();
                let named = codes
                    .iter()
                    .filter_map(Value::as_str)
                    .filter(|code| named.contains(code));
                let examples = content["examples"].as_object().expect(&at);
                let examples = examples.iter().map(|(code, example)| {
                    let example = &CONTRACT.resolve(example)["value"];
                    assert!(problem.is_valid(example), "{at}: {example}");
                    assert_eq!(example["status"].to_string(), *status, "{at}");
                    assert_eq!(example["code"], *code, "{at}");
                    assert_eq!(example["detail"], example["message"], "{at}");
                    code.as_str()
                });
                assert_eq!(
                    examples.collect::<BTreeSet<_>>(),
                    named.collect::<BTreeSet<_>>(),
                    "{at}"
                );
            }
        }
    }
}

#[tokio::test]
async fn each_example_of_an_error_is_what_the_service_answers() {
    let service = Service::start().await;
    let user = json!({ "userId": "ada", "name": "Ada canary", "email": "canary@example.com" });
    let _ = service.post("/users", &user).await.has_status(201);
    let (json_type, key) = (
        ("content-type", "application/json"),
        ("idempotency-key", "1"),
    );
    let raw = async |method, path, headers: &[(&str, &str)], body: &str| {
        service.send(method, path, headers, body.to_owned()).await
    };
    let with = async |method, path, header, body: &Value| {
        service.send_json(method, path, &[header], body).await
    };
    let other = |field: &str, value: &str| {
        let mut other = user.clone();
        other[field] = json!(value);
        other
    };
    let event_of = |method, path, credentials| event(Gateway::Rest, method, path, &credentials);
    let mut no_base64 = event_of("POST", "/users", Credentials::Signed);
    no_base64["isBase64Encoded"] = json!(true);
    no_base64["body"] = json!("%%%");
    let a_user = Credentials::token("canary", "users/read", "");
    let second =
        json!({ "userId": "canary-2", "name": "Ada canary", "email": "canary2@example.com" });
    let _ = with(Method::POST, "/users", key, &second)
        .await
        .has_status(201);
    let disabled = json!({
        "userId": "canary-3", "name": "Ada canary", "email": "canary3@example.com",
        "status": "disabled",
    });
    let _ = service.post("/users", &disabled).await.has_status(201);
    let disabled = Credentials::token("canary-3", "users/write", "");
    let mut answers = vec![
        service
            .answer(&event_of("DELETE", "/users/canary-3", disabled))
            .await,
        service.answer(&no_base64).await,
        raw(Method::POST, "/users", &[json_type], r#"{"name": "Ada"#).await,
        service.post("/users", &other("email", "none")).await,
        service.get("/users?limit=0").await,
        with(Method::PUT, "/users/ada", ("if-match", "1"), &user).await,
        service
            .answer(&event_of("GET", "/users", Credentials::None))
            .await,
        service.answer(&event_of("GET", "/users", a_user)).await,
        service.get("/users/nobody").await,
        service
            .post("/users", &other("email", "another.canary@example.com"))
            .await,
        service.post("/users", &other("userId", "another")).await,
        with(Method::PUT, "/users/ada", ("if-none-match", "*"), &user).await,
        with(Method::PUT, "/users/ada", ("if-match", "\"9\""), &user).await,
        raw(
            Method::POST,
            "/users",
            &[json_type],
            &" ".repeat(300 * 1024),
        )
        .await,
        service
            .get(&format!("/users?userId={}", "x".repeat(9000)))
            .await,
        raw(
            Method::POST,
            "/users",
            &[("content-type", "text/plain")],
            "{}",
        )
        .await,
        with(Method::POST, "/users", key, &user).await,
        service.get("/deleted-users/nobody").await,
    ];
    let _ = service.set_attribute("canary-2", "deep", &nested(31)).await;
    answers.push(raw(Method::DELETE, "/users/canary-2", &[], "").await);
    let itself = ("x-local-caller", "canary-4");
    let _ = with(Method::POST, "/users", itself, &ada())
        .await
        .has_status(201);
    let deleted = with(Method::DELETE, "/users/canary-4", itself, &json!({})).await;
    let _ = deleted.has_status(204);
    answers.push(with(Method::POST, "/users", itself, &ada()).await);
    let without_history = Setup {
        retention: Retention {
            history_days: None,
            ..Retention::default()
        },
        ..Setup::default()
    };
    let without_history = without_history.start().await;
    answers.push(without_history.get("/users/ada/history").await);
    service.store().stop().await;
    answers.push(service.get("/users/ada").await);
    let without_table = Setup {
        without_table: true,
        ..Setup::default()
    };
    answers.push(without_table.start().await.get("/users/ada").await);

    let answers = answers.iter().map(Answer::json);
    let gateways = DOCUMENT["x-amazon-apigateway-gateway-responses"]
        .as_object()
        .unwrap();
    let gateways = ["THROTTLED", "INTEGRATION_TIMEOUT"].map(|name| {
        let body = gateways[name]["responseTemplates"]["application/json"].as_str();
        serde_json::from_str(body.unwrap()).unwrap()
    });
    let mut examples = examples_of_errors();
    for mut answer in answers.chain(gateways) {
        answer["requestId"] = json!("c6af9ac6-7b61-11e6-9a41-93e8deadbeef");
        let Some(place) = examples.iter().position(|example| *example == answer) else {
            let of_code = |example: &&Value| example["code"] == answer["code"];
            let others: Vec<&Value> = examples.iter().filter(of_code).collect();
            panic!("no other example in openapi.yaml of {answer:#}: {others:#?}");
        };
        examples.remove(place);
    }
    assert!(examples.is_empty(), "{examples:#?}");
}

#[tokio::test]
async fn the_examples_of_requests_succeed_one_after_the_other() {
    let service = Service::start().await;
    // The user of the greeting of `cargo run`.
    let greeting = json!({ "name": "Ada Lovelace", "email": "ada@example.com" });
    let _ = service.post("/users", &greeting).await.has_status(201);
    let parameters = &DOCUMENT["components"]["parameters"];
    assert_eq!(
        parameters["UserIdPath"]["example"],
        parameters["RequiredUserIdQuery"]["example"]
    );
    let user_id = parameters["UserIdPath"]["example"].as_str().unwrap();
    let path = format!("/users/{user_id}");
    let restore = format!("/deleted-users/{user_id}/restore");
    for (method, path, body, status) in [
        (Method::POST, "/users", "NewUser", 201),
        (Method::PUT, &path, "UserReplacement", 200),
        (Method::PATCH, &path, "UserPatch", 200),
        (Method::POST, &restore, "Restoration", 200),
    ] {
        if body == "Restoration" {
            let user = format!("/users/{user_id}");
            let delete = service.send(Method::DELETE, &user, &[], "");
            let _ = delete.await.has_status(204);
        }
        let content = &DOCUMENT["components"]["requestBodies"][body]["content"];
        for (media_type, content) in content.as_object().unwrap() {
            let example = CONTRACT.resolve(&content["examples"]["user"])["value"].to_string();
            let headers = [("content-type", media_type.as_str())];
            let answer = service.send(method.clone(), path, &headers, example).await;
            assert_eq!(answer.has_status(status).json()["userId"], user_id);
        }
    }
}
