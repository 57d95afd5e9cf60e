//! Registries that send, but too slowly ever to be through.

use std::time::{Duration, Instant};

use super::stage::{Stage, Told, told};
use super::*;

const DRIP: Option<Duration> = Some(Duration::from_millis(10));

/// A client that takes no less than 1000 bytes in half a second.
fn client() -> Client {
    let pace = Pace { window: Duration::from_millis(500), least: 1000 };
    Client { transport: Arc::new(Transport::new(Credentials::none(), Vec::new(), pace).unwrap()), piece: push::PIECE }
}

async fn pull(registry: &Stage, store: &Store) -> String {
    let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
    let began = Instant::now();
    let error = client().pull(&reference, &Selection::Default, store, silent()).await.unwrap_err();
    // At that rate the whole would take minutes.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    format!("{error}: {:?}", std::error::Error::source(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_trickles_is_given_up() {
    let registry = Stage::open(|_| Told {
        drip: DRIP,
        ..told(200, &[("Content-Type", media_type::OCI_MANIFEST)], &[b' '; 30_000])
    })
    .await;
    let error = pull(&registry, &node().store).await;
    assert!(error.contains("fewer than 1000 bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_trickles_is_given_up_and_keeps_what_came() {
    let mut module = MODULE.to_vec();
    module.extend_from_slice(&[0, 0x80, 0x80, 0x02, 1, b'x']);
    module.resize(MODULE.len() + 4 + (2 << 14), 7);
    let (manifest, config, digest) = simple_manifest(&module);
    let (blob, whole) = (digest.to_string(), module.clone());
    let registry = Stage::open(move |asked| {
        if asked.path.contains("/manifests/") {
            told(200, &[("Content-Type", media_type::OCI_MANIFEST)], &manifest)
        } else if asked.path.ends_with(&blob) {
            Told { drip: DRIP, ..told(200, &[], &whole) }
        } else {
            told(200, &[], &config)
        }
    })
    .await;
    let node = node();
    let error = pull(&registry, &node.store).await;
    assert!(error.contains("fewer than 1000 bytes"), "{error}");
    assert!(registry.lines().iter().any(|line| line.ends_with(&digest.to_string())), "{:?}", registry.lines());
    let left = std::fs::read_dir(node.store.layout().path().join("ingest")).unwrap().flatten();
    assert!(left.map(|entry| entry.metadata().unwrap().len()).sum::<u64>() > 0, "the next pull goes on with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Slow: ").await;
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    });
    let stage = Stage { address, seen: Arc::default() };
    let error = pull(&stage, &node().store).await;
    assert!(error.contains("fewer than 1000 bytes"), "{error}");
}
