//! What containers say of themselves, judged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clearwater::component::{Component, entry};
use clearwater::config::shell::Settings;
use clearwater::config::{HostSetting, LevelFile};
use clearwater::event::{CheckId, CheckLine, CheckStatus};
use clearwater::remedy::Remedy;
use k8s_openapi::api::core::v1::VolumeMount;

use super::super::doors::{DoorKind, Knocked, Tried, given};
use super::super::facts::Facts;
use super::super::inside::{Inside, Proxy};
use super::Said;
use super::objects::{no_services, services};
use crate::judge::Stage;
use crate::pod::object::own_container;

/// What the scripts of the images ask for at least, and what makes mysqld's tables take gigabytes.
const FEW_FILES: u64 = 4096;
const MANY_FILES: u64 = 16 * 1024 * 1024;
/// Clocks that are known to a second.
const APART_SECONDS: f64 = 4.0;
const FULL: u8 = 85;
const TOO_FULL: u8 = 96;
/// How much of its limit of memory a container may take, in per cent.
const NEAR_LIMIT: u64 = 90;
/// The level at which daemons log every step.
const DEBUG: u32 = 5;

pub(super) fn lines(facts: &Facts) -> Vec<CheckLine> {
    let rules = [
        nofile,
        etcd_proxy,
        ipv6,
        clock,
        disk,
        usage,
        resolver,
        hostnames,
        uris,
        alias,
        public_address,
        log_level,
        numbers,
    ];
    rules.map(|rule| rule(facts)).concat()
}

/// A rule over what the containers of some components said.
pub(super) fn each(
    facts: &Facts,
    about: (CheckId, &'static str),
    of: fn(Component) -> bool,
    well: &str,
    judge: impl FnMut(&mut Said, &str, Component, &Inside),
) -> Vec<CheckLine> {
    judged(facts, about, of, judge).map_or_else(Vec::new, |said| said.lines(well))
}

/// The same, to which more may be added; none where nothing stands that it is about.
pub(super) fn judged(
    facts: &Facts,
    (id, title): (CheckId, &'static str),
    of: fn(Component) -> bool,
    mut judge: impl FnMut(&mut Said, &str, Component, &Inside),
) -> Option<Said> {
    let mut said = Said::new(id, title);
    if !facts.inside.values().any(|(component, _)| of(*component)) {
        // What stands and was not looked at is not passed over.
        let has_programs = |c: Component| entry(facts.release, c).is_some_and(|e| !e.programs.is_empty());
        let stands = || facts.parts.iter().filter(|part| of(part.component) && has_programs(part.component));
        // Nothing is to run of what was scaled to 0.
        let awaited = stands().find(|part| part.scaled_to_0.is_none());
        match (awaited, stands().find_map(|part| part.scaled_to_0.as_ref())) {
            (Some(part), _) => said.unseen(format!("no container of {} runs that could be asked", part.component)),
            (None, Some(why)) => said.nothing_there(why),
            (None, None) => return None,
        }
        return Some(said);
    }
    for (pod, component, inside) in facts.said(of) {
        judge(&mut said, pod, component, inside);
    }
    facts.unsaid(of).for_each(|why| said.unseen(why));
    Some(said)
}

pub(super) const fn any(_: Component) -> bool {
    true
}

const fn routes(component: Component) -> bool {
    matches!(component, Component::Sprout)
}

fn nofile(facts: &Facts) -> Vec<CheckLine> {
    each(facts, (CheckId::Nofile, "how many files may be open"), any, "", |said, pod, component, inside| {
        match inside.nofile {
            Some(few) if few < FEW_FILES => {
                let detail = format!("{few}: the daemons run out of connections under load");
                said.wrong(CheckStatus::Warning, pod, detail, "raise nofile in the container runtime");
            }
            Some(many) if many > MANY_FILES && component == Component::Ellis => {
                let detail = format!("{many}: mysqld makes room for each of them, and may find none");
                said.wrong(CheckStatus::Warning, pod, detail, "lower nofile in the container runtime to 1048576");
            }
            _ => {}
        }
    })
}

/// Whether the etcd proxy inside of each pod reaches etcd: a member of a store joins, leaves and hears of others by its own.
fn etcd_proxy(facts: &Facts) -> Vec<CheckLine> {
    let etcd = facts.part(Component::Etcd);
    // Where etcd itself is not well, that is told of it.
    if etcd.is_none_or(|etcd| !etcd.judged.problems.is_empty() || etcd.judged.ready == 0) {
        return Vec::new();
    }
    let about = (CheckId::Answers, "etcd proxies in the pods answer");
    let said = judged(facts, about, any, |said, pod, component, inside| {
        // One that just begins has a minute for it.
        let is_up = facts.part(component).is_some_and(|part| part.judged.stage >= Stage::Settling);
        let seen = match inside.proxy.as_ref().filter(|_| is_up) {
            None => return,
            Some(Proxy::Silent) => "it takes connections and answers nothing: it hangs".to_owned(),
            Some(Proxy::Closed) => "nobody answers at port 4000".to_owned(),
            Some(Proxy::Answers(line)) if line.split(' ').nth(1) == Some("200") => return,
            Some(Proxy::Answers(line)) => format!("GET /v2/keys on 4000: it answered {line:?}"),
        };
        let is_store = component.is_store();
        let status = if is_store { CheckStatus::Failed } else { CheckStatus::Warning };
        let cost = if is_store { ", and it neither joins nor leaves, nor hears of other members" } else { "" };
        let fix = format!("kubectl exec -n {} {pod} -- /etc/init.d/clearwater-etcd restart", facts.namespace());
        said.wrong(status, pod, format!("{seen}{cost}"), fix);
    });
    // What could not be asked is told by who asks components themselves.
    said.map(|said| said.bad).unwrap_or_default()
}

fn ipv6(facts: &Facts) -> Vec<CheckLine> {
    let cassandra = |c| c == Component::Cassandra;
    each(facts, (CheckId::Ipv6, "IPv6 where Cassandra listens on ::0"), cassandra, "", |said, pod, _, inside| {
        if inside.rpc_address.as_deref() == Some("::0") && inside.ipv6_off != Some(false) {
            let fix = Remedy::any([
                "sysctl net.ipv6.conf.lo.disable_ipv6=0 in the pod (an unsafe sysctl, which the kubelet must allow)",
                "rpc_address: 0.0.0.0 in its cassandra.yaml",
            ]);
            let detail = "IPv6 is off on the container's loopback: 9160 never opens";
            said.wrong(CheckStatus::Failed, pod, detail, fix);
        }
    })
}

fn clock(facts: &Facts) -> Vec<CheckLine> {
    // What is between two pods cancels how far our own clock is off.
    let told = || facts.said(any).filter_map(|(pod, _, inside)| Some((pod, inside.ahead?, inside.unsure)));
    // What is sure: the least that one is ahead, and the most that the other may be.
    let last = told().map(|(pod, ahead, unsure)| (pod, ahead - unsure)).max_by(|a, b| a.1.total_cmp(&b.1));
    let first = told().map(|(pod, ahead, unsure)| (pod, ahead + unsure)).min_by(|a, b| a.1.total_cmp(&b.1));
    let mut said_once = false;
    each(facts, (CheckId::Clock, "clocks of the nodes agree"), any, "", |said, _, _, _| {
        let (Some((late, behind)), Some((early, before))) = (first, last) else { return };
        let apart = before - behind;
        if apart > APART_SECONDS && !said_once {
            said_once = true;
            let detail = format!("{early} is {apart:.0} s ahead of {late}: timers, tokens and logs disagree");
            said.wrong(CheckStatus::Warning, "", detail, "let all nodes keep time by NTP");
        }
    })
}

fn disk(facts: &Facts) -> Vec<CheckLine> {
    each(facts, (CheckId::Disk, "room in the file systems"), any, "", |said, pod, component, inside| {
        for (place, full) in inside.full.iter().filter(|(_, full)| **full >= FULL) {
            let status = if *full >= TOO_FULL { CheckStatus::Failed } else { CheckStatus::Warning };
            let fix = room(facts, pod, component, place);
            said.wrong(status, &format!("{pod}, {place}"), format!("{full} % are taken"), fix);
        }
    })
}

/// What makes room where a container has none: on a volume of its own, or on the disk of its node.
fn room(facts: &Facts, pod: &str, component: Component, place: &str) -> Remedy {
    let spec = facts.pod(pod).and_then(|pod| pod.spec.as_ref());
    let node = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or("its node");
    let mounts = spec.and_then(|spec| own_container(spec, component)).and_then(|own| own.volume_mounts.as_ref());
    // The deepest one that holds the place.
    let under = |mount: &&VolumeMount| Path::new(place).starts_with(&mount.mount_path);
    let mount = mounts.into_iter().flatten().filter(under).max_by_key(|mount| mount.mount_path.len());
    let volume = mount.and_then(|mount| spec?.volumes.iter().flatten().find(|volume| volume.name == mount.name));
    let largest = format!("kubectl exec -n {} {pod} -- du -xah {place} tells what is large", facts.namespace());
    let claim = volume.and_then(|volume| volume.persistent_volume_claim.as_ref());
    if let Some(claim) = claim {
        return Remedy::any([format!("larger storage for persistentvolumeclaim/{}", claim.claim_name), largest]);
    }
    let is_logs = place.starts_with("/var/log");
    let Some(empty) = volume.and_then(|volume| volume.empty_dir.as_ref()) else {
        // All pods of a node show it alike.
        return format!("make room on the disk of node {node}, which images and containers share").into();
    };
    let first = match (&empty.size_limit, is_logs) {
        (_, true) => {
            "logs grow there: a lower logLevel in the deployment file, and the old ones of them removed".to_owned()
        }
        (Some(limit), false) => format!("a larger sizeLimit than {}", limit.0),
        (None, false) => format!("make room on the disk of node {node}"),
    };
    let disk =
        (is_logs && empty.size_limit.is_none()).then(|| format!("make room on the disk of node {node}, where it is"));
    Remedy::any([Some(first), disk, Some(largest)].into_iter().flatten())
}

/// What the deployment costs, and who is about to be ended for its memory.
fn usage(facts: &Facts) -> Vec<CheckLine> {
    let mut sums: BTreeMap<Component, (u64, f64)> = BTreeMap::new();
    let mut pods = 0_usize;
    for (pod, component, inside) in facts.said(any) {
        let (Some(memory), Some(cpu)) = (inside.usage.working_set(), inside.usage.cpu) else { continue };
        let ran = facts.running_since(pod).map_or(0.0, |since| facts.at.duration_since(since).as_secs_f64());
        pods += 1;
        let sum = sums.entry(component).or_default();
        sum.0 += memory;
        sum.1 += if ran >= 1.0 { cpu.as_secs_f64() / ran } else { 0.0 };
    }
    let mut each_of: Vec<(Component, (u64, f64))> = sums.into_iter().collect();
    each_of.sort_by_key(|(_, (memory, _))| std::cmp::Reverse(*memory));
    let parts: Vec<String> =
        each_of.iter().map(|(c, (memory, cpu))| format!("{c} {} and {cpu:.2}", mebi(*memory))).collect();
    let (memory, cpu) = each_of.iter().fold((0, 0.0), |sum, (_, (memory, cpu))| (sum.0 + memory, sum.1 + cpu));
    let well = format!(
        "memory {} and {cpu:.2} processors on the average since they started, in {pods} containers: {}",
        mebi(memory),
        parts.join(", ")
    );
    each(facts, (CheckId::Usage, "what the containers take"), any, &well, |said, pod, _, inside| {
        if inside.usage.working_set().is_none() || inside.usage.cpu.is_none() {
            said.unseen(format!("pod {pod} does not show its control group"));
        }
        if let (Some(memory), Some(limit)) = (inside.usage.working_set(), inside.usage.limit)
            && memory > limit / 100 * NEAR_LIMIT
        {
            let detail = format!("{} of {} are taken: it is ended when there is no more", mebi(memory), mebi(limit));
            said.wrong(CheckStatus::Warning, pod, detail, "raise the component's memory limit");
        }
    })
}

fn mebi(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

fn resolver(facts: &Facts) -> Vec<CheckLine> {
    each(facts, (CheckId::Resolver, "daemons ask the pods' name servers"), any, "", |said, pod, _, inside| {
        let Some(servers) = inside.shared.get("signaling_dns_server") else { return };
        let others: Vec<&str> = servers
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty() && !inside.name_servers.iter().any(|own| own == server))
            .collect();
        if !others.is_empty() {
            let detail =
                format!("signaling_dns_server names {}, which the pod's resolv.conf does not", others.join(", "));
            let loops = others.iter().any(|s| s.starts_with("127.") || *s == "::1");
            let status = if loops { CheckStatus::Failed } else { CheckStatus::Warning };
            said.wrong(status, pod, detail, "leave signaling_dns_server out of shared_config: the images set it");
        }
    })
}

fn hostnames(facts: &Facts) -> Vec<CheckLine> {
    each(facts, (CheckId::Hostnames, "names that daemons ask for are whole"), any, "", |said, pod, _, inside| {
        for key in HostSetting::Component.keys() {
            let Some(value) = inside.shared.get(key) else { continue };
            let host = value.rsplit_once(':').map_or(value, |(host, _)| host);
            let detail = if host == "localhost" || host.starts_with("127.") {
                format!("{key} is {value:?}: nobody listens there")
            } else if !host.is_empty() && !host.contains(['.', ':']) {
                format!("{key} is {value:?}: the daemons' resolver does not complete names")
            } else {
                continue;
            };
            if facts.is_told_by_zone(pod) {
                said.told_by(CheckId::Zone);
                continue;
            }
            said.wrong(CheckStatus::Failed, &format!("{pod}, {key}"), detail, "set ZONE, so that every name is whole");
        }
    })
}

/// Host and port of a SIP URI.
fn target(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("sip:").or_else(|| uri.strip_prefix("sips:"))?;
    rest.split(';').next()
}

fn uris(facts: &Facts) -> Vec<CheckLine> {
    each(facts, (CheckId::Uris, "I-CSCF and S-CSCF are told apart"), routes, "", |said, pod, _, inside| {
        let of = |key| inside.shared.get(key).and_then(target);
        if let (Some(scscf), Some(icscf)) = (of("scscf_uri"), of("icscf_uri"))
            && scscf == icscf
        {
            let detail = format!("scscf_uri and icscf_uri are both {scscf}: calls end with 482");
            said.wrong(CheckStatus::Failed, pod, detail, "give the S-CSCF port 5054 and the I-CSCF port 5052");
        }
    })
}

fn alias(facts: &Facts) -> Vec<CheckLine> {
    let mut told = BTreeSet::new();
    let mut lines =
        each(facts, (CheckId::Alias, "virtual addresses are sprout's own"), routes, "", |said, pod, _, inside| {
            if let Some(why) = no_services(facts) {
                return said.unseen(why);
            }
            let own: Vec<&str> =
                inside.shared.get("local_alias_list").unwrap_or_default().split(',').map(str::trim).collect();
            for (name, _, service) in services(facts).filter(|(_, c, _)| routes(*c)) {
                let address = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref());
                let Some(address) = address.filter(|a| !a.is_empty() && *a != "None" && !own.contains(a)) else {
                    continue;
                };
                if told.insert((pod.to_owned(), name.to_owned())) {
                    let detail =
                        format!("{address} of Service {name} is not: where it stands in a Route, calls end with 483");
                    let fix = Remedy::any([
                        "delete the Service and make it anew with clusterIP: None",
                        "the address in local_alias_list",
                    ]);
                    said.wrong(CheckStatus::Warning, &format!("{pod}, {name}"), detail, fix);
                }
            }
        });
    if let [only] = lines.as_mut_slice()
        && only.status == CheckStatus::Ok
        && services(facts).all(|(_, _, s)| s.spec.as_ref().is_some_and(|s| s.cluster_ip.as_deref() == Some("None")))
    {
        "there are none: every Service is headless".clone_into(&mut only.detail);
    }
    lines
}

fn public_address(facts: &Facts) -> Vec<CheckLine> {
    let bono = |c| c == Component::Bono;
    let mut of: BTreeMap<String, String> = BTreeMap::new();
    let about = (CheckId::PublicAddress, "each bono gives an address of its own");
    let said = judged(facts, about, bono, |said, pod, _, inside| match given(inside) {
        None => {
            let fix = "set PUBLIC_IP to the address that reaches just this bono";
            said.wrong(CheckStatus::Failed, pod, "it has none: phones get the pod's", fix);
        }
        Some(address) => {
            if let Some(other) = of.insert(address.to_owned(), pod.to_owned()) {
                let detail = format!("{address} is {other}'s as well: what belongs to a call arrives at the other");
                said.wrong(CheckStatus::Failed, pod, detail, "give each bono an address that reaches it alone");
            }
        }
    });
    let Some(mut said) = said else { return Vec::new() };
    facts.doors.iter().for_each(|tried| door(&mut said, tried, facts));
    let asked: Vec<String> = facts.doors.iter().map(|tried| tried.door.to_string()).collect();
    said.lines(if asked.is_empty() { String::new() } else { format!("SIP is answered at {}", asked.join(", ")) })
}

/// Where phones are told to find a bono, and nobody answers: a network without the plugin for ports of nodes takes the pods all
/// the same. An address outside of the cluster may answer whoever stands outside.
fn door(said: &mut Said, tried: &Tried, facts: &Facts) {
    let door = &tried.door;
    let (from, knocked) = match &tried.knocked {
        Ok((_, Knocked::Answers)) => return,
        Ok(_) if facts.is_told_by_zone(&door.pod) => return said.told_by(CheckId::Zone),
        // It answers nowhere else, either.
        Ok(_) if facts.is_mute(&door.pod) && facts.tells(CheckId::Answers) => return said.told_by(CheckId::Answers),
        Ok(seen) => seen,
        Err(why) => {
            return said
                .unseen(format!("whether somebody answers at {door}, where phones are to find {}: {why}", door.pod));
        }
    };
    let nobody = match knocked {
        Knocked::Silent => format!("at {door} a connection is taken and SIP is not answered"),
        _ => format!("nothing takes a connection at {door}"),
    };
    match door.kind {
        DoorKind::Node => {
            let detail = format!("{nobody}, the port of its node, from pod {from}");
            let fix = Remedy::any([
                "see that the network plugin serves host ports (CNI's portmap) and that no firewall of the node is before it",
                "another bono.exposure",
            ]);
            said.wrong(CheckStatus::Warning, &door.pod, detail, fix);
        }
        DoorKind::Given => said.unseen(format!(
            "{nobody}, the address that {} gives to phones, tried from pod {from}: whether it leads to it from where phones are is \
             not visible from inside of the cluster",
            door.pod
        )),
    }
}

fn log_level(facts: &Facts) -> Vec<CheckLine> {
    each(facts, (CheckId::LogLevel, "log levels"), any, "", |said, pod, component, inside| {
        let read = |settings: &Settings| settings.get("log_level").and_then(|level| level.parse::<u32>().ok());
        let level = match LevelFile::of(component) {
            Some(LevelFile::ChronosSample) => inside.chronos_level,
            // Their init scripts let no level of shared_config through.
            _ if matches!(component, Component::Bono | Component::Astaire) => read(&inside.user),
            _ => read(&inside.user).or_else(|| read(&inside.shared)),
        };
        if level.is_some_and(|level| level >= DEBUG) {
            let detail = "level 5 writes every step: it costs calls and fills disks";
            said.wrong(
                CheckStatus::Warning,
                pod,
                detail,
                "logLevel: 4 in the deployment file still shows SIP messages",
            );
        }
    })
}

fn numbers(facts: &Facts) -> Vec<CheckLine> {
    let ellis = |c| c == Component::Ellis;
    each(facts, (CheckId::Numbers, "Ellis has numbers"), ellis, "", |said, pod, _, inside| {
        let made = |line: &str| line.strip_prefix("Created ")?.split(' ').next()?.parse::<u64>().ok();
        match inside.numbers.as_deref() {
            None => said.unseen(format!("{pod} has no log of create_numbers")),
            Some(line) if made(line).is_some() => {}
            Some(line) => {
                let detail = format!("the last line of create_numbers.log is {line:?}");
                let fix = "once its mysqld answers, in its pod: supervisorctl start clearwater-group:initsql, which makes the numbers";
                said.wrong(CheckStatus::Warning, pod, detail, fix);
            }
        }
    })
}
