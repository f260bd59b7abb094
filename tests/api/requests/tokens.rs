//! Whose token it is, and in which groups: what a gateway writes of a token, and the token itself.

use serde_json::{Value, json};

use crate::support::{
    Service, Setup, Through, ada,
    events::{
        Credentials, Gateway, bearer, event, flattened, http_event, rest_event, with_body,
        with_token,
    },
    some_id,
};

async fn with_tokens() -> Service {
    Setup {
        auth_mode: "COGNITO",
        ..Setup::default()
    }
    .start()
    .await
}

/// The claims of an access token with these groups, of all types that a claim can have.
fn claims(groups: &Value) -> Value {
    json!({
        "sub": some_id(), "scope": "openid users/read", "cognito:groups": groups,
        "exp": 4102444800_u64, "email_verified": true, "nothing": null, "score": 1.5,
        "aud": ["https://users.example.com", "x"],
        "realm_access": { "roles": ["a b", "admin"], "at": { "z": 1, "a": [] } },
    })
}

/// A request for the list, which only an admin gets, in a payload format. The token has the claims
/// `token`, and `Authorization` has these values.
fn list(version: &str, token: &Value, authorization: &[String]) -> Value {
    let claims = flattened(token);
    match version {
        "1.0" => {
            let mut event = rest_event("GET", "/users");
            event["version"] = json!("1.0");
            event["requestContext"]["identity"]["userArn"] = Value::Null;
            event["requestContext"]["authorizer"] = json!({ "claims": claims, "scopes": null });
            if let Some(last) = authorization.last() {
                event["headers"]["Authorization"] = json!(last);
                event["multiValueHeaders"]["Authorization"] = json!(authorization);
            }
            event
        }
        _ => {
            let mut event = with_token(http_event("GET", "/users"), token);
            event["headers"]["authorization"] = match authorization {
                [] => Value::Null,
                values => json!(values.join(",")),
            };
            event
        }
    }
}

async fn is_admin(service: &Service, event: &Value) -> bool {
    match service.answer(event).await.status.as_u16() {
        200 => true,
        status => {
            assert_eq!(status, 403, "{event}");
            false
        }
    }
}

#[tokio::test]
async fn a_group_is_admin_by_its_whole_name_in_the_token_that_an_http_api_has_checked() {
    let service = with_tokens().await;
    for (groups, in_token, by_the_gateway) in [
        (json!(["admin"]), true, true),
        (json!("admin"), true, true),
        (json!(["editors", "admin"]), true, false),
        (json!(["IT admin"]), false, false),
        (json!(["admin of IT"]), false, false),
        (json!(["x admin x"]), false, false),
        (json!("IT admin"), false, false),
        (json!("editors,admin"), false, false),
        (json!(["editors,admin"]), false, false),
        // The gateway alone cannot say that it is a text.
        (json!("[admin]"), false, true),
        (json!(["[admin]"]), false, false),
        (json!([["admin"]]), false, false),
        (json!(["Admin", "x-admin", "admins"]), false, false),
        (json!("ops[admin]"), false, false),
        (json!({ "admin": true }), false, false),
        (json!(["ops", 5, null]), false, false),
        (json!([]), false, false),
        (json!(null), false, false),
    ] {
        for version in ["1.0", "2.0"] {
            let token = claims(&groups);
            let checked = list(version, &token, &[bearer(&token)]);
            assert_eq!(is_admin(&service, &checked).await, in_token, "{checked}");
            let alone = list(version, &token, &[]);
            assert_eq!(is_admin(&service, &alone).await, by_the_gateway, "{alone}");
        }
    }
}

#[tokio::test]
async fn a_second_authorization_makes_nobody_an_admin() {
    let service = with_tokens().await;
    let token = claims(&json!(["IT admin"]));
    let mut forged = token.clone();
    forged["cognito:groups"] = json!(["IT", "admin"]);
    let (own, forged) = (bearer(&token), bearer(&forged));
    for version in ["1.0", "2.0"] {
        for values in [
            vec![own.clone(), forged.clone()],
            vec![forged.clone(), own.clone()],
            vec![forged.clone(), forged.clone()],
            vec![format!("{own},{forged}")],
            vec![format!("{own}, {forged}")],
            vec![format!("x,{forged}")],
            vec![format!("{forged},")],
        ] {
            let event = list(version, &token, &values);
            assert!(!is_admin(&service, &event).await, "{event}");
        }
        // The same field in two spellings is two values.
        let mut event = list(version, &token, std::slice::from_ref(&own));
        for name in ["authorization", "Authorization", "AUTHORIZATION"] {
            event["headers"][name] = json!(forged);
        }
        assert!(!is_admin(&service, &event).await, "{event}");
    }
    // Only the first value is where older clients look for it.
    let mut event = list("1.0", &token, &[own, forged.clone()]);
    event["headers"]["Authorization"] = json!(forged);
    assert!(!is_admin(&service, &event).await, "{event}");
}

#[tokio::test]
async fn groups_are_read_only_from_a_token_whose_claims_are_those_of_the_gateway() {
    let service = with_tokens().await;
    let token = claims(&json!(["editors", "admin"]));
    let event = |authorization: &str| list("2.0", &token, &[authorization.to_owned()]);
    let own = bearer(&token);
    let (_, without_scheme) = own.split_once(' ').unwrap();
    for right in [&own, without_scheme, &own.replace("Bearer", "bearer")] {
        assert!(is_admin(&service, &event(right)).await, "{right}");
    }
    for (name, value) in [
        ("sub", json!("canary")),
        ("exp", json!(4102444801_u64)),
        ("email_verified", json!(false)),
        ("cognito:groups", json!(["admin", "editors"])),
        ("cognito:groups", json!(["editors", "admin", "x"])),
        ("realm_access", json!({})),
        ("more", json!("x")),
    ] {
        let mut another = token.clone();
        another[name] = value;
        let wrong = event(&bearer(&another));
        assert!(!is_admin(&service, &wrong).await, "{another}");
    }
    let payload = own.split('.').nth(1).unwrap();
    for wrong in [
        String::new(),
        String::from("Bearer"),
        format!("Bearer {payload}"),
        format!("Bearer x.{payload}"),
        format!("Bearer x.{payload}.x.x"),
        String::from("Bearer x.%.x"),
        String::from("Bearer x.W10.x"), // []
        format!("Bearer x.{}.x", "W1tb".repeat(2_000)),
    ] {
        assert!(!is_admin(&service, &event(&wrong)).await, "{wrong}");
    }
    // Without claims of the gateway, a token counts for nothing.
    let mut unchecked = event(&own);
    unchecked["requestContext"]["authorizer"] = json!({ "jwt": {} });
    let refused = service.answer(&unchecked).await;
    let _ = refused.has_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_rest_api_writes_groups_with_commas() {
    let service = with_tokens().await;
    for (groups, expected) in [
        (json!("admin"), true),
        (json!("editors,admin"), true),
        (json!(["editors", "admin"]), true),
        (json!("[admin]"), false),
        (json!("[editors admin]"), false),
        (json!("IT admin"), false),
        (json!("Admin"), false),
        (json!("x-admin,admins"), false),
        (json!(["ops,admin", "[admin]", 5, null]), false),
        (json!({ "admin": true }), false),
        (json!(null), false),
    ] {
        let credentials = Credentials::token(&some_id(), "users/read", "");
        let mut list = event(Gateway::Rest, "GET", "/users", &credentials);
        let authorizer = &mut list["requestContext"]["authorizer"];
        authorizer["claims"]["cognito:groups"] = groups.clone();
        assert_eq!(is_admin(&service, &list).await, expected, "{groups}");
    }
}

#[tokio::test]
async fn admin_group_names_the_group_of_admins() {
    let service = Setup {
        through: Some(Through::Lambda),
        auth_mode: "JWT",
        environment: &[("ADMIN_GROUP", "IT admin")],
        ..Setup::default()
    }
    .start()
    .await;
    for (groups, expected) in [
        (json!(["IT admin"]), true),
        (json!(["editors", "IT admin"]), true),
        (json!(["admin"]), false),
        (json!(["IT", "admin"]), false),
    ] {
        for version in ["1.0", "2.0"] {
            let token = claims(&groups);
            let checked = list(version, &token, &[bearer(&token)]);
            assert_eq!(is_admin(&service, &checked).await, expected, "{checked}");
            let alone = list(version, &token, &[]);
            assert!(!is_admin(&service, &alone).await, "{alone}");
        }
    }
}

#[tokio::test]
async fn a_client_of_a_user_pool_is_no_person_behind_a_rest_api() {
    let service = with_tokens().await;
    let send = async |method: &str, path: &str, sub: &str, client_id: &str| {
        let claims = json!({
            "sub": sub, "client_id": client_id, "scope": "users/read users/write",
            "token_use": "access",
        });
        let event = event(Gateway::Rest, method, path, &Credentials::Token(claims));
        service.answer(&with_body(event, &ada())).await
    };
    let client = some_id();
    let user_id = format!("~client-{client}");
    let path = format!("/users/{user_id}");
    let created = send("POST", "/users", &client, &client).await;
    assert_eq!(created.has_status(201).json()["userId"], user_id);
    let _ = send("GET", &path, &client, &client).await.has_status(200);
    // Not even a person who is called like the client is the same user.
    for person in [&client, &user_id] {
        let hidden = send("GET", &path, person, &some_id()).await;
        let _ = hidden.has_problem(404, "user_not_found");
    }
    let created = send("POST", "/users", &user_id, &some_id()).await;
    let escaped = format!("~7Eclient-{client}");
    assert_eq!(created.has_status(201).json()["userId"], escaped);
}
