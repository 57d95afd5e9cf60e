//! A registry whose certificate a private authority signed.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Signed { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }
}

/// TLS before `plain`, on a port of its own; with `clients` only for those it signed.
async fn before(plain: &str, authority: &Authority, clients: bool) -> String {
    let signed = authority.sign("127.0.0.1");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = if clients {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.key.serialize_der()));
    let config = builder.with_single_cert(vec![signed.certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let plain = plain.to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let Ok(mut inside) = TcpStream::connect(plain).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    address
}

fn folder(root: &Path, host: &str, files: &[(&str, &str)]) {
    let folder = root.join(host);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

async fn push(root: &Path, address: &str) -> Result<Pushed> {
    let here = node();
    let descriptor = pack(&here, false);
    let client = Client::trusting(Credentials::none(), &[root.to_path_buf()]).unwrap();
    let reference = Reference::parse(&format!("{address}/a")).unwrap();
    client.push(&reference, &descriptor, &here.store, silent()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_for_its_own_host_only() {
    let (registry, authority, trust) = (Running::start().await, Authority::new(), tempfile::tempdir().unwrap());
    let address = before(&registry.address, &authority, false).await;
    folder(trust.path(), &address, &[("ca.crt", &authority.pem()), ("readme", "not a certificate")]);
    push(trust.path(), &address).await.unwrap();

    let other = before(&registry.address, &authority, false).await;
    folder(trust.path(), &other, &[]);
    let error = push(trust.path(), &other).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unavailable, "{error}");
    // Without the port a folder serves all ports of a host.
    let bare = tempfile::tempdir().unwrap();
    folder(bare.path(), "127.0.0.1", &[("ca.crt", &authority.pem())]);
    push(bare.path(), &other).await.unwrap();
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_to_the_host_it_is_for() {
    let (registry, authority, trust) = (Running::start().await, Authority::new(), tempfile::tempdir().unwrap());
    let address = before(&registry.address, &authority, true).await;
    folder(trust.path(), &address, &[("ca.crt", &authority.pem())]);
    assert!(push(trust.path(), &address).await.is_err());
    let client = authority.sign("sailor");
    let (certificate, key) = (client.certificate.pem(), client.key.serialize_pem());
    folder(trust.path(), &address, &[("client.cert", &certificate), ("client.key", &key)]);
    push(trust.path(), &address).await.unwrap();
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_folder_is_one_sentence() {
    let trust = tempfile::tempdir().unwrap();
    for (name, part) in [("ca.crt", "no certificate"), ("a.cert", "its key"), ("b.key", "its certificate")] {
        folder(trust.path(), "127.0.0.1:9", &[(name, "nonsense")]);
        let text = push(trust.path(), "127.0.0.1:9").await.unwrap_err().to_string();
        assert!(text.contains(part) && !text.contains('\n'), "{text}");
        std::fs::remove_dir_all(trust.path().join("127.0.0.1:9")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_never_left_for_http() {
    let authority = Authority::new();
    let trust = tempfile::tempdir().unwrap();
    let plain = stage::Stage::open(|_| stage::told(200, &[], b"{}")).await;
    let target = format!("http://{}/x", plain.address);
    let secure = stage::Stage::open(move |_| stage::told(307, &[("Location", &target)], b"")).await;
    let address = before(&secure.address, &authority, false).await;
    folder(trust.path(), &address, &[("ca.crt", &authority.pem())]);
    let client = Client::trusting(Credentials::none(), &[trust.path().to_path_buf()]).unwrap();
    let reference = Reference::parse(&format!("{address}/a")).unwrap();
    let error = client.pull(&reference, &Selection::Default, &node().store, silent()).await.unwrap_err();
    assert!(error.to_string().contains("which is not HTTPS"), "{error}");
    assert!(plain.lines().is_empty());
}
