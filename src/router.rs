//! Which operation a request asks for: the path first, then the method.

use lambda_http::http::Method;
use percent_encoding::percent_decode_str;

#[cfg(feature = "docs")]
use crate::docs::Document;
use crate::{
    error::Error,
    request::{Query, invalid_parameter},
    user::{EmailKey, UserId},
};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// `/users`: all of them, or the one that `?userId=` or `?email=` names.
    Users,
    /// `/users/{userId}`, still percent-encoded.
    User(&'a str),
    /// The contract or its page.
    #[cfg(feature = "docs")]
    Docs(Document),
}

impl<'a> Resource<'a> {
    /// The resource at `path`. One slash at the end makes no difference, as it
    /// makes none to API Gateway.
    pub fn find(path: &'a str) -> Option<Self> {
        #[cfg(feature = "docs")]
        if let Some(document) = Document::find(path) {
            return Some(Self::Docs(document));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let (before, after) = path
            .strip_prefix('/')?
            .split_once('/')
            .unwrap_or((&path[1..], ""));
        match (before, after) {
            ("users", "") if !path.ends_with('/') => Some(Self::Users),
            ("users", user_id) if !user_id.is_empty() && !user_id.contains('/') => {
                Some(Self::User(user_id))
            }
            _ => None,
        }
    }

    /// The path as `openapi.yaml` writes it.
    pub fn template(self) -> &'static str {
        match self {
            Self::Users => "/users",
            Self::User(_) => "/users/{userId}",
            #[cfg(feature = "docs")]
            Self::Docs(document) => document.template(),
        }
    }

    /// The methods it has, for `Allow` (RFC 9110 section 10.2.1).
    pub fn methods(self) -> &'static [Method] {
        const USERS: &[Method] = &[
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        const USER: &[Method] = &[
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        #[cfg(feature = "docs")]
        const DOCS: &[Method] = &[Method::GET, Method::HEAD, Method::OPTIONS];
        match self {
            Self::Users => USERS,
            Self::User(_) => USER,
            #[cfg(feature = "docs")]
            Self::Docs(_) => DOCS,
        }
    }
}

/// An operation, with the user it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /users` without a `userId` or an `email`.
    ListUsers,
    /// `GET /users` with an `email`.
    FindUser(EmailKey),
    /// `POST /users`.
    CreateUser,
    /// `GET` of one user, by path or by query.
    GetUser(UserId),
    /// `PUT` of one user, by path or by query.
    ReplaceUser(UserId),
    /// `PATCH` of one user, by path or by query.
    PatchUser(UserId),
    /// `DELETE` of one user, by path or by query.
    DeleteUser(UserId),
    /// `OPTIONS` of a resource: the methods it has.
    Options(&'static [Method]),
    /// `GET` of the contract or its page.
    #[cfg(feature = "docs")]
    GetDocument(Document),
}

impl Route {
    /// The operation that `method` asks of `resource`. `HEAD` is `GET`.
    ///
    /// # Errors
    /// [`Error::MethodNotAllowed`], and [`Error::InvalidParameter`] where the
    /// `userId` is missing or cannot be one.
    pub fn find(method: &Method, resource: Resource<'_>, query: &Query) -> Result<Self, Error> {
        if method == Method::OPTIONS {
            return Ok(Self::Options(resource.methods()));
        }
        // RFC 9110 section 15.5.6: the answer must name the methods there are.
        let not_allowed = Err(Error::MethodNotAllowed(resource.methods()));
        match resource {
            Resource::Users => match *method {
                Method::GET | Method::HEAD if query.contains("email") => {
                    if query.contains("userId") {
                        let message = "and email name the user twice; send one of them";
                        return Err(invalid_parameter("userId", message));
                    }
                    let email = query.parsed("email", EmailKey::parse)?;
                    Ok(email.map_or(Self::ListUsers, Self::FindUser))
                }
                Method::GET | Method::HEAD if !query.contains("userId") => Ok(Self::ListUsers),
                Method::GET | Method::HEAD => addressed_by(query).map(Self::GetUser),
                Method::POST if query.contains("userId") => Err(invalid_parameter(
                    "userId",
                    "is not for POST; send the userId in the body, or use PUT",
                )),
                Method::POST => Ok(Self::CreateUser),
                Method::PUT => addressed_by(query).map(Self::ReplaceUser),
                Method::PATCH => addressed_by(query).map(Self::PatchUser),
                Method::DELETE => addressed_by(query).map(Self::DeleteUser),
                _ => not_allowed,
            },
            Resource::User(segment) => match *method {
                Method::GET | Method::HEAD => user_id(percent_decode(segment)).map(Self::GetUser),
                Method::PUT => user_id(percent_decode(segment)).map(Self::ReplaceUser),
                Method::PATCH => user_id(percent_decode(segment)).map(Self::PatchUser),
                Method::DELETE => user_id(percent_decode(segment)).map(Self::DeleteUser),
                _ => not_allowed,
            },
            #[cfg(feature = "docs")]
            Resource::Docs(document) => match *method {
                Method::GET | Method::HEAD => Ok(Self::GetDocument(document)),
                _ => not_allowed,
            },
        }
    }
}

/// The user that `?userId=` names.
fn addressed_by(query: &Query) -> Result<UserId, Error> {
    user_id(query.get("userId")?.map(str::to_owned).ok_or("is required"))
}

fn user_id(text: Result<String, &'static str>) -> Result<UserId, Error> {
    text.and_then(UserId::for_lookup)
        .map_err(|message| invalid_parameter("userId", message))
}

/// Decodes once and strictly (RFC 3986 section 2.1): what is no encoding is an
/// error, and no guess.
fn percent_decode(segment: &str) -> Result<String, &'static str> {
    let encoded = segment.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !encoded {
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
            ("/users", Some(Resource::Users)),
            ("/users/", Some(Resource::Users)),
            ("/users/1", Some(Resource::User("1"))),
            ("/users/1/", Some(Resource::User("1"))),
            ("/users/a%2Fb", Some(Resource::User("a%2Fb"))),
            ("/users/users", Some(Resource::User("users"))),
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
            assert_eq!(Resource::find(path), resource, "{path}");
        }
    }
}
