use super::*;

fn layout() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    (dir, layout)
}

fn ingest_is_empty(layout: &Layout) -> bool {
    layout.dir.read_dir(INGEST).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn a_blob_reads_back_and_a_flipped_byte_is_noticed() {
    let (_dir, layout) = layout();
    let (digest, size) = layout.put(b"content").unwrap();
    let descriptor = Descriptor::new("x/y", digest.clone(), size);
    assert_eq!(layout.read(&descriptor, 100).unwrap(), b"content");
    assert!(matches!(layout.read(&descriptor, 3), Err(Error::TooLarge { .. })));
    std::fs::write(layout.path().join(blob_path(&digest)), b"kontent").unwrap();
    assert!(matches!(layout.read(&descriptor, 100), Err(Error::Corrupt { .. })));
    std::fs::write(layout.path().join(blob_path(&digest)), b"conten").unwrap();
    assert!(matches!(layout.read(&descriptor, 100), Err(Error::Corrupt { .. })));
}

#[test]
fn wrong_digest_size_or_length_leaves_nothing() {
    let (_dir, layout) = layout();
    let other = Digest::sha256_of(b"other");
    let right = Digest::sha256_of(b"content");
    assert!(matches!(layout.ingest(&b"content"[..], Some((&other, None)), 100), Err(Error::Corrupt { .. })));
    assert!(matches!(layout.ingest(&b"content"[..], Some((&right, Some(8))), 100), Err(Error::Corrupt { .. })));
    let sentence = |expected, limit| layout.ingest(&b"content"[..], expected, limit).unwrap_err().to_string();
    assert!(sentence(Some((&right, Some(6))), 100).ends_with("is longer than the announced 6 bytes"));
    assert!(sentence(None, 6).ends_with("is longer than the limit of 6 bytes"));
    assert!(layout.blobs().unwrap().is_empty() && ingest_is_empty(&layout));
}

#[test]
fn a_name_moves_and_goes() {
    let (_dir, layout) = layout();
    let descriptor = |text: &[u8]| {
        let (digest, size) = layout.put(text).unwrap();
        Descriptor::new(media_type::OCI_MANIFEST, digest, size)
    };
    let (one, two) = (descriptor(b"1"), descriptor(b"2"));
    layout.add_unnamed(&one).unwrap();
    layout.set_name(&one, "a.io/x:1").unwrap();
    layout.set_name(&two, "a.io/x:1").unwrap();
    assert_eq!(layout.find_name(Some("a.io/x:1")).unwrap().digest, two.digest);
    assert_eq!(layout.descriptors().unwrap().len(), 1);
    assert_eq!(layout.remove_name("a.io/x:1").unwrap(), Some(two));
    assert!(layout.descriptors().unwrap().is_empty());
}

#[test]
fn threads_that_tag_at_once_lose_no_name() {
    let (_dir, layout) = layout();
    let (digest, size) = layout.put(b"1").unwrap();
    let descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest, size);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (layout, descriptor) = (&layout, &descriptor);
            scope.spawn(move || layout.set_name(descriptor, &format!("a.io/x:{number}")).unwrap());
        }
    });
    assert_eq!(layout.descriptors().unwrap().len(), 16);
}

#[test]
fn a_folder_of_other_files_is_not_taken_for_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "x").unwrap();
    assert!(matches!(Layout::create(dir.path()), Err(Error::NotLayout { .. })));
    assert!(matches!(Layout::open(dir.path()), Err(Error::NotLayout { .. })));
}
