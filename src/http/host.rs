//! Which hosts are this machine.

use std::net::IpAddr;

/// Whether `host` is this machine: `localhost` or a name under it (RFC 6761 section 6.3),
/// `127.0.0.0/8` or `[::1]`. `host` comes from a URL or from the field `Host`, and has no port.
pub fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    address(host).is_some_and(|address| address.is_loopback())
        || name == "localhost"
        || name.ends_with(".localhost")
}

/// The IP address in `host`, the host of a URL. `None` if it is a name.
pub fn address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(host).parse().ok();
    address.map(|address| address.to_canonical())
}
