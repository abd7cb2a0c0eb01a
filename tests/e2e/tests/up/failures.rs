use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clearwater_e2e::{OfCluster, Plugin, Ran, cluster};
use clearwater_testbed::image::{Archive, Entry, Image, Layer, write_archive};
use clearwater_testbed::layout::cache_directory;
use clearwater_testbed::sip::TOOLS_IMAGE;
use clearwater_testbed::{Fault, Kubectl, Rule};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::surroundings::no_pods;
use crate::{PATIENCE, file, is, kinds};

/// A run that cannot succeed: it names what is wrong, and says so soon.
fn fails(ran: Ran, failure: &str, component: &str, words: &[&str], within: Duration) -> Result<()> {
    ensure!(ran.took < within, "it took {:?}\n{}", ran.took, ran.out);
    names_it(ran, failure, component, words)
}

/// The same for a container of `etcd-0` that ends again and again: the rule is met at its third exit, whenever the
/// kubelet comes to that.
fn crashes(kubectl: &Kubectl, ran: Ran, failure: &str, words: &[&str]) -> Result<()> {
    let ended = Timestamp::now();
    let pod: Value = serde_json::from_str(&kubectl.run(["get", "pod", "etcd-0", "--output=json"])?)?;
    let status = &pod["status"];
    let of = |list: &str| status[list].as_array().cloned().unwrap_or_default();
    let containers = [of("initContainerStatuses"), of("containerStatuses")].concat();
    let times = containers
        .iter()
        .flat_map(|c| ["/state/terminated/finishedAt", "/lastState/terminated/finishedAt"].map(|at| c.pointer(at)));
    let last = times.flatten().filter_map(Value::as_str).max();
    let last: Timestamp = last.with_context(|| format!("no exit, but {status}\n{}", ran.out))?.parse()?;
    let exits = containers.iter().filter_map(|c| c["restartCount"].as_u64()).max().unwrap_or_default() + 1;
    let after = ended.duration_since(last);
    ensure!(
        exits <= 3 && after < SignedDuration::from_secs(15),
        "{exits} exits, the last {after:#} before\n{}",
        ran.out
    );
    names_it(ran, failure, "etcd", words)
}

fn names_it(ran: Ran, failure: &str, component: &str, words: &[&str]) -> Result<()> {
    let ran = ran.expect(4)?;
    let failed = kinds(&ran)?.into_iter().find(|e| e["kind"] == "failed").with_context(|| ran.out.clone())?;
    ensure!(failed["failure"] == failure && failed["component"] == component, "{failed}");
    ensure!(failed["fix"].as_str().is_some_and(|f| !f.is_empty()), "no way out is told: {failed}");
    for word in words {
        ensure!(failed.to_string().contains(word), "nothing of {word}: {failed}");
    }
    Ok(())
}

fn up(plugin: &Plugin, args: &[&str]) -> Result<Ran> {
    let mut all = vec!["up", "--yes"];
    all.extend(args);
    Ok(plugin.follow(&all)?.finish(PATIENCE)?.0)
}

fn an_image_that_does_not_exist() -> Result<()> {
    let cluster = cluster();
    let registry = cluster.local()?.registry(&[])?;
    let namespace = cluster.namespace("e2e-image")?;
    let image = format!("{}/clearwater/none:1", registry.address());
    let set = format!("components.etcd.image={image}");
    let ran = up(&Plugin::new(cluster, namespace.name())?, &["--only", "etcd", "--set", &set])?;
    fails(ran, "imageNotFound", "etcd", &[&image], Duration::from_secs(20))
}

fn a_key_that_is_missing() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-key")?;
    let own = ["create", "secret", "generic", "own-keys", "--from-literal=signup_key=a"];
    namespace.kubectl().run(own)?;
    let path = file("keys: {secret: own-keys}\n")?;
    // The preflight names it to everybody who may read Secrets.
    let early = up(&Plugin::new(cluster, namespace.name())?, &["--only", "ellis", "-f", &path])?.expect(4)?;
    ensure!(early.out.contains("it has no key ellis_api_key"), "{}", early.out);
    let user = namespace.user("limited", &crate::secrets::all_but_secrets())?;
    // Ellis reads it, and comes when what it needs serves.
    let ran = up(&Plugin::as_user(&user, namespace.name())?, &["--only", "ellis", "-f", &path])?;
    fails(ran, "config", "ellis", &["own-keys"], Duration::from_secs(120))
}

/// The preflight was content, and then somebody set a quota.
fn a_quota_that_comes_later() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-quota")?;
    let mut run = Plugin::new(cluster, namespace.name())?.follow(&[
        "up",
        "--yes",
        "--only",
        "cassandra",
        "--set",
        "start.hold=false",
    ])?;
    run.until(PATIENCE, |e| is(e, "applying", "etcd"))?;
    namespace.kubectl().run(["create", "quota", "late", "--hard=pods=1"])?;
    let ran = run.finish(PATIENCE)?.0;
    fails(ran, "cannotCreate", "cassandra", &["exceeded quota", "late"], Duration::from_secs(45))
}

fn no_node_that_fits() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-node")?;
    let path = file("components: {etcd: {nodeSelector: {clearwater.test/none: here}}}\n")?;
    let ran = up(&Plugin::new(cluster, namespace.name())?, &["--only", "etcd", "-f", &path])?.expect(4)?;
    ensure!(
        ran.out.contains("etcd") && ran.out.contains("clearwater.test/none")
            || ran.out.contains("node affinity/selector"),
        "{}",
        ran.out
    );
    ensure!(ran.took < Duration::from_secs(30 + 15), "it took {:?}", ran.took);
    Ok(())
}

/// The preflight was told to let it pass, as where the policy comes later.
fn a_policy_that_takes_no_pods() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-no-pods")?;
    let _policy = no_pods(namespace.kubectl(), &[namespace.name()])?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let ran = up(&plugin, &["--only", "etcd", "--skip-check", "admission"])?;
    let policy = format!("ValidatingAdmissionPolicy no-pods.{}", namespace.name());
    fails(ran, "cannotCreate", "etcd", &[&policy, "no pods before the audit"], Duration::from_secs(45))
}

/// As on an EKS without the add-on whose class is there.
fn a_volume_without_its_driver() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-driver")?;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": namespace.name()},
        "provisioner": "ebs.csi.aws.com", "volumeBindingMode": "WaitForFirstConsumer"});
    let _class = OfCluster::made(namespace.kubectl(), &class)?;
    let path = file(&format!("components: {{etcd: {{storage: {{storageClass: {}}}}}}}\n", namespace.name()))?;
    let args = ["up", "--yes", "--only", "etcd", "-f", &path];
    let mut run = Plugin::new(cluster, namespace.name())?.follow(&args)?;
    let words = "waits for ebs.csi.aws.com to make the volume of data-etcd-0: is its driver installed?";
    run.until(PATIENCE, |e| is(e, "starting", "etcd") && e["cause"].to_string().contains(words))?;
    let ran = run.finish(PATIENCE)?.0;
    names_it(ran, "config", "etcd", &["ebs.csi.aws.com", "components.etcd.storage.persistent: false"])
}

fn a_class_that_is_not_there() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-class")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let path = file("components: {etcd: {storage: {storageClass: no-such-class}}}\n")?;
    let early = up(&plugin, &["--only", "etcd", "-f", &path])?.expect(4)?;
    ensure!(
        early.out.contains("there is no StorageClass \\\"no-such-class\\\", which claims of etcd name"),
        "{}",
        early.out
    );
    let ran = up(&plugin, &["--only", "etcd", "-f", &path, "--skip-check", "objects"])?;
    fails(ran, "config", "etcd", &["no-such-class", "not found"], Duration::from_secs(60))
}

/// What makes nodes on demand says so by an event of the pod: such a pod is waited for, here in vain.
fn a_node_that_is_promised() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-promised")?;
    let path = file("components: {etcd: {nodeSelector: {clearwater.test/none: here}}}\n")?;
    let args = ["up", "--yes", "--only", "etcd", "--skip-check", "nodes", "--timeout", "50s", "-f", &path];
    let mut run = Plugin::new(cluster, namespace.name())?.follow(&args)?;
    let waits = |e: &Value, words: &str| is(e, "starting", "etcd") && e["cause"].to_string().contains(words);
    run.until(PATIENCE, |e| waits(e, "not scheduled"))?;
    for (reason, message) in [
        ("TriggeredScaleUp", "pod triggered scale-up: [{ng-1 1->2 (max: 5)}]"),
        ("Nominated", "Pod should schedule on: nodeclaim/default-x7k2p"),
    ] {
        let pod: Value = namespace.kubectl().json(["get", "pod", "etcd-0"])?;
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": reason.to_lowercase()},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "etcd-0", "namespace": namespace.name(),
                "uid": pod["metadata"]["uid"]},
            "reason": reason, "message": message, "type": "Normal", "count": 1, "firstTimestamp": now, "lastTimestamp": now});
        namespace.kubectl().apply(&event.to_string())?;
        run.until(PATIENCE, |e| waits(e, &format!("waits for a new node: {message}")))?;
        // Times are told in whole seconds.
        std::thread::sleep(Duration::from_secs(1));
    }
    // Without a promise it would have failed after 30 s.
    run.finish(PATIENCE)?.0.expect(3)?;
    Ok(())
}

fn a_program_that_ends_at_once() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-crash")?;
    let path = file("components: {etcd: {env: {ETCD_HEARTBEAT_INTERVAL: never}}}\n")?;
    let ran = up(&Plugin::new(cluster, namespace.name())?, &["--only", "etcd", "-f", &path])?;
    crashes(namespace.kubectl(), ran, "crashLoop", &["never"])
}

fn a_required_program_given_up() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-fatal")?;
    // No address of the pod: nginx cannot listen, and supervisord gives it up.
    let path = file("components: {homer: {env: {STANDIN_BIND: 192.0.2.9}}}\n")?;
    let ran = up(&Plugin::new(cluster, namespace.name())?, &["--only", "homer", "-f", &path])?;
    // Five ends in a row may come before supervisord's own word.
    fails(ran, "programFatal", "homer", &["nginx"], Duration::from_secs(90))
}

fn a_program_that_somebody_stopped() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-stopped")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    up(&plugin, &["--only", "homer"])?.expect(0)?;
    let program = "clearwater-group:homer";
    namespace.kubectl().run(["exec", "deployment/homer", "--", "supervisorctl", "stop", program])?;
    let ran = up(&plugin, &["--only", "homer"])?;
    fails(ran, "programFatal", "homer", &[program, "STOPPED", "supervisorctl start"], Duration::from_secs(90))
}

/// supervisord tries this one five thousand times, each a second later than the one before.
fn a_program_that_ends_at_each_start() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-ends")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    up(&plugin, &["--only", "cassandra,astaire"])?.expect(0)?;
    let path = file("components: {homestead: {env: {STANDIN_FAULT: homestead.exit}}}\n")?;
    let ran = up(&plugin, &["--only", "homestead", "-f", &path])?;
    fails(ran, "programFatal", "homestead", &["times in a row", "needs was serving"], Duration::from_secs(120))
}

/// A program for another processor, in an image that says it is for this one: what somebody gets who pushed the wrong
/// build.
fn a_program_for_another_processor() -> Result<()> {
    let cluster = cluster();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("arch-{}", std::process::id()));
    // An ELF header of a machine that no node is (e_machine 0x16, S/390), which is all that the kernel looks at.
    let mut program = b"\x7fELF\x02\x02\x01".to_vec();
    program.resize(16, 0);
    program.extend([0, 2, 0, 0x16, 0, 0, 0, 1]);
    program.resize(128, 0);
    let layer = Layer::from_entries(&folder, &[Entry::bytes("usr/local/bin/etcd", 0o755, program)])?;
    let mut image = Image::new("localhost/clearwater-other:1", vec![layer]);
    image.entrypoint = vec!["/usr/local/bin/etcd".into()];
    let archive = write_archive(&[image], folder.join("other.tar"))?;
    cluster.local()?.import(&archive)?;
    let namespace = cluster.namespace("e2e-arch")?;
    let set = ["--only", "etcd", "--set", "components.etcd.image=localhost/clearwater-other:1"];
    let ran = up(&Plugin::new(cluster, namespace.name())?, &set)?;
    std::fs::remove_dir_all(&folder)?;
    crashes(namespace.kubectl(), ran, "wrongArchitecture", &["exec format error", "amd64"])
}

/// An init container that somebody else puts into our pods, as meshes and policies do.
fn an_init_container_that_ends_again_and_again() -> Result<()> {
    let cluster = cluster();
    let namespace = cluster.namespace("e2e-init")?;
    let plugin = Plugin::new(cluster, namespace.name())?;
    let mut first = plugin.follow(&["up", "--yes", "--only", "etcd"])?;
    first.until(PATIENCE, |e| is(e, "applied", "etcd"))?;
    first.kill()?;
    let patch = serde_json::json!({"spec": {"template": {"spec": {"initContainers": [{
        "name": "mesh", "image": TOOLS_IMAGE, "command": ["sh", "-c", "echo no mesh to join; exit 3"],
    }]}}}});
    let kubectl = namespace.kubectl();
    kubectl.run(["patch", "statefulset", "etcd", "--type=strategic", &format!("--patch={patch}")])?;
    // It may not have been made yet, and is then made with what was put in.
    kubectl.run(["delete", "pod", "etcd-0", "--grace-period=0", "--force", "--ignore-not-found"])?;
    let ran = up(&plugin, &["--only", "etcd"])?;
    crashes(kubectl, ran, "crashLoop", &["mesh", "exit code 3", "no mesh to join"])
}

type Case = fn() -> Result<()>;

/// Side by side: each of them mostly waits.
#[test]
#[ignore = "needs cluster (creates namespaces)"]
fn rollouts_that_cannot_succeed_end_early_and_say_why() -> Result<()> {
    let cases: [(&str, Case); 14] = [
        ("an image that does not exist", an_image_that_does_not_exist),
        ("a key that is missing", a_key_that_is_missing),
        ("a quota that comes later", a_quota_that_comes_later),
        ("no node that fits", no_node_that_fits),
        ("a node that is promised", a_node_that_is_promised),
        ("a policy that takes no pods", a_policy_that_takes_no_pods),
        ("a volume without its driver", a_volume_without_its_driver),
        ("a class that is not there", a_class_that_is_not_there),
        ("a program that ends at once", a_program_that_ends_at_once),
        ("a program for another processor", a_program_for_another_processor),
        ("an init container that ends again and again", an_init_container_that_ends_again_and_again),
        ("a required program given up", a_required_program_given_up),
        ("a program that somebody stopped", a_program_that_somebody_stopped),
        ("a program that ends at each start", a_program_that_ends_at_each_start),
    ];
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let runs = cases.map(|(name, case)| (name, scope.spawn(case)));
        let ended = runs.into_iter().map(|(name, run)| (name, run.join()));
        ended
            .filter_map(|(name, result)| match result {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{name}: {error:#}")),
                Err(_) => Some(format!("{name}: panicked")),
            })
            .collect()
    });
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

/// The archive of stand-ins that was built last.
fn images() -> Result<Archive> {
    let directory = cache_directory()?.join("standins");
    let newest = std::fs::read_dir(&directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("images-")))
        .filter_map(|p: PathBuf| Some((p.metadata().ok()?.modified().ok()?, p)))
        .max()
        .context("no stand-in images were built")?;
    Archive::open(newest.1)
}

#[test]
#[ignore = "needs cluster (creates a namespace)"]
fn a_busy_registry_is_waited_for() -> Result<()> {
    let cluster = cluster();
    let mut registry = cluster.local()?.registry(&[images()?])?;
    registry.set(&[Rule::new(Fault::Status(429, 0)).path("/manifests/")])?;
    let namespace = cluster.namespace("e2e-busy")?;
    let mirror = format!("images.mirror={}", registry.address());
    let args = ["up", "--yes", "--only", "etcd", "--set", &mirror, "--set", "images.pullPolicy=Always"];
    let mut run = Plugin::new(cluster, namespace.name())?.follow(&args)?;
    run.until(PATIENCE, |e| e["kind"] == "pulling" && e["cause"].to_string().contains("429"))?;
    registry.set(&[])?;
    run.finish(PATIENCE)?.0.expect(0)?;
    Ok(())
}
