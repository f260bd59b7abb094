//! Finds where the API is mounted: the prefix before `/users` in the path of an event, and in the
//! URL that the client used.

use crate::http::{
    base_path::{BasePath, absolute_path},
    router::Resource,
};

/// The parts of an event that say where the API is mounted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    /// The path of the event.
    pub(super) path: &'a str,
    /// The stage, as the event names it.
    pub(super) stage: &'a str,
    /// The path in the URL that the client used. Only REST events have it.
    pub(super) client_path: Option<&'a str>,
    /// The host that the client used.
    pub(super) domain_name: Option<&'a str>,
}

/// The two parts of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    /// See [`Request::mount`](crate::http::request::Request::mount).
    pub(super) mount: String,
    /// See [`Request::path`](crate::http::request::Request::path).
    pub(super) path: String,
}

impl Place<'_> {
    /// Removes the stage and the base path from the path.
    pub(super) fn find(self, base_path: &BasePath) -> Mounted {
        let base = base_path.as_str();
        let prefixes = self.prefixes(base);
        let prefix = prefixes.iter().find(|prefix| {
            let rest = self.path.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| Resource::find(rest).is_some())
        });
        let prefix = prefix.map_or("", String::as_str);
        let path = &self.path[prefix.len()..];
        let is_custom_domain = self
            .domain_name
            .is_some_and(|name| !name.contains(".execute-api."));
        let mount = match self
            .client_path
            .and_then(|client| client.strip_suffix(path))
        {
            Some(mount) => mount,
            None if is_custom_domain => base, // the URL does not hold the stage
            None => prefix,
        };
        Mounted {
            // The mount never begins with `//host`, which would lead the client elsewhere.
            mount: absolute_path(mount),
            path: path.to_owned(),
        }
    }

    /// The prefixes that the path of the resource may have, in the order to try them. The base path
    /// comes first and the stage last, because the stage may be `users`.
    fn prefixes(self, base: &str) -> Vec<String> {
        let stage = match self.stage {
            "" | "$default" => String::new(),
            stage => format!("/{stage}"),
        };
        let mut prefixes = Vec::new();
        if !base.is_empty() {
            prefixes.push(base.to_owned());
            prefixes.push(format!("{stage}{base}"));
            prefixes.push(format!("{base}{stage}"));
        }
        prefixes.push(String::new());
        // If the client's path is the stage followed by the path of the event, the gateway has
        // already removed the stage.
        let client_path = self.client_path.and_then(|path| path.strip_prefix(&stage));
        if client_path != Some(self.path) {
            prefixes.push(stage);
        }
        prefixes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT_DOMAIN: &str = "abc.execute-api.us-east-1.amazonaws.com";
    const CUSTOM_DOMAIN: &str = "api.example.com";

    #[test]
    fn stage_and_base_path_are_taken_off_the_path_and_stay_in_the_mount() {
        for (path, stage, client_path, domain_name, base, mount, rest) in [
            // REST APIs remove the stage, and send the client's path.
            (
                "/users/1",
                "prod",
                Some("/prod/users/1"),
                DEFAULT_DOMAIN,
                "",
                "/prod",
                "/users/1",
            ),
            (
                "/v1/users",
                "prod",
                Some("/v1/users"),
                CUSTOM_DOMAIN,
                "v1",
                "/v1",
                "/users",
            ),
            (
                "/users",
                "users",
                Some("/users/users"),
                DEFAULT_DOMAIN,
                "",
                "/users",
                "/users",
            ),
            // HTTP APIs keep the stage.
            (
                "/prod/users",
                "prod",
                None,
                DEFAULT_DOMAIN,
                "",
                "/prod",
                "/users",
            ),
            ("/users", "$default", None, DEFAULT_DOMAIN, "", "", "/users"),
            (
                "/prod/v1/users",
                "prod",
                None,
                CUSTOM_DOMAIN,
                "v1",
                "/v1",
                "/users",
            ),
            (
                "/v1/prod/users",
                "prod",
                None,
                CUSTOM_DOMAIN,
                "v1",
                "/v1",
                "/users",
            ),
            // The stage has the same name as the resource.
            (
                "/users/users",
                "users",
                None,
                DEFAULT_DOMAIN,
                "",
                "",
                "/users/users",
            ),
            // No prefix is removed from other paths.
            ("/nothing", "prod", None, DEFAULT_DOMAIN, "", "", "/nothing"),
            (
                "//evil.example/users",
                "",
                Some("//evil.example/users"),
                DEFAULT_DOMAIN,
                "",
                "",
                "//evil.example/users",
            ),
        ] {
            let place = Place {
                path,
                stage,
                client_path,
                domain_name: Some(domain_name),
            };
            let expected = Mounted {
                mount: mount.to_owned(),
                path: rest.to_owned(),
            };
            let base = BasePath::parse(base).unwrap();
            assert_eq!(place.find(&base), expected, "{path} {stage}");
        }
    }
}
