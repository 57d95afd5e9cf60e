//! Class I of SECURITY: whoever a registry points at is shown nothing, and asked nothing it must not be asked.

use super::stage::{Asked, Stage, Told, told};
use super::*;

/// A registry that wants a token from `realm`, and has an image otherwise.
async fn behind_realm(realm: impl Fn(&str) -> String + Send + Sync + 'static) -> Stage {
    let (manifest, config, _) = simple_manifest(MODULE);
    Stage::open(move |asked| {
        let host = asked.header("host").unwrap_or_default().to_owned();
        let challenge = format!("Bearer realm=\"{}\",service=\"s\"", realm(&host));
        match asked.header("authorization") {
            None => told(401, &[("WWW-Authenticate", &challenge)], b""),
            Some(_) if asked.path.contains("/manifests/") => {
                told(200, &[("Content-Type", media_type::OCI_MANIFEST)], &manifest)
            }
            Some(_) if asked.path.ends_with(&Digest::sha256_of(&config).to_string()) => told(200, &[], &config),
            Some(_) => told(200, &[], MODULE),
        }
    })
    .await
}

async fn pull(client: &Client, registry: &Stage) -> Result<Pulled> {
    let node = node();
    let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
    client.pull(&reference, &Selection::Default, &node.store, silent()).await
}

/// GHSA-vh4v: the realm is the registry's word, and a realm on another site would be sent the user's password.
#[tokio::test(flavor = "multi_thread")]
async fn a_realm_of_another_site_is_shown_no_password() {
    let elsewhere = Stage::open(|_| told(200, &[], br#"{"token":"anonymous"}"#)).await;
    // The same machine by another name is another site.
    let realm = format!("http://localhost:{}/token", elsewhere.address.split(':').nth(1).unwrap());
    let registry = behind_realm(move |_| realm.clone()).await;
    pull(&with_login(&registry.address), &registry).await.unwrap();
    assert_eq!(elsewhere.lines(), ["GET /token"]);
    assert!(!elsewhere.was_shown_a_secret(), "{:?}", elsewhere.seen);
}

/// A refresh token is a password too (GHSA-28r5).
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_posted_to_its_own_site_and_to_no_other() {
    let login = || Login { username: String::new(), password: String::new(), identity_token: Some("secret".into()) };
    let elsewhere = Stage::open(|_| told(401, &[], br#"{"errors":[]}"#)).await;
    let realm = format!("http://localhost:{}/token", elsewhere.address.split(':').nth(1).unwrap());
    let registry = behind_realm(move |_| realm.clone()).await;
    let client = Client::new(Credentials::none().with(&registry.address, login())).unwrap();
    let text = pull(&client, &registry).await.unwrap_err().to_string();
    assert!(text.contains("another site"), "{text}");
    assert!(!elsewhere.was_shown_a_secret());

    let token = Stage::open(|asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        assert!(body.contains("grant_type=refresh_token") && body.contains("refresh_token=secret"), "{body}");
        told(200, &[], br#"{"access_token":"t0ken"}"#)
    })
    .await;
    let realm = format!("http://{}/token", token.address);
    let registry = behind_realm(move |_| realm.clone()).await;
    let client = Client::new(Credentials::none().with(&registry.address, login())).unwrap();
    pull(&client, &registry).await.unwrap();
    assert_eq!(token.lines(), ["POST /token"]);
}

/// A registry of the network must not make this machine ask itself (GHSA-xf85), or anybody without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn realms_and_locations_that_must_not_be_asked_are_refused() {
    for realm in ["http://token.example/", "ftp://127.0.0.1/", "file:///etc/passwd", "nothing", "http://[::]:80/"] {
        let registry = behind_realm(move |_| realm.to_owned()).await;
        let text = pull(&with_login(&registry.address), &registry).await.unwrap_err().to_string();
        assert!(text.contains("token server"), "{text}");
    }
    for location in ["http://blobs.example/x", "file:///etc/passwd", "gopher://x"] {
        let registry = Stage::open(move |_| told(307, &[("Location", location)], b"")).await;
        let text = pull(&Client::new(Credentials::none()).unwrap(), &registry).await.unwrap_err().to_string();
        assert!(text.contains("neither HTTPS nor on loopback"), "{text}");
    }
    let circle = Stage::open(|asked: &Asked| told(302, &[("Location", &asked.path)], b"")).await;
    let text = pull(&Client::new(Credentials::none()).unwrap(), &circle).await.unwrap_err().to_string();
    assert!(text.contains("without end"), "{text}");
}

/// A redirect that challenges is a stranger who asks for the password (GHSA-jxpm).
#[tokio::test(flavor = "multi_thread")]
async fn whoever_a_redirect_leads_to_cannot_ask_for_credentials() {
    let elsewhere = Stage::open(|_| told(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b"")).await;
    let target = format!("http://{}/manifest", elsewhere.address);
    let registry = Stage::open(move |asked| match asked.header("authorization") {
        None => told(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
        Some(_) => told(307, &[("Location", &target)], b""),
    })
    .await;
    let error = pull(&with_login(&registry.address), &registry).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Denied, "{error}");
    assert!(registry.was_shown_a_secret() && !elsewhere.was_shown_a_secret());
}

/// The location of a piece may move to another host between pieces.
#[tokio::test(flavor = "multi_thread")]
async fn no_piece_of_an_upload_takes_credentials_to_another_host() {
    let here = node();
    let descriptor = pack_long(&here);
    let elsewhere = Stage::open(|asked| match asked.method.as_str() {
        "PATCH" => {
            let range = asked.header("content-range").unwrap_or_default().to_owned();
            told(202, &[("Location", "/upload"), ("Range", &format!("0-{}", range.split('-').nth(1).unwrap()))], b"")
        }
        _ => told(201, &[], b""),
    })
    .await;
    let target = format!("http://{}/upload", elsewhere.address);
    let registry = Stage::open(move |asked| match (asked.header("authorization"), asked.method.as_str()) {
        (None, _) => told(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
        (_, "HEAD") => told(404, &[], b""),
        (_, "POST") => told(202, &[("Location", &target)], b""),
        _ => told(201, &[], b""),
    })
    .await;
    let client = Client { piece: 1000, ..with_login(&registry.address) };
    let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
    client.push(&reference, &descriptor, &here.store, silent()).await.unwrap();
    assert!(elsewhere.lines().iter().any(|line| line == "PATCH /upload") && !elsewhere.was_shown_a_secret());
}

/// CVE-2020-15157: the URLs of a foreign layer are the manifest's word.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_layer_is_refused_in_one_sentence_and_its_url_not_asked() {
    let elsewhere = Stage::open(|_| told(200, &[], MODULE)).await;
    let url = format!("http://{}/layer", elsewhere.address);
    let registry = Stage::open(move |asked: &Asked| -> Told {
        let (manifest, config, layer) = simple_manifest(MODULE);
        if asked.path.contains("/manifests/") {
            let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
            manifest["layers"][0]["urls"] = serde_json::json!([url]);
            return told(200, &[("Content-Type", media_type::OCI_MANIFEST)], manifest.to_string().as_bytes());
        }
        assert!(!asked.path.ends_with(&layer));
        told(200, &[], &config)
    })
    .await;
    let text = pull(&Client::new(Credentials::none()).unwrap(), &registry).await.unwrap_err().to_string();
    assert!(text.contains("foreign layers are not taken in") && !text.contains('\n'), "{text}");
    assert!(elsewhere.lines().is_empty());
}

/// GHSA-f36w: an answer as large as its sender likes.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_token_or_refusal_is_read_up_to_a_bound() {
    let registry = behind_realm(|host| format!("http://{host}/token")).await;
    let address = registry.address.clone();
    let endless = Stage::open(move |_| told(200, &[], &vec![b' '; 33 << 20])).await;
    let realm = format!("http://{}/token", endless.address);
    let greedy = behind_realm(move |_| realm.clone()).await;
    let text = pull(&Client::new(Credentials::none()).unwrap(), &greedy).await.unwrap_err().to_string();
    assert!(text.contains("answered with more than 1048576 bytes"), "{text} {address}");
    let refusing = Stage::open(|_| told(403, &[], &vec![b'['; 33 << 20])).await;
    let error = pull(&Client::new(Credentials::none()).unwrap(), &refusing).await.unwrap_err();
    assert!(error.kind() == crate::ErrorKind::Denied && error.to_string().len() < 1000, "{error}");
}

/// HTTP is for loopback.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_on_loopback_is_asked_by_https_only() {
    let transport = Transport::new(Credentials::none(), Vec::new(), Pace::default()).unwrap();
    let scheme = |name: &str| {
        let reference = Reference::parse(name).unwrap();
        transport::Remote::new(&transport, &reference, "pull").unwrap().base.scheme().to_owned()
    };
    for (name, expected) in [
        ("busybox", "https"),
        ("10.0.0.1:5000/a", "https"),
        ("localhost.evil.example/a", "https"),
        ("127.0.0.1.evil.example/a", "https"),
        ("localhost:5000/a", "http"),
        ("127.0.0.2:5000/a", "http"),
    ] {
        assert_eq!(scheme(name), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_checked_and_a_token_for_later_given_back() {
    let registry = Stage::open(|asked| match (asked.path.as_str(), asked.header("authorization")) {
        ("/token", Some("Basic dXNlcjpzZWNyZXQ=")) => {
            assert!(asked.query.contains("offline_token=true") && asked.query.contains("account=user"));
            told(200, &[], br#"{"token":"t0ken","refresh_token":"later"}"#)
        }
        ("/token", _) => told(401, &[], br#"{"errors":[{"message":"no such user"}]}"#),
        (_, Some("Bearer t0ken")) => told(200, &[], b"{}"),
        (_, _) => {
            let host = asked.header("host").unwrap_or_default();
            told(401, &[("WWW-Authenticate", &format!("Bearer realm=\"http://{host}/token\""))], b"")
        }
    })
    .await;
    let good = with_login(&registry.address).log_in(&registry.address).await.unwrap();
    assert_eq!(good.as_deref(), Some("later"));
    let login = Login { username: "user".into(), password: "wrong".into(), identity_token: None };
    let bad = Client::new(Credentials::none().with(&registry.address, login)).unwrap();
    let error = bad.log_in(&registry.address).await.unwrap_err();
    assert!(error.kind() == crate::ErrorKind::Denied && error.to_string().contains("no such user"), "{error}");
}
