//! An event of API Gateway: a REST proxy event, or an HTTP API event of payload format 2.0 or 1.0.
//!
//! The adapter of `lambda_http` is not used. It panics on events that a client can cause (a body
//! that is not base64, an odd `Host`, a path of 70 kB). It fails to deserialise a null header or an
//! odd method. In each case, the client would get a 502. Here, any field may be missing or have
//! another type.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::mount::Place;
use crate::{
    http::request::Query,
    service::{Credentials, Token},
};

/// The fields of an event that the service reads.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Event {
    /// The payload format. HTTP APIs send it, and REST APIs do not.
    #[serde(deserialize_with = "lenient")]
    version: Option<String>,
    #[serde(deserialize_with = "lenient")]
    http_method: Option<String>,
    #[serde(deserialize_with = "lenient")]
    path: String,
    #[serde(deserialize_with = "lenient")]
    raw_path: String,
    #[serde(deserialize_with = "lenient")]
    raw_query_string: String,
    #[serde(deserialize_with = "lenient")]
    headers: Entries,
    #[serde(deserialize_with = "lenient")]
    multi_value_headers: Entries,
    #[serde(deserialize_with = "lenient")]
    query_string_parameters: Entries,
    #[serde(deserialize_with = "lenient")]
    multi_value_query_string_parameters: Entries,
    body: Value,
    #[serde(deserialize_with = "lenient")]
    is_base64_encoded: bool,
    #[serde(deserialize_with = "object")]
    request_context: RequestContext,
}

type Entries = Map<String, Value>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    #[serde(deserialize_with = "lenient")]
    request_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    stage: String,
    #[serde(deserialize_with = "lenient")]
    path: Option<String>,
    #[serde(deserialize_with = "lenient")]
    domain_name: Option<String>,
    #[serde(deserialize_with = "object")]
    http: Option<HttpContext>,
    #[serde(deserialize_with = "lenient")]
    identity: Entries,
    #[serde(deserialize_with = "object")]
    authorizer: Authorizer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HttpContext {
    #[serde(deserialize_with = "lenient")]
    method: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Authorizer {
    #[serde(deserialize_with = "object")]
    claims: Option<Claims>,
    #[serde(deserialize_with = "object")]
    jwt: JwtAuthorizer,
    #[serde(deserialize_with = "lenient")]
    iam: Entries,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JwtAuthorizer {
    #[serde(deserialize_with = "object")]
    claims: Option<Claims>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    #[serde(deserialize_with = "lenient")]
    sub: String,
    #[serde(deserialize_with = "lenient")]
    scope: String,
    #[serde(rename = "cognito:groups")]
    groups: Value,
}

/// Reads a value. A value of another type gives the default.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

/// Reads an object. A value that is no object gives the default. (A derived struct would also
/// accept an array.)
fn object<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let object: Option<Entries> = lenient(deserializer)?;
    let value = object.map(|object| T::deserialize(Value::Object(object)));
    Ok(value.and_then(Result::ok).unwrap_or_default())
}

impl Event {
    /// Reads an event. Any JSON value is accepted. Fields that it lacks stay empty.
    pub(super) fn read(payload: Value) -> Self {
        object(payload).unwrap_or_default()
    }

    /// The method. `None` if the event is not an HTTP request.
    pub(super) fn method(&self) -> Option<&str> {
        let method = match &self.request_context.http {
            Some(http) => &http.method,
            None => &self.http_method,
        };
        method.as_deref()
    }

    /// The id that the gateway gave the request.
    pub(super) fn request_id(&self) -> Option<&str> {
        self.request_context.request_id.as_deref()
    }

    /// The path, still percent-encoded.
    pub(super) fn path(&self) -> String {
        let path = match &self.request_context.http {
            Some(_) => &self.raw_path,
            None => &self.path,
        };
        if self.has_decoded_path() {
            path.replace('%', "%25")
        } else {
            path.clone()
        }
    }

    /// Whether the gateway has percent-decoded the path. HTTP APIs do, in both payload formats;
    /// REST APIs and function URLs do not. See
    /// <https://github.com/middleapi/standard-server/pull/93>.
    fn has_decoded_path(&self) -> bool {
        let domain_name = self.request_context.domain_name.as_deref();
        let is_function_url = domain_name.is_some_and(|name| name.contains(".lambda-url."));
        self.version.is_some() && !is_function_url
    }

    /// The parts of the event that say where the API is mounted, for a request with this `path`.
    pub(super) fn place<'a>(&'a self, path: &'a str) -> Place<'a> {
        let context = &self.request_context;
        Place {
            path,
            stage: &context.stage,
            client_path: context.path.as_deref(),
            domain_name: context.domain_name.as_deref(),
        }
    }

    /// The query parameters. REST APIs send them decoded. A null counts as a parameter with an
    /// empty value. So `?userId` asks for a user, not for the list.
    pub(super) fn query(&self) -> Query {
        if self.request_context.http.is_some() {
            return Query::parse(&self.raw_query_string);
        }
        let every = &self.multi_value_query_string_parameters;
        every_value(every, &self.query_string_parameters)
            .map(|(name, value)| (name.to_owned(), text(value).to_owned()))
            .collect()
    }

    /// The header fields with valid names. A field with an invalid value gets an empty value, so
    /// that no condition is lost.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in every_value(&self.multi_value_headers, &self.headers) {
            let Ok(name) = HeaderName::try_from(name) else {
                continue;
            };
            let value = HeaderValue::from_bytes(text(value).as_bytes());
            let value = value.unwrap_or(HeaderValue::from_static(""));
            // This fails only if there are more fields than a map holds: over 24,000.
            let _ = headers.try_append(&name, value);
        }
        headers
    }

    /// The body, or why it cannot be read.
    pub(super) fn into_body(self) -> Result<Vec<u8>, &'static str> {
        match self.body {
            Value::Null => Ok(Vec::new()),
            Value::String(body) if self.is_base64_encoded => BASE64_STANDARD
                .decode(body)
                .map_err(|_| "The gateway sent a body that is not base64"),
            Value::String(body) => Ok(body.into_bytes()),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err("The gateway sent a body that is not text")
            }
        }
    }

    /// The caller, as a REST API, an HTTP API or a function URL reports it.
    pub(super) fn credentials(&self) -> Credentials {
        let RequestContext {
            identity,
            authorizer,
            ..
        } = &self.request_context;
        // An HTTP API with payload format 1.0 has `authorizer.claims`, too.
        let format = match &self.version {
            Some(_) => ListFormat::Http,
            None => ListFormat::Rest,
        };
        let claims = authorizer.claims.as_ref().map(|claims| (claims, format));
        let jwt_claims = authorizer.jwt.claims.as_ref();
        let claims = claims.or(jwt_claims.map(|claims| (claims, ListFormat::Http)));
        let signer = [identity, &authorizer.iam]
            .into_iter()
            .filter(|signer| !is_of_identity_pool(signer))
            .filter_map(|signer| signer.get("userArn")?.as_str())
            .find(|arn| !arn.is_empty());
        Credentials {
            signer: signer.map(str::to_owned),
            token: claims.map(|(claims, format)| Token {
                sub: claims.sub.clone(),
                scopes: claims.scope.split(' ').map(str::to_owned).collect(),
                groups: format.list(&claims.groups),
            }),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Every value of every name. `every` has all values of a name, and `last` has only the last value.
/// `last` is used for names that are not in `every`, because some gateways do not send `every`.
fn every_value<'a>(
    every: &'a Entries,
    last: &'a Entries,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let rest = last.iter().filter(|(name, _)| !every.contains_key(*name));
    every.iter().chain(rest).flat_map(|(name, values)| {
        let list = values.as_array();
        let values = list.map_or(std::slice::from_ref(values), Vec::as_slice);
        values.iter().map(|value| (name.as_str(), value))
    })
}

/// Whether the signer has its credentials from an identity pool of Cognito. Such a signer is an
/// end user, not a service. Events name the pool, the identity and its provider in separate
/// fields.
fn is_of_identity_pool(signer: &Entries) -> bool {
    let mut fields = signer.iter();
    fields.any(|(name, value)| name.starts_with("cognito") && !value.is_null())
}

/// How a gateway writes a claim that is a list.
#[derive(Clone, Copy, Debug)]
enum ListFormat {
    /// `admin,editors`.
    Rest,
    /// `[admin editors]`.
    Http,
}

impl ListFormat {
    fn list(self, claim: &Value) -> Vec<String> {
        if let Some(items) = claim.as_array() {
            return items.iter().map(|item| text(item).to_owned()).collect();
        }
        let text = text(claim);
        let split = |text: &str, separator| text.split(separator).map(str::to_owned).collect();
        match self {
            Self::Rest => split(text, ','),
            Self::Http => {
                let items = text
                    .strip_prefix('[')
                    .and_then(|text| text.strip_suffix(']'));
                items.map_or_else(|| vec![text.to_owned()], |items| split(items, ' '))
            }
        }
    }
}
