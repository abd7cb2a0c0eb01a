use std::time::Duration;

use clearwater::component::{Component, SETTINGS_FILES};
use clearwater::config::Deployment;
use clearwater::config::shell::Settings;
use clearwater::dns::answer::Code;
use clearwater::dns::{Question, questions};
use clearwater::remedy::{Advice, NamesDeed};

use super::names::{Inside, ask_servers};
use super::{Answered, ClusterDnsError, DnsError, DnsPlan, ServerProof};
use crate::cluster::Cluster;
use crate::observe::unasked::Unasked;
use crate::pod::Script;

/// The longest that reading a file in a container may take.
const READ: Duration = Duration::from_secs(8);

/// What a look showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is missing or stale, one line each.
    pub problems: Vec<Advice>,
    /// What the servers answered.
    pub servers: Vec<ServerProof>,
    /// Who is not there to be asked, or may not be asked by who runs this, with the right that it needs.
    pub skipped: Vec<String>,
    /// Who could not be asked. Nothing is known of what they would have said.
    pub unasked: Vec<String>,
}

/// Compares what stands with what must stand: the file or object, the answer of every DNS server, and the names that
/// the running containers' settings really ask for. Writes nothing.
///
/// # Errors
/// Where neither what is wanted nor what stands could be seen.
pub async fn check(cluster: &Cluster, deployment: &Deployment, plan: &DnsPlan) -> Result<Findings, DnsError> {
    let mut findings = Findings::default();
    if let Some(object) = plan.object.as_ref().filter(|_| plan.is_change()) {
        let put = NamesDeed::Put { namespace: None, backend: None };
        findings.problems.push(Advice::new(format!("{object} is not as it must be"), put));
    }
    match ask_servers(cluster, plan, Duration::from_secs(2)).await {
        Ok(servers) => {
            for server in &servers {
                findings
                    .problems
                    .extend(server.problems.iter().map(|p| format!("DNS pod {}: {p}", server.server).into()));
            }
            findings.servers = servers;
        }
        Err(DnsError::Cluster(ClusterDnsError::Right { right, .. })) => {
            findings.skipped.push(format!("the answers of the DNS servers: needs {right}"));
        }
        Err(error) => return Err(error),
    }
    for component in [Component::Sprout, Component::Bono] {
        if !deployment.has(component) {
            continue;
        }
        let of = |why: &str| format!("what {component}'s settings ask for: {why}");
        let asked = match Inside::open(cluster, deployment, component).await {
            Ok(inside) => configured(inside, &mut findings).await,
            Err(why) => Err(why),
        };
        match asked {
            Ok(()) => {}
            Err(Unasked::LeftOut(why)) => findings.skipped.push(of(&why)),
            Err(Unasked::Failed(why)) => findings.unasked.push(of(&why)),
        }
    }
    if findings.servers.is_empty() && !(findings.skipped.is_empty() && findings.unasked.is_empty()) {
        let what = format!("the names of namespace {}", cluster.namespace);
        let message = [findings.unasked, findings.skipped].concat().join("; ");
        return Err(DnsError::Unasked { what, message });
    }
    Ok(findings)
}

/// The settings that a container's programs have, `local_config` over `shared_config`
/// (clearwater-infrastructure `clearwater-auto-config/etc/clearwater/config`).
pub(super) async fn settings(inside: &mut Inside) -> Result<Settings, Unasked> {
    let mut settings = Settings::default();
    let cat = Script::new("cat \"$1\"");
    let [shared, local, _] = SETTINGS_FILES;
    for path in [shared, local] {
        let read = inside.shell.run(&cat.clone().arg(path), READ).await?;
        if read.status != 0 {
            return Err(Unasked::LeftOut(format!("pod {}: {}", inside.pod, read.text.trim())));
        }
        let parsed = Settings::parse(&read.text);
        let parsed = parsed.map_err(|e| Unasked::Failed(format!("pod {}: {path}: {e}", inside.pod)));
        settings = settings.then(parsed?);
    }
    Ok(settings)
}

/// Asks for everything that a container's settings name.
async fn configured(mut inside: Inside, findings: &mut Findings) -> Result<(), Unasked> {
    let settings = settings(&mut inside).await?;
    let mut asked: Vec<Question> = questions(&settings);
    // Several settings name one host.
    asked.dedup_by(|a, b| a.name == b.name && a.types == b.types);
    let mut proof = ServerProof {
        server: format!("pod {} of {}", inside.pod, inside.component),
        by: format!("UDP to {}", inside.servers[0]),
        reloaded: None,
        verified: None,
        answers: Vec::new(),
        problems: Vec::new(),
    };
    for (i, question) in asked.iter().enumerate() {
        // Of two address families the pods have one.
        let mut seen = String::new();
        let mut found = false;
        for (n, record_type) in question.types.iter().enumerate() {
            let id = u16::try_from(i * 8 + n + 1).unwrap_or(u16::MAX);
            match inside.ask(id, &question.name, *record_type).await {
                Ok(answer) => {
                    found = answer.code == Code::NoError && !answer.records.is_empty();
                    if found || seen.is_empty() {
                        seen = format!("{record_type} {}", answer.say(&question.name, *record_type));
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if found {
                break;
            }
        }
        let types: Vec<&str> = question.types.iter().map(|t| t.name()).collect();
        if !found {
            proof.problems.push(format!("{} names {}, which gives {seen}", question.setting, question.name));
        }
        let (name, r#type) = (question.name.to_string(), types.join("/"));
        proof.answers.push(Answered { name, r#type, answer: seen, is_missing: false });
    }
    findings
        .problems
        .extend(proof.problems.iter().map(|p| format!("pod {} of {}: {p}", inside.pod, inside.component).into()));
    findings.servers.push(proof);
    Ok(())
}
