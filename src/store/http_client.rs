//! The HTTP client, and the root certificates that it trusts.
//!
//! The client is built from hyper and rustls, not by `aws-smithy-http-client`: that crate always
//! links HTTP/2, which calls of DynamoDB do not need. Without it, the function is an eighth smaller.

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    config::{RuntimeComponents, SharedHttpClient},
    error::{BoxError, ConnectorError},
};
use aws_smithy_runtime_api::client::{
    connection::{CaptureSmithyConnection, ConnectionMetadata},
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::{body::SdkBody, retry::ErrorKind};
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{CaptureConnection, HttpConnector as TcpConnector, HttpInfo, capture_connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use tokio::net::TcpStream;
use tower::{ServiceBuilder, timeout::error::Elapsed, util::BoxCloneSyncService};

use super::call::find;

/// The roots of Amazon Trust Services, which sign the certificates of AWS. They have the names, and
/// the SHA-256 fingerprints, of <https://www.amazontrust.com/repository/>. PEM would cost a start
/// 160,000 instructions.
const AMAZON: [&[u8]; 5] = [
    include_bytes!("roots/AmazonRootCA1.cer"),
    include_bytes!("roots/AmazonRootCA2.cer"),
    include_bytes!("roots/AmazonRootCA3.cer"),
    include_bytes!("roots/AmazonRootCA4.cer"),
    include_bytes!("roots/SFSRootCAG2.cer"),
];

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

    fn store(self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        match self {
            Self::Amazon => {
                store.add_parsable_certificates(AMAZON.map(CertificateDer::from_slice));
            }
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                for error in found.errors {
                    tracing::warn!(cause = %error, "not all roots of the system are read");
                }
                store.add_parsable_certificates(found.certs);
            }
        }
        store
    }
}

/// The time limit for DNS, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The HTTP client for an `SdkConfig`. See [`hyper_client`].
pub fn http_client(roots: TrustedRoots) -> SharedHttpClient {
    SharedHttpClient::new(Hyper(SharedHttpConnector::new(Pool(hyper_client(roots)))))
}

/// A client for requests with bodies of the type `B`.
pub type HyperClient<B> = Client<BoxCloneSyncService<Uri, Stream, BoxError>, B>;

/// An HTTP client: HTTP/1.1, and TLS 1.2 and 1.3 with rustls and ring. The client reads the `roots`
/// when it is built. It opens connections in at most 1 s. All clones use the same connections.
///
/// # Panics
/// Never: ring has the ciphers of both versions of TLS.
pub fn hyper_client<B>(roots: TrustedRoots) -> HyperClient<B>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of both versions")
        .with_root_certificates(roots.store())
        .with_no_client_auth();
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false); // the TLS connector opens its connections with it
    tcp.set_nodelay(true);
    let https: HttpsConnector<_> = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let connect = ServiceBuilder::new()
        .timeout(CONNECT_TIMEOUT)
        .service(https);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(BoxCloneSyncService::new(connect))
}

/// A hyper client in the form of the AWS SDK.
#[derive(Debug)]
struct Hyper(SharedHttpConnector);

impl HttpClient for Hyper {
    /// The one connector. It has its own time limits, so the settings are not read.
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.clone()
    }
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// The connections.
#[derive(Debug)]
struct Pool(HyperClient<SdkBody>);

impl HttpConnector for Pool {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || metadata(&connection));
        }
        let response = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let response = response.await.map_err(|error| failure(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// What the SDK needs to know about a connection. It closes the connection after some failures, so
/// that a retry does not use it again.
fn metadata(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    let mut extensions = http::Extensions::new();
    let connected = connection.connection_metadata();
    connected.as_ref()?.get_extras(&mut extensions);
    let addresses = extensions.get::<HttpInfo>();
    let connection = connection.clone();
    let mut metadata = ConnectionMetadata::builder()
        .proxied(false)
        .poison_fn(move || {
            if let Some(connected) = connection.connection_metadata().as_ref() {
                connected.poison();
            }
        });
    metadata
        .set_local_addr(addresses.map(HttpInfo::local_addr))
        .set_remote_addr(addresses.map(HttpInfo::remote_addr));
    Some(metadata.build())
}

/// The kind of a failure decides whether the SDK sends the request again.
fn failure(error: BoxError) -> ConnectorError {
    if find::<Elapsed>(&*error).is_some() {
        return ConnectorError::timeout(error);
    }
    let is_io = find::<std::io::Error>(&*error).is_some();
    let is_connect = find::<hyper_util::client::legacy::Error>(&*error)
        .is_some_and(hyper_util::client::legacy::Error::is_connect);
    match find::<hyper::Error>(&*error) {
        Some(hyper) if hyper.is_user() => ConnectorError::user(error),
        Some(hyper) if hyper.is_incomplete_message() => {
            ConnectorError::other(error, Some(ErrorKind::TransientError))
        }
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() => ConnectorError::io(error),
        Some(_) | None if is_io || is_connect => ConnectorError::io(error),
        Some(_) | None => ConnectorError::other(error, None),
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{
        AMAZON,
        TrustedRoots::{self, Amazon, System},
    };

    #[test]
    fn the_roots_of_amazon_have_the_fingerprints_of_its_repository() {
        let hex = |byte: u8| format!("{byte:02x}");
        let fingerprints = AMAZON.map(|root| {
            let digest = Sha256::digest(root);
            digest.into_iter().map(hex).collect::<String>()
        });
        assert_eq!(
            fingerprints,
            [
                "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
                "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
                "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
                "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
                "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
            ]
        );
        assert_eq!(Amazon.store().len(), fingerprints.len());
    }

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
