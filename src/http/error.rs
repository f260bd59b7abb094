//! Why a request is refused, and how the JSON API reports it. Only this module turns errors into
//! status codes, codes and sentences.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::{answer::list, body::MAX_BODY_BYTES, request::MAX_TARGET_BYTES};
use crate::{
    service::{self, Denial, Proof, Scope},
    store,
    user::{FieldError, FieldErrors, MAX_FIELD_ERRORS},
};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gateway sent a body that cannot be read.
    #[error("the gateway sent a body that cannot be read")]
    MalformedBody(&'static str),
    /// The method is not a token (RFC 9110 section 5.6.2).
    #[error("the method is none of HTTP")]
    MalformedMethod,
    /// The body is not one JSON text. Carries what is wrong, and where.
    #[error("the body is not JSON")]
    MalformedJson(String),
    /// A header field that the operation reads cannot be understood.
    #[error("{name} cannot be understood")]
    InvalidHeader {
        /// The name of the field.
        name: &'static str,
        /// What to change, as a phrase that follows the name.
        message: &'static str,
    },
    /// Parameters of the path or the query break their rules.
    #[error("parameters break their rules")]
    InvalidParameter(FieldErrors),
    /// No resource has this path.
    #[error("there is no such path")]
    RouteNotFound,
    /// The resource does not have this method. The list holds the methods that it has.
    #[error("the path has no such method")]
    MethodNotAllowed(Vec<Method>),
    /// The request creates a user with `If-None-Match: *`, and the user exists already.
    #[error("the user exists")]
    ExistsAlready,
    /// The body is over [`MAX_BODY_BYTES`].
    #[error("the body is over {MAX_BODY_BYTES} bytes")]
    BodyTooLarge,
    /// The path and the query together are over [`MAX_TARGET_BYTES`].
    #[error("path and query are over {MAX_TARGET_BYTES} bytes")]
    UriTooLong,
    /// The operation does not read a body of this `Content-Type` or `Content-Encoding`.
    #[error("the body has another media type")]
    UnsupportedMediaType(&'static str),
    /// The operation was not done.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// The handler panicked. This is a defect of the service.
    #[error("the handler panicked")]
    Panic,
}

impl From<FieldErrors> for Error {
    fn from(errors: FieldErrors) -> Self {
        Self::Service(service::Error::Invalid(errors))
    }
}

/// The error for the header field `name`, if it cannot be understood.
pub fn invalid_header(name: &'static str, message: &'static str) -> Error {
    Error::InvalidHeader { name, message }
}

/// The error for the parameter `name` of the path or the query, if it breaks a rule.
pub fn invalid_parameter(name: &str, message: &'static str) -> Error {
    Error::InvalidParameter(FieldErrors::of(name, message))
}

/// What the answer and the log say about an error.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) status: StatusCode,
    /// The stable name of the error, for programs.
    pub(super) code: &'static str,
    /// One sentence that says what to change.
    pub(super) detail: Cow<'static, str>,
    /// What is wrong, field by field.
    pub(super) errors: Vec<FieldError>,
    /// A header field that belongs to the status.
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    /// The cause, for the log, if the code alone does not explain the error. It holds nothing that
    /// a client sent.
    pub(super) cause: Option<String>,
}

/// An error with only a status, a code and a sentence.
fn tell(
    status: StatusCode,
    code: &'static str,
    detail: impl Into<Cow<'static, str>>,
) -> Description {
    Description {
        status,
        code,
        detail: detail.into(),
        errors: Vec::new(),
        header: None,
        cause: None,
    }
}

impl Description {
    fn of_fields(status: StatusCode, code: &'static str, errors: &FieldErrors) -> Self {
        Self {
            errors: errors.as_slice().to_vec(),
            ..tell(status, code, sentence(errors.as_slice()))
        }
    }

    fn with_header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }

    fn with_cause(self, cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }
}

/// The sentence for these errors, such as `email is required; and 2 more, see errors`.
fn sentence(errors: &[FieldError]) -> String {
    let [FieldError { field, message }, rest @ ..] = errors else {
        return String::from("The request is not valid");
    };
    let first = match field.strip_prefix('/') {
        Some(name) => format!("{name} {message}"),
        None => format!("The body {message}"),
    };
    match rest.len() {
        0 => first,
        more if errors.len() < MAX_FIELD_ERRORS => format!("{first}; and {more} more, see errors"),
        more => format!("{first}; and at least {more} more, see errors"),
    }
}

/// The description of `error` for a client that sent a request with `method`.
pub(super) fn describe(error: &Error, method: &str) -> Description {
    use StatusCode as S;
    match error {
        Error::MalformedBody(message) => tell(S::BAD_REQUEST, "malformed_request", *message),
        Error::MalformedMethod => {
            let message = "The request method is not an HTTP method";
            tell(S::BAD_REQUEST, "malformed_request", message)
        }
        Error::MalformedJson(position) => {
            let message = format!("The body is not valid JSON: {position}");
            tell(S::BAD_REQUEST, "malformed_json", message)
        }
        Error::InvalidHeader { name, message } => tell(
            S::BAD_REQUEST,
            "invalid_header",
            format!("{name} {message}"),
        ),
        Error::InvalidParameter(errors) => {
            Description::of_fields(S::BAD_REQUEST, "invalid_parameter", errors)
        }
        Error::RouteNotFound => {
            let message = "No such path; there are /users, /deleted-users, and paths below them";
            tell(S::NOT_FOUND, "route_not_found", message)
        }
        Error::MethodNotAllowed(methods) => {
            let message = "This path does not have that method; see Allow for those it has";
            tell(S::METHOD_NOT_ALLOWED, "method_not_allowed", message)
                .with_header(header::ALLOW, list(methods))
        }
        Error::ExistsAlready => {
            let message = "A user with this userId exists already, and If-None-Match forbids it";
            tell(S::PRECONDITION_FAILED, "precondition_failed", message)
        }
        Error::BodyTooLarge => tell(
            S::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is over 256 KiB",
        ),
        Error::UriTooLong => {
            let message = "The path and query are over 8,192 bytes";
            tell(S::URI_TOO_LONG, "uri_too_long", message)
        }
        Error::UnsupportedMediaType(message) => tell(
            S::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            *message,
        ),
        Error::Service(error) => describe_service(error, method),
        Error::Panic => {
            let message = "The service failed; this is not your request's fault";
            tell(S::INTERNAL_SERVER_ERROR, "internal_error", message)
                .with_cause("the handler panicked; the line before says where")
        }
    }
}

fn describe_service(error: &service::Error, method: &str) -> Description {
    use StatusCode as S;
    match error {
        service::Error::Unauthenticated(proof) => unauthenticated(*proof),
        service::Error::Denied(denial) => tell(S::FORBIDDEN, "access_denied", denied(*denial)),
        service::Error::UserDisabled => {
            let message = "You are disabled; you can only read your own record";
            tell(S::FORBIDDEN, "user_disabled", message)
        }
        service::Error::NotFound => no_user(method),
        service::Error::NoDeletedUser => {
            let message = "No deleted user has this userId; it may have expired";
            tell(S::NOT_FOUND, "user_not_found", message)
        }
        service::Error::TooLarge => {
            let message = "The user is too large to be kept as a deleted user; send erase=true, \
                           which keeps nothing";
            tell(S::CONFLICT, "user_too_large", message)
        }
        service::Error::HistoryIsOff => {
            let message = "This service keeps no history; HISTORY is off";
            tell(S::NOT_FOUND, "history_off", message)
        }
        service::Error::Hidden => no_user(method).with_cause("the user is another than the caller"),
        service::Error::UserDeleted { by_itself: true } => {
            let message =
                "You deleted this user; POST /deleted-users/{userId}/restore brings it back";
            tell(S::CONFLICT, "user_deleted", message)
        }
        service::Error::UserDeleted { by_itself: false } => {
            let message = "This user was deleted; only a service, or an admin who is another user, \
                           can restore it";
            tell(S::CONFLICT, "user_deleted", message)
        }
        service::Error::UserExists { email } => {
            let message = "A user with this userId exists already";
            taken(tell(S::CONFLICT, "user_exists", message), true, *email)
        }
        service::Error::EmailTaken => {
            let message = "A user with this email exists already";
            taken(tell(S::CONFLICT, "email_taken", message), false, true)
        }
        service::Error::KeyReused => {
            let message =
                "This Idempotency-Key was sent with another body; send that one, or another key";
            tell(S::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message)
        }
        service::Error::PreconditionFailed => {
            let message =
                "The user is not as If-Match, or version in the body, says; read it again";
            tell(S::PRECONDITION_FAILED, "version_mismatch", message)
        }
        service::Error::Invalid(errors) => {
            Description::of_fields(S::BAD_REQUEST, "invalid_user", errors)
        }
        service::Error::EmailsAreShared => {
            let message = "finds nobody here, where users may share one; UNIQUE_EMAILS is off";
            let errors = FieldErrors::of("email", message);
            Description::of_fields(S::BAD_REQUEST, "invalid_parameter", &errors)
        }
        service::Error::Store(error) => store_failed(error, method),
    }
}

/// There is no such user, as far as the caller may know.
fn no_user(method: &str) -> Description {
    let message = match method {
        "PUT" => "No user data found; a PUT with If-None-Match: * creates a user",
        _ => "No user data found", // the tutorial's text, which its clients show
    };
    tell(StatusCode::NOT_FOUND, "user_not_found", message)
}

/// The credentials that the caller has to send, as a sentence and as the challenge in
/// `WWW-Authenticate` (RFC 9110 section 11.6.1).
fn unauthenticated(proof: Proof) -> Description {
    let (challenge, message) = match proof {
        Proof::Signature => (
            "AWS4-HMAC-SHA256",
            "The request is not signed by a service; sign it with AWS Signature Version 4",
        ),
        Proof::Token => (
            "Bearer",
            "There is no access token; sign in and send one in Authorization",
        ),
    };
    tell(StatusCode::UNAUTHORIZED, "unauthenticated", message).with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    )
}

fn denied(denial: Denial) -> &'static str {
    match denial {
        Denial::Scope(Scope::Read) => "The token lacks the scope users/read",
        Denial::Scope(Scope::Write) => "The token lacks the scope users/write",
        Denial::AdminsOnly => {
            "This is for admins; you may act on the user whose userId is your sub"
        }
        Denial::CreatesOnlyItself => {
            "You may create only the user whose userId is your sub; leave userId out"
        }
        Denial::DeletedByAnother => {
            "You did not delete this user yourself; only a service, or an admin who is another user, \
             can restore or erase it"
        }
        Denial::SubIsNoUserId => {
            "Your sub cannot be a userId: 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -"
        }
    }
}

fn taken(description: Description, user_id: bool, email: bool) -> Description {
    let fields = [(user_id, "/userId"), (email, "/email")];
    let taken = fields.into_iter().filter(|(is_taken, _)| *is_taken);
    Description {
        errors: taken
            .map(|(_, field)| FieldError::new(field, "is that of another user"))
            .collect(),
        ..description
    }
}

/// The status is 500 and not 503, because the clients of the tutorial's `GET` expect 500.
fn store_failed(error: &store::Error, method: &str) -> Description {
    let message = match method {
        "GET" | "HEAD" => "Failed to retrieve user data", // the tutorial's text
        "DELETE" => "Failed to delete user data",
        _ => "Failed to save user data",
    };
    let description = match error {
        store::Error::Unavailable(_) => tell(
            StatusCode::INTERNAL_SERVER_ERROR,
            "store_unavailable",
            message,
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")),
        store::Error::Failed(_) => {
            tell(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
        }
    };
    description.with_cause(error.to_string())
}
