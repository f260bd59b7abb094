//! Converts HTTP requests to events of a REST API, and proxy responses to HTTP answers
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html>).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::Full;
use hyper::{
    HeaderMap, StatusCode,
    body::Bytes,
    header::{ACCESS_CONTROL_ALLOW_HEADERS, HOST, HeaderName, HeaderValue, USER_AGENT},
    http::request::Parts,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Response,
    caller::{self, LocalCaller},
};
use crate::http::router::Resource;

/// The proxy event for a request. If `caller` is `None`, the caller is a service that signs its
/// requests.
pub(super) fn from_request(
    head: &Parts,
    body: &Bytes,
    peer: SocketAddr,
    caller: Option<&LocalCaller>,
    request_id: &str,
) -> Value {
    let path = head.uri.path();
    let resource = Resource::find(path);
    let path_parameters = match resource {
        Some(Resource::Users {
            user_id: Some(user_id),
            ..
        }) => json!({ "userId": user_id }),
        Some(Resource::Users { user_id: None, .. } | Resource::Docs(_)) | None => Value::Null,
    };
    let resource = resource.map_or("/{proxy+}", Resource::template);
    let query = head.uri.query().unwrap_or_default();
    let (query, multi_value_query) =
        single_and_multi(form_urlencoded::parse(query.as_bytes()).into_owned());
    let (headers, multi_value_headers) = single_and_multi(header_fields(&head.headers));
    let (body, is_base64_encoded) = match str::from_utf8(body) {
        Ok("") => (Value::Null, false),
        Ok(text) => (Value::from(text), false),
        Err(_) => (Value::from(BASE64_STANDARD.encode(body)), true),
    };
    json!({
        "resource": resource,
        "path": path,
        "httpMethod": head.method.as_str(),
        "headers": headers,
        "multiValueHeaders": multi_value_headers,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": multi_value_query,
        "pathParameters": path_parameters,
        "stageVariables": null,
        "requestContext": context(head, resource, peer, caller, request_id),
        "body": body,
        "isBase64Encoded": is_base64_encoded,
    })
}

fn context(
    head: &Parts,
    resource: &str,
    peer: SocketAddr,
    caller: Option<&LocalCaller>,
    request_id: &str,
) -> Value {
    let field = |name| head.headers.get(name)?.to_str().ok();
    let signer = match caller {
        Some(_) => None,
        None => Some("arn:aws:iam::000000000000:user/local"),
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    json!({
        "accountId": "000000000000",
        "apiId": "local",
        "authorizer": caller.map(|caller| json!({ "claims": caller.claims() })),
        "domainName": field(HOST),
        "extendedRequestId": Uuid::new_v4(),
        "httpMethod": head.method.as_str(),
        "identity": {
            "userArn": signer,
            "sourceIp": peer.ip().to_string(),
            "userAgent": field(USER_AGENT),
        },
        "path": head.uri.path(),
        "protocol": format!("{:?}", head.version),
        "requestId": request_id,
        "requestTimeEpoch": u64::try_from(now.as_millis()).unwrap_or_default(),
        "resourcePath": resource,
        // The path does not contain this stage, as under a custom domain.
        "stage": "$default",
    })
}

fn header_fields(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.to_string(), value.into_owned())
    })
}

/// The last value of each name, and all values of each name. Both are null if there is no name.
fn single_and_multi(fields: impl Iterator<Item = (String, String)>) -> (Value, Value) {
    let mut every = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in fields {
        every.entry(name).or_default().push(value);
    }
    if every.is_empty() {
        return (Value::Null, Value::Null);
    }
    let last: Map<_, _> = every
        .iter()
        .map(|(name, values)| (name.clone(), json!(values.last())))
        .collect();
    (Value::Object(last), json!(every))
}

/// The HTTP answer of a proxy response. `None` if the value is no proxy response.
pub(super) fn into_response(proxy_response: &Value) -> Option<Response> {
    let status = proxy_response["statusCode"].as_u64()?.try_into().ok()?;
    let body = proxy_response["body"].as_str().unwrap_or_default();
    let mut response = Response::new(Full::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let fields = proxy_response["headers"].as_object();
    for (name, value) in fields.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().append(&name, value);
            if name == ACCESS_CONTROL_ALLOW_HEADERS {
                // A page may also send the header field that only this gateway understands.
                response.headers_mut().append(name, caller::HEADER.into());
            }
        }
    }
    Some(response)
}
