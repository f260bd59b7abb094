//! Events of API Gateway, as they are recorded.

use std::collections::BTreeMap;

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
    let (path_alone, query) = path.split_once('?').unwrap_or((path, ""));
    let (mut event, claims_at) = match gateway {
        Gateway::Rest => {
            let mut event = rest_event(method, path_alone);
            let query = form_urlencoded::parse(query.as_bytes()).into_owned();
            let query: BTreeMap<String, String> = query.collect();
            event["queryStringParameters"] = json!(query);
            (event, "/requestContext/authorizer")
        }
        Gateway::Http => (http_event(method, path), "/requestContext/authorizer/jwt"),
    };
    if let Credentials::Signed = credentials {
        return event; // as it was recorded
    }
    event["requestContext"]["authorizer"] = json!({ "jwt": {} });
    event["requestContext"]["identity"]["userArn"] = Value::Null;
    if let Credentials::Token(claims) = credentials {
        let mut claims = claims.clone();
        if gateway == Gateway::Http {
            // It writes lists in another way.
            let groups = claims["cognito:groups"].as_str().unwrap().replace(',', " ");
            claims["cognito:groups"] = json!(format!("[{groups}]"));
        }
        *event.pointer_mut(claims_at).unwrap() = json!({ "claims": claims });
    }
    event
}
