//! A homestead and a homer that answer as they are told to.
#![allow(clippy::similar_names, reason = "IMPI and IMPU are the domain's own names")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use md5::{Digest as _, Md5};

pub(crate) fn md5(text: &str) -> String {
    let mut out = String::new();
    for byte in Md5::digest(text.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

pub(crate) fn ha1(user: &str) -> String {
    md5(&format!("{user}@zone:zone:{user}"))
}

/// An answer of homestead's that leaves the S-CSCF open, for capabilities that none has.
pub(crate) const NO_SCSCF: u16 = 600;

/// A homestead that knows everybody but `nobody` and 1999999999, and answers what it is told to.
#[derive(Clone)]
pub(crate) struct Homestead {
    /// What is asked for (`status`, `av`, `location`, `reg`, `call`, `dereg`) => the code.
    codes: Arc<Mutex<BTreeMap<&'static str, u16>>>,
    /// The identities that each user has beside his own.
    aliases: Arc<Mutex<Vec<(String, String)>>>,
    /// Who is registered.
    registered: Arc<Mutex<BTreeSet<String>>>,
}

impl Homestead {
    pub(crate) fn start(ip: Ipv4Addr) -> Result<Self> {
        let listener = TcpListener::bind((ip, 8888))?;
        let homestead = Self { codes: Arc::default(), aliases: Arc::default(), registered: Arc::default() };
        let other = homestead.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let homestead = other.clone();
                std::thread::spawn(move || homestead.serve(stream));
            }
        });
        Ok(homestead)
    }

    /// What it answers from now on when this is asked for; 200 undoes that.
    pub(crate) fn answers(&self, asked: &'static str, code: u16) {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(asked, code);
    }

    /// Another identity in `user`'s implicit registration set.
    pub(crate) fn alias(&self, user: &str, identity: &str) {
        let pair = (user.to_owned(), identity.to_owned());
        self.aliases.lock().unwrap_or_else(PoisonError::into_inner).push(pair);
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Ok(Some((_, path, body))) = read_request(&mut reader) {
            let (status, body) = self.answer(&path, &body);
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, path: &str, body: &str) -> (u16, String) {
        let what = match path {
            p if p.contains("/registration-status") => "status",
            p if p.contains("/av") => "av",
            p if p.contains("/location") => "location",
            _ if body.contains("dereg") => "dereg",
            _ if body.contains("\"reg\"") => "reg",
            _ => "call",
        };
        let told = self.codes.lock().unwrap_or_else(PoisonError::into_inner).get(what).copied().unwrap_or(200);
        if told == NO_SCSCF {
            return (200, "{\"result-code\":2001,\"mandatory-capabilities\":[1]}".to_owned());
        }
        if told != 200 {
            return (told, String::new());
        }
        // In a query a plus is a blank.
        if path.split_once("?impu=").is_some_and(|(_, impu)| impu.contains('+')) {
            return (404, String::new());
        }
        let asked = path.split('/').nth(2).unwrap_or_default();
        let asked = percent_encoding::percent_decode_str(asked).decode_utf8_lossy();
        let asked = asked.split('?').next().unwrap_or_default();
        let aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = aliases.iter().find(|(_, identity)| identity == asked).map(|(user, _)| format!("sip:{user}@zone"));
        if asked.contains("nobody") || asked.contains("1999999999") || (asked.starts_with("tel:") && owner.is_none()) {
            return (404, String::new());
        }
        let user = owner.as_deref().unwrap_or(asked).trim_start_matches("sip:").trim_end_matches("@zone").to_owned();
        match what {
            "av" => (200, format!("{{\"digest\":{{\"ha1\":\"{}\",\"realm\":\"zone\",\"qop\":\"auth\"}}}}", ha1(&user))),
            "status" | "location" => {
                (200, "{\"result-code\":2001,\"scscf\":\"sip:sprout.zone:5054;transport=tcp\"}".to_owned())
            }
            _ => {
                let mut set = format!("<Identity>sip:{user}@zone</Identity>");
                for (_, identity) in aliases.iter().filter(|(of, _)| *of == user) {
                    let _ = write!(set, "<Identity>{identity}</Identity>");
                }
                let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
                match what {
                    "reg" => drop(registered.insert(user.clone())),
                    "dereg" => drop(registered.remove(&user)),
                    _ => {}
                }
                let state = if registered.contains(&user) { "REGISTERED" } else { "NOT_REGISTERED" };
                (
                    200,
                    format!(
                        "<ClearwaterRegData><RegistrationState>{state}</RegistrationState>{set}<ApplicationServer>\
                         <ServerName>sip:mmtel.zone</ServerName></ApplicationServer></ClearwaterRegData>"
                    ),
                )
            }
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Result<Option<(String, String, String)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "cut off");
        match line.trim().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((method, path, String::from_utf8(body)?)))
}

/// A homer that keeps documents.
#[derive(Clone)]
pub(crate) struct Homer {
    documents: Arc<Mutex<BTreeMap<String, String>>>,
    /// Whether it answers 503 to everything.
    broken: Arc<Mutex<bool>>,
}

impl Homer {
    pub(crate) fn start(ip: Ipv4Addr) -> Result<Self> {
        let listener = TcpListener::bind((ip, 7888))?;
        let homer = Self { documents: Arc::default(), broken: Arc::default() };
        let other = homer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let homer = other.clone();
                std::thread::spawn(move || homer.serve(stream));
            }
        });
        Ok(homer)
    }

    /// The services of `sip:USER@zone` from now on.
    pub(crate) fn set(&self, user: &str, services: &str) {
        let document = format!(
            "<simservs xmlns=\"http://uri.etsi.org/ngn/params/xml/simservs/xcap\" \
             xmlns:cp=\"urn:ietf:params:xml:ns:common-policy\">{services}</simservs>"
        );
        self.put(&format!("sip:{user}@zone"), Some(&document));
    }

    /// The document of an identity from now on.
    pub(crate) fn put(&self, identity: &str, document: Option<&str>) {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        match document {
            Some(text) => drop(documents.insert(identity.to_owned(), text.to_owned())),
            None => drop(documents.remove(identity)),
        }
    }

    pub(crate) fn breaks(&self, broken: bool) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = broken;
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Ok(Some((_, path, _))) = read_request(&mut reader) {
            let asked =
                path.strip_prefix("/org.etsi.ngn.simservs/users/").and_then(|p| p.strip_suffix("/simservs.xml"));
            let identity = percent_encoding::percent_decode_str(asked.unwrap_or_default()).decode_utf8_lossy();
            let documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
            let found = documents.get(identity.as_ref()).cloned().unwrap_or_default();
            drop(documents);
            let broken = *self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            let status = if broken {
                503
            } else if found.is_empty() {
                404
            } else {
                200
            };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{found}", found.len());
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}
