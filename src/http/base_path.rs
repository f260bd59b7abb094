//! The base path of the API.

/// The base path of a custom domain: empty, or segments with a slash before each (`/accounts/v1`).
#[derive(Clone, Debug, Default)]
pub struct BasePath(String);

impl BasePath {
    /// Reads segments with slashes between or around them. Without segments, the base path is
    /// empty.
    ///
    /// # Errors
    /// What to change, as a phrase that follows the name of the setting. `users` and
    /// `deleted-users` are refused. With the first one, the gateway would authorise `/users/users` as the user named `users`, and
    /// the service would answer it as the list of users.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let path = absolute_path(text);
        match path.as_str() {
            "/users" => Err("must not be users, with which the paths of the API begin"),
            "/deleted-users" => Err("must not be deleted-users, with which paths of the API begin"),
            _ => Ok(Self(path)),
        }
    }

    /// The text of the base path: empty, or with a slash before each segment.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The segments of `text` with one slash before each. Empty if there are no segments.
pub(crate) fn absolute_path(text: &str) -> String {
    let segments = text.split('/').filter(|segment| !segment.is_empty());
    segments.flat_map(|segment| ["/", segment]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_segments_and_not_users() {
        for (text, path) in [("", ""), ("/", ""), ("v1", "/v1"), ("/a//b/", "/a/b")] {
            assert_eq!(BasePath::parse(text).unwrap().as_str(), path, "{text}");
        }
        assert!(BasePath::parse("/users/").is_err());
        assert!(BasePath::parse("deleted-users").is_err());
    }
}
