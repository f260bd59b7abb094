//! A stub of DynamoDB, over plain HTTP and over TLS 1.3. It has every user.

use std::{convert::Infallible, net::Ipv4Addr, path::PathBuf, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Response;
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer, version::TLS13},
};

/// The answer to a GetItem: the sample user.
const ANSWER: &str =
    r#"{"Item":{"userId":{"S":"1"},"name":{"S":"Test User"},"email":{"S":"test@example.com"}}}"#;

/// The running stub.
pub struct Stub {
    /// Its URL for plain HTTP.
    pub http: String,
    /// Its URL for TLS.
    pub https: String,
    folder: TempDir,
}

impl Stub {
    /// Starts it on two free ports.
    pub async fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([String::from("127.0.0.1")])
                .expect("a certificate is made");
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        let root = cert.pem();
        let all = roots_of_system() + &root;
        std::fs::write(folder.path().join("root.pem"), root).expect("its file is written");
        std::fs::write(folder.path().join("all.pem"), all).expect("its file is written");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("the certificate and its key belong together");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self {
            http: format!("http://127.0.0.1:{}", serve(None).await),
            https: format!("https://127.0.0.1:{}", serve(Some(acceptor)).await),
            folder,
        }
    }

    /// The file of the root that signed its certificate.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// The file of the roots of the system, and of that root.
    pub fn all_roots(&self) -> PathBuf {
        self.folder.path().join("all.pem")
    }
}

/// The roots of the system, in PEM form.
fn roots_of_system() -> String {
    let found = rustls_native_certs::load_native_certs().certs;
    assert!(!found.is_empty(), "the system has no root certificates");
    let mut text = String::new();
    for root in found {
        let lines = BASE64_STANDARD.encode(root);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in lines.as_bytes().chunks(64) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Serves on a free port, which is returned.
async fn serve(tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port is free");
    let port = listener.local_addr().expect("the port is known").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            // A handler that is killed ends its connection: errors are expected.
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                match tls {
                    None => answer(TokioIo::new(stream)).await,
                    Some(tls) => answer(TokioIo::new(tls.accept(stream).await.ok()?)).await,
                }
            });
        }
    });
    port
}

async fn answer(stream: impl Read + Write + Unpin + 'static) -> Option<()> {
    let service = service_fn(async |_: http::Request<Incoming>| {
        let response = Response::builder()
            .header("content-type", "application/x-amz-json-1.0")
            .body(Full::new(Bytes::from_static(ANSWER.as_bytes())))
            .expect("the response is valid");
        Ok::<_, Infallible>(response)
    });
    http1::Builder::new()
        .serve_connection(stream, service)
        .await
        .ok()
}
