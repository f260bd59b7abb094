//! Events of API Gateway, as they are recorded.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A REST proxy event, as API Gateway sends it for stage `prod`.
pub fn rest_event(method: &str, path: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../events/rest.json")).unwrap();
    event["httpMethod"] = json!(method);
    event["requestContext"]["httpMethod"] = json!(method);
    event["path"] = json!(path);
    event["requestContext"]["path"] = json!(format!("/prod{path}"));
    event
}

/// An HTTP API event of payload format 2.0, for the stage `$default`.
pub fn http_event(method: &str, path: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../events/http.json")).unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    event["requestContext"]["http"]["method"] = json!(method);
    event["requestContext"]["http"]["path"] = json!(path);
    event["rawPath"] = json!(path);
    event["rawQueryString"] = json!(query);
    event
}

/// The event with a parameter in its query.
pub fn with_query(mut event: Value, name: &str, value: &str) -> Value {
    event["queryStringParameters"] = json!({ name: value });
    event["multiValueQueryStringParameters"] = json!({ name: [value] });
    event
}

/// The event with a JSON body.
pub fn with_body(mut event: Value, body: &Value) -> Value {
    event["body"] = json!(body.to_string());
    event
}

/// What the gateway tells of who calls.
pub enum Credentials {
    /// Nothing.
    None,
    /// Who signed.
    Signed,
    /// The claims of a token.
    Token(Value),
}

impl Credentials {
    /// As a REST API tells the claims of an access token.
    pub fn token(sub: &str, scope: &str, groups: &str) -> Self {
        Self::Token(json!({
            "sub": sub, "scope": scope, "cognito:groups": groups, "token_use": "access"
        }))
    }
}

/// Which kind of API stands before the function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gateway {
    /// A REST API.
    Rest,
    /// An HTTP API.
    Http,
}

/// The event of a request from a caller with these credentials.
pub fn event(gateway: Gateway, method: &str, path: &str, credentials: &Credentials) -> Value {
    let mut event = match gateway {
        Gateway::Rest => rest_event_with_query(method, path),
        Gateway::Http => http_event(method, path),
    };
    match credentials {
        Credentials::Signed => {} // as it was recorded
        Credentials::None => set_authorizer(&mut event, json!({ "jwt": {} })),
        Credentials::Token(claims) => match gateway {
            Gateway::Rest => set_authorizer(&mut event, json!({ "claims": claims })),
            Gateway::Http => event = with_token(event, &with_a_list_of_groups(claims)),
        },
    }
    event
}

/// The event of an HTTP API with a token with these claims, which the gateway has checked.
pub fn with_token(mut event: Value, claims: &Value) -> Value {
    set_authorizer(
        &mut event,
        json!({ "jwt": { "claims": flattened(claims), "scopes": null } }),
    );
    event["headers"]["authorization"] = json!(bearer(claims));
    event
}

/// The claims of a token as an HTTP API writes them into its event.
pub fn flattened(claims: &Value) -> Value {
    let claims = claims.as_object().unwrap().iter();
    claims
        .map(|(name, value)| (name.clone(), json!(written(value))))
        .collect()
}

/// A claim as an HTTP API writes it into its event.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(written).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().collect();
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{name}:{}", written(value)))
                .collect();
            format!("map[{}]", members.join(" "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A value of `Authorization`. The function does not check the signature.
pub fn bearer(claims: &Value) -> String {
    let encoded = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let header = encoded(&json!({ "alg": "RS256", "kid": "canary" }));
    format!("Bearer {header}.{}.canary", encoded(claims))
}

fn rest_event_with_query(method: &str, path: &str) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let query: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let mut event = rest_event(method, path);
    event["queryStringParameters"] = json!(query);
    event
}

/// Sets what the authorizer tells, of a caller who has not signed.
fn set_authorizer(event: &mut Value, authorizer: Value) {
    event["requestContext"]["authorizer"] = authorizer;
    event["requestContext"]["identity"]["userArn"] = Value::Null;
}

/// The claims as they stand in the token, where the groups are a list.
fn with_a_list_of_groups(claims: &Value) -> Value {
    let mut claims = claims.clone();
    let groups = claims["cognito:groups"].as_str().unwrap();
    let groups: Vec<_> = groups
        .split(',')
        .filter(|group| !group.is_empty())
        .collect();
    claims["cognito:groups"] = json!(groups);
    claims
}
