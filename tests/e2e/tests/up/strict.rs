use anyhow::{Context, Result, ensure};
use clearwater_e2e::{Plugin, cluster};

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
        ensure!(rendered.out.matches("kind:").count() > 20, "{name}: {}", rendered.out);
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
