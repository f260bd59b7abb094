//! Every way a request can fail: its status, its code and what the caller reads.

use std::fmt;

use lambda_http::http::{Method, StatusCode};
use serde::Serialize;

/// How many field errors one answer lists, and how long each pointer is at most,
/// in bytes. A body of 256 KiB can hold tens of thousands of errors, or names as
/// long as itself, and an answer must stay under the 6 MB that Lambda lets out.
const MOST_FIELD_ERRORS: usize = 100;
const MAX_POINTER_BYTES: usize = 1024;

/// What is wrong with one field of a body, or with one parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901): into the body, or `/` and the parameter's name.
    pub field: String,
    /// What to change, as a phrase that follows the field's name.
    pub message: String,
}

impl FieldError {
    /// An error at the JSON pointer `field`, which is cut after 1 KiB.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut field = field.into();
        if field.len() > MAX_POINTER_BYTES {
            field.truncate(field.floor_char_boundary(MAX_POINTER_BYTES));
            field.push('…');
        }
        Self {
            field,
            message: message.into(),
        }
    }
}

/// Where a value stands in a body, or among parameters. A pointer is made of it only for an error.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// The body itself, or all parameters.
    Body,
    /// The member of this name in an object.
    Member(&'a Self, &'a str),
    /// The element at this index of an array.
    Element(&'a Self, usize),
}

impl Place<'_> {
    /// Its JSON pointer (RFC 6901).
    pub fn pointer(self) -> String {
        match self {
            Self::Body => String::new(),
            Self::Member(parent, name) => {
                let name = name.replace('~', "~0").replace('/', "~1");
                format!("{}/{name}", parent.pointer())
            }
            Self::Element(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

/// What has been found wrong with a body or with parameters so far: at most 100 errors, the
/// first.
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Adds the error that `message` tells of the field at `place`.
    pub fn push(&mut self, place: Place<'_>, message: impl Into<String>) {
        if !self.is_full() {
            self.0.push(FieldError::new(place.pointer(), message));
        }
    }

    /// Whether there is no use in looking further.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MOST_FIELD_ERRORS
    }

    /// `Ok` if nothing is wrong; else these, as errors of parameters.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`].
    pub fn of_parameters(self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidParameter(self.0))
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<FieldErrors> for Error {
    fn from(errors: FieldErrors) -> Self {
        Self::InvalidUser(errors.0)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.strip_prefix('/') {
            Some(name) => write!(f, "{name} {}", self.message),
            None => write!(f, "The body {}", self.message),
        }
    }
}

/// Every way a request can fail.
#[derive(Debug)]
pub enum Error {
    /// The event's body is marked as base64 and is not, or is no text at all.
    MalformedBody(&'static str),
    /// The event's method is not a token (RFC 9110 section 5.6.2).
    MalformedMethod,
    /// The body is not one JSON text; says where.
    MalformedJson(String),
    /// A header that the operation reads cannot be understood.
    InvalidHeader {
        /// The header's name.
        name: &'static str,
        /// What to change.
        message: &'static str,
    },
    /// Path or query parameters are at fault.
    InvalidParameter(Vec<FieldError>),
    /// The body is JSON and breaks the rules of a user.
    InvalidUser(Vec<FieldError>),
    /// Nothing is known of who calls.
    Unauthenticated {
        /// How to say it, for `WWW-Authenticate` (RFC 9110 section 11.6.1).
        challenge: &'static str,
        /// What to send.
        message: &'static str,
    },
    /// The caller may not do this; says what it lacks.
    AccessDenied(&'static str),
    /// No resource has this path.
    RouteNotFound,
    /// The resource has no such method; carries those it has.
    MethodNotAllowed(&'static [Method]),
    /// No user has this `userId`.
    UserNotFound,
    /// The user is another than the caller, who is not to know whether it is there: the
    /// caller is told what [`Error::UserNotFound`] tells, and the log more.
    UserHidden,
    /// A user has this `userId` already, and maybe one has this `email` too.
    UserExists(Vec<FieldError>),
    /// A user has this `email` already.
    EmailTaken(Vec<FieldError>),
    /// The caller's `Idempotency-Key` names a request with another body.
    IdempotencyKeyReused,
    /// `If-None-Match: *` on a user that exists.
    PreconditionFailed,
    /// `If-Match`, or `version` in the body, names another state of the user than the one
    /// stored.
    VersionMismatch,
    /// The body is over [`crate::request::MAX_BODY_BYTES`].
    BodyTooLarge,
    /// The path and query are over [`crate::request::MAX_TARGET_BYTES`].
    UriTooLong,
    /// The body's `Content-Type` is none that the operation reads, or it has a
    /// `Content-Encoding`.
    UnsupportedMediaType(&'static str),
    /// DynamoDB did not do what it was asked.
    Store(StoreError),
    /// A defect of ours: the request's task panicked.
    Panic,
}

/// What a failed call of DynamoDB leaves behind: a sentence for the caller and
/// a cause for the log, which never meet.
#[derive(Debug)]
pub struct StoreError {
    /// What the caller reads.
    pub message: &'static str,
    /// Whether the same request may succeed when sent again.
    pub retryable: bool,
    /// What the log keeps. Holds nothing of a user.
    pub cause: String,
}

impl Error {
    /// The conflict of a user whose `userId` or `email` another has, or both.
    pub fn taken(user_id: bool, email: bool) -> Self {
        let message = "is that of another user";
        let fields = [(user_id, "/userId"), (email, "/email")].into_iter();
        let fields = fields.filter(|(taken, _)| *taken);
        let errors = fields
            .map(|(_, field)| FieldError::new(field, message))
            .collect();
        if user_id {
            Self::UserExists(errors)
        } else {
            Self::EmailTaken(errors)
        }
    }

    /// The status code (RFC 9110 section 15).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MalformedBody(_)
            | Self::MalformedMethod
            | Self::MalformedJson(_)
            | Self::InvalidHeader { .. }
            | Self::InvalidParameter(_)
            | Self::InvalidUser(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
            Self::AccessDenied(_) => StatusCode::FORBIDDEN,
            Self::RouteNotFound | Self::UserNotFound | Self::UserHidden => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UserExists(_) | Self::EmailTaken(_) => StatusCode::CONFLICT,
            Self::PreconditionFailed | Self::VersionMismatch => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            // 500 and not 503: the clients of the tutorial's GET know 500.
            Self::Store(_) | Self::Panic => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable name of this failure, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MalformedBody(_) | Self::MalformedMethod => "malformed_request",
            Self::MalformedJson(_) => "malformed_json",
            Self::InvalidHeader { .. } => "invalid_header",
            Self::InvalidParameter(_) => "invalid_parameter",
            Self::InvalidUser(_) => "invalid_user",
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::AccessDenied(_) => "access_denied",
            Self::RouteNotFound => "route_not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::UserNotFound | Self::UserHidden => "user_not_found",
            Self::UserExists(_) => "user_exists",
            Self::EmailTaken(_) => "email_taken",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::PreconditionFailed => "precondition_failed",
            Self::VersionMismatch => "version_mismatch",
            Self::BodyTooLarge => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::Store(StoreError {
                retryable: true, ..
            }) => "store_unavailable",
            Self::Store(StoreError {
                retryable: false, ..
            })
            | Self::Panic => "internal_error",
        }
    }

    /// The same failure, told to the caller as `message` where it is DynamoDB's.
    pub fn told_as(mut self, message: &'static str) -> Self {
        if let Self::Store(error) = &mut self {
            error.message = message;
        }
        self
    }

    /// After how many seconds the same request may succeed, where it may.
    pub fn retry_after(&self) -> Option<u32> {
        matches!(self, Self::Store(error) if error.retryable).then_some(1)
    }

    /// What is wrong, field by field; empty where no field is at fault.
    pub fn field_errors(&self) -> &[FieldError] {
        match self {
            Self::InvalidParameter(errors)
            | Self::InvalidUser(errors)
            | Self::UserExists(errors)
            | Self::EmailTaken(errors) => errors,
            Self::MalformedBody(_)
            | Self::MalformedMethod
            | Self::MalformedJson(_)
            | Self::InvalidHeader { .. }
            | Self::Unauthenticated { .. }
            | Self::AccessDenied(_)
            | Self::RouteNotFound
            | Self::MethodNotAllowed(_)
            | Self::UserNotFound
            | Self::UserHidden
            | Self::IdempotencyKeyReused
            | Self::PreconditionFailed
            | Self::VersionMismatch
            | Self::BodyTooLarge
            | Self::UriTooLong
            | Self::UnsupportedMediaType(_)
            | Self::Store(_)
            | Self::Panic => &[],
        }
    }

    /// Why, for the log; `None` where the code says it all. Holds nothing that
    /// a client sent.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Store(error) => Some(&error.cause),
            Self::UserHidden => Some("the user is another than the caller"),
            Self::Panic => Some("the handler panicked; the line before says where"),
            Self::MalformedBody(_)
            | Self::MalformedMethod
            | Self::MalformedJson(_)
            | Self::InvalidHeader { .. }
            | Self::InvalidParameter(_)
            | Self::InvalidUser(_)
            | Self::Unauthenticated { .. }
            | Self::AccessDenied(_)
            | Self::RouteNotFound
            | Self::MethodNotAllowed(_)
            | Self::UserNotFound
            | Self::UserExists(_)
            | Self::EmailTaken(_)
            | Self::IdempotencyKeyReused
            | Self::PreconditionFailed
            | Self::VersionMismatch
            | Self::BodyTooLarge
            | Self::UriTooLong
            | Self::UnsupportedMediaType(_) => None,
        }
    }
}

/// What the caller reads: one sentence that says what to change.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedBody(message)
            | Self::UnsupportedMediaType(message)
            | Self::Unauthenticated { message, .. }
            | Self::AccessDenied(message) => f.write_str(message),
            Self::MalformedMethod => f.write_str("The request method is not an HTTP method"),
            Self::MalformedJson(message) => write!(f, "The body is not valid JSON: {message}"),
            Self::InvalidHeader { name, message } => write!(f, "{name} {message}"),
            Self::InvalidParameter(errors) | Self::InvalidUser(errors) => match errors.as_slice() {
                [error] => write!(f, "{error}"),
                [error, rest @ ..] if errors.len() < MOST_FIELD_ERRORS => {
                    write!(f, "{error}; and {} more, see errors", rest.len())
                }
                [error, rest @ ..] => {
                    write!(f, "{error}; and at least {} more, see errors", rest.len())
                }
                [] => f.write_str("The request is not valid"),
            },
            Self::RouteNotFound => {
                f.write_str("No such path; there are /users and /users/{userId}")
            }
            Self::MethodNotAllowed(_) => {
                f.write_str("This path does not have that method; see Allow for those it has")
            }
            // The tutorial's clients show this text.
            Self::UserNotFound | Self::UserHidden => f.write_str("No user data found"),
            Self::UserExists(_) => f.write_str("A user with this userId exists already"),
            Self::EmailTaken(_) => f.write_str("A user with this email exists already"),
            Self::IdempotencyKeyReused => f.write_str(
                "This Idempotency-Key was sent with another body; send that one, or another key",
            ),
            Self::PreconditionFailed => {
                f.write_str("A user with this userId exists already, and If-None-Match forbids it")
            }
            Self::VersionMismatch => f.write_str(
                "The user is not as If-Match, or version in the body, says; read it again",
            ),
            Self::BodyTooLarge => f.write_str("The body is over 256 KiB"),
            Self::UriTooLong => f.write_str("The path and query are over 8,192 bytes"),
            Self::Store(error) => f.write_str(error.message),
            Self::Panic => f.write_str("The service failed; this is not your request's fault"),
        }
    }
}

impl std::error::Error for Error {}
