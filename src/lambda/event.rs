//! An event of API Gateway: a REST proxy event, or an HTTP API event of payload format 2.0 or 1.0.
//!
//! The adapter of `lambda_http` is not used. It panics on events that a client can cause (a body
//! that is not base64, an odd `Host`, a path of 70 kB). It fails to deserialise a null header or an
//! odd method. In each case, the client would get a 502. Here, any field may be missing or have
//! another type.

use std::{borrow::Cow, collections::HashSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{mount::Place, token::Claims};
use crate::{
    http::request::Query,
    service::{ClaimNames, Credentials},
    user::json::{Members, Text},
};

/// The fields of an event that the service reads. They borrow from the text of the event.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Event<'a> {
    /// The payload format. HTTP APIs send it, and REST APIs do not.
    #[serde(borrow, deserialize_with = "lenient")]
    version: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "lenient")]
    http_method: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "lenient")]
    path: Text<'a>,
    #[serde(borrow, deserialize_with = "lenient")]
    raw_path: Text<'a>,
    #[serde(borrow, deserialize_with = "lenient")]
    raw_query_string: Text<'a>,
    #[serde(borrow, deserialize_with = "lenient")]
    headers: Members<'a>,
    #[serde(borrow, deserialize_with = "lenient")]
    multi_value_headers: Members<'a>,
    #[serde(borrow, deserialize_with = "lenient")]
    query_string_parameters: Members<'a>,
    #[serde(borrow, deserialize_with = "lenient")]
    multi_value_query_string_parameters: Members<'a>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(deserialize_with = "lenient")]
    is_base64_encoded: bool,
    #[serde(borrow, deserialize_with = "object")]
    request_context: RequestContext<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext<'a> {
    #[serde(borrow, deserialize_with = "lenient")]
    request_id: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "lenient")]
    stage: Text<'a>,
    #[serde(borrow, deserialize_with = "lenient")]
    path: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "lenient")]
    domain_name: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    http: Option<HttpContext<'a>>,
    #[serde(borrow, deserialize_with = "lenient")]
    identity: Members<'a>,
    #[serde(borrow, deserialize_with = "object")]
    authorizer: Authorizer<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HttpContext<'a> {
    #[serde(borrow, deserialize_with = "lenient")]
    method: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Authorizer<'a> {
    #[serde(borrow, deserialize_with = "object")]
    claims: Option<Members<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    jwt: JwtAuthorizer<'a>,
    #[serde(borrow, deserialize_with = "lenient")]
    iam: Members<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JwtAuthorizer<'a> {
    #[serde(borrow, deserialize_with = "object")]
    claims: Option<Members<'a>>,
}

/// Reads a value. A value of another type gives the default.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}

/// Reads an object. A value that is no object gives the default. (A derived struct would also
/// accept an array.)
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(read_object(raw))
}

fn read_object<'a, T: Deserialize<'a> + Default>(raw: &'a RawValue) -> T {
    let object = raw.get().starts_with('{').then_some(raw.get());
    let object = object.map(serde_json::from_str);
    object.and_then(Result::ok).unwrap_or_default()
}

impl<'a> Event<'a> {
    /// Reads an event. Any JSON value is accepted. Fields that it lacks stay empty.
    pub(super) fn read(payload: &'a RawValue) -> Self {
        read_object(payload)
    }

    /// The method. `None` if the event is not an HTTP request.
    pub(super) fn method(&self) -> Option<&str> {
        let method = match &self.request_context.http {
            Some(http) => &http.method,
            None => &self.http_method,
        };
        method.as_deref()
    }

    /// The id that the gateway gave the request. `None` if a client may have chosen it.
    ///
    /// At a REST API, a client can replace this id by one of its own, see `$context.requestId` in
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html>.
    pub(super) fn request_id(&self) -> Option<&str> {
        let id = self.request_context.request_id.as_deref();
        id.filter(|_| self.version.is_some())
    }

    /// The path, still percent-encoded.
    pub(super) fn path(&self) -> Cow<'_, str> {
        let path: &str = match &self.request_context.http {
            Some(_) => &self.raw_path,
            None => &self.path,
        };
        if self.has_decoded_path() {
            path.replace('%', "%25").into()
        } else {
            path.into()
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
    pub(super) fn place<'b>(&'b self, path: &'b str) -> Place<'b> {
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
            .map(|(name, value)| (name.to_owned(), value.into_owned()))
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
            let value = HeaderValue::from_bytes(value.as_bytes());
            let value = value.unwrap_or(HeaderValue::from_static(""));
            // This fails only if there are more fields than a map holds: over 24,000.
            let _ = headers.try_append(&name, value);
        }
        headers
    }

    /// The body, or why it cannot be read.
    pub(super) fn into_body(self) -> Result<Vec<u8>, &'static str> {
        let Some(body) = self.body else {
            return Ok(Vec::new());
        };
        let body: Text<'_> = serde_json::from_str(body.get())
            .map_err(|_| "The gateway sent a body that is not text")?;
        if self.is_base64_encoded {
            let body = BASE64_STANDARD.decode(&*body);
            return body.map_err(|_| "The gateway sent a body that is not base64");
        }
        Ok(body.0.into_owned().into_bytes())
    }

    /// The caller, as a REST API, an HTTP API or a function URL reports it. `names` says how the claims
    /// of a token are read, and `headers` are [`Self::headers`].
    pub(super) fn credentials(&self, names: &ClaimNames, headers: &HeaderMap) -> Credentials {
        let RequestContext {
            identity,
            authorizer,
            ..
        } = &self.request_context;
        // An HTTP API with payload format 1.0 has `authorizer.claims`, too.
        let claims = match (&authorizer.claims, &self.version) {
            (Some(claims), None) => Some(Claims::Rest(claims)),
            (Some(claims), Some(_)) => Some(Claims::Http(claims)),
            (None, _) => authorizer.jwt.claims.as_ref().map(Claims::Http),
        };
        let signer = [identity, &authorizer.iam]
            .into_iter()
            .filter(|signer| !is_of_identity_pool(signer))
            .filter_map(|signer| signer.get("userArn").map(text))
            .find(|arn| !arn.is_empty());
        Credentials {
            signer: signer.map(Cow::into_owned),
            token: claims.map(|claims| claims.token(names, headers)),
        }
    }
}

/// The text of a string. Another value gives an empty text.
pub(super) fn text(value: &RawValue) -> Cow<'_, str> {
    let text: Result<Text<'_>, _> = serde_json::from_str(value.get());
    text.unwrap_or_default().0
}

/// Every value of every name. `every` has all values of a name, and `last` has only the last value.
/// `last` is used for names that are not in `every`, because some gateways do not send `every`.
fn every_value<'a>(
    every: &'a Members<'_>,
    last: &'a Members<'_>,
) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    let names: HashSet<&str> = every.0.iter().map(|(name, _)| &**name).collect();
    let rest = last
        .0
        .iter()
        .filter(move |(name, _)| !names.contains(&**name));
    every.0.iter().chain(rest).flat_map(|(name, values)| {
        let texts = texts(values).unwrap_or_else(|| vec![text(values)]);
        texts.into_iter().map(|text| (&**name, text))
    })
}

/// The texts of a list. `None` if the value is not a list.
pub(super) fn texts(values: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    let values: Vec<&RawValue> = serde_json::from_str(values.get()).ok()?;
    Some(values.into_iter().map(text).collect())
}

/// Whether the signer has its credentials from an identity pool of Cognito. Such a signer is an
/// end user, not a service. Events name the pool, the identity and its provider in separate
/// fields.
fn is_of_identity_pool(signer: &Members<'_>) -> bool {
    let mut fields = signer.0.iter();
    fields.any(|(name, value)| name.starts_with("cognito") && value.get() != "null")
}
