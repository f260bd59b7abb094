//! A request, as it came through the gateway: the facts of the event, read once.
//! What the facts mean is read from here by the operation that needs it.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use lambda_http::http::{
    HeaderMap, Method,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use crate::error::{Error, FieldError, FieldErrors, Place};

/// A body's bytes: 256 KiB.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// The bytes of path and query: room for the longest `userId`, percent-encoded.
pub const MAX_TARGET_BYTES: usize = 8192;
/// RFC 8259.
const JSON: &str = "application/json";
/// RFC 7396.
const MERGE_PATCH: &str = "application/merge-patch+json";
/// What is kept of the time until the deadline, to make the answer and send it.
const TIME_TO_ANSWER: Duration = Duration::from_millis(200);

/// A request, whichever gateway it came through.
#[derive(Debug)]
pub struct Request {
    /// The gateway's name for it, to find it again in the logs.
    pub id: String,
    /// As it came: not always an HTTP method.
    pub method: String,
    /// From the resource on (`/users`), still percent-encoded.
    pub path: String,
    /// What stands before it in the URL that the client used: nothing, a
    /// stage (`/prod`) or a custom domain's base path.
    pub mount: String,
    /// The query's parameters.
    pub query: Query,
    /// The header fields. A value that HTTP could not carry stands here empty.
    pub headers: HeaderMap,
    /// The body, or why there is none to be had.
    pub body: Result<Vec<u8>, &'static str>,
    /// Who calls, as the gateway tells.
    pub credentials: Credentials,
    /// When the runtime stops waiting for the answer.
    pub deadline: Option<SystemTime>,
}

impl Request {
    /// The method, once path and query are known to be of a size that is served.
    ///
    /// # Errors
    /// [`Error::UriTooLong`], [`Error::MalformedMethod`].
    pub fn method(&self) -> Result<Method, Error> {
        if self.path.len() + self.query.len() > MAX_TARGET_BYTES {
            return Err(Error::UriTooLong);
        }
        Method::from_bytes(self.method.as_bytes()).map_err(|_| Error::MalformedMethod)
    }

    /// The body, where it is `application/json` by its header fields and of a size that is
    /// served.
    ///
    /// A body without a `Content-Type` is taken as JSON (RFC 9110 section 8.3).
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`], [`Error::BodyTooLarge`], [`Error::MalformedBody`].
    pub fn json(&self) -> Result<&[u8], Error> {
        let message = "The body is not JSON by its Content-Type; send application/json in UTF-8";
        self.body_of_type(&[JSON], message)
    }

    /// As [`Request::json`]; the body may also be `application/merge-patch+json`.
    ///
    /// # Errors
    /// As [`Request::json`].
    pub fn merge_patch(&self) -> Result<&[u8], Error> {
        let message = "The body is no JSON Merge Patch by its Content-Type; \
                       send application/merge-patch+json or application/json in UTF-8";
        self.body_of_type(&[MERGE_PATCH, JSON], message)
    }

    /// `message` is for a body of another type than `types`.
    fn body_of_type(&self, types: &[&str], message: &'static str) -> Result<&[u8], Error> {
        let identity = |value: &[u8]| value.is_empty() || value.eq_ignore_ascii_case(b"identity");
        let encodings = self.headers.get_all(CONTENT_ENCODING);
        if !encodings.iter().all(|value| identity(value.as_bytes())) {
            let message = "The body has a Content-Encoding; send it as it is";
            return Err(Error::UnsupportedMediaType(message));
        }
        let mut content_types = self.headers.get_all(CONTENT_TYPE).iter();
        if !content_types.all(|value| is_one_of(types, value.as_bytes())) {
            return Err(Error::UnsupportedMediaType(message));
        }
        match &self.body {
            Ok(body) if body.len() > MAX_BODY_BYTES => Err(Error::BodyTooLarge),
            Ok(body) => Ok(body),
            Err(message) => Err(Error::MalformedBody(message)),
        }
    }

    /// How long DynamoDB may take, where the runtime sets an end.
    pub fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let left = self.deadline?.duration_since(now).unwrap_or_default();
        Some(left.saturating_sub(TIME_TO_ANSWER))
    }
}

/// What the gateway tells of who calls; none where it has asked for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The ARN of who has signed the request.
    pub signer: Option<String>,
    /// The claims of the token that came with it.
    pub token: Option<Token>,
}

/// The claims of a token that the gateway has checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// The subject: whose token it is.
    pub sub: String,
    /// What the token is for.
    pub scopes: Vec<String>,
    /// The groups whose member the subject is.
    pub groups: Vec<String>,
}

/// Whether it is one of the media `types`, in UTF-8.
fn is_one_of(types: &[&str], content_type: &[u8]) -> bool {
    let text = std::str::from_utf8(content_type).unwrap_or_default();
    let Ok(media_type) = text.parse::<mime::Mime>() else {
        return false;
    };
    types.contains(&media_type.essence_str())
        && media_type
            .get_param(mime::CHARSET)
            .is_none_or(|charset| charset == mime::UTF_8)
}

/// A query's parameters, decoded, in the order they came.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string (`application/x-www-form-urlencoded`, as the URL
    /// standard parses it).
    pub fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Whether a parameter of this name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(parameter, _)| parameter == name)
    }

    /// The value of the parameter `name`, which may stand there once.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] where it stands there more than once.
    pub fn get(&self, name: &str) -> Result<Option<&str>, Error> {
        let mut values = self.0.iter().filter(|(parameter, _)| parameter == name);
        let value = values.next().map(|(_, value)| value.as_str());
        match values.next() {
            Some(_) => Err(invalid_parameter(name, "is given more than once")),
            None => Ok(value),
        }
    }

    /// The parameter `name`, as `parse` reads it.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] where it is repeated or `parse` refuses it.
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Error> {
        let value = self.get(name)?.map(parse).transpose();
        value.map_err(|message| invalid_parameter(name, message))
    }

    /// Refuses every parameter that is not among the `known` ones of an operation, with the
    /// nearest of their names.
    ///
    /// Those that begin with `X-Amz-` are let through: they are the signature of a URL
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
    ///
    /// # Errors
    /// [`Error::InvalidParameter`].
    pub fn refuse_unknown(&self, known: &[&str]) -> Result<(), Error> {
        let names: BTreeSet<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let mut errors = FieldErrors::default();
        for name in names {
            if known.contains(&name) || is_of_signature(name) {
                continue;
            }
            let instead = match nearest(name, known) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("there are {}", known.join(", ")),
            };
            errors.push(
                Place::Member(&Place::Body, name),
                format!("is not a parameter of this request; {instead}"),
            );
        }
        errors.of_parameters()
    }

    /// The bytes of it.
    fn len(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum()
    }
}

impl FromIterator<(String, String)> for Query {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

fn is_of_signature(name: &str) -> bool {
    const PREFIX: &str = "X-Amz-";
    let prefix = name.get(..PREFIX.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
}

/// The one of `known` that `name` may be a misspelling of: at most two edits away, whatever
/// the case.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let distances = known
        .iter()
        .map(|known| (strsim::osa_distance(&name, &known.to_lowercase()), *known));
    let near = distances.filter(|(distance, _)| *distance <= 2);
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The error that the parameter `name`, of the path or the query, is at fault.
pub fn invalid_parameter(name: &str, message: &'static str) -> Error {
    Error::InvalidParameter(vec![FieldError::new(format!("/{name}"), message)])
}

/// The base path of a custom domain: nothing, or segments with a slash before
/// each (`/accounts/v1`).
#[derive(Clone, Debug, Default)]
pub struct BasePath(String);

impl BasePath {
    /// Reads segments with slashes between or around them; none is no base path.
    ///
    /// # Errors
    /// What to change, as a phrase that follows the name of the setting: it is `users`. The
    /// path `/users/users` would then be the user `users` to the gateway, which authorises the
    /// call, and the list of users to the service.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let path = absolute_path(text);
        if path == "/users" {
            return Err("must not be users, with which the paths of the API begin");
        }
        Ok(Self(path))
    }

    /// The text of it, empty or with a slash before each segment.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The segments of `text` with one slash before each; empty where there are none.
pub fn absolute_path(text: &str) -> String {
    let segments = text.split('/').filter(|segment| !segment.is_empty());
    segments.flat_map(|segment| ["/", segment]).collect()
}
