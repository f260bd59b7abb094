//! Reads the body of a request: a JSON object, as a list of its members.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::value::RawValue;

use super::{error::Error, request::Request};
use crate::user::{
    FieldErrors, Place,
    json::{self, Members},
};

/// The maximum length of a body: 256 KiB.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// The media type of JSON (RFC 8259).
const JSON: &str = "application/json";
/// The media type of a JSON Merge Patch (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The members of the body, if its media type is `application/json`. A body without a
/// `Content-Type` counts as JSON (RFC 9110 section 8.3).
///
/// # Errors
/// [`Error::UnsupportedMediaType`], [`Error::BodyTooLarge`], [`Error::MalformedBody`],
/// [`Error::MalformedJson`], and [`Error::Service`] if the body is not an object.
pub fn json(request: &Request) -> Result<Members<'_>, Error> {
    let message = "The body is not JSON by its Content-Type; send application/json in UTF-8";
    members(bytes(request, &[JSON], message)?)
}

/// As [`json()`], for a body that may be left out. Then it has no members.
///
/// # Errors
/// As [`json()`].
pub fn optional_json(request: &Request) -> Result<Members<'_>, Error> {
    match &request.body {
        Ok(body) if body.is_empty() => Ok(Members::default()),
        Ok(_) | Err(_) => json(request),
    }
}

/// As [`json()`], for a body that is `application/merge-patch+json` or `application/json`.
///
/// # Errors
/// As [`json()`].
pub fn merge_patch(request: &Request) -> Result<Members<'_>, Error> {
    let message = "The body is no JSON Merge Patch by its Content-Type; \
                   send application/merge-patch+json or application/json in UTF-8";
    members(bytes(request, &[MERGE_PATCH, JSON], message)?)
}

/// The bytes of the body, if it is one of the media `types`. If not, the error has `message`.
fn bytes<'a>(
    request: &'a Request,
    types: &[&str],
    message: &'static str,
) -> Result<&'a [u8], Error> {
    let is_identity = |value: &[u8]| value.is_empty() || value.eq_ignore_ascii_case(b"identity");
    let encodings = request.headers.get_all(CONTENT_ENCODING);
    if !encodings.iter().all(|value| is_identity(value.as_bytes())) {
        let message = "The body has a Content-Encoding; send it as it is";
        return Err(Error::UnsupportedMediaType(message));
    }
    let mut content_types = request.headers.get_all(CONTENT_TYPE).iter();
    if !content_types.all(|value| is_one_of(types, value.as_bytes())) {
        return Err(Error::UnsupportedMediaType(message));
    }
    match &request.body {
        Ok(body) if body.len() > MAX_BODY_BYTES => Err(Error::BodyTooLarge),
        Ok(body) => Ok(body),
        Err(message) => Err(Error::MalformedBody(message)),
    }
}

/// Whether `content_type` is one of the media types `types`, in UTF-8.
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

fn members(body: &[u8]) -> Result<Members<'_>, Error> {
    let malformed = |message: &str| Error::MalformedJson(message.to_owned());
    if body.starts_with(b"\xEF\xBB\xBF") {
        return Err(malformed(
            "it begins with a byte-order mark; send UTF-8 without one",
        ));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        let position = error.valid_up_to();
        Error::MalformedJson(format!("it is not UTF-8 from byte {position} on"))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(malformed("it is empty; send a JSON object"));
    }
    let syntax = |error: serde_json::Error| Error::MalformedJson(error.to_string());
    let body: &RawValue = serde_json::from_str(text).map_err(syntax)?;
    if !body.get().starts_with('{') {
        let mut errors = FieldErrors::default();
        let message = format!("must be an object, not {}", json::kind(body));
        errors.push(Place::Body, message);
        return Err(errors.into());
    }
    serde_json::from_str(body.get()).map_err(syntax)
}
