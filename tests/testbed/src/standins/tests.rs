use super::*;

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../standins/images")
}

#[test]
fn the_recipe_names_an_image_for_every_component() {
    let references = references(&images()).unwrap();
    assert_eq!(references.len(), 2 * (11 + 10) + 1);
    for wanted in [
        "docker.io/ollivier/clearwater-homestead-prov:hunter",
        "docker.io/ollivier/clearwater-homestead-prov:hunter-lifelike",
        "quay.io/coreos/etcd:v3.2.32",
        "localhost/clearwater-classic/memcached:2016",
        "localhost/clearwater-tools:1",
    ] {
        assert!(references.iter().any(|r| r == wanted), "{wanted} is missing");
    }
}

#[test]
fn up_starts_one_quick_image_a_component_of_hunter() {
    let all = references(&images()).unwrap();
    let some = of_the_default(&images()).unwrap();
    assert_eq!(some.len(), 11);
    assert!(some.iter().all(|r| all.contains(r) && (r.ends_with(":hunter") || r.ends_with(":v3.2.32"))), "{some:?}");
}

#[test]
fn every_layer_of_the_recipe_has_files() {
    let recipe = Recipe::read(&images()).unwrap();
    let layers = Layers { images: &images(), store: tempfile::tempdir().unwrap().path().join("layers") };
    for release in recipe.releases.values() {
        for component in release.components.values() {
            for folder in &component.layers {
                assert!(layers.of_tree(folder).unwrap().size() > 0, "{folder}");
            }
        }
    }
}

#[test]
fn start_scripts_are_executable() {
    for path in files_below(&images()).unwrap() {
        let text = fs::read(&path).unwrap();
        if !text.starts_with(b"#!/") {
            continue;
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_ne!(mode & 0o111, 0, "{} is not executable", path.display());
    }
}

#[test]
fn a_difference_holds_what_is_new_or_changed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, files: &[(&str, &str)]| {
        let path = folder.path().join(name);
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        for (file, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, file, content.as_bytes()).unwrap();
        }
        builder.finish().unwrap();
        path
    };
    let lower = write("lower.tar", &[("same", "1"), ("changed", "1")]);
    let upper = write("upper.tar", &[("same", "1"), ("changed", "2"), ("new", "3")]);
    let to = folder.path().join("difference.tar");
    write_difference(&lower, &upper, &to).unwrap();
    let names: Vec<String> = tar::Archive::new(File::open(&to).unwrap())
        .entries()
        .unwrap()
        .map(|e| e.unwrap().path().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["changed", "new"]);
}
