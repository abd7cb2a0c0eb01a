//! Each problem planted alone, into what a look at a deployment in health saw: just its check finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clearwater::component::{Component, Release, catalogue};
use clearwater::config::shell::Settings;
use clearwater::event::{CheckId, CheckStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::doors::{Door, DoorKind, Knocked, Tried};
use super::super::facts::{Facts, JudgedComponent};
use super::super::inside::{Astray, Inside, Proxy, Usage};
use super::{before, lines};
use crate::judge::{About, Judged, Outdated, Stage};
use crate::observe::finding::{Finding, Part};
use crate::observe::given::ZoneSeen;
use crate::observe::snapshot::{Kind, Snapshot, Update, WatchEvent};
use crate::observe::unasked::Unasked;

mod doubles;
mod endpoints;
mod remedies;
mod unseen;

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(component: Component, n: usize) -> Pod {
    let name = format!("{component}-{n}");
    object(json!({"metadata": {"name": name, "namespace": "ims", "uid": name, "labels": {"service": component.name()}},
        "spec": {"nodeName": "one", "containers": [{"name": component.name(), "image": "registry/x:hunter"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": component.name(), "image": "", "imageID": "",
            "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "1969-12-31T23:58:20Z"}}}]}}))
}

fn service(name: &str, component: Component, spec: &Value) -> Service {
    let mut service = json!({"metadata": {"name": name}, "spec": {"selector": {"service": component.name()}}});
    service["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object(service)
}

fn settings(text: &str) -> Settings {
    Settings::parse(text).unwrap()
}

const SHARED: &str = "home_domain=ims.svc.cluster.local\nsprout_hostname=sprout.ims.svc.cluster.local\n\
    hs_hostname=homestead.ims.svc.cluster.local:8888\nscscf_uri='sip:sprout.ims.svc:5054;transport=tcp'\n\
    icscf_uri='sip:sprout.ims.svc:5052;transport=tcp'\nsignup_key=random\nsignaling_dns_server=10.96.0.10\n";

const ZONE: &str = "ims.svc.cluster.local";

/// The keys as the image has them, where they are not read: nobody gives them there.
const UNREAD: &str = "signup_key=secret\nturn_workaround=secret\nellis_api_key=secret\nellis_cookie_key=secret\n";

fn said(component: Component, n: usize) -> Inside {
    let unread = if matches!(component, Component::Bono | Component::Ellis) { "" } else { UNREAD };
    Inside {
        ahead: Some(0.3),
        unsure: 0.6,
        nofile: Some(20_000),
        ipv6_off: Some(false),
        name_servers: vec!["10.96.0.10".to_owned()],
        search: Some(ZONE.to_owned()),
        rpc_address: (component == Component::Cassandra).then(|| "::0".to_owned()),
        shared: settings(&format!("{SHARED}{unread}")),
        local: settings(&format!("public_hostname=10.0.{n}.1\n")),
        user: Settings::default(),
        missing: Vec::new(),
        astray: Vec::new(),
        proxy: Some(Proxy::Answers("HTTP/1.1 200 OK".to_owned())),
        chronos_level: (component == Component::Chronos).then_some(2),
        numbers: (component == Component::Ellis).then(|| "Created 1000 numbers, 0 already present".to_owned()),
        full: BTreeMap::from([("/".to_owned(), 68)]),
        usage: Usage {
            memory: Some(300 << 20),
            cache: 100 << 20,
            limit: Some(400 << 20),
            cpu: Some(Duration::from_secs(50)),
        },
    }
}

fn health() -> Facts {
    let components: Vec<Component> = catalogue(Release::Hunter).iter().map(|e| e.component).collect();
    let mut snapshot = Snapshot::default();
    snapshot.absorb(WatchEvent::Pod(Update::All(components.iter().map(|c| pod(*c, 0)).collect())));
    let services = components.iter().map(|c| service(c.name(), *c, &json!({"clusterIP": "None"})));
    let hs = service("hs", Component::Homestead, &json!({"clusterIP": "None"}));
    snapshot.absorb(WatchEvent::Service(Update::All(services.chain([hs]).collect())));
    let judged = Judged {
        stage: Stage::Serving,
        ready: 1,
        wanted: 1,
        problems: vec![],
        unchecked: vec![],
        pending: 0,
        outdated: vec![],
    };
    Facts {
        release: Release::Hunter,
        at: Timestamp::UNIX_EPOCH,
        parts: components
            .iter()
            .map(|c| JudgedComponent {
                component: *c,
                judged: judged.clone(),
                scaled_to_0: None,
                fix: None,
                unreached: false,
                members_read: true,
                unheard: BTreeMap::new(),
            })
            .collect(),
        inside: components
            .iter()
            .filter(|c| **c != Component::Etcd)
            .map(|c| (format!("{c}-0"), (*c, Ok(said(*c, 0)))))
            .collect(),
        doors: Vec::new(),
        zone: ZoneSeen { stands: Some(ZONE.to_owned()), wanted: None },
        zones: components.iter().map(|c| (format!("{c}-0"), ZONE.to_owned())).collect(),
        secrets_unread: None,
        public_keys: BTreeSet::new(),
        left_out: BTreeSet::new(),
        nodes: Ok(vec![node("one", "6.1.0-18-amd64", "True")]),
        claims: Ok(vec![]),
        cluster: vec![],
        snapshot,
    }
}

fn node(name: &str, kernel: &str, ready: &str) -> Node {
    object(json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}],
        "nodeInfo": {"kernelVersion": kernel, "architecture": "", "bootID": "", "containerRuntimeVersion": "",
            "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "", "osImage": "",
            "systemUUID": ""}}}))
}

fn part(facts: &mut Facts, component: Component) -> &mut Judged {
    &mut facts.parts.iter_mut().find(|p| p.component == component).unwrap().judged
}

fn inside<'a>(facts: &'a mut Facts, pod: &str) -> &'a mut Inside {
    facts.inside.get_mut(pod).unwrap().1.as_mut().unwrap()
}

fn is_wrong(facts: &mut Facts, component: Component, about: About) {
    part(facts, component).problems.push(Finding::new(about, "what was seen"));
}

fn of_pod(part: Part) -> About {
    About::Pod("x-0".to_owned(), part)
}

/// Puts an address behind the Service of sprout, as somebody who says so.
fn lead_astray(facts: &mut Facts, address: &str, writer: Option<&str>) {
    let labels = json!({"kubernetes.io/service-name": "sprout", "endpointslice.kubernetes.io/managed-by": writer.unwrap_or("me")});
    let slice = json!({"metadata": {"name": "stray", "labels": labels}, "addressType": "IPv4", "endpoints": [{"addresses": [address]}]});
    facts.snapshot.absorb(WatchEvent::EndpointSlice(Update::Set(Box::new(object(slice)))));
}

fn outdated(pod: &str, variable: &str, of: &str) -> Outdated {
    let (uid, pod, variables) = (pod.to_owned(), pod.to_owned(), vec![variable.to_owned()]);
    Outdated { uid, pod, zone: None, variables, of: [of.to_owned()].into() }
}

fn tried(kind: DoorKind, knocked: Knocked) -> Tried {
    let door = Door { pod: "bono-0".to_owned(), host: "192.0.2.7".to_owned(), port: 5060, kind };
    Tried { door, knocked: Ok(("sprout-0".to_owned(), knocked)) }
}

fn add(facts: &mut Facts, pod: Value) {
    facts.snapshot.absorb(WatchEvent::Pod(Update::Set(Box::new(object(pod)))));
}

/// What is not as it should be.
fn found(facts: &Facts) -> Vec<(CheckId, CheckStatus)> {
    lines(facts).into_iter().filter(|l| l.status != CheckStatus::Ok).map(|l| (l.id, l.status)).collect()
}

#[test]
fn a_deployment_in_health_has_no_finding() {
    let said = lines(&health());
    let wrong: Vec<_> = said.iter().filter(|l| l.status != CheckStatus::Ok).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(said.is_sorted_by_key(|l| (l.id.group(), l.id)));
}

/// (the row of the list of known problems, or 0; the check; how grave; what is planted)
type Planted = (u8, CheckId, CheckStatus, fn(&mut Facts));

const PLANTED: [Planted; 48] = [
    (1, CheckId::Zone, CheckStatus::Failed, |f| {
        f.zone = ZoneSeen::of("ims", Some("old.svc.cluster.local".to_owned()), None);
    }),
    (13, CheckId::Answers, CheckStatus::Failed, |f| inside(f, "astaire-0").proxy = Some(Proxy::Silent)),
    (1, CheckId::Hostnames, CheckStatus::Failed, |f| {
        inside(f, "homer-0").shared = settings("cassandra_hostname=cassandra\n");
    }),
    (2, CheckId::Resolver, CheckStatus::Failed, |f| {
        inside(f, "sprout-0").shared = settings("signaling_dns_server=127.0.0.1\n");
    }),
    (2, CheckId::Resolver, CheckStatus::Warning, |f| {
        inside(f, "sprout-0").shared = settings("signaling_dns_server=192.0.2.7\n");
    }),
    (3, CheckId::Names, CheckStatus::Failed, |f| {
        is_wrong(f, Component::Sprout, of_pod(Part::Name("scscf.sprout".to_owned())));
    }),
    (3, CheckId::Names, CheckStatus::Failed, |f| {
        inside(f, "bono-0").missing = vec![("upstream_hostname".to_owned(), "icscf.sprout.x".to_owned())];
    }),
    (0, CheckId::Names, CheckStatus::Failed, |f| {
        inside(f, "ellis-0").astray = vec![Astray {
            name: "homestead-prov.ims.svc.cluster.local".to_owned(),
            address: "198.51.100.7".to_owned(),
            domain: Some("corp.example".to_owned()),
        }];
    }),
    (0, CheckId::PublicAddress, CheckStatus::Warning, |f| {
        f.doors = vec![tried(DoorKind::Node, Knocked::Closed)];
    }),
    (4, CheckId::Alias, CheckStatus::Warning, |f| {
        let vip = service("sprout", Component::Sprout, &json!({"clusterIP": "10.96.1.1"}));
        f.snapshot.absorb(WatchEvent::Service(Update::Set(Box::new(vip))));
    }),
    (5, CheckId::Uris, CheckStatus::Failed, |f| {
        inside(f, "sprout-0").shared = settings("scscf_uri=sip:s.x:5052\nicscf_uri='sip:s.x:5052;transport=tcp'\n");
    }),
    (6, CheckId::Supervisor, CheckStatus::Failed, |f| is_wrong(f, Component::Homer, of_pod(Part::Programs))),
    (6, CheckId::Kernel, CheckStatus::Warning, |f| f.nodes = Ok(vec![node("one", "3.10.0-1160.el7", "True")])),
    (7, CheckId::Programs, CheckStatus::Failed, |f| {
        is_wrong(f, Component::Ellis, of_pod(Part::Program("mysql".to_owned())));
    }),
    (8, CheckId::Numbers, CheckStatus::Warning, |f| {
        inside(f, "ellis-0").numbers = Some("OperationalError: (2002, \"Can't connect\")".to_owned());
    }),
    (10, CheckId::Answers, CheckStatus::Failed, |f| is_wrong(f, Component::HomesteadProv, of_pod(Part::Question(0)))),
    (11, CheckId::Restarts, CheckStatus::Warning, |f| {
        add(
            f,
            json!({"metadata": {"name": "homestead-0", "uid": "homestead-0", "labels": {"service": "homestead"}},
            "spec": {"nodeName": "one", "containers": [{"name": "homestead", "image": "x:hunter"}]},
            "status": {"containerStatuses": [{"name": "homestead", "image": "", "imageID": "", "ready": true,
                "restartCount": 3, "lastState": {"terminated": {"exitCode": 2, "finishedAt": "1970-01-01T00:00:00Z"}}}]}}),
        );
    }),
    (12, CheckId::Ipv6, CheckStatus::Failed, |f| inside(f, "cassandra-0").ipv6_off = Some(true)),
    (12, CheckId::Ipv6, CheckStatus::Failed, |f| inside(f, "cassandra-0").ipv6_off = None),
    (13, CheckId::Members, CheckStatus::Failed, |f| is_wrong(f, Component::Cassandra, About::Members)),
    (13, CheckId::Workloads, CheckStatus::Failed, |f| is_wrong(f, Component::Cassandra, About::Pods)),
    (0, CheckId::Workloads, CheckStatus::Failed, |f| {
        f.snapshot.services.remove("sprout");
    }),
    (16, CheckId::HostNetwork, CheckStatus::Warning, |f| {
        add(
            f,
            json!({"metadata": {"name": "etcd-0", "uid": "etcd-0", "labels": {"service": "etcd"}},
            "spec": {"hostNetwork": true, "nodeName": "one", "containers": [{"name": "etcd"}]}}),
        );
    }),
    (17, CheckId::PublicAddress, CheckStatus::Failed, |f| inside(f, "bono-0").local = Settings::default()),
    (17, CheckId::PublicAddress, CheckStatus::Failed, |f| {
        f.inside.insert("bono-1".to_owned(), (Component::Bono, Ok(said(Component::Bono, 0))));
    }),
    (18, CheckId::LoadBalancer, CheckStatus::Failed, |f| {
        let spec = json!({"type": "LoadBalancer", "ports": [{"port": 5060, "protocol": "UDP"}, {"port": 5060}]});
        let balanced = service("bono-0", Component::Bono, &spec);
        f.snapshot.absorb(WatchEvent::Service(Update::Set(Box::new(balanced))));
    }),
    (19, CheckId::Hostnames, CheckStatus::Failed, |f| {
        inside(f, "homestead-0").shared = settings("cassandra_hostname=localhost\n");
    }),
    (20, CheckId::Zone, CheckStatus::Failed, |f| inside(f, "bono-0").shared = settings("home_domain=example.com\n")),
    (25, CheckId::Memory, CheckStatus::Warning, |f| {
        add(
            f,
            json!({"metadata": {"name": "astaire-0", "uid": "astaire-0", "labels": {"service": "astaire"}},
            "spec": {"nodeName": "one", "containers": [{"name": "astaire", "image": "x:hunter",
                "resources": {"limits": {"memory": "512Mi"}}}]}}),
        );
    }),
    (26, CheckId::Programs, CheckStatus::Failed, |f| {
        is_wrong(f, Component::Homestead, of_pod(Part::Program("homestead".to_owned())));
    }),
    (28, CheckId::EtcdData, CheckStatus::Warning, |f| {
        let second = serde_json::to_value(pod(Component::Etcd, 1)).unwrap();
        add(f, second);
    }),
    (29, CheckId::Turn, CheckStatus::Warning, |f| {
        f.snapshot.services.remove("hs");
    }),
    (30, CheckId::Revision, CheckStatus::Warning, |f| part(f, Component::Astaire).pending = 1),
    (30, CheckId::Revision, CheckStatus::Warning, |f| {
        part(f, Component::Homer).outdated = vec![outdated("homer-0", "HSS", "configmap/env-vars")];
    }),
    (30, CheckId::Revision, CheckStatus::Warning, |f| {
        part(f, Component::Bono).outdated = vec![outdated("bono-0", "TURN_WORKAROUND", "secret/clearwater-keys")];
    }),
    (0, CheckId::Workloads, CheckStatus::Failed, |f| lead_astray(f, "198.51.100.9", None)),
    (31, CheckId::Nofile, CheckStatus::Warning, |f| inside(f, "sprout-0").nofile = Some(1024)),
    (31, CheckId::Nofile, CheckStatus::Warning, |f| inside(f, "ellis-0").nofile = Some(1_073_741_816)),
    (0, CheckId::Keys, CheckStatus::Warning, |f| inside(f, "ellis-0").shared = settings("ellis_api_key=secret\n")),
    (0, CheckId::LogLevel, CheckStatus::Warning, |f| inside(f, "bono-0").user = settings("log_level=5\n")),
    (0, CheckId::LogLevel, CheckStatus::Warning, |f| inside(f, "chronos-0").chronos_level = Some(5)),
    (0, CheckId::LogLevel, CheckStatus::Warning, |f| inside(f, "homer-0").shared = settings("log_level=5\n")),
    (0, CheckId::Clock, CheckStatus::Warning, |f| inside(f, "bono-0").ahead = Some(-7.0)),
    (0, CheckId::Disk, CheckStatus::Warning, |f| {
        inside(f, "cassandra-0").full.insert("/var/lib/cassandra".to_owned(), 90);
    }),
    (0, CheckId::Disk, CheckStatus::Failed, |f| {
        inside(f, "cassandra-0").full.insert("/var/lib/cassandra".to_owned(), 100);
    }),
    (0, CheckId::Usage, CheckStatus::Warning, |f| inside(f, "sprout-0").usage.memory = Some(480 << 20)),
    (0, CheckId::Leftovers, CheckStatus::Warning, |f| {
        let claim: PersistentVolumeClaim =
            object(json!({"metadata": {"name": "data-etcd-0", "labels": {"service": "etcd"}}}));
        f.claims = Ok(vec![claim]);
    }),
    (0, CheckId::Nodes, CheckStatus::Failed, |f| f.nodes = Ok(vec![node("one", "6.1.0", "Unknown")])),
];

#[test]
fn each_problem_is_found_by_its_check_and_by_no_other() {
    for (row, id, status, plant) in PLANTED {
        let mut facts = health();
        plant(&mut facts);
        let found: Vec<_> = found(&facts).into_iter().filter(|(_, status)| status.is_known()).collect();
        assert_eq!(found, [(id, status)], "row {row}: {id}");
        let said = lines(&facts).into_iter().find(|l| l.status == status).unwrap();
        assert!(!said.detail.is_empty() && said.fix.is_some(), "row {row}: {said:?}");
    }
}

/// What is told to do is of use where it is told.
#[test]
fn advice_is_of_what_is_seen() {
    use clearwater::remedy::{Remedy, StoppedProgram};

    let advice =
        |facts: &Facts| lines(facts).into_iter().find(|l| l.status == CheckStatus::Failed).unwrap().fix.unwrap();
    let mut facts = health();
    is_wrong(&mut facts, Component::Homer, About::Pod("homer-0".to_owned(), Part::Programs));
    assert!(!advice(&facts).to_string().contains("kernel"), "{}", advice(&facts));
    facts.nodes = Err("needs list nodes".to_owned());
    assert!(!advice(&facts).to_string().contains("kernel"), "{}", advice(&facts));
    facts.nodes = Ok(vec![node("one", "3.13.0-74-generic", "True")]);
    assert!(advice(&facts).to_string().contains("a newer kernel"), "{}", advice(&facts));

    let mut facts = health();
    let about = About::Pod("homestead-0".to_owned(), Part::Program("group:homestead".to_owned()));
    is_wrong(&mut facts, Component::Homestead, about);
    assert!(advice(&facts).to_string().contains("the last lines of its log"));
    part(&mut facts, Component::Homestead).problems[0].is_stopped = true;
    let stopped = StoppedProgram {
        namespace: "ims".to_owned(),
        pod: "homestead-0".to_owned(),
        program: "group:homestead".to_owned(),
    };
    assert_eq!(advice(&facts), Remedy::StartProgram(Box::new(stopped)));
}

/// What is told to do about keys changes them, and names who has to read them anew.
#[test]
fn keys_are_changed_where_they_are_kept() {
    let fix = |facts: &Facts| {
        let line = lines(facts).into_iter().find(|l| l.id == CheckId::Keys).unwrap();
        assert_eq!(line.title, "keys are not those that everybody knows: ellis-0");
        line.fix.unwrap().to_string()
    };
    let mut facts = health();
    inside(&mut facts, "ellis-0").shared = settings("ellis_api_key=secret\n");
    assert!(
        fix(&facts).starts_with("keys: random in the deployment file, then bring the deployment up"),
        "{}",
        fix(&facts)
    );
    // The Secret holds it, and Ellis was started with what it held before.
    let mut kept = health();
    kept.public_keys = BTreeSet::from([("ellis-0".to_owned(), "ellis_api_key".to_owned())]);
    assert!(fix(&kept).starts_with("keys: random"), "{}", fix(&kept));
    // What is given by a Secret is written into it, or makes it anew.
    for (name, begins) in [
        ("clearwater-keys", "kubectl delete secret -n ims clearwater-keys, then"),
        ("mine", "put other values into Secret mine"),
    ] {
        let mut ellis = serde_json::to_value(pod(Component::Ellis, 0)).unwrap();
        ellis["spec"]["containers"][0]["env"] =
            json!([{"name": "ELLIS_API_KEY", "valueFrom": {"secretKeyRef": {"name": name, "key": "ellis_api_key"}}}]);
        add(&mut facts, ellis);
        let said = fix(&facts);
        // Ellis holds its accounts in the pod that reads it.
        assert!(said.starts_with(begins) && said.contains("agree to lose the data ("), "{said}");
    }
}

/// What is asked is said as people know it.
#[test]
fn a_question_is_named_by_what_is_asked() {
    let mut facts = health();
    is_wrong(&mut facts, Component::Homestead, About::Pod("homestead-0".to_owned(), Part::Question(0)));
    let line = lines(&facts).into_iter().find(|l| l.status == CheckStatus::Failed).unwrap();
    assert_eq!(line.title, "components answer for themselves: homestead-0, HTTP GET /ping on 8888");
    let fix = line.fix.unwrap().to_string();
    assert!(fix.ends_with("where it hangs, kubectl delete pod -n ims homestead-0, which loses nothing"), "{fix}");
}

/// What a deployment costs is asked of the deployment itself.
#[test]
fn what_the_containers_take_is_summed() {
    let said = |facts: &Facts| lines(facts).into_iter().find(|l| l.id == CheckId::Usage).unwrap();
    let mut facts = health();
    let asked = u32::try_from(facts.inside.len()).unwrap();
    inside(&mut facts, "homer-0").usage.memory = Some(301 << 20);
    let line = said(&facts);
    let sum = format!("memory {} MiB and {:.2} processors on the average", 200 * asked + 1, 0.5 * f64::from(asked));
    assert!(line.detail.starts_with(&sum) && line.detail.contains(": homer 201 MiB and 0.50, "), "{line:?}");
    inside(&mut facts, "homer-0").usage = Usage::default();
    assert_eq!((said(&facts).status, said(&facts).detail.contains("pod homer-0")), (CheckStatus::Skipped, true));
}

/// The page says of each known problem which check finds it; what it names is planted above.
#[test]
fn the_page_names_what_is_planted() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    if !docs.exists() {
        // The crate stands alone, without the repository.
        return;
    }
    let page = std::fs::read_to_string(docs.join("check.md")).unwrap();
    for (row, id, ..) in PLANTED.iter().filter(|p| p.0 > 0) {
        let told = page.lines().find(|l| l.starts_with(&format!("| {row} |"))).unwrap_or_default();
        assert!(told.contains(&format!("`{id}`")), "row {row} does not name {id}: {told}");
    }
    for row in 1..=32 {
        assert!(page.contains(&format!("\n| {row} |")), "row {row} is missing");
    }
}

#[test]
fn what_to_do_about_a_pod_that_cannot_come_is_said_where_it_is_seen() {
    let mut facts = health();
    is_wrong(&mut facts, Component::Bono, About::Pods);
    facts
        .parts
        .iter_mut()
        .filter(|p| p.component == Component::Bono)
        .for_each(|p| p.fix = Some("push the image".into()));
    let line = lines(&facts).into_iter().find(|l| l.status == CheckStatus::Failed).unwrap();
    assert_eq!((line.id, line.fix), (CheckId::Workloads, Some("push the image".into())));
}

#[test]
fn before_a_deployment_only_the_cluster_is_judged() {
    let mut facts = health();
    facts.snapshot = Snapshot::default();
    facts.parts.clear();
    let ids: BTreeSet<CheckId> = before(&facts).into_iter().map(|l| l.id).collect();
    assert_eq!(ids, BTreeSet::from([CheckId::Nodes, CheckId::Kernel, CheckId::Leftovers]));
    facts.nodes = Ok(vec![node("spare", "6.1.0", "False")]);
    let status = before(&facts).into_iter().find(|l| l.id == CheckId::Nodes).unwrap().status;
    assert_eq!(status, CheckStatus::Warning, "a node that carries nothing is no reason to fail");
}

#[test]
fn a_part_of_an_exchange_is_no_exchange() {
    let mut facts = health();
    facts.parts.retain(|part| !matches!(part.component, Component::Ellis | Component::Ralf));
    assert_eq!(found(&facts), [], "calls go through without these");
    facts.parts.retain(|part| matches!(part.component, Component::Etcd | Component::Chronos));
    let seen = lines(&facts);
    let line = seen.iter().find(|l| l.status == CheckStatus::Warning).unwrap();
    assert_eq!(line.id, CheckId::Workloads);
    assert!(line.detail.contains("does not stand: astaire, cassandra, homestead, sprout, bono"), "{}", line.detail);
}
