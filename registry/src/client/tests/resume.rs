//! Downloads that break off and go on, and downloads that are wanted twice.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::stage::{Asked, Stage, Told, told};
use super::*;

fn module() -> Vec<u8> {
    let mut module = MODULE.to_vec();
    // A custom section of 3 MB: still a module, and long enough to be cut.
    module.extend_from_slice(&[0, 0x80, 0x80, 0x80, 0x01, 1, b'x']);
    module.resize(MODULE.len() + 5 + (2 << 20), 7);
    module
}

/// Answers of an honest registry, but for the layer.
async fn registry(layer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Stage {
    let (manifest, config, digest) = simple_manifest(&module());
    Stage::open(move |asked| {
        if asked.path.contains("/manifests/") {
            told(200, &[("Content-Type", media_type::OCI_MANIFEST)], &manifest)
        } else if asked.path.ends_with(&digest) {
            layer(asked)
        } else {
            told(200, &[], &config)
        }
    })
    .await
}

fn range(asked: &Asked) -> Option<usize> {
    asked.header("range")?.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok()
}

fn part(from: usize) -> Told {
    let module = module();
    let range = format!("bytes {from}-{}/{}", module.len() - 1, module.len());
    told(206, &[("Content-Range", &range)], &module[from..])
}

async fn pull(registry: &Stage, store: &Store) -> Result<Pulled> {
    let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
    Client::new(Credentials::none()).unwrap().pull(&reference, &Selection::Default, store, silent()).await
}

fn layers_asked(registry: &Stage) -> Vec<Option<usize>> {
    let digest = Digest::sha256_of(&module()).to_string();
    registry.seen.lock().unwrap().iter().filter(|asked| asked.path.ends_with(&digest)).map(range).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_goes_on_where_it_stopped() {
    let registry = registry(|asked| match range(asked) {
        None => Told { cut: Some(1_500_000), ..told(200, &[], &module()) },
        Some(from) => part(from),
    })
    .await;
    let node = node();
    let pulled = pull(&registry, &node.store).await.unwrap();
    let image = node.store.image(&pulled.descriptor, None).unwrap();
    assert!(node.store.module(&image).unwrap() == module());
    let asked = layers_asked(&registry);
    assert!(asked.len() == 2 && asked[1].is_some_and(|from| from > 0 && from <= 1_500_000), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_fetched_is_not_fetched_again() {
    let registry = registry(|asked| range(asked).map_or_else(|| told(200, &[], &module()), part)).await;
    let dir = tempfile::tempdir().unwrap();
    let digest = Digest::sha256_of(&module());
    {
        let store = Store::open(dir.path()).unwrap();
        let mut ingest = store.layout().go_on(&digest, module().len() as u64).unwrap();
        std::io::Write::write_all(&mut ingest, &module()[..1_000_000]).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    pull(&registry, &store).await.unwrap();
    assert_eq!(layers_asked(&registry), [Some(1_000_000)]);
    assert_eq!(std::fs::read_dir(dir.path().join("store/ingest")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_beginning_is_noticed_at_the_end_and_fetched_anew() {
    let registry = registry(|asked| range(asked).map_or_else(|| told(200, &[], &module()), part)).await;
    let node = node();
    let digest = Digest::sha256_of(&module());
    let mut ingest = node.store.layout().go_on(&digest, module().len() as u64).unwrap();
    std::io::Write::write_all(&mut ingest, &vec![9; 1_000_000]).unwrap();
    drop(ingest);
    let pulled = pull(&registry, &node.store).await.unwrap();
    assert!(node.store.module(&node.store.image(&pulled.descriptor, None).unwrap()).unwrap() == module());
    assert_eq!(layers_asked(&registry), [Some(1_000_000), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_ranges_sends_all_of_it() {
    for refusal in [200, 416] {
        let registry = registry(move |asked| match range(asked) {
            Some(_) if refusal == 416 => told(416, &[("Content-Range", "bytes */1")], b""),
            _ => told(200, &[], &module()),
        })
        .await;
        let node = node();
        let mut ingest = node.store.layout().go_on(&Digest::sha256_of(&module()), module().len() as u64).unwrap();
        std::io::Write::write_all(&mut ingest, &module()[..1000]).unwrap();
        drop(ingest);
        pull(&registry, &node.store).await.unwrap();
        assert_eq!(layers_asked(&registry).len(), if refusal == 416 { 2 } else { 1 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_never_gets_on_is_given_up() {
    let registry = registry(|_| Told { cut: Some(10), ..told(200, &[], &module()) }).await;
    let node = node();
    let error = pull(&registry, &node.store).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unavailable, "{error}");
    assert!(layers_asked(&registry).len() <= 6 && node.store.list().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_at_the_same_time_fetch_a_layer_once() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let registry = registry(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        told(200, &[], &module())
    })
    .await;
    let node = node();
    let pulls = (0..8).map(|_| pull(&registry, &node.store));
    for pulled in futures_util::future::join_all(pulls).await {
        pulled.unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
