//! What the fuzzer feeds, and what must hold for every input. Also compiled into the model's tests, which replay the
//! corpus.

use clearwater::component::LogGrammar;
use clearwater::config::{DeploymentFile, Keys, shell};
use clearwater::dns::Name;
use clearwater::dns::corefile::{Corefile, Owner};
use clearwater::log::{Assembler, Identity, Line, SipMessage};
use clearwater::manifest::{self, Inputs};

/// A target: its name, which is also its corpus directory, and what it does with an input.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target.
pub(crate) const TARGETS: &[Target] = &[
    ("corefile", corefile),
    ("deployment", deployment),
    ("echo", echo),
    ("identity", identity),
    ("log", log),
    ("name", name),
];

const GRAMMARS: [LogGrammar; 8] = [
    LogGrammar::Cpp,
    LogGrammar::Python,
    LogGrammar::CppAccess,
    LogGrammar::Supervisord,
    LogGrammar::NginxAccess,
    LogGrammar::NginxError,
    LogGrammar::Cassandra,
    LogGrammar::Plain,
];

/// Any bytes are read in every grammar; all of them come out again, in order.
fn log(data: &[u8]) {
    for grammar in GRAMMARS {
        let mut assembler = Assembler::new(grammar);
        let mut records: Vec<_> = data.split_inclusive(|b| *b == b'\n').filter_map(|l| assembler.push(l)).collect();
        records.extend(assembler.finish());
        let mut out = Vec::new();
        for record in &records {
            let head = Line::parse(grammar, record.bytes());
            assert!(head.text.len() <= record.bytes().len());
            if let Some(message) = SipMessage::of(record) {
                let _ = (message.start_line(), message.call_id(), message.status(), message.method());
                assert!(message.headers("Via").count() <= record.bytes().len());
            }
            out.extend_from_slice(record.bytes());
        }
        assert_eq!(out, data);
    }
}

/// What parses as an identity parses again from its own text, and is mentioned there.
fn identity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(identity) = text.parse::<Identity>() {
        let shown = identity.to_string();
        assert_eq!(shown.parse::<Identity>().as_ref(), Ok(&identity), "{shown:?}");
    }
}

/// What parses as a DNS name parses again from its own text.
fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name));
        assert!(name.is_within(&name));
    }
}

/// A Corefile keeps its bytes; lines put in come out again without a trace.
fn corefile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(file) = Corefile::parse(text) else { return };
    assert_eq!(file.as_str(), text);
    let (Ok(domain), owner) = ("cluster.local".parse::<Name>(), Owner::namespace("ims")) else { return };
    if !file.lines_of(&owner).is_empty() {
        return;
    }
    let lines = ["rewrite name exact a.cluster.local b.cluster.local".to_owned()];
    if let Ok(edited) = file.with_lines(&owner, &domain, &lines) {
        assert_eq!(edited.without_lines(&owner), text);
        assert_eq!(edited.with_lines(&owner, &domain, &lines).as_ref(), Ok(&edited));
    }
}

/// Any text is a deployment file or a list of problems with places in it; what is a file survives being written, and
/// what can be deployed renders.
fn deployment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = match DeploymentFile::parse(text, "clearwater.yaml") {
        Ok(file) => file,
        Err(errors) => {
            assert!(!errors.problems().is_empty() && !errors.to_string().is_empty());
            return;
        }
    };
    let written = file.to_yaml().expect("a file that was read can be written");
    assert_eq!(DeploymentFile::parse(&written, "again").as_ref(), Ok(&file), "{written}");
    let Ok(deployment) = file.deploy("ims") else { return };
    let inputs = Inputs { keys: Some(Keys::upstream()), ..Inputs::default() };
    if let Ok(manifest) = manifest::render(&deployment, &inputs) {
        assert!(manifest.objects().count() > 10);
    }
}

/// Quoting survives the shell's reading; what `echo -e` would write is told or refused, never a panic.
fn echo(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = shell::echo_unquoted(text);
    let _ = shell::Settings::parse(text);
    if !text.contains('\0') {
        let settings = shell::Settings::parse(&format!("key={}\n", shell::quote(text))).expect("quoted text is plain");
        assert_eq!(settings.get("key"), Some(text));
    }
}
