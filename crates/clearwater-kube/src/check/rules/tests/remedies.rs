//! What is told to do helps.

use super::*;

/// What hangs goes for good: to restart its program leaves the daemon behind, with its port.
#[test]
fn what_hangs_is_ended_with_what_holds_its_port() {
    use crate::pod::HANGS;

    let told = |component: Component, part_of: Part, text: &str| {
        let mut facts = health();
        part(&mut facts, component)
            .problems
            .push(Finding::new(About::Pod(format!("{component}-0"), part_of), format!("what was asked: {text}")));
        let line = lines(&facts).into_iter().find(|l| l.status == CheckStatus::Failed).unwrap();
        let fix = line.fix.unwrap().to_string();
        assert!(!fix.contains("supervisorctl restart"), "{fix}");
        fix
    };
    let kept_out = "its port is in use: an earlier process of it lives on, and supervisord knows nothing of it";
    let program = |name: &str| Part::Program(format!("clearwater-group:{name}"));
    for (component, part_of, text, begins, says) in [
        (Component::Homestead, Part::Question(0), "no answer in time", "kubectl delete pod -n ims homestead-0", ""),
        (Component::Sprout, Part::Question(0), "no answer in time", "kubectl delete pod -n ims sprout-0", ""),
        // They would lose what they hold.
        (Component::Cassandra, Part::Question(1), HANGS, "kubectl exec -n ims cassandra-0 -- bash -c '", "kill -KILL'"),
        (
            Component::Chronos,
            Part::Question(0),
            "no answer in time",
            "kubectl exec -n ims chronos-0 -- bash",
            ":1C55,0A",
        ),
        (Component::Etcd, Part::Question(0), HANGS, "take etcd down, then bring the deployment up", ""),
        // Nor does supervisord start it while an earlier one holds its port.
        (Component::Homer, program("homer"), kept_out, "kubectl delete pod -n ims homer-0", ""),
        (Component::Cassandra, program("cassandra"), kept_out, "kubectl exec -n ims cassandra-0 -- bash", "kill -KILL"),
        // The first process of a container is ended by nothing inside of it.
        (Component::Sprout, Part::Programs, HANGS, "kubectl delete pod -n ims sprout-0", ""),
        (Component::Chronos, Part::Programs, HANGS, "take chronos down, then bring the deployment up", ""),
    ] {
        let fix = told(component, part_of.clone(), text);
        assert!(fix.starts_with(begins) && fix.contains(says), "{component} {part_of:?}: {fix}");
    }
}

/// What grows is told by what the place is.
#[test]
fn room_is_made_where_it_lacks() {
    let fix = |place: &str| {
        let mut facts = health();
        let mut chronos = serde_json::to_value(pod(Component::Chronos, 0)).unwrap();
        chronos["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "logs", "mountPath": "/var/log/chronos"},
            {"name": "data", "mountPath": "/data"}, {"name": "small", "mountPath": "/scratch"}]);
        chronos["spec"]["volumes"] = json!([{"name": "logs", "emptyDir": {}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-chronos-0"}},
            {"name": "small", "emptyDir": {"sizeLimit": "8Mi"}}]);
        add(&mut facts, chronos);
        inside(&mut facts, "chronos-0").full.insert(place.to_owned(), 90);
        let said = lines(&facts).into_iter().find(|l| l.id == CheckId::Disk).unwrap().fix.unwrap().to_string();
        // What all pods of a node show alike names none of them.
        let named = said.contains(&format!("kubectl exec -n ims chronos-0 -- du -xah {place}"));
        assert_eq!(named, place != "/", "{said}");
        said
    };
    assert!(fix("/var/log/chronos").starts_with("logs grow there: a lower logLevel"), "{}", fix("/var/log/chronos"));
    assert!(fix("/data").starts_with("larger storage for persistentvolumeclaim/data-chronos-0"), "{}", fix("/data"));
    assert!(fix("/scratch").starts_with("a larger sizeLimit than 8Mi"), "{}", fix("/scratch"));
    assert!(fix("/").starts_with("make room on the disk of node one"), "{}", fix("/"));
}
