//! The client against our own server, and against registries that lie or fish for credentials.

mod authority;
mod credential_helpers;
mod pieces;
mod resume;
mod secrets;
mod stage;
mod trickle;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::descriptor::{Descriptor, media_type};
use crate::package::{self, Package};
use crate::server::Server;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn elf() -> Vec<u8> {
    let mut elf = vec![7; 300_000];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[18] = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    elf[19] = 0;
    elf
}

struct Node {
    _dir: tempfile::TempDir,
    store: Store,
}

fn node() -> Node {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    Node { _dir: dir, store }
}

struct Running {
    address: String,
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Running {
    async fn start() -> Running {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let server = Server::open(dir.path()).unwrap();
        let task = tokio::spawn(server.serve(listener, async { drop(stopped.await) }));
        Running { address, dir, stop: Some(stop), task }
    }

    fn reference(&self, rest: &str) -> Reference {
        Reference::parse(&format!("{}/{rest}", self.address)).unwrap()
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap().unwrap();
    }
}

fn silent() -> Progress {
    Arc::new(|_| {})
}

fn pack(node: &Node, linux: bool) -> Descriptor {
    let package = Package { module: MODULE.to_vec(), linux: linux.then(elf), ..Package::default() };
    package::write(node.store.layout(), &Reference::parse("sample").unwrap(), &package).unwrap()
}

/// An image whose one layer is 4 kB long, however well it were compressed.
fn pack_long(node: &Node) -> Descriptor {
    // A custom section of 4000 bytes (core specification, section 5.5.3).
    let mut module = [MODULE, &[0, 0xa0, 0x1f, 1, b'x']].concat();
    module.resize(MODULE.len() + 3 + 4000, 7);
    let package = Package { module, ..Package::default() };
    package::write(node.store.layout(), &Reference::parse("long").unwrap(), &package).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_travels_through_the_server_and_back_whole() {
    let (registry, here, there) = (Running::start().await, node(), node());
    let client = Client::new(Credentials::none()).unwrap();
    let (descriptor, reference) = (pack(&here, true), registry.reference("team/sample:1"));
    let pushed = client.push(&reference, &descriptor, &here.store, silent()).await.unwrap();
    assert_eq!(pushed.digest, descriptor.digest);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let progress: Progress = Arc::new(move |event| log.lock().unwrap().push(event));
    let pulled = client.pull(&reference, &Selection::Default, &there.store, progress).await.unwrap();
    assert!(pulled.changed && pulled.descriptor.digest == descriptor.digest);
    let statuses: Vec<Status> = seen.lock().unwrap().iter().map(|event| event.status).collect();
    assert!(
        statuses.iter().any(|s| matches!(s, Status::Downloading { .. })) && statuses.contains(&Status::PullComplete)
    );

    let image = there.store.image(&descriptor, None).unwrap();
    assert_eq!(there.store.module(&image).unwrap(), MODULE);
    let linux = there.store.image(&descriptor, Some(&Platform::host())).unwrap();
    let folders = there.store.unpack(&linux, &crate::Limits::default(), &|_| {}).unwrap();
    assert_eq!(std::fs::read(folders[0].join("app")).unwrap(), elf());

    let again = client.pull(&reference, &Selection::Default, &there.store, silent()).await.unwrap();
    assert!(!again.changed);
    let pinned = reference.with_digest(descriptor.digest.clone());
    client.pull(&pinned, &Selection::All, &there.store, silent()).await.unwrap();
    assert!(there.store.find(&pinned).unwrap().is_some());
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_fetches_only_what_it_names() {
    let (registry, here, there) = (Running::start().await, node(), node());
    let client = Client::new(Credentials::none()).unwrap();
    let (descriptor, reference) = (pack(&here, true), registry.reference("sample"));
    client.push(&reference, &descriptor, &here.store, silent()).await.unwrap();
    let wasm = Selection::Platform("wasi/wasm".parse().unwrap());
    client.pull(&reference, &wasm, &there.store, silent()).await.unwrap();
    let present: Vec<(bool, bool)> =
        there.store.variants(&descriptor).unwrap().iter().map(|v| (v.wasm, v.present)).collect();
    assert_eq!(present, [(true, true), (false, false)]);
    let other = Selection::Platform("linux/s390x".parse().unwrap());
    let error = client.pull(&reference, &other, &there.store, silent()).await.unwrap_err();
    assert!(matches!(error, Error::NoVariant { .. }), "{error}");
    let error = client.pull(&registry.reference("none"), &wasm, &there.store, silent()).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{error}");
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_rots_in_the_registry_never_gets_a_name_here() {
    let (registry, here, there) = (Running::start().await, node(), node());
    let client = Client::new(Credentials::none()).unwrap();
    let (descriptor, reference) = (pack(&here, false), registry.reference("sample"));
    client.push(&reference, &descriptor, &here.store, silent()).await.unwrap();
    let image = here.store.image(&descriptor, None).unwrap();
    let crate::ImageKind::WasmBlob(blob) = image.kind else { panic!() };
    let path = registry.dir.path().join("blobs/sha256").join(blob.digest.hex());
    std::fs::write(&path, b"\0asm\x01\0\0\x01").unwrap();
    let error = client.pull(&reference, &Selection::Default, &there.store, silent()).await.unwrap_err();
    eprintln!("{error}");
    assert!(there.store.find(&reference).unwrap().is_none());
    assert!(!there.store.layout().has(&blob));
    registry.stop().await;
}

/// A scripted registry: answers by method and path, and remembers what authorization it was shown.
struct Script {
    address: String,
    seen: Seen,
}

/// Requests, and the authorization each was sent with.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;
type Answers = HashMap<String, (u16, Vec<(&'static str, String)>, Vec<u8>)>;

async fn script(answers: impl FnOnce(&str) -> Answers) -> Script {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answers = Arc::new(answers(&address));
    let seen = Seen::default();
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, log) = (answers.clone(), log.clone());
            tokio::spawn(async move {
                let mut text = Vec::new();
                let mut buffer = [0; 4096];
                while !text.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(count) if count > 0 => text.extend_from_slice(&buffer[..count]),
                        _ => return,
                    }
                }
                let text = String::from_utf8_lossy(&text).into_owned();
                let mut words = text.split(' ');
                let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
                let key = format!("{method} {}", target.split('?').next().unwrap_or(""));
                let lower = text.lines().find(|line| line.to_lowercase().starts_with("authorization:"));
                let shown = lower.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned());
                log.lock().unwrap().push((key.clone(), shown.clone()));
                let challenged = answers.get(&format!("{key} anonymous")).filter(|_| shown.is_none());
                let missing = (404, Vec::new(), Vec::new());
                let (status, headers, body) = challenged.or(answers.get(&key)).unwrap_or(&missing);
                let mut head =
                    format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                let _ = stream.write_all(format!("{head}\r\n").as_bytes()).await;
                if method != "HEAD" {
                    let _ = stream.write_all(body).await;
                }
            });
        }
    });
    Script { address, seen }
}

fn with_login(address: &str) -> Client {
    let login = Login { username: "user".into(), password: "secret".into(), identity_token: None };
    Client::new(Credentials::none().with(address, login)).unwrap()
}

fn simple_manifest(layer: &[u8]) -> (Vec<u8>, Vec<u8>, String) {
    let config = br#"{"architecture":"wasm","os":"wasip1"}"#.to_vec();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::new(media_type::WASM_CONFIG, Digest::sha256_of(&config), config.len() as u64),
        "layers": [Descriptor::new(media_type::WASM, Digest::sha256_of(layer), layer.len() as u64)],
    });
    (manifest.to_string().into_bytes(), config, Digest::sha256_of(layer).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let (manifest, config, layer) = simple_manifest(MODULE);
    let blob = HashMap::from([("GET /data".to_owned(), (200, Vec::new(), MODULE.to_vec()))]);
    let elsewhere = script(|_| blob).await;
    let target = format!("http://{}/data", elsewhere.address);
    let registry = script(|_| {
        let challenge = || (401, vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())], Vec::new());
        HashMap::from([
            ("GET /v2/a/manifests/latest anonymous".to_owned(), challenge()),
            (
                "GET /v2/a/manifests/latest".to_owned(),
                (200, vec![("Content-Type", media_type::OCI_MANIFEST.to_owned())], manifest),
            ),
            (format!("GET /v2/a/blobs/{}", Digest::sha256_of(&config)), (200, Vec::new(), config)),
            (format!("GET /v2/a/blobs/{layer}"), (307, vec![("Location", target)], Vec::new())),
        ])
    })
    .await;
    let node = node();
    let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
    with_login(&registry.address).pull(&reference, &Selection::Default, &node.store, silent()).await.unwrap();
    assert!(registry.seen.lock().unwrap().iter().any(|(_, shown)| shown.as_deref() == Some("Basic dXNlcjpzZWNyZXQ=")));
    assert_eq!(*elsewhere.seen.lock().unwrap(), [("GET /data".to_owned(), None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_an_upload_location_to_another_origin() {
    let here = node();
    let descriptor = pack(&here, false);
    let elsewhere = script(|_| HashMap::from([("PUT /upload".to_owned(), (201, Vec::new(), Vec::new()))])).await;
    let target = format!("http://{}/upload", elsewhere.address);
    let registry = script(|_| {
        let challenge = (401, vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())], Vec::new());
        HashMap::from([
            ("POST /v2/a/blobs/uploads/ anonymous".to_owned(), challenge),
            ("POST /v2/a/blobs/uploads/".to_owned(), (202, vec![("Location", target)], Vec::new())),
            ("PUT /v2/a/manifests/latest".to_owned(), (201, Vec::new(), Vec::new())),
        ])
    })
    .await;
    let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
    with_login(&registry.address).push(&reference, &descriptor, &here.store, silent()).await.unwrap();
    let seen = elsewhere.seen.lock().unwrap();
    assert!(seen.len() == 2 && seen.iter().all(|(key, shown)| key == "PUT /upload" && shown.is_none()), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_with_the_login_and_shown_to_the_registry() {
    let (manifest, config, layer) = simple_manifest(MODULE);
    let registry = script(|address| {
        let realm = format!("Bearer realm=\"http://{address}/token\",service=\"s\"");
        let challenge = (401, vec![("WWW-Authenticate", realm)], Vec::new());
        HashMap::from([
            ("GET /token".to_owned(), (200, Vec::new(), br#"{"token":"t0ken"}"#.to_vec())),
            ("GET /v2/a/manifests/latest anonymous".to_owned(), challenge),
            ("GET /v2/a/manifests/latest".to_owned(), (200, Vec::new(), manifest)),
            (format!("GET /v2/a/blobs/{}", Digest::sha256_of(&config)), (200, Vec::new(), config)),
            (format!("GET /v2/a/blobs/{layer}"), (200, Vec::new(), MODULE.to_vec())),
        ])
    })
    .await;
    let node = node();
    let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
    with_login(&registry.address).pull(&reference, &Selection::Default, &node.store, silent()).await.unwrap();
    let seen = registry.seen.lock().unwrap();
    let shown =
        |key: &str| seen.iter().filter(|(k, _)| k == key).filter_map(|(_, shown)| shown.clone()).collect::<Vec<_>>();
    assert_eq!(shown("GET /token"), ["Basic dXNlcjpzZWNyZXQ="]);
    assert_eq!(shown("GET /v2/a/manifests/latest"), ["Bearer t0ken"]);
    assert!(seen.iter().filter(|(key, _)| key.contains("/blobs/")).all(|(_, s)| s.as_deref() == Some("Bearer t0ken")));
}

#[tokio::test(flavor = "multi_thread")]
async fn lying_registries_are_refused_in_one_sentence() {
    let check = async |manifest: Vec<u8>, blobs: Vec<(String, Vec<u8>)>, reason: &str| {
        let registry = script(|_| {
            let mut answers: Answers = blobs
                .into_iter()
                .map(|(d, bytes)| (format!("GET /v2/a/blobs/{d}"), (200, Vec::new(), bytes)))
                .collect();
            answers.insert("GET /v2/a/manifests/latest".to_owned(), (200, Vec::new(), manifest));
            answers
        })
        .await;
        let node = node();
        let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
        let client = Client::new(Credentials::none()).unwrap();
        let error = client.pull(&reference, &Selection::Default, &node.store, silent()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason) && !text.contains('\n'), "{text}");
        assert!(node.store.list().unwrap().is_empty());
    };
    let (manifest, config, layer) = simple_manifest(MODULE);
    let config_digest = Digest::sha256_of(&config).to_string();
    let blobs = |bytes: &[u8]| vec![(config_digest.clone(), config.clone()), (layer.clone(), bytes.to_vec())];
    check(manifest.clone(), blobs(b"\0asm\x01\0\0\x01"), "its digest is").await;
    check(manifest.clone(), blobs(b"\0asm"), "4 bytes long instead of 8").await;
    check(manifest.clone(), blobs(b"\0asm\x01\0\0\0\0"), "is longer than the announced 8 bytes").await;
    check(manifest.clone(), blobs(b"x").drain(..1).collect(), "404").await;
    check(vec![b' '; 5 << 20], Vec::new(), "more than 4194304 bytes").await;
    check(b"<html>".to_vec(), Vec::new(), "malformed").await;
    check(br#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.to_vec(), Vec::new(), "both").await;
}

#[test]
fn a_pull_can_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let (client, node) = (Client::new(Credentials::none()).unwrap(), node());
    let reference = Reference::parse("x").unwrap();
    is_send(&client.pull(&reference, &Selection::Default, &node.store, silent()));
    let descriptor = Descriptor::new("", Digest::sha256_of(b""), 0);
    is_send(&client.push(&reference, &descriptor, &node.store, silent()));
}
