//! The router: it finds the operation that a request asks for, by path, method and query.

use http::Method;
use percent_encoding::percent_decode_str;

#[cfg(feature = "docs")]
use super::docs::Document;
use super::{
    error::{Error, invalid_parameter},
    operations::{Answering, Handler, OPERATIONS, Operation},
    request::Query,
    users::Call,
};
use crate::user::{EmailKey, UserId};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The users, or one of them.
    Users {
        /// The path template, as in `openapi.yaml`.
        template: &'static str,
        /// The `userId` in the path, still percent-encoded.
        user_id: Option<&'a str>,
    },
    /// The contract or its page.
    #[cfg(feature = "docs")]
    Docs(Document),
}

impl<'a> Resource<'a> {
    /// The resource at `path`. One slash at the end is ignored, as it is by API Gateway.
    pub fn find(path: &'a str) -> Option<Self> {
        #[cfg(feature = "docs")]
        if let Some(document) = Document::find(path) {
            return Some(Self::Docs(document));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        templates().find_map(|(template, ..)| {
            let user_id = captured(template, path)?;
            Some(Self::Users { template, user_id })
        })
    }

    /// The path template, as in `openapi.yaml`.
    pub fn template(self) -> &'static str {
        match self {
            Self::Users { template, .. } => template,
            #[cfg(feature = "docs")]
            Self::Docs(document) => document.template(),
        }
    }

    /// The methods of the resource, for `Allow` (RFC 9110 section 10.2.1).
    pub fn methods(self) -> Vec<Method> {
        let has = |method: &Method| match self {
            Self::Users { template, .. } => templates()
                .any(|(own, _, operation)| own == template && operation.method == *method),
            #[cfg(feature = "docs")]
            Self::Docs(_) => *method == Method::GET,
        };
        let mut methods = Vec::new();
        for method in METHODS {
            let as_asked = match method {
                Method::HEAD => Method::GET,
                _ => method.clone(),
            };
            if method == Method::OPTIONS || has(&as_asked) {
                methods.push(method);
            }
        }
        methods
    }
}

/// All methods that resources have.
pub(super) const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// All templates: the path, the query parameter (if the template has one), and the operation.
fn templates() -> impl Iterator<Item = (&'static str, Option<&'static str>, &'static Operation)> {
    OPERATIONS.iter().flat_map(|operation| {
        operation.at.iter().map(move |(template, _)| {
            let parts = template.split_once('?');
            let (path, parameter) = parts.map_or((*template, None), |(path, parameter)| {
                (path, Some(parameter))
            });
            (path, parameter, operation)
        })
    })
}

/// The segment of `path` that stands for the parameter of `template`. The outer `None` means that
/// the path does not match. The inner `None` means that the template has no parameter.
fn captured<'a>(template: &str, path: &'a str) -> Option<Option<&'a str>> {
    let mut captured = None;
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') && !segment.is_empty() {
            captured = Some(segment);
        } else if segment != expected {
            return None;
        }
    }
    segments.next().is_none().then_some(captured)
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub enum Route {
    /// An operation.
    Operation(&'static Operation, Target),
    /// `OPTIONS` of a resource, with the methods that the resource has.
    Options(Vec<Method>),
    /// `GET` of the contract or its page.
    #[cfg(feature = "docs")]
    Document(Document),
}

/// The user that an operation is about, and the handler of the operation.
#[derive(Clone, Debug)]
pub enum Target {
    /// No particular user.
    Users(for<'a> fn(Call<'a>) -> Answering<'a>),
    /// The user who has this email address.
    Email(for<'a> fn(Call<'a>, EmailKey) -> Answering<'a>, EmailKey),
    /// This user.
    User(for<'a> fn(Call<'a>, UserId) -> Answering<'a>, UserId),
}

impl Target {
    /// The `userId`, if the path or the query holds it.
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::Users(_) | Self::Email(..) => None,
            Self::User(_, user_id) => Some(user_id),
        }
    }

    /// Does the operation. The caller must be allowed to do it.
    pub(super) fn answer(self, call: Call<'_>) -> Answering<'_> {
        match self {
            Self::Users(answer) => answer(call),
            Self::Email(answer, email) => answer(call, email),
            Self::User(answer, user_id) => answer(call, user_id),
        }
    }
}

impl Route {
    /// The route of a request with `method` for `resource`.
    ///
    /// # Errors
    /// [`Error::MethodNotAllowed`], and [`Error::InvalidParameter`] if a parameter that names a
    /// user is missing or wrong.
    pub fn find(method: &Method, resource: Resource<'_>, query: &Query) -> Result<Self, Error> {
        if method == Method::OPTIONS {
            return Ok(Self::Options(resource.methods()));
        }
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        match resource {
            Resource::Users { template, user_id } => {
                let operation = select(method, template, query)?
                    .ok_or_else(|| Error::MethodNotAllowed(resource.methods()))?;
                let target = target(operation, user_id, query)?;
                Ok(Self::Operation(operation, target))
            }
            #[cfg(feature = "docs")]
            Resource::Docs(document) if method == Method::GET => Ok(Self::Document(document)),
            #[cfg(feature = "docs")]
            Resource::Docs(_) => Err(Error::MethodNotAllowed(resource.methods())),
        }
    }
}

/// The target of the operation. `segment` is the `userId` in the path. Without it, the query names
/// the user.
fn target(
    operation: &'static Operation,
    segment: Option<&str>,
    query: &Query,
) -> Result<Target, Error> {
    match operation.handler {
        Handler::Users(_) if operation.method == Method::POST && query.contains("userId") => {
            let message = "is not for POST; send the userId in the body, or use PUT";
            Err(invalid_parameter("userId", message))
        }
        Handler::Users(answer) => Ok(Target::Users(answer)),
        Handler::Email(answer) => {
            let email = query.parsed("email", EmailKey::parse)?;
            let email = email.ok_or_else(|| invalid_parameter("email", "is required"))?;
            Ok(Target::Email(answer, email))
        }
        Handler::User(answer) => {
            let text = match segment {
                Some(segment) => percent_decode(segment),
                None => query.get("userId")?.map(str::to_owned).ok_or("is required"),
            };
            let user_id = text.and_then(UserId::for_lookup);
            let user_id = user_id.map_err(|message| invalid_parameter("userId", message))?;
            Ok(Target::User(answer, user_id))
        }
    }
}

/// The operation of `method` and `template`: the one whose query parameter is in the query, or else
/// the one without a query parameter. If each one has a parameter, this is the first one. It then
/// reports that its parameter is missing.
fn select(
    method: &Method,
    template: &str,
    query: &Query,
) -> Result<Option<&'static Operation>, Error> {
    let rows = || {
        templates()
            .filter(|(path, _, operation)| *path == template && operation.method == *method)
            .map(|(_, parameter, operation)| (operation, parameter))
    };
    let mut selected = rows()
        .filter(|(_, parameter)| parameter.is_some_and(|parameter| query.contains(parameter)));
    match (selected.next(), selected.next()) {
        (Some(_), Some(_)) => {
            let message = "and email name the user twice; send one of them";
            Err(invalid_parameter("userId", message))
        }
        (Some((operation, _)), None) => Ok(Some(operation)),
        (None, _) => {
            let without_parameter = rows().find(|(_, parameter)| parameter.is_none());
            let operation = without_parameter.or_else(|| rows().next());
            Ok(operation.map(|(operation, _)| operation))
        }
    }
}

/// Decodes once and strictly (RFC 3986 section 2.1). An invalid encoding is an error here. The
/// crate percent-encoding leaves it unchanged.
fn percent_decode(segment: &str) -> Result<String, &'static str> {
    let is_encoded = segment.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !is_encoded {
        return Err("has a % without two hexadecimal digits after it");
    }
    let text = percent_decode_str(segment).decode_utf8();
    text.map(String::from)
        .map_err(|_| "must be percent-encoded UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_users_one_user_or_nothing() {
        for (path, resource) in [
            ("/users", Some(("/users", None))),
            ("/users/", Some(("/users", None))),
            ("/users/1", Some(("/users/{userId}", Some("1")))),
            ("/users/1/", Some(("/users/{userId}", Some("1")))),
            ("/users/a%2Fb", Some(("/users/{userId}", Some("a%2Fb")))),
            ("/users/users", Some(("/users/{userId}", Some("users")))),
            ("", None),
            ("users", None),
            ("//users", None),
            ("/users//", None),
            ("/users//1", None),
            ("/users/1/2", None),
            ("/usersx", None),
            ("/Users", None),
            ("*", None),
        ] {
            let resource =
                resource.map(|(template, user_id)| Resource::Users { template, user_id });
            assert_eq!(Resource::find(path), resource, "{path}");
        }
    }

    #[test]
    fn method_path_and_query_select_an_operation() {
        for (method, target, id) in [
            (Method::GET, "/users", Some("findUsers")),
            (
                Method::HEAD,
                "/users?email=a@example.com",
                Some("findUsers"),
            ),
            (Method::GET, "/users?userId=1", Some("getUser")),
            (Method::GET, "/users/1", Some("getUser")),
            (Method::POST, "/users", Some("createUser")),
            (Method::PUT, "/users?userId=1", Some("replaceUser")),
            (Method::DELETE, "/users/1", Some("deleteUser")),
            (Method::POST, "/users/1", None),
            (Method::PUT, "/users", None),
            (Method::GET, "/users?userId=1&email=a@example.com", None),
            (Method::GET, "/users?userId=1&userId=2", None),
            (Method::TRACE, "/users", None),
        ] {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let resource = Resource::find(path).unwrap();
            let found = match Route::find(&method, resource, &Query::parse(query)) {
                Ok(Route::Operation(operation, _)) => Some(operation.at[0].1),
                Ok(Route::Options(_) | Route::Document(_)) | Err(_) => None,
            };
            assert_eq!(found, id, "{method} {target}");
        }
    }

    #[test]
    fn a_percent_encoding_is_decoded_once_and_strictly() {
        for (segment, text) in [
            ("ada", Some("ada")),
            ("a%2Fb", Some("a/b")),
            ("%2525", Some("%25")),
            ("a+b", Some("a+b")),
            ("%C3%A9", Some("é")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%FF", None),
        ] {
            assert_eq!(percent_decode(segment).ok().as_deref(), text, "{segment}");
        }
    }
}
