//! The endpoints of AWS that the environment names.

use http::Uri;

use crate::http::host::is_loopback;

/// The endpoint of a service that the environment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The variable that names it, for messages.
    pub variable: &'static str,
    /// The URL, as the variable holds it.
    pub url: String,
}

impl Endpoint {
    /// The endpoint of DynamoDB. See [`Endpoint::of`].
    pub fn configured(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Self::of("AWS_ENDPOINT_URL_DYNAMODB", variable)
    }

    /// Reads the endpoint of a service from the environment. `own` is the variable for this service.
    /// `variable` returns the value of a variable. The order is the same as in the AWS SDKs
    /// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>): `own` comes
    /// before `AWS_ENDPOINT_URL`. Both are ignored if `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is
    /// `true`. An empty variable counts as not set.
    pub fn of(own: &'static str, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let ignored = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        if ignored.is_some_and(|ignored| ignored.eq_ignore_ascii_case("true")) {
            return None;
        }
        [own, "AWS_ENDPOINT_URL"].into_iter().find_map(|name| {
            let url = variable(name).filter(|url| !url.is_empty())?;
            Some(Self {
                variable: name,
                url,
            })
        })
    }

    /// The host of the URL. Empty if the URL has none.
    pub(super) fn host(&self) -> String {
        let uri: Option<Uri> = self.url.parse().ok();
        let host = uri.as_ref().and_then(Uri::host);
        host.unwrap_or_default().to_owned()
    }
}

/// Whether the endpoint `url` is on this machine.
pub fn is_on_this_machine(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    uri.is_some_and(|uri| uri.host().is_some_and(is_loopback))
}

/// Whether `url` is an HTTP or HTTPS URL with a host.
pub fn is_http_url(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    uri.is_some_and(|uri| {
        ["http", "https"].contains(&uri.scheme_str().unwrap_or_default())
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn the_endpoint_of_dynamodb_comes_before_that_of_aws_and_either_can_be_ignored() {
        const SPECIFIC: &str = "AWS_ENDPOINT_URL_DYNAMODB";
        const GENERAL: &str = "AWS_ENDPOINT_URL";
        const IGNORED: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";
        let cases: &[(Variables, Option<&str>)] = &[
            (&[], None),
            (
                &[(SPECIFIC, "http://a"), (GENERAL, "http://b")],
                Some(SPECIFIC),
            ),
            (&[(SPECIFIC, ""), (GENERAL, "http://b")], Some(GENERAL)),
            (&[(SPECIFIC, "http://a"), (IGNORED, "True")], None),
            (&[(SPECIFIC, "http://a"), (IGNORED, "no")], Some(SPECIFIC)),
        ];
        for (variables, expected) in cases {
            let endpoint = Endpoint::configured(|name| {
                let (_, value) = variables.iter().find(|(other, _)| *other == name)?;
                Some(String::from(*value))
            });
            let found = endpoint.map(|endpoint| endpoint.variable);
            assert_eq!(found, *expected, "{variables:?}");
        }
    }
}
