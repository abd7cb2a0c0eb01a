//! The phone and its cases at a registrar that nobody here wrote: Debian's Kamailio, which knows nothing of IMS.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clearwater_sip::case::{
    CaseTimes, NoServices, NoWay, Opened, OpenedMedia, ServiceSource, TestVerdict, WaySource, all,
};
use clearwater_sip::{Account, MediaWay, Transport, Way};

/// Where Debian's package has its modules.
const MODULES: &str = "usr/lib/x86_64-linux-gnu/kamailio/modules";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The modules of the `kamailio` that is found first: the machine's, or those beside an unpacked one.
fn modules() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path).map(|folder| folder.join("kamailio")).find(|file| file.exists())?;
    let places = [program.parent()?.parent()?.join(MODULES), Path::new("/").join(MODULES)];
    places.into_iter().find(|place| place.join("registrar.so").exists())
}

/// A Kamailio on a port of its own, for as long as this is held.
struct Registrar {
    child: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Registrar {
    async fn start(modules: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kamailio.cfg");
        let text = include_str!("registrar/kamailio.cfg").replace("MODULES", modules.to_str().unwrap());
        fs::write(&file, text).unwrap();
        // One that is free for both transports now.
        let udp = std::net::UdpSocket::bind((HERE, 0)).unwrap();
        let address = udp.local_addr().unwrap();
        drop(udp);
        let log = File::create(folder.path().join("log")).unwrap();
        // -DD: in the foreground, so that its children end with it.
        let mut command = Command::new("kamailio");
        command.args(["-DD", "-E", "-m", "32", "-M", "4", "-Y"]).arg(folder.path()).arg("-f").arg(&file);
        for transport in ["udp", "tcp"] {
            command.arg("-l").arg(format!("{transport}:{address}"));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let registrar = Self { child: command.spawn().unwrap(), folder, address };
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return registrar;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no Kamailio on {address}: {}", registrar.said());
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        // It ends its children when it is asked to end.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

struct Ways(SocketAddr);

#[async_trait::async_trait]
impl WaySource for Ways {
    async fn open(&self, transport: Transport) -> Result<Opened, NoWay> {
        let way = Way { transport, proxy: self.0, tunnel: None };
        Ok(Opened { way, through: "kamailio".to_owned(), way_held: Box::new(()) })
    }

    async fn open_media(&self) -> Result<OpenedMedia, NoWay> {
        Ok(OpenedMedia { way: MediaWay::Direct(self.0), way_held: Box::new(()) })
    }
}

/// Keeps nobody's services.
struct Nobody;

#[async_trait::async_trait]
impl ServiceSource for Nobody {
    async fn put(&self, _: &Account, _: Option<&str>) -> Result<(), NoServices> {
        Err(NoServices::Absent("nobody keeps any".to_owned()))
    }
}

/// What a registrar that is no IMS does otherwise, by case: the step at which it shows, and what comes there.
const NO_IMS: [(&str, &str, &str); 3] = [
    ("register", "REGISTER with the password", "200 without one"),
    ("register-wrong-password", "REGISTER with a wrong password", "401 Unauthorized"),
    ("subscribe", "SUBSCRIBE to the registration", "489 Bad Event"),
];

/// Every case passes over both transports, but those that ask for what a plain registrar has not: these fail where they do.
#[tokio::test]
async fn a_plain_registrar_serves_every_case_but_those_of_ims() {
    let Some(modules) = modules() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: kamailio is needed");
        return;
    };
    let registrar = Registrar::start(&modules).await;
    let account = |number: &str| {
        let identity = format!("{number}@example.com");
        Account::new(&format!("sip:{identity}"), &identity, "secret").unwrap()
    };
    let accounts = ["1", "2", "3"].map(account);
    let times = CaseTimes { answer: Duration::from_secs(5), talk: Duration::from_millis(400) };
    let mut passed = 0;
    for case in all() {
        for transport in case.over {
            let lines = &accounts[..case.lines];
            let outcome = case.attempt(&Ways(registrar.address), &Nobody, lines, *transport, times).await;
            let seen = match &outcome.verdict {
                TestVerdict::Failed(failure) => Some((failure.step.as_str(), failure.seen.as_str())),
                TestVerdict::Passed => None,
                TestVerdict::NotTried(why) => panic!("{} over {transport}: {why}", case.id),
                TestVerdict::Skipped(why) => {
                    assert_eq!(why, "nobody keeps any", "{}", case.id);
                    continue;
                }
            };
            let expected = NO_IMS.iter().find(|(id, ..)| *id == case.id).map(|(_, step, seen)| (*step, *seen));
            assert_eq!(seen, expected, "{} over {transport}: {outcome:#?}\n{}", case.id, registrar.said());
            passed += usize::from(seen.is_none());
        }
    }
    assert!(passed >= 20, "{passed}");
}
