//! Where DynamoDB is, by the environment, and which hosts are this machine.

use std::net::IpAddr;

/// The endpoint of DynamoDB that the environment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The variable that names it, for messages.
    pub variable: &'static str,
    /// Its URL, as it stands there.
    pub url: String,
}

impl Endpoint {
    /// Reads the environment, in which `variable` looks up a name, in the order of the AWS
    /// SDKs (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>):
    /// `AWS_ENDPOINT_URL_DYNAMODB` before `AWS_ENDPOINT_URL`, and neither where
    /// `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is `true`. An empty variable counts as none.
    pub fn configured(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let ignored = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        if ignored.is_some_and(|ignored| ignored.eq_ignore_ascii_case("true")) {
            return None;
        }
        ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"]
            .into_iter()
            .find_map(|name| {
                let url = variable(name).filter(|url| !url.is_empty())?;
                Some(Self {
                    variable: name,
                    url,
                })
            })
    }
}

/// Whether `host`, of a URL or of the field `Host` without its port, is this machine:
/// `localhost` and the names under it (RFC 6761 section 6.3), `127.0.0.0/8` or `[::1]`.
pub fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    address(host).is_some_and(|address| address.is_loopback())
        || name == "localhost"
        || name.ends_with(".localhost")
}

/// The address that `host`, of a URL, is; `None` where it is a name.
pub fn address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(host).parse().ok();
    address.map(|address| address.to_canonical())
}
