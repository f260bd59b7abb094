//! A DynamoDB behind TLS, with a certificate of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

/// A TLS server that passes all bytes to a plain endpoint.
pub struct TlsFront {
    address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    folder: TempDir,
}

impl TlsFront {
    /// Starts one in front of `endpoint_url`.
    pub async fn start(endpoint_url: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([String::from("127.0.0.1")]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root.pem"), cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = endpoint_url.strip_prefix("http://").unwrap().to_owned();
        let handshakes = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&handshakes);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the handshake.
                    let mut client = acceptor.accept(stream).await.ok()?;
                    counted.fetch_add(1, SeqCst);
                    let mut store = TcpStream::connect(upstream).await.ok()?;
                    copy_bidirectional(&mut client, &mut store).await.ok()
                });
            }
        });
        Self {
            address,
            handshakes,
            folder,
        }
    }

    /// Its URL.
    pub fn endpoint_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The file of the root that signed its certificate.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// How many handshakes have succeeded.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(SeqCst)
    }
}
