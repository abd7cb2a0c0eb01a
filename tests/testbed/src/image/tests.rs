use super::*;

fn entries() -> Vec<Entry> {
    vec![
        Entry::bytes("etc/app/config", 0o644, "a = 1\n"),
        Entry::directory("var/log/app", 0o755),
        Entry::symlink("etc/app/current", "config"),
    ]
}

#[test]
fn equal_entries_give_equal_layers_and_the_digest_is_that_of_the_file() {
    let store = tempfile::tempdir().unwrap();
    let one = Layer::from_entries(store.path(), &entries()).unwrap();
    let two = Layer::from_entries(store.path(), &entries()).unwrap();
    assert_eq!(one, two);
    assert_eq!(Layer::from_tar(one.path()).unwrap(), one);
    assert_eq!(hex_digest(&fs::read(one.path()).unwrap()), one.digest());
}

#[test]
fn a_layer_names_parents_once_and_keeps_modes() {
    let store = tempfile::tempdir().unwrap();
    let layer = Layer::from_entries(store.path(), &entries()).unwrap();
    let mut archive = tar::Archive::new(File::open(layer.path()).unwrap());
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            format!("{} {:o}", entry.path().unwrap().display(), entry.header().mode().unwrap())
        })
        .collect();
    assert_eq!(
        names,
        [
            "etc/ 755",
            "etc/app/ 755",
            "etc/app/config 644",
            "var/ 755",
            "var/log/ 755",
            "var/log/app/ 755",
            "etc/app/current 777"
        ]
    );
}

#[test]
fn a_path_that_leaves_the_layer_is_refused() {
    let store = tempfile::tempdir().unwrap();
    let error = Layer::from_entries(store.path(), &[Entry::bytes("../x", 0o644, "")]).unwrap_err();
    assert!(format!("{error:#}").contains("not a path inside a layer"), "{error:#}");
}

#[test]
fn an_archive_holds_a_shared_layer_once_and_every_digest_is_true() {
    let store = tempfile::tempdir().unwrap();
    let shared = Layer::from_entries(store.path(), &entries()).unwrap();
    let own = Layer::from_entries(store.path(), &[Entry::bytes("own", 0o644, "x")]).unwrap();
    let mut one = Image::new("localhost/one:1", vec![shared.clone()]);
    one.entrypoint = vec!["/one".into()];
    let two = Image::new("localhost/two:1", vec![shared, own]);
    let archive = write_archive(&[one, two], store.path().join("a.tar")).unwrap();

    let mut layers = 0;
    let mut names = BTreeSet::new();
    for entry in tar::Archive::new(File::open(&archive.path).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(digest) = name.strip_prefix("blobs/sha256/") {
            assert_eq!(hex_digest(&content), digest);
            layers += usize::from(!content.starts_with(b"{"));
        }
        assert!(names.insert(name), "written twice");
    }
    assert_eq!(layers, 2);
    assert_eq!(archive.images[0].0, "localhost/one:1");
    for (_, digest) in &archive.images {
        assert!(names.contains(&format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"))));
    }
    assert_eq!(Archive::open(&archive.path).unwrap().images, archive.images);
}

#[test]
fn a_copy_holds_the_images_that_are_wanted_without_large_blobs_that_are_known() {
    let store = tempfile::tempdir().unwrap();
    let layer = |name: &str, bytes: usize| {
        Layer::from_entries(store.path(), &[Entry::bytes(name, 0o644, vec![b'x'; bytes])]).unwrap()
    };
    let (base, one, two) = (layer("base", 2 << 20), layer("one", 1), layer("two", 2));
    let images = [
        Image::new("localhost/one:1", vec![base.clone(), one.clone()]),
        Image::new("localhost/two:1", vec![base.clone(), two.clone()]),
    ];
    let archive = write_archive(&images, store.path().join("a.tar")).unwrap();
    let part = archive.clone().only(&["localhost/two:1".to_owned()]);
    let copy = |known: &[&str]| {
        let path = store.path().join("copy.tar");
        part.copy(File::create(&path).unwrap(), &known.iter().copied().collect()).unwrap();
        let copied = Archive::open(&path).unwrap();
        let blobs: Vec<_> = copied
            .tar()
            .unwrap()
            .entries()
            .unwrap()
            .filter_map(|e| e.unwrap().path().unwrap().to_str()?.strip_prefix("blobs/sha256/").map(str::to_owned))
            .collect();
        (copied.images, blobs)
    };
    let (listed, blobs) = copy(&[]);
    assert_eq!(listed, archive.images[1..]);
    assert!(blobs.contains(&base.digest) && blobs.contains(&two.digest) && !blobs.contains(&one.digest));
    assert_eq!(blobs.len(), 4, "a manifest, a configuration and two layers: {blobs:?}");
    let (_, blobs) = copy(&[&base.digest, &two.digest]);
    assert!(!blobs.contains(&base.digest) && blobs.contains(&two.digest));
}

#[test]
fn the_manifest_of_a_known_image_never_changes() {
    let layer = Layer { path: "x".into(), digest: "00".repeat(32), size: 10 };
    let mut image = Image::new("localhost/known:1", vec![layer]);
    image.entrypoint = vec!["/run".into()];
    image.env = vec!["ZONE=example.com".into()];
    let config = String::from_utf8(image.config()).unwrap();
    let expected = format!(
        r#"{{"architecture":"{}","config":{{"Entrypoint":["/run"],"Env":["{DEFAULT_PATH}","ZONE=example.com"]}},"os":"linux","rootfs":{{"diff_ids":["sha256:{}"],"type":"layers"}}}}"#,
        architecture(),
        "00".repeat(32),
    );
    assert_eq!(config, expected);
}

#[test]
fn a_larger_image_has_further_layers_and_keeps_how_it_starts() {
    let store = tempfile::tempdir().unwrap();
    let own = Layer::from_entries(store.path(), &entries()).unwrap();
    let mut image = Image::new("example.com/one:1", vec![own.clone()]);
    image.entrypoint = vec!["/usr/bin/run".into()];
    let there = write_archive(&[image], store.path().join("there.tar")).unwrap();
    let more = Layer::from_entries(store.path(), &[Entry::bytes("noise", 0o644, "x")]).unwrap();
    let larger = there.larger(store.path().join("larger.tar"), &|_| vec![more.clone()]).unwrap();
    assert_eq!(larger.images[0].0, "example.com/one:1");
    assert_ne!(larger.images[0].1, there.images[0].1);
    let described = larger.descriptions().unwrap();
    let manifest = &described[larger.images[0].1.trim_start_matches("sha256:")];
    let digests: Vec<_> =
        manifest["layers"].as_array().unwrap().iter().map(|l| l["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [sha256(own.digest()), sha256(more.digest())]);
    let config = &described[manifest["config"]["digest"].as_str().unwrap().trim_start_matches("sha256:")];
    assert_eq!(
        config["rootfs"]["diff_ids"],
        manifest["layers"].as_array().unwrap().iter().map(|l| l["digest"].clone()).collect::<Value>()
    );
    assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/run"]));
}
