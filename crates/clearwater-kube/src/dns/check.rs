use std::time::Duration;

use clearwater::component::{Component, SETTINGS_FILES};
use clearwater::config::shell::Settings;
use clearwater::config::{Deployment, DnsBackend};
use clearwater::dns::answer::Code;
use clearwater::dns::{Question, questions, rules};
use clearwater::remedy::{Advice, NamesDeed};

use super::names::{Inside, ask_servers};
use super::plan::blank;
use super::{
    Answered, ClusterDnsError, DnsAction, DnsEdit, DnsError, DnsOptions, DnsPlan, ServerProof, file_plan, plan, slices,
};
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
    /// Who is not there to be asked.
    pub skipped: Vec<String>,
    /// Who could not be asked, or may not be by who runs this, with the right that it needs. Nothing is known of what they would
    /// have said.
    pub unasked: Vec<String>,
}

/// Compares what stands with what must stand: the file or object, the answer of every DNS server, and the names that
/// the running containers' settings really ask for. Writes nothing, and needs no right to. Also yields what was compared with.
///
/// # Errors
/// Where neither what is wanted nor what stands could be seen.
pub async fn check(cluster: &Cluster, options: &DnsOptions) -> Result<(DnsPlan, Findings), DnsError> {
    let deployment = &options.deployment;
    let options = DnsOptions { action: DnsAction::Put, look: true, ..options.clone() };
    let plan = Box::pin(plan(cluster, &options)).await?;
    let mut findings = Findings { problems: plan.means.lacking.clone(), ..Findings::default() };
    if let Some(object) = plan.object.as_ref().filter(|_| plan.is_change()) {
        let backend = Some(plan.backend).filter(|b| *b != DnsBackend::Auto);
        let put = NamesDeed::Put { namespace: None, backend, clients: plan.means.clients };
        findings.problems.push(Advice::new(format!("{object} is not as it must be"), put));
    }
    leftovers(cluster, deployment, &plan, &mut findings).await?;
    findings.unasked.extend(plan.means.unasked.iter().cloned());
    let found = plan.means.cluster_dns.is_some();
    if !found && !plan.questions.is_empty() && plan.means.unasked.is_empty() {
        findings.unasked.push("the DNS servers themselves".to_owned());
    }
    match ask_servers(cluster, &plan, Duration::from_secs(2)).await {
        Ok(servers) => {
            for server in &servers {
                findings
                    .problems
                    .extend(server.problems.iter().map(|p| format!("DNS pod {}: {p}", server.server).into()));
            }
            findings.servers = servers;
        }
        Err(DnsError::Cluster(ClusterDnsError::Right { right, .. })) => {
            findings.unasked.push(format!("the answers of the DNS servers: needs {right}"));
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
            Err(Unasked::Forbidden(why) | Unasked::Failed(why)) => findings.unasked.push(of(&why)),
        }
    }
    let nobody = findings.servers.is_empty() && findings.problems.is_empty();
    if nobody && !(findings.skipped.is_empty() && findings.unasked.is_empty()) {
        let what = format!("the names of namespace {}", cluster.namespace);
        let message = [findings.unasked, findings.skipped].concat().join("; ");
        return Err(DnsError::Unasked { what, message });
    }
    Ok((plan, findings))
}

/// What stands in DNS for a release that needs no name there: names for SIP clients that are offered no more, or an earlier
/// release's. Where there is no file that could hold any, none are there.
async fn leftovers(
    cluster: &Cluster,
    deployment: &Deployment,
    plan: &DnsPlan,
    findings: &mut Findings,
) -> Result<(), DnsError> {
    if !matches!(plan.means.work, DnsEdit::Nothing) || !rules(deployment)?.is_empty() {
        return Ok(());
    }
    let options = DnsOptions { action: DnsAction::Remove, look: true, ..DnsOptions::new(deployment.clone()) };
    let blank = |backend| blank(&options, backend, String::new());
    let looks = [
        Box::pin(file_plan::plan(cluster, &options, blank(DnsBackend::Coredns))).await,
        Box::pin(slices::plan(cluster, &options, blank(DnsBackend::Endpoints))).await,
    ];
    for look in looks {
        match look {
            Ok(left) => {
                let object = left.object.as_deref().filter(|_| left.is_change()).or(left.finishing());
                findings.problems.extend(object.map(|object| {
                    let reason =
                        format!("{object} holds names that the release {} asks for no more", deployment.release());
                    Advice::new(reason, NamesDeed::Remove { namespace: cluster.namespace.clone(), backend: None })
                }));
            }
            Err(DnsError::NotCoreDns { .. } | DnsError::Cluster(ClusterDnsError::NoServer(_))) => {}
            Err(error) => findings.unasked.push(format!("names that were put into DNS before: {error}")),
        }
    }
    Ok(())
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
