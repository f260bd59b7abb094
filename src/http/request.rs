//! A request, as the gateway describes it.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Method};

use super::error::{Error, invalid_parameter};
use crate::{service::Credentials, user::FieldErrors};

/// The maximum length of path and query together. The longest `userId` fits, even percent-encoded.
pub const MAX_TARGET_BYTES: usize = 8192;
/// The time before the deadline that is reserved to make the answer and send it.
const TIME_TO_ANSWER: Duration = Duration::from_millis(200);

/// A request, independent of the gateway.
#[derive(Debug)]
pub struct Request {
    /// The id of the request, with which it can be found in the logs: that of the gateway or, where a
    /// client can choose that, that of the invocation.
    pub id: String,
    /// The method as the client sent it. It is not necessarily a method of HTTP.
    pub method: String,
    /// The path that begins with the resource (`/users`), still percent-encoded.
    pub path: String,
    /// The part of the client's URL before `path`, without the host: empty, a stage (`/prod`) or
    /// the base path of a custom domain.
    pub mount: String,
    /// The query parameters.
    pub query: Query,
    /// The header fields. A value that HTTP cannot carry is empty here.
    pub headers: HeaderMap,
    /// The body, or why it cannot be read.
    pub body: Result<Vec<u8>, &'static str>,
    /// The identity of the caller, from the gateway.
    pub credentials: Credentials,
    /// When the runtime stops waiting for the answer.
    pub deadline: Option<SystemTime>,
}

impl Request {
    /// The method. Checks first that path and query are short enough.
    ///
    /// # Errors
    /// [`Error::UriTooLong`], [`Error::MalformedMethod`].
    pub fn method(&self) -> Result<Method, Error> {
        if self.path.len() + self.query.len() > MAX_TARGET_BYTES {
            return Err(Error::UriTooLong);
        }
        Method::from_bytes(self.method.as_bytes()).map_err(|_| Error::MalformedMethod)
    }

    /// How long DynamoDB may take, if the runtime sets a deadline.
    pub fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let left = self.deadline?.duration_since(now).unwrap_or_default();
        Some(left.saturating_sub(TIME_TO_ANSWER))
    }
}

/// The parameters of a query, decoded, in the order of the query.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string (`application/x-www-form-urlencoded`, as the URL standard parses it).
    pub fn parse(text: &str) -> Self {
        form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .collect()
    }

    /// Whether there is a parameter of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(parameter, _)| parameter == name)
    }

    /// The value of the parameter `name`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if it is given more than once.
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
    /// [`Error::InvalidParameter`] if it is given more than once or `parse` refuses it.
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Error> {
        let value = self.get(name)?.map(parse).transpose();
        value.map_err(|message| invalid_parameter(name, message))
    }

    /// Refuses every parameter that is not `known` to the operation. The error suggests the known
    /// parameter with the most similar name.
    ///
    /// Parameters whose names begin with `X-Amz-` are allowed, because they hold the signature of a
    /// URL
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
                None if known.is_empty() => String::from("there are none"),
                None => format!("there are {}", known.join(", ")),
            };
            let message = format!("is not a parameter of this request; {instead}");
            errors.push_field(name, message);
        }
        errors.none_or(()).map_err(Error::InvalidParameter)
    }

    /// Its length in bytes.
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

/// The name in `known` that is nearest to `name`, at most two edits away. Case is ignored.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .iter()
        .map(|known| (strsim::osa_distance(&name, &known.to_lowercase()), *known))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
