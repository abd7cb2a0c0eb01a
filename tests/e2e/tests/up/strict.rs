#[path = "../../../../crates/clearwater/tests/manifest/levels.rs"]
mod levels;

use anyhow::{Context, Result, ensure};
use clearwater::config::DeploymentFile;
use clearwater::manifest::{Inputs, Object, PodSecurity, render};
use clearwater_e2e::{Plugin, cluster};
use clearwater_testbed::NamespaceOptions;
use levels::LEVELS;

/// Everything that can be rendered, as deployment files.
const FILES: &[(&str, &str)] = &[
    ("headless", ""),
    ("hostPort", "bono: {exposure: hostPort}\n"),
    (
        "nodePort",
        "bono: {exposure: nodePort, addresses: [192.0.2.1, 192.0.2.2], nodePortRange: 3000-32767}\n\
         ellis: {exposure: nodePort, nodePort: 30080}\ncomponents: {bono: {replicas: 2}}\n",
    ),
    ("loadBalancer", "bono: {exposure: loadBalancer, addresses: [192.0.2.1]}\nellis: {exposure: loadBalancer}\n"),
    (
        "perProtocol",
        "bono: {exposure: loadBalancer, addresses: [192.0.2.1], service: perProtocol}\n\
         ellis: {exposure: ingress, ingress: {host: ellis.example.com, className: nginx, tlsSecret: t}}\n",
    ),
    ("stores", "components: {cassandra: {replicas: 3}, astaire: {replicas: 3}, chronos: {replicas: 2}}\n"),
    ("extras", "tailer: sidecar\nkeys: upstream\nlogLevel: 4\netcdStorage: {persistent: true, size: 1Gi}\n"),
    ("hss", "hss: {hostname: hss}\n"),
    (
        "isolate",
        "networkPolicy: isolate\nsecurityContext: hardened\nellis: {exposure: loadBalancer}\n\
         podSecurityContext: {fsGroup: 1000, supplementalGroups: [7], seLinuxOptions: {level: 's0:c1'}}\n\
         email: {smarthost: mail.example.com}\n",
    ),
    (
        "classic",
        "release: classic\nimages: {registry: localhost/clearwater-classic, prefix: \"\", tag: \"2016\"}\n\
         keys: upstream\n",
    ),
];

/// The API server takes each object strictly and has nothing to remark.
#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn every_exposure_is_accepted_without_a_warning() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-strict")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let mut wrong = Vec::new();
    for (name, text) in FILES {
        let path = crate::file(text)?;
        let rendered = plugin.run(&["render", "-f", &path])?.expect(0).with_context(|| (*name).to_owned())?;
        ensure!(rendered.out.matches("\nkind: ").count() > 15, "{name}: {}", rendered.out);
        let asked = namespace.kubectl().run_with_input(
            ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "--filename=-"],
            &rendered.out,
        );
        if let Err(error) = asked {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The pods of a file, each once, as one text.
fn pods(text: &str, namespace: &str) -> Result<(PodSecurity, String)> {
    let deployment = DeploymentFile::parse(&format!("apiVersion: clearwater/v1\n{text}"), "file")?.deploy(namespace)?;
    let manifest = render(&deployment, &Inputs::default())?;
    let pods: Vec<_> = manifest.objects().filter_map(Object::sample_pod).collect();
    Ok((manifest.pod_security(), clearwater::yaml::write_many(&pods)?))
}

/// The level that a namespace is given is the strictest that the API server's own admission takes.
#[test]
#[ignore = "needs cluster (creates namespaces)"]
fn the_api_server_agrees_on_the_pod_security_standard() -> Result<()> {
    let cluster = cluster();
    let levels = [PodSecurity::Restricted, PodSecurity::Baseline, PodSecurity::Privileged];
    for level in levels {
        let options = NamespaceOptions { pod_security: Some(level.name()), ..NamespaceOptions::default() };
        let namespace = cluster.namespace_with("e2e-level", &options)?;
        for (text, strictest) in &LEVELS {
            let (judged, pods) = pods(text, namespace.name())?;
            ensure!(judged == *strictest, "{text}: {judged}");
            let args = ["create", "--dry-run=server", "--validate=strict", "--filename=-"];
            let asked = namespace.kubectl().run_with_input(args, &pods);
            let said = asked.as_ref().err().map(|e| format!("{e:#}")).unwrap_or_default();
            ensure!(asked.is_ok() == (level >= *strictest), "{text} in a namespace that enforces {level}: {said}");
            ensure!(asked.is_ok() || said.contains("violates PodSecurity"), "{text}: {said}");
        }
    }
    Ok(())
}

/// `up` labels the namespace that it makes, for all of the deployment, and leaves one that stands alone.
#[test]
#[ignore = "needs cluster (creates namespaces)"]
fn a_namespace_that_up_makes_enforces_the_level_and_another_s_is_left_alone() -> Result<()> {
    let cluster = cluster();
    let theirs = cluster.namespace("e2e-level-theirs")?;
    let made = format!("{}-made", theirs.name());
    let label = |name: &str| {
        let path = "--output=jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}";
        cluster.kubectl().run(["get", "namespace", name, path])
    };
    // etcd alone would be fit for a stricter level than bono, which comes later.
    let path = crate::small_file("bono: {exposure: hostPort}\nsecurityContext: hardened\n")?;
    let up = ["up", "--yes", "--create-namespace", "--only", "etcd", "-f", &path];
    let ran = Plugin::new(cluster, &made)?.run_within(crate::PATIENCE, &up);
    let seen = label(&made);
    let gone = cluster.kubectl().run(["delete", "namespace", &made, "--wait=false", "--ignore-not-found"]);
    ran?.expect(0)?;
    ensure!(seen? == "privileged", "the namespace that up made");
    gone?;
    Plugin::new(cluster, theirs.name())?.run_within(crate::PATIENCE, &up)?.expect(0)?;
    ensure!(label(theirs.name())?.is_empty(), "somebody else's namespace got a label");
    Ok(())
}
