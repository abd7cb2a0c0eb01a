use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::component::Release;
use crate::config::DeploymentFile;
use crate::manifest::{WorkloadKind, render, workloads};

fn deployment(text: &str) -> Deployment {
    let text = format!("apiVersion: clearwater/v1\n{text}");
    DeploymentFile::parse(&text, "clearwater.yaml").unwrap().deploy("ims").unwrap()
}

fn hunter() -> Deployment {
    deployment("components: {cassandra: {storage: {persistent: true}}, ellis: {storage: {persistent: true}}}\n")
}

/// A container's files: its own, which a new pod has as the image has them, and the volume, which outlives it.
struct Place {
    folder: TempDir,
    addresses: String,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), addresses: "10.0.0.1".to_owned() };
        for name in ["volume/data", "bin", "storage"] {
            fs::create_dir_all(place.at(name)).unwrap();
        }
        place.image("one");
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.at(name)).ok()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A new container of this image.
    fn image(&self, version: &str) {
        for name in ["conf", "mysql"] {
            let path = self.at(name);
            if path.is_symlink() {
                fs::remove_file(&path).unwrap();
            } else {
                let _ = fs::remove_dir_all(&path);
            }
        }
        self.write("conf/cassandra-env.sh", version);
        self.write("mysql/ibdata1", version);
    }

    /// What runs before the container's own program, and then that, which says so.
    fn start(&self, d: &Deployment, component: Component) -> Output {
        self.write("bin/hostname", &format!("#!/bin/sh\necho '{} '\n", self.addresses));
        self.write("storage/take-off.py", "import sys\nsys.stdout.write(' '.join(sys.argv[2:]) + '\\n')\n");
        let own = |path: &str| self.at(path).display().to_string();
        let script = [
            (VOLUME, own("volume")),
            (FOLDER, own("storage")),
            (CASSANDRA_SETTINGS, own("conf/cassandra.yaml")),
            (CASSANDRA_FOLDER, own("conf")),
            (MYSQL_DATA, own("mysql")),
        ];
        let text = starter(d, component).unwrap();
        let text = script.iter().fold(text, |text, (path, own)| text.replace(path, own));
        let path = format!("{}:{}", own("bin"), std::env::var("PATH").unwrap());
        Command::new("chmod").arg("755").arg(self.at("bin/hostname")).status().unwrap();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(text).arg("starter").args(["echo", "started"]).env("PATH", path);
        let output = shell.output().unwrap();
        assert!(output.status.success() && said(&output).ends_with("started\n"), "{output:?}");
        output
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn join(place: &Place, address: &str) {
    place.write("conf/cassandra.yaml", &format!("cluster_name: x\nlisten_address: {address}\nrpc_port: 9160\n"));
    place.write("conf/cassandra_bootstrapped", "");
}

#[test]
fn a_member_is_known_again_in_another_pod() {
    let (d, mut place) = (hunter(), Place::new());
    place.start(&d, Component::Cassandra);
    // A first join finds no flag, so the data that a volume may hold by then are removed.
    assert_eq!((place.text("conf/cassandra_bootstrapped"), place.text("conf/cassandra.yaml")), (None, None));
    join(&place, "10.0.0.1");

    // The container was restarted in its pod: nothing joins, so all must be there.
    place.image("one");
    let again = place.start(&d, Component::Cassandra);
    assert!(place.text("conf/cassandra.yaml").is_some() && place.text("conf/cassandra_bootstrapped").is_some());
    assert_eq!((said(&again).as_str(), place.text("volume/former")), ("started\n", None));

    // Another pod, of another image: it joins under another address, and keeps its rows.
    place.image("two");
    place.addresses = "10.0.0.12 fd00::12".to_owned();
    let other = place.start(&d, Component::Cassandra);
    assert_eq!(
        (place.text("conf/cassandra.yaml"), place.text("conf/cassandra_bootstrapped")),
        (None, Some(String::new()))
    );
    assert_eq!(place.text("conf/cassandra-env.sh").as_deref(), Some("two"));
    assert_eq!(place.text("volume/former").as_deref(), Some("10.0.0.1\n"));
    assert!(said(&other).contains("etcd 2379 /clearwater/node_type_cassandra/clustering/cassandra 7000"), "{other:?}");

    // It ended before the old address was off the list, and before it joined: that is remembered.
    place.image("two");
    place.addresses = "10.0.0.3".to_owned();
    place.start(&d, Component::Cassandra);
    assert_eq!(place.text("volume/former").as_deref(), Some("10.0.0.1\n"));
    assert!(place.text("conf/cassandra_bootstrapped").is_some());
}

#[test]
fn a_start_that_was_cut_off_loses_no_flag() {
    let (d, place) = (hunter(), Place::new());
    place.start(&d, Component::Cassandra);
    join(&place, "10.0.0.1");
    fs::rename(place.at("volume/etc"), place.at("volume/etc.old")).unwrap();
    place.write("volume/etc.new/half", "");
    place.image("one");
    place.start(&d, Component::Cassandra);
    assert!(place.text("conf/cassandra_bootstrapped").is_some() && place.text("conf/half").is_none());
    assert!(!place.at("volume/etc.old").exists() && !place.at("volume/etc.new").exists());
}

#[test]
fn the_tables_of_the_first_image_are_where_all_begin() {
    let (d, place) = (hunter(), Place::new());
    place.start(&d, Component::Ellis);
    assert_eq!(place.text("mysql/ibdata1").as_deref(), Some("one"));
    place.write("mysql/ibdata1", "accounts");
    for _ in 0..2 {
        place.image("two");
        place.start(&d, Component::Ellis);
        assert_eq!(place.text("mysql/ibdata1").as_deref(), Some("accounts"));
    }
    // A copy that was cut off counts for nothing.
    let place = Place::new();
    place.write("volume/mysql.new/half", "");
    place.start(&d, Component::Ellis);
    assert_eq!((place.text("mysql/half"), place.text("mysql/ibdata1").as_deref()), (None, Some("one")));
}

/// A pod that was removed by force may be running still.
#[test]
fn one_waits_for_the_other_to_end() {
    let (d, place) = (hunter(), Place::new());
    let lock = place.at("volume/lock");
    let held = Command::new("flock").arg(&lock).args(["sleep", "0.7"]).spawn();
    let mut held = held.unwrap();
    thread::sleep(std::time::Duration::from_millis(200));
    let waited = place.start(&d, Component::Ellis);
    assert!(String::from_utf8_lossy(&waited.stderr).contains("waiting for the pod that has the volume"), "{waited:?}");
    assert!(held.try_wait().unwrap().is_some(), "it did not wait");
}

/// An etcd of one key. Another member wins one write.
fn etcd(members: &str) -> (u16, Arc<Mutex<(String, u32)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let state = Arc::new(Mutex::new((members.to_owned(), 7)));
    let own = state.clone();
    thread::spawn(move || {
        let mut raced = false;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.contains("\r\n\r\n") || (text.starts_with("PUT") && !text.contains("value=")) {
                let n = stream.read(&mut buffer).unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
            let mut state = own.lock().unwrap();
            if text.starts_with("PUT") && !raced {
                (raced, state.1) = (true, 8);
            }
            let (code, body) = match (text.starts_with("PUT"), text.contains(&format!("prevIndex={} ", state.1))) {
                (false, _) => {
                    let value = serde_json::to_string(&state.0).unwrap();
                    (200, format!("{{\"node\": {{\"value\": {value}, \"modifiedIndex\": {}}}}}", state.1))
                }
                (true, false) => (412, "{}".to_owned()),
                (true, true) => {
                    let value = text.split_once("value=").unwrap().1.to_owned();
                    let plain = [("%22", "\""), ("%3A", ":"), ("%7B", "{"), ("%7D", "}"), ("%2C", ","), ("+", " ")];
                    *state = (plain.iter().fold(value, |v, (code, c)| v.replace(code, c)), state.1 + 1);
                    (200, "{}".to_owned())
                }
            };
            let length = body.len();
            write!(stream, "HTTP/1.1 {code} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
        }
    });
    (port, state)
}

fn took_off(folder: &Path, former: &str, port: u16, gossip: u16) -> bool {
    let file = folder.join("former");
    fs::write(&file, former).unwrap();
    let mut python = Command::new("python3");
    python.arg("-c").arg(TAKES_OFF).arg(&file).arg("127.0.0.1").arg(port.to_string()).arg("/clearwater/x");
    // What goes on beside the container's own program keeps the streams.
    python.arg(gossip.to_string()).arg("1").stdout(Stdio::null()).stderr(Stdio::null());
    assert!(python.status().unwrap().success());
    !file.exists()
}

#[test]
fn a_former_address_goes_off_the_list_unless_somebody_lives_there() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens where nobody has bound.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, state) = etcd(r#"{"127.0.0.1": "normal", "10.0.0.9": "normal"}"#);
    assert!(took_off(folder.path(), "127.0.0.1\n127.0.0.5\n", port, free));
    let left = state.lock().unwrap().0.clone();
    assert_eq!(
        serde_json::from_str::<BTreeMap<String, String>>(&left).unwrap().into_keys().collect::<Vec<_>>(),
        ["10.0.0.9"]
    );

    let lives = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, state) = etcd(r#"{"127.0.0.1": "normal"}"#);
    let gossip = lives.local_addr().unwrap().port();
    assert!(!took_off(folder.path(), "127.0.0.1\n", port, gossip), "it is another member's now");
    assert!(state.lock().unwrap().0.contains("127.0.0.1"));
}

#[test]
fn what_stands_is_left_as_it_is_and_what_is_new_follows_the_cluster() {
    let open = deployment("");
    let of = |d: &Deployment, inputs: &Inputs| {
        [Component::Etcd, Component::Cassandra, Component::Ellis, Component::Astaire].map(|c| persistent(d, inputs, c))
    };
    let class = |default| Inputs { default_storage_class: default, ..Inputs::default() };
    assert_eq!(of(&open, &class(None)), [false; 4]);
    assert_eq!(of(&open, &class(Some(false))), [false; 4]);
    assert_eq!(of(&open, &class(Some(true))), [true, true, true, false]);
    let volumes = BTreeMap::from([(Component::Cassandra, false), (Component::Ellis, false), (Component::Etcd, true)]);
    let standing = Inputs { volumes, ..class(Some(true)) };
    assert_eq!(of(&open, &standing), [true, false, false, false]);
    let named =
        deployment("components: {cassandra: {storage: {storageClass: fast}}, ellis: {storage: {persistent: auto}}}\n");
    assert_eq!(of(&named, &class(None)), [false, true, false, false]);
    let earlier = deployment("etcdStorage: {persistent: true}\n");
    assert_eq!(of(&earlier, &class(None)), [true, false, false, false]);
    let never = deployment("components: {etcd: {storage: {persistent: false}}}\n");
    assert!(!persistent(&never, &class(Some(true)), Component::Etcd));
    let classic = deployment("release: classic\nimages: {registry: localhost, tag: '2016'}\n");
    assert_eq!(of(&classic, &class(Some(true))), [true, false, true, false]);
    assert!(!Component::Cassandra.keeps_on_volume(Release::Classic));
}

#[test]
fn every_claim_is_of_what_has_a_volume() {
    let d = hunter();
    let manifest = render(&d, &Inputs::default()).unwrap();
    assert!(manifest.find("PersistentVolumeClaim", ELLIS_CLAIM).is_some());
    assert!(manifest.find("ConfigMap", STORAGE).is_some());
    assert!(manifest.notes().iter().all(|n| n.about == "StatefulSet/etcd" || !n.text.contains("with its pod")));
    assert_eq!(workloads(&d, Component::Ellis)[0].kind, WorkloadKind::Deployment);
    let bare = render(&deployment(""), &Inputs::default()).unwrap();
    assert!(bare.find("ConfigMap", STORAGE).is_none() && bare.find("PersistentVolumeClaim", ELLIS_CLAIM).is_none());
    assert!(bare.notes().iter().any(|n| n.about == "Deployment/ellis" && n.text.contains("accounts")));
}
