//! A request, as it came through the gateway: the facts of the event, read once.
//! What the facts mean is read from here by the operation that needs it.

use std::time::{Duration, SystemTime};

use lambda_http::http::{
    HeaderMap, Method,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use crate::error::{Error, FieldError};

/// A body's bytes: 256 KiB.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// The bytes of path and query: room for the longest `userId`, percent-encoded.
pub const MAX_TARGET_BYTES: usize = 8192;
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

    /// The body, where it is JSON by its header fields and of a size that is served.
    ///
    /// A body without a `Content-Type` is taken as JSON (RFC 9110 section 8.3).
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`], [`Error::BodyTooLarge`], [`Error::MalformedBody`].
    pub fn json(&self) -> Result<&[u8], Error> {
        let identity = |value: &[u8]| value.is_empty() || value.eq_ignore_ascii_case(b"identity");
        let encodings = self.headers.get_all(CONTENT_ENCODING);
        if !encodings.iter().all(|value| identity(value.as_bytes())) {
            let message = "The body has a Content-Encoding; send it as it is";
            return Err(Error::UnsupportedMediaType(message));
        }
        if !self
            .headers
            .get_all(CONTENT_TYPE)
            .iter()
            .all(|value| is_json(value.as_bytes()))
        {
            let message =
                "The body is not JSON by its Content-Type; send application/json in UTF-8";
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

/// `application/json` or a `+json` type (RFC 6839), in UTF-8.
fn is_json(content_type: &[u8]) -> bool {
    let text = std::str::from_utf8(content_type).unwrap_or_default();
    let Ok(media_type) = text.parse::<mime::Mime>() else {
        return false;
    };
    media_type.type_() == mime::APPLICATION
        && (media_type.subtype() == mime::JSON || media_type.suffix() == Some(mime::JSON))
        && media_type.subtype() != "json-patch" // RFC 6902: operations, and no user
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

/// The error that the parameter `name`, of the path or the query, is at fault.
pub fn invalid_parameter(name: &str, message: &'static str) -> Error {
    Error::InvalidParameter(vec![FieldError::new(format!("/{name}"), message)])
}

/// The base path of a custom domain: nothing, or segments with a slash before
/// each (`/accounts/v1`).
#[derive(Clone, Debug, Default)]
pub struct BasePath(String);

impl BasePath {
    /// The text of it, empty or with a slash before each segment.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for BasePath {
    fn from(text: &str) -> Self {
        let segments = text.split('/').filter(|segment| !segment.is_empty());
        Self(segments.flat_map(|segment| ["/", segment]).collect())
    }
}
