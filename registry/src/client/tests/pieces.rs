//! Uploads in pieces, and blobs that a registry takes from itself.

use super::stage::{Asked, Stage, told};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_long_blob_goes_in_pieces_to_our_own_server_and_comes_back_whole() {
    let (registry, here, there) = (Running::start().await, node(), node());
    let client = Client { piece: 1000, ..Client::new(Credentials::none()).unwrap() };
    let (descriptor, reference) = (pack(&here, true), registry.reference("team/sample:1"));
    client.push(&reference, &descriptor, &here.store, silent()).await.unwrap();
    let (long, other) = (pack_long(&here), registry.reference("team/long:1"));
    client.push(&other, &long, &here.store, silent()).await.unwrap();
    client.pull(&other, &Selection::All, &there.store, silent()).await.unwrap();
    assert!(there.store.module(&there.store.image(&long, None).unwrap()).unwrap().len() > 4000);
    client.pull(&reference, &Selection::All, &there.store, silent()).await.unwrap();
    let linux = there.store.image(&descriptor, Some(&Platform::host())).unwrap();
    let folders = there.store.unpack(&linux, &crate::Limits::default(), &|_| {}).unwrap();
    assert_eq!(std::fs::read(folders[0].join("app")).unwrap(), elf());
    registry.stop().await;
}

/// Takes an upload as the specification has it, but loses the second piece and wants pieces of 400 bytes at least.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_piece_is_sent_again_from_where_the_registry_says() {
    let here = node();
    let descriptor = pack_long(&here);
    let uploads: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
    let (kept, lost) = (uploads.clone(), Mutex::new(false));
    let registry = Stage::open(move |asked: &Asked| {
        let mut uploads = kept.lock().unwrap();
        let name = asked.path.clone();
        let range = |written: usize| format!("0-{}", written.saturating_sub(1));
        match asked.method.as_str() {
            "HEAD" => told(404, &[], b""),
            "POST" => {
                let location = format!("/upload/{}", uploads.len());
                uploads.insert(location.clone(), Vec::new());
                told(202, &[("Location", &location), ("OCI-Chunk-Min-Length", "400")], b"")
            }
            "PATCH" => {
                let upload = uploads.get_mut(&name).unwrap();
                let start: usize = asked.header("content-range").unwrap().split('-').next().unwrap().parse().unwrap();
                if start > 0 && !std::mem::replace(&mut *lost.lock().unwrap(), true) {
                    // Half of it arrived.
                    upload.extend_from_slice(&asked.body[..asked.body.len() / 2]);
                    return told(416, &[("Location", &name), ("Range", &range(upload.len()))], b"");
                }
                assert_eq!(start, upload.len(), "a piece begins where the registry said");
                upload.extend_from_slice(&asked.body);
                told(202, &[("Location", &name), ("Range", &range(upload.len()))], b"")
            }
            "GET" => told(204, &[("Location", &name), ("Range", &range(uploads[&name].len()))], b""),
            "PUT" if name.starts_with("/upload/") => {
                let upload = uploads.get_mut(&name).unwrap();
                upload.extend_from_slice(&asked.body);
                let digest = Digest::sha256_of(upload).to_string().replace(':', "%3A");
                assert!(asked.query.contains(&digest), "{}", asked.query);
                told(201, &[], b"")
            }
            _ => told(201, &[], b""),
        }
    })
    .await;
    let client = Client { piece: 10, ..Client::new(Credentials::none()).unwrap() };
    let reference = Reference::parse(&format!("{}/a", registry.address)).unwrap();
    client.push(&reference, &descriptor, &here.store, silent()).await.unwrap();
    let asked = registry.seen.lock().unwrap();
    let pieces: Vec<_> = asked.iter().filter(|asked| asked.method == "PATCH").map(|asked| asked.body.len()).collect();
    assert!(pieces.len() > 2 && pieces.iter().filter(|size| **size == 400).count() > 1, "{pieces:?}");
    assert!(asked.iter().any(|asked| asked.method == "GET" && asked.path.starts_with("/upload/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_another_repository_is_mounted_and_not_sent() {
    let (registry, here) = (Running::start().await, node());
    let client = Client::new(Credentials::none()).unwrap();
    let descriptor = pack(&here, true);
    let (first, second) = (registry.reference("team/first:1"), registry.reference("team/second:1"));
    client.push(&first, &descriptor, &here.store, silent()).await.unwrap();
    here.store.tag(&descriptor, &first).unwrap();

    // One that hides its blobs from HEAD, for ours has one heap for all repositories.
    let front = Stage::open(|asked| match asked.method.as_str() {
        "HEAD" => told(404, &[], b""),
        "POST" => {
            assert!(asked.query.contains("mount=sha256") && asked.query.contains("from=team%2Ffirst"), "{asked:?}");
            told(201, &[], b"")
        }
        _ => told(201, &[], b""),
    })
    .await;
    let second = Reference::parse(&second.to_string().replace(&registry.address, &front.address)).unwrap();
    let named = Reference::parse(&first.to_string().replace(&registry.address, &front.address)).unwrap();
    here.store.tag(&descriptor, &named).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let progress: Progress = Arc::new(move |event| log.lock().unwrap().push(event.status));
    client.push(&second, &descriptor, &here.store, progress).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!(seen.contains(&Status::Mounted) && !seen.iter().any(|s| matches!(s, Status::Pushing { .. })), "{seen:?}");
    assert_eq!(seen.iter().filter(|status| **status == Status::Preparing).count(), 2, "layers only are told of");
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_server_mounts_what_it_has_and_begins_an_upload_for_what_it_has_not() {
    let (registry, here) = (Running::start().await, node());
    let client = Client::new(Credentials::none()).unwrap();
    let descriptor = pack(&here, false);
    client.push(&registry.reference("first"), &descriptor, &here.store, silent()).await.unwrap();
    let post = |digest: String| {
        let url = format!("http://{}/v2/second/blobs/uploads/?mount={digest}&from=first", registry.address);
        async move { client_of_reqwest().post(url).send().await.unwrap() }
    };
    let known = Digest::sha256_of(MODULE);
    assert_eq!(post(known.to_string()).await.status().as_u16(), 201);
    let answer = post(Digest::sha256_of(b"unknown").to_string()).await;
    assert_eq!(answer.status().as_u16(), 202);
    assert!(answer.headers().contains_key("location"));
    let url = format!("http://{}/v2/first/blobs/{known}", registry.address);
    let part = client_of_reqwest().get(&url).header("range", "bytes=2-3").send().await.unwrap();
    assert_eq!(part.status().as_u16(), 206);
    assert_eq!(part.headers()["content-range"], format!("bytes 2-3/{}", MODULE.len()));
    assert_eq!(part.bytes().await.unwrap(), MODULE[2..4]);
    let none = client_of_reqwest().get(&url).header("range", "bytes=100-").send().await.unwrap();
    assert_eq!(none.status().as_u16(), 416);
    registry.stop().await;
}

fn client_of_reqwest() -> reqwest::Client {
    let transport = Transport::new(Credentials::none(), Vec::new(), Pace::default()).unwrap();
    transport.http(&reqwest::Url::parse("http://127.0.0.1/").unwrap()).unwrap()
}
