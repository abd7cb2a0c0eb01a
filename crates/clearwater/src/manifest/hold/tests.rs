use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::*;
use crate::config::DeploymentFile;

fn deployment(text: &str) -> Deployment {
    let text = format!("apiVersion: clearwater/v1\n{text}");
    DeploymentFile::parse(&text, "clearwater.yaml").unwrap().deploy("ims").unwrap()
}

/// The text as it would run in a container whose files are in this folder.
fn script_in(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let of = [
        (LET_GO, at("let-go")),
        (WAKE, at("wake")),
        (FOLDER, at("hold")),
        (SUPERVISORCTL, at("real")),
        (CASSANDRA_SETTINGS, at("yaml")),
    ];
    of.iter().fold(script(), |text, (path, own)| text.replace(path, own))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Runs it, does something while it runs, and yields what the real program was given and how long that took.
fn ran(until: Option<u64>, args: &[&str], meanwhile: impl FnOnce(&Path)) -> (String, Duration) {
    ran_with(Component::Homestead, until, "", args, meanwhile)
}

/// The same of a component's container, of whose programs some need not wait.
fn ran_with(
    component: Component,
    until: Option<u64>,
    alone: &str,
    args: &[&str],
    meanwhile: impl FnOnce(&Path),
) -> (String, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let hold = folder.path().join("hold").join(component.name());
    fs::create_dir_all(&hold).unwrap();
    if let Some(until) = until {
        fs::write(hold.join(FILE), format!("{until} {alone}\n")).unwrap();
    }
    let real = folder.path().join("real");
    let said = folder.path().join("said");
    fs::write(&real, format!("#!/bin/sh\necho \"$@\" | tee -a {}\n", said.display())).unwrap();
    Command::new("chmod").arg("755").arg(&real).status().unwrap();
    let began = Instant::now();
    let mut command = Command::new("bash");
    command.arg("-c").arg(script_in(folder.path())).arg("supervisorctl").args(args).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    meanwhile(folder.path());
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), began.elapsed())
}

const START_ALL: [&str; 2] = ["start", "clearwater-group:*"];
const LONG: Duration = Duration::from_millis(500);

#[test]
fn what_is_not_held_goes_straight_through() {
    for (until, args) in [
        (None, &START_ALL[..]),
        (Some(now() - 1), &START_ALL),
        (Some(now() + 60), &["status"]),
        (Some(now() + 60), &["start", "clearwater-group:homestead"]),
    ] {
        let (said, took) = ran(until, args, |_| ());
        assert_eq!(said.trim(), args.join(" "));
        assert!(took < LONG, "{args:?}: {took:?}");
    }
}

#[test]
fn what_is_held_waits_until_it_is_let_go_and_is_then_there_at_once() {
    let pause = Duration::from_millis(1500);
    let (said, took) = ran(Some(now() + 60), &START_ALL, |folder| {
        std::thread::sleep(pause);
        fs::write(folder.join("let-go"), "").unwrap();
        let wake = fs::OpenOptions::new().read(true).write(true).open(folder.join("wake")).unwrap();
        std::io::Write::write_all(&mut &wake, b"\n").unwrap();
    });
    assert_eq!(said.trim(), START_ALL.join(" "));
    assert!(took >= pause && took < pause + LONG, "{took:?}");
}

#[test]
fn it_goes_by_itself_when_its_key_or_its_time_has_gone() {
    let (_, took) = ran(Some(now() + 60), &START_ALL, |folder| {
        std::thread::sleep(LONG);
        fs::remove_file(folder.join("hold/homestead").join(FILE)).unwrap();
    });
    assert!(took >= LONG && took < Duration::from_secs(3), "{took:?}");
    let (_, took) = ran(Some(now() + 2), &START_ALL, |_| ());
    assert!(took >= LONG && took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_member_starts_its_programs_when_it_has_joined_held_or_not() {
    for (pause, until) in [(Duration::ZERO, Some(now() + 60)), (LONG, Some(now() + 60)), (LONG, None)] {
        let (said, took) = ran_with(Component::Cassandra, until, "", &START_ALL, |folder| {
            std::thread::sleep(pause);
            fs::write(folder.join("let-go"), "").unwrap();
            std::thread::sleep(Duration::from_millis(1500));
            fs::write(folder.join("yaml"), "").unwrap();
        });
        assert_eq!(said.trim(), START_ALL.join(" "));
        assert!(took >= pause + Duration::from_millis(1500) && took < Duration::from_secs(4), "{took:?}");
    }
}

#[test]
fn programs_that_ask_nobody_do_not_wait() {
    let alone = "clearwater-group:mysql";
    let (_, took) = ran_with(Component::Ellis, Some(now() + 60), alone, &START_ALL, |folder| {
        let said = folder.join("said");
        let began = Instant::now();
        while !said.exists() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(fs::read_to_string(said).unwrap().trim(), format!("start {alone}"));
        fs::write(folder.join("let-go"), "").unwrap();
    });
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn what_is_held_is_read_as_it_was_written() {
    let until = BTreeMap::from([(Component::Homestead, 1_764_475_200), (Component::HomesteadProv, 1_764_475_201)]);
    let Object::ConfigMap(mut map) = hold(&deployment(""), &until, false) else { panic!() };
    assert_eq!(held_by(&map), until);
    map.data.get_or_insert_default().insert("nobody".to_owned(), "soon".to_owned());
    assert_eq!(held_by(&map), until);
}

#[test]
fn of_a_component_is_told_what_its_programs_may_do_without_waiting() {
    let d = deployment("");
    let words = |component| told(d.components().find(|entry| entry.component == component).unwrap(), 7, false);
    assert_eq!(words(Component::Homer), "7\n");
    assert_eq!(words(Component::Ellis), "7 clearwater-group:mysql\n");
    let ellis = d.components().find(|entry| entry.component == Component::Ellis).unwrap();
    assert_eq!(told(ellis, 7, true), "7\n");
    let alone: Vec<Component> = d.components().filter(|e| starts_alone(e)).map(|entry| entry.component).collect();
    assert_eq!(alone, [Component::Etcd, Component::Sprout]);
}

#[test]
fn what_has_no_group_to_start_is_not_held_and_the_file_may_switch_it_off() {
    let held = |text: &str| -> Vec<Component> {
        let d = deployment(text);
        d.components().filter(|entry| is_holdable(&d, entry)).map(|entry| entry.component).collect()
    };
    assert!(!held("").contains(&Component::Etcd) && held("").len() == 10);
    assert!(held("start: {hold: false}\n").is_empty() && item(&deployment("start: {hold: false}\n")).is_none());
}
