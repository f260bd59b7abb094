//! Who may do what: the table of the code and of docs/api.md, walked row by row.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use user_service::{
    http::operations::{OPERATIONS, Operation},
    service::{Rule, Verdict},
};

use crate::support::{
    Answer, Service, Setup, ada, contract,
    events::{Credentials, Gateway, event, with_body},
    some_id,
};

const API: &str = include_str!("../../../docs/api.md");

/// The request that docs/api.md names the operation by, and the status of its success.
pub fn request(operation: &'static Operation) -> (&'static str, String, u16) {
    let method = operation.method.as_str();
    let (template, _) = operation.at[0];
    let path = match template.contains('?') {
        true => format!("{template}="),
        false => template.to_owned(),
    };
    let success = match method {
        "POST" if creates(operation) => 201,
        "DELETE" => 204,
        _ => 200,
    };
    (method, path, success)
}

/// Whether the operation creates a user. Another `POST` is about a user who is there.
pub fn creates(operation: &'static Operation) -> bool {
    operation.at[0].1 == "createUser"
}

/// The rows of the table in docs/api.md: what each request has in the columns after it.
fn documented() -> BTreeMap<&'static str, Vec<&'static str>> {
    let header = "| operation | scope | no credentials | service | admin | user, own record | user, another record |";
    let (_, table) = API.split_once(header).unwrap();
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

/// The first cell of a row, and the others.
fn cells(row: &'static str) -> (&'static str, Vec<&'static str>) {
    let mut cells = row
        .trim_matches('|')
        .split('|')
        .map(|cell| cell.trim().trim_matches('`'));
    let first = cells.next().unwrap();
    let others: Vec<_> = cells.collect();
    assert_eq!(others.len(), 1 + EVERYONE.len(), "{row}");
    (first, others)
}

/// Who calls, in the order of the columns in docs/api.md.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Anyone,
    Service,
    Admin,
    Owner,
    AnotherUser,
}

const EVERYONE: [Who; 5] = [
    Who::Anyone,
    Who::Service,
    Who::Admin,
    Who::Owner,
    Who::AnotherUser,
];

impl Who {
    fn verdict(self, rule: Rule) -> Verdict {
        match self {
            Self::Anyone => rule.anyone,
            Self::Service => rule.service,
            Self::Admin => rule.admin,
            Self::Owner => rule.own,
            Self::AnotherUser => rule.anothers,
        }
    }

    /// What the gateway tells of it, before the user `user_id`.
    fn credentials(self, user_id: &str) -> Credentials {
        match self {
            Self::Anyone => Credentials::None,
            Self::Service => Credentials::Signed,
            Self::Admin => {
                Credentials::token(&some_id(), "users/read users/write", "editors,admin")
            }
            Self::Owner => Credentials::token(user_id, "users/read users/write", ""),
            Self::AnotherUser => Credentials::token(
                &some_id(),
                "users/read users/write",
                "administrators,x-admin",
            ),
        }
    }
}

pub async fn put_user(service: &Service, user_id: &str) -> Value {
    let mut user = ada();
    user["userId"] = json!(user_id);
    let event = with_body(
        event(Gateway::Rest, "POST", "/users", &Credentials::Signed),
        &user,
    );
    let _ = service.answer(&event).await.has_status(201);
    user
}

/// The user deletes itself, so that it may restore itself.
async fn delete_user(service: &Service, user_id: &str) {
    let path = format!("/users/{user_id}");
    let own = Credentials::token(user_id, "users/write", "");
    let event = event(Gateway::Rest, "DELETE", &path, &own);
    let _ = service.answer(&event).await.has_status(204);
}

/// Sends the operation on a user, who is there where that has to be, or among the deleted users.
async fn act(
    service: &Service,
    gateway: Gateway,
    operation: &'static Operation,
    user_id: &str,
    credentials: &Credentials,
) -> Answer {
    let (method, path, _) = request(operation);
    let mut user = ada();
    if creates(operation) {
        user["userId"] = json!(user_id);
    } else {
        let email = put_user(service, user_id).await["email"].clone();
        user["email"] = email;
    }
    if path.starts_with("/deleted-users") {
        delete_user(service, user_id).await;
    }
    if path.ends_with("/restore") {
        user = json!({});
    }
    service.store().take_calls();
    let mut path = path.replace("{userId}", user_id);
    if path.ends_with("?email=") {
        path += user["email"].as_str().unwrap();
    }
    let mut event = event(gateway, method, &path, credentials);
    if ["POST", "PUT", "PATCH"].contains(&method) {
        event = with_body(event, &user);
    }
    let answer = service.answer(&event).await;
    contract::check(method, &path, &answer);
    answer
}

async fn in_mode(auth_mode: &'static str) -> Service {
    Setup {
        auth_mode,
        ..Setup::default()
    }
    .start()
    .await
}

#[tokio::test]
async fn every_caller_may_do_what_the_table_says_and_nothing_else() {
    let documented = documented();
    assert_eq!(documented.len(), OPERATIONS.len());
    for auth_mode in ["IAM", "COGNITO", "NONE"] {
        let service = in_mode(auth_mode).await;
        for operation in &OPERATIONS {
            let (method, path, success) = request(operation);
            let row = &documented[format!("{method} {path}").as_str()];
            assert_eq!(row[0], operation.rule.scope.as_str(), "{operation:?}");
            for (who, cell) in EVERYONE.into_iter().zip(&row[1..]) {
                let (in_document, status) = match (who.verdict(operation.rule), who) {
                    (Verdict::Allowed, _) => ("yes", success),
                    (Verdict::Denied, Who::Anyone) => ("401", 401),
                    (Verdict::Denied, _) => ("403", 403),
                    (Verdict::Hidden, _) => ("404", 404),
                };
                assert_eq!(*cell, in_document, "{operation:?} by {who:?}");
                let needs_credentials = auth_mode != "NONE" && who == Who::Anyone;
                let status = if needs_credentials { 401 } else { status };
                for gateway in [Gateway::Rest, Gateway::Http] {
                    let user_id = some_id();
                    let credentials = who.credentials(&user_id);
                    let answer = act(&service, gateway, operation, &user_id, &credentials).await;
                    assert_eq!(
                        answer.status.as_u16(),
                        status,
                        "{operation:?} by {who:?} through {gateway:?} in {auth_mode}: {answer:?}"
                    );
                    let calls = service.store().take_calls();
                    assert_eq!(calls.is_empty(), status >= 400, "{calls:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_token_without_the_scope_may_not_even_for_an_admin() {
    let service = in_mode("COGNITO").await;
    for operation in &OPERATIONS {
        let needed = operation.rule.scope.as_str();
        let others = [
            "users/read users/write",
            "users",
            "users/readonly users/writer x",
            "",
        ];
        for scopes in others {
            let scopes: Vec<_> = scopes.split(' ').filter(|scope| *scope != needed).collect();
            let scopes = scopes.join(" ");
            for groups in ["", "admin"] {
                let user_id = some_id();
                let credentials = Credentials::token(&user_id, &scopes, groups);
                let answer = act(&service, Gateway::Rest, operation, &user_id, &credentials).await;
                let answer = answer.has_problem(403, "access_denied");
                let message = format!("The token lacks the scope {needed}");
                assert_eq!(answer.json()["message"], message);
                assert_eq!(service.store().take_calls(), Vec::<String>::new());
            }
        }
    }
}

#[tokio::test]
async fn without_credentials_it_is_401_before_the_store_is_asked() {
    for (auth_mode, challenge) in [
        ("IAM", "AWS4-HMAC-SHA256"),
        ("COGNITO", "Bearer"),
        ("JWT", "Bearer"),
        ("NONE", "AWS4-HMAC-SHA256"),
    ] {
        let service = in_mode(auth_mode).await;
        for operation in &OPERATIONS {
            for (gateway, nobody) in [
                (Gateway::Rest, Credentials::None),
                (Gateway::Http, Credentials::None),
                // Claims of nobody.
                (
                    Gateway::Rest,
                    Credentials::token("", "users/read users/write", "admin"),
                ),
            ] {
                let answer = act(&service, gateway, operation, &some_id(), &nobody).await;
                let (_, _, success) = request(operation);
                if auth_mode == "NONE" && operation.rule.anyone == Verdict::Allowed {
                    assert_eq!(answer.status.as_u16(), success, "{operation:?}");
                    continue;
                }
                let answer = answer.has_problem(401, "unauthenticated");
                assert_eq!(answer.header("www-authenticate"), challenge);
                assert_eq!(service.store().take_calls(), Vec::<String>::new());
            }
        }
        // Beside a token that cannot be read, a signature does not count.
        let nobody = Credentials::token("", "users/read", "admin");
        let mut both = event(Gateway::Rest, "POST", "/users", &nobody);
        let signer = "arn:aws:iam::123456789012:user/canary";
        both["requestContext"]["identity"]["userArn"] = json!(signer);
        let _ = service
            .answer(&with_body(both, &ada()))
            .await
            .has_problem(401, "unauthenticated");
        for path in [
            "/users",
            "/users/7",
            "/users/7/history",
            "/users/7/export",
            "/deleted-users",
            "/deleted-users/7",
            "/deleted-users/7/restore",
        ] {
            let options = event(Gateway::Rest, "OPTIONS", path, &Credentials::None);
            let _ = service.answer(&options).await.has_status(204);
        }
    }
}

#[tokio::test]
async fn what_a_client_says_itself_of_who_it_is_counts_for_nothing() {
    let service = in_mode("COGNITO").await;
    let user_id = some_id();
    let own = Credentials::token(&user_id, "users/read users/write", "");
    for (credentials, status) in [(Credentials::None, 401), (own, 403)] {
        let mut claimed = event(Gateway::Rest, "GET", "/users", &credentials);
        let claims = json!({ "sub": "canary", "cognito:groups": "admin", "scope": "users/read" });
        for (name, value) in [
            ("X-Local-Caller", json!("canary:admin")),
            ("Authorization", json!("Bearer canary")),
            ("requestContext", claims.clone()),
        ] {
            claimed["headers"][name] = value.clone();
            claimed["multiValueHeaders"][name] = json!([value]);
        }
        claimed["queryStringParameters"] = json!({ "sub": "canary", "cognito:groups": "admin" });
        claimed["stageVariables"] = claims.clone();
        claimed["authorizer"] = json!({ "claims": claims });
        claimed["identity"] = json!({ "userArn": "arn:aws:iam::123456789012:user/canary" });
        let answer = service.answer(&claimed).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    }
}

#[tokio::test]
async fn anothers_record_is_answered_like_one_that_is_not_there() {
    let service = in_mode("COGNITO").await;
    let (own, another) = (some_id(), some_id());
    let _ = put_user(&service, &another).await;
    let credentials = Credentials::token(&own, "users/read users/write", "");
    for (method, target) in [
        ("GET", "/users/{userId}"),
        ("HEAD", "/users/{userId}"),
        ("GET", "/users?userId={userId}"),
        ("PUT", "/users/{userId}"),
        ("PATCH", "/users/{userId}"),
        ("DELETE", "/users/{userId}"),
        ("DELETE", "/users/{userId}?erase=true"),
        ("DELETE", "/users?userId={userId}"),
        ("GET", "/users/{userId}/history"),
        ("GET", "/users/{userId}/export"),
    ] {
        let ask = async |user_id: &str| {
            let path = target.replace("{userId}", user_id);
            let event = event(Gateway::Rest, method, &path, &credentials);
            let answer = service.answer(&with_body(event, &ada())).await;
            let request_id = answer.body.split(r#""requestId":""#).nth(1);
            let request_id = request_id.unwrap_or("-").split('"').next().unwrap();
            let body = answer.body.replace(request_id, "");
            (answer.status.as_u16(), body, answer.headers)
        };
        let its = ask(&another).await;
        assert_eq!(its.0, 404, "{method} {target}");
        assert_eq!(its, ask(&some_id()).await, "{method} {target}");
        assert_eq!(its, ask(&own).await, "{method} {target}");
    }
    // Not even the condition that creates tells that it is there.
    let mut create = event(
        Gateway::Rest,
        "PUT",
        &format!("/users/{another}"),
        &credentials,
    );
    create["multiValueHeaders"]["If-None-Match"] = json!(["*"]);
    let create = service.answer(&with_body(create, &ada())).await;
    let _ = create.has_problem(404, "user_not_found");
}

#[tokio::test]
async fn a_user_creates_itself_and_an_admin_whomever_it_likes() {
    let service = in_mode("COGNITO").await;
    let create = async |sub: &str, groups: &str, asked: Option<&str>| {
        let mut user = ada();
        if let Some(asked) = asked {
            user["userId"] = json!(asked);
        }
        let credentials = Credentials::token(sub, "users/write", groups);
        let event = event(Gateway::Rest, "POST", "/users", &credentials);
        service.answer(&with_body(event, &user)).await
    };
    let sub = some_id();
    let created = create(&sub, "", None).await.has_status(201);
    assert_eq!(created.json()["userId"], sub);
    let _ = create(&sub, "", None).await.has_problem(409, "user_exists");
    let other = some_id();
    let _ = create(&sub, "", Some(&other))
        .await
        .has_problem(403, "access_denied");
    // A sub that is too long to be the id of a new user.
    let _ = create(&"canary".repeat(22), "", None)
        .await
        .has_problem(403, "access_denied");
    let admin = some_id();
    let created = create(&admin, "admin", None).await.has_status(201);
    assert_ne!(created.json()["userId"], admin);
    let created = create(&admin, "admin", Some(&other)).await.has_status(201);
    assert_eq!(created.json()["userId"], other);

    // Or under the condition that it is not there yet.
    let sub = some_id();
    let credentials = Credentials::token(&sub, "users/write", "");
    let mut put = event(Gateway::Rest, "PUT", &format!("/users/{sub}"), &credentials);
    put["multiValueHeaders"]["If-None-Match"] = json!(["*"]);
    let _ = service
        .answer(&with_body(put, &ada()))
        .await
        .has_status(201);
}

#[tokio::test]
async fn a_signature_of_an_identity_pool_or_of_nobody_is_none() {
    let service = in_mode("IAM").await;
    let list = |gateway| event(gateway, "GET", "/users", &Credentials::Signed);
    let _ = service.answer(&list(Gateway::Rest)).await.has_status(200);
    let _ = service.answer(&list(Gateway::Http)).await.has_status(200);
    let mut of_a_pool = [list(Gateway::Rest), list(Gateway::Http)];
    of_a_pool[0]["requestContext"]["identity"]["cognitoIdentityId"] = json!("eu-north-1:canary");
    of_a_pool[1]["requestContext"]["authorizer"]["iam"]["cognitoIdentity"] =
        json!({ "amr": ["authenticated"], "identityId": "canary", "identityPoolId": "x" });
    let signs_as = |field: &str, value: Value| {
        let mut event = list(Gateway::Rest);
        event["requestContext"]["identity"][field] = value;
        event
    };
    let mut of_a_pool = Vec::from(of_a_pool);
    for field in [
        "cognitoIdentityPoolId",
        "cognitoAuthenticationType",
        "cognitoAuthenticationProvider",
        "cognitoSomethingNew",
    ] {
        of_a_pool.push(signs_as(field, json!("authenticated")));
    }
    of_a_pool.push(signs_as("cognitoIdentityId", json!("")));
    let mut http = list(Gateway::Http);
    http["requestContext"]["authorizer"]["iam"]["cognitoIdentityId"] = json!("canary");
    of_a_pool.push(http);
    let mut of_nobody = list(Gateway::Rest);
    of_nobody["requestContext"]["identity"]["userArn"] = json!("");
    for event in of_a_pool.iter().chain([&of_nobody]) {
        let answer = service.answer(event).await;
        let _ = answer.has_problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn beside_a_token_a_signature_makes_no_difference() {
    let service = in_mode("IAM").await;
    let credentials = Credentials::token(&some_id(), "users/read", "");
    let mut both = event(Gateway::Rest, "GET", "/users", &credentials);
    let signer = "arn:aws:iam::123456789012:user/canary";
    both["requestContext"]["identity"]["userArn"] = json!(signer);
    let _ = service
        .answer(&both)
        .await
        .has_problem(403, "access_denied");
}
