//! Which pages may read the answers (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>).

use http::{
    HeaderMap, HeaderValue, Uri,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        ALLOW, ORIGIN, VARY,
    },
};

use super::host::is_loopback;

/// The origins whose pages may read the answers.
#[derive(Clone, Debug, Default)]
pub enum AllowedOrigins {
    /// No page of another origin.
    #[default]
    None,
    /// Any page.
    Any,
    /// Pages of this machine. Their origin has the scheme `http` or `https`, a loopback host, and
    /// any port.
    Loopback,
    /// Pages of these origins.
    These(Vec<HeaderValue>),
}

impl AllowedOrigins {
    /// Reads `*`, or origins (`https://example.com`) with commas or spaces between them.
    ///
    /// # Errors
    /// A sentence that begins with the wrong part and says what to change.
    pub fn parse(text: &str) -> Result<Self, String> {
        let origins = text.split([',', ' ']).filter(|origin| !origin.is_empty());
        let origins: Vec<&str> = origins.collect();
        match origins.as_slice() {
            [] => Ok(Self::None),
            ["*"] => Ok(Self::Any),
            origins => {
                let origins = origins.iter().map(|origin| {
                    serialized(origin).ok_or_else(|| {
                        format!(
                            "{origin:?} is not an origin: write each as https://example.com, \
                             without a path, or a single * for all"
                        )
                    })
                });
                origins.collect::<Result<_, _>>().map(Self::These)
            }
        }
    }

    /// Whether pages of `origin`, the value of the field `Origin`, may read the answers.
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::Loopback => is_of_loopback(origin),
            Self::These(origins) => origins.contains(origin),
        }
    }

    /// Adds the header fields that allow the page of the request to read the answer.
    pub(super) fn share(&self, response: &mut HeaderMap, request: &HeaderMap) {
        let origin = request.get(ORIGIN);
        let allowed = match self {
            Self::None => return,
            Self::Any => origin.map(|_| HeaderValue::from_static("*")),
            Self::Loopback | Self::These(_) => {
                response.insert(VARY, ORIGIN.into());
                origin.filter(|origin| self.allow(origin)).cloned()
            }
        };
        let Some(allowed) = allowed else { return };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if let (Some(methods), true) = (
            response.get(ALLOW).cloned(),
            request.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
        ) {
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            response.insert(
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(REQUEST_HEADERS),
            );
            response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        } else {
            response.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(RESPONSE_HEADERS),
            );
        }
    }
}

fn is_of_loopback(origin: &HeaderValue) -> bool {
    let Ok(text) = origin.to_str() else {
        return false;
    };
    let uri: Option<Uri> = text.parse().ok();
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    is_http
        && serialized(text).as_ref() == Some(origin)
        && uri.is_some_and(|uri| uri.host().is_some_and(is_loopback))
}

/// An origin as browsers send it: in lower case, without the default port of the scheme
/// (<https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin>). `None` if the text is not an
/// origin.
pub fn serialized(origin: &str) -> Option<HeaderValue> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://")?;
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let host = authority.strip_suffix(own_port).unwrap_or(authority);
    if host.is_empty() || host.contains(['/', '*', '?', '#', '@']) {
        return None;
    }
    format!("{scheme}://{host}").parse().ok()
}

/// The header fields that a page may send: those that the service reads, those of a signature, and
/// those of a trace.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, traceparent, X-Amz-Date, X-Amz-Security-Token, X-Api-Key, X-Request-Id";
/// The header fields that a page may read, in addition to those that browsers always allow.
const RESPONSE_HEADERS: &str =
    "Accept-Patch, Allow, ETag, Link, Location, Retry-After, WWW-Authenticate";
