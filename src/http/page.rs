//! Pages of lists: the parameters that choose a page, and the answer with the page.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{StatusCode, header::LINK};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Response, answer, error::Error, request::Query};
use crate::{
    store::{Consistency, Keyed, Limit, Page, StartKey},
    user::MAX_KEY_BYTES,
};

/// The first byte of a cursor. It names the format of the other bytes, so that the format can
/// change.
const CURSOR_FORMAT: u8 = 1;

/// The maximum number of bytes of the items in one page. Lambda limits a response to 6 MB
/// (6,291,556 bytes). The difference is room for the header fields and the cursor.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const MAX_PAGE_BYTES: usize = 6_000_000;

/// The parameters `limit` and `cursor`.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(super) fn parameters(query: &Query) -> Result<(Option<Limit>, Option<StartKey>), Error> {
    Ok((
        query.parsed("limit", limit)?,
        query.parsed("cursor", start_key)?,
    ))
}

fn limit(text: &str) -> Result<Limit, &'static str> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().and_then(Limit::new);
    limit
        .filter(|_| is_number)
        .ok_or("must be a whole number from 1 to 100")
}

fn start_key(cursor: &str) -> Result<StartKey, &'static str> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .as_deref()
        .and_then(|bytes| bytes.strip_prefix(&[CURSOR_FORMAT]))
        .filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()))
        .and_then(|key| String::from_utf8(key.to_vec()).ok())
        .ok_or("must be a nextCursor that this service gave")
}

/// The cursor of the page after the item with this key. Its text is safe in a URL.
fn cursor(start: &StartKey) -> String {
    let mut bytes = vec![CURSOR_FORMAT];
    bytes.extend_from_slice(start.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A list: what the link to its next page repeats.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// The path of the list in the URL that the client used.
    pub(super) path: String,
    pub(super) limit: Limit,
    pub(super) consistency: Consistency,
}

/// A page as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    items: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Body {
    /// The page, with each item as `to_json` writes it. The page ends before the item with which
    /// its items would be longer than `max_bytes`.
    pub(super) fn new<T: Keyed>(
        page: Page<T>,
        to_json: impl Fn(&T) -> String,
        max_bytes: usize,
    ) -> Self {
        let items = page.items.iter().map(to_json);
        let mut items: Vec<_> = items
            .map(|json| RawValue::from_string(json).expect("an item's JSON is JSON"))
            .collect();
        let mut bytes = 0;
        let fitting = items.iter().take_while(|item| {
            bytes += carried_bytes(item.get());
            bytes <= max_bytes
        });
        let page = page.cut_to(fitting.count());
        items.truncate(page.items.len());
        let next_cursor = page.next.as_ref().map(cursor);
        Self { items, next_cursor }
    }
}

/// 200 with a page, and a `Link` to the next one (RFC 8288). See [`Body::new`]. The page ends before
/// the item that would exceed the limit of Lambda.
pub(super) fn answer<T: Keyed>(
    page: Page<T>,
    to_json: impl Fn(&T) -> String,
    list: &List,
) -> Response {
    let body = Body::new(page, to_json, MAX_PAGE_BYTES);
    let mut response = answer::json(StatusCode::OK, "application/json", &body);
    if let Some(cursor) = &body.next_cursor {
        let (path, limit) = (&list.path, list.limit.get());
        let consistent = match list.consistency {
            Consistency::Strong => "&consistent=true",
            Consistency::Eventual => "",
        };
        let link = format!("<{path}?limit={limit}{consistent}&cursor={cursor}>; rel=\"next\"");
        response.headers_mut().insert(LINK, answer::ascii(&link));
    }
    response
}

/// The length of `json`, with a comma after it, in a proxy response. A proxy response is JSON and
/// holds the body as a string, so each `"` and `\` in it is escaped.
pub(super) fn carried_bytes(json: &str) -> usize {
    let escaped = json.bytes().filter(|byte| b"\"\\".contains(byte));
    json.len() + escaped.count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_names_the_key_that_it_was_made_of() {
        for key in ["1", "ä/ß", "\u{0}"] {
            assert_eq!(start_key(&cursor(&key.to_owned())).as_deref(), Ok(key));
        }
        for text in ["", "AQ", "1", "!", "AmE", "Af8"] {
            assert!(start_key(text).is_err(), "{text}");
        }
    }
}
