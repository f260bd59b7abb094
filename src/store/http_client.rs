//! The HTTP client, and the root certificates that it trusts.

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};

/// The roots of Amazon Trust Services, in PEM form.
const AMAZON: &str = include_str!("roots/amazon.pem");

/// The root certificates that the client trusts. They decide which DynamoDB it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedRoots {
    /// The roots of Amazon Trust Services. They are part of the binary.
    Amazon,
    /// The roots of the system. A client takes several milliseconds to read them.
    System,
}

impl TrustedRoots {
    /// The roots with this `name`: `amazon` or `system`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "amazon" => Some(Self::Amazon),
            "system" => Some(Self::System),
            _ => None,
        }
    }

    /// The roots for the endpoint that the AWS SDK chooses in this `region`.
    ///
    /// Only the partitions `aws` and `aws-us-gov` get Amazon's roots, because only their endpoints
    /// are below `amazonaws.com`. The forms of their regions are those in the SDK's `partitions.json`.
    pub fn for_region(region: &str) -> Self {
        const AREAS: [&str; 9] = ["us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"];
        let parts: Vec<&str> = region.split('-').collect();
        match parts[..] {
            ["us", "gov", _, _] => Self::Amazon,
            [area, _, _] if AREAS.contains(&area) => Self::Amazon,
            _ => Self::System,
        }
    }

    /// The roots for the endpoint at `host`.
    pub fn for_host(host: &str) -> Self {
        if host.to_ascii_lowercase().ends_with(".amazonaws.com") {
            Self::Amazon
        } else {
            Self::System
        }
    }

    fn trust_store(self) -> TrustStore {
        match self {
            Self::Amazon => TrustStore::empty().with_pem_certificate(AMAZON),
            Self::System => TrustStore::default(),
        }
    }
}

/// The HTTP client for an `SdkConfig`: HTTP/1.1 and HTTP/2, and TLS with rustls and ring. The
/// client reads the `roots` when it is built.
///
/// # Panics
/// Never: the settings of TLS are constant.
pub fn http_client(roots: TrustedRoots) -> SharedHttpClient {
    let tls = TlsContext::builder().with_trust_store(roots.trust_store());
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls.build().expect("the settings of TLS are valid"))
        .build_https()
}

#[cfg(test)]
mod tests {
    use super::TrustedRoots::{self, Amazon, System};

    #[test]
    fn only_endpoints_of_amazonaws_com_get_the_roots_of_amazon() {
        for (region, roots) in [
            ("us-east-1", Amazon),
            ("eu-central-2", Amazon),
            ("mx-central-1", Amazon),
            ("us-gov-west-1", Amazon),
            ("cn-north-1", System),
            ("us-iso-east-1", System),
            ("us-isob-east-1", System),
            ("eu-isoe-west-1", System),
            ("eusc-de-east-1", System),
            ("local", System),
            ("", System),
        ] {
            assert_eq!(TrustedRoots::for_region(region), roots, "{region}");
        }
        for (host, roots) in [
            ("dynamodb.us-east-1.amazonaws.com", Amazon),
            ("vpce-1.dynamodb.us-east-1.vpce.AMAZONAWS.com", Amazon),
            ("dynamodb.cn-north-1.amazonaws.com.cn", System),
            ("dynamodb.us-east-1.api.aws", System),
            ("evilamazonaws.com", System),
            ("127.0.0.1", System),
        ] {
            assert_eq!(TrustedRoots::for_host(host), roots, "{host}");
        }
    }
}
