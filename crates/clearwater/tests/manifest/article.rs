//! The two listings of the article "Clearwater On Kubernetes", Bono's Pod and Bono's Service, are recognisable in what
//! is rendered for the classic release.

use std::collections::BTreeSet;

use super::cases::{ARTICLE, CLASSIC, deployment};
use clearwater::manifest::{Inputs, Object, render};
use k8s_openapi::api::core::v1::{Pod, Service};

/// What the article's Pod comes to: one container `bono` of a registry of one's own, told its public address.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: bono
  labels: {app: clearwater-bono}
spec:
  containers:
  - name: bono
    image: 10.34.40.11:1179/clearwater-bono
    ports:
    - {containerPort: 3478, protocol: TCP}
    - {containerPort: 5060, protocol: TCP}
    - {containerPort: 5062, protocol: TCP}
    - {containerPort: 5060, protocol: UDP}
    - {containerPort: 5062, protocol: UDP}
    env:
    - {name: PUBLIC_IP, value: 15.116.146.11}
";

/// What the article's Service comes to: SIP keeps its port number outside the cluster.
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata:
  name: bono
  labels: {app: clearwater-bono}
spec:
  type: NodePort
  selector: {app: clearwater-bono}
  ports:
  - {name: sip-tcp, port: 5060, protocol: TCP, nodePort: 5060}
  - {name: sip-udp, port: 5060, protocol: UDP, nodePort: 5060}
  - {name: ws-tcp, port: 5062, protocol: TCP, nodePort: 30002}
  - {name: ws-udp, port: 5062, protocol: UDP, nodePort: 5062}
  - {name: stun, port: 3478, protocol: TCP, nodePort: 3478}
";

fn pod() -> Pod {
    ARTICLE.manifest("default").find("StatefulSet", "bono").and_then(Object::sample_pod).unwrap()
}

fn node_ports(service: &Service) -> BTreeSet<(i32, String, i32)> {
    let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
    ports.iter().map(|p| (p.port, p.protocol.clone().unwrap(), p.node_port.unwrap())).collect()
}

#[test]
fn the_pod() {
    let theirs: Pod = clearwater::yaml::read_one(POD).unwrap();
    let theirs = &theirs.spec.as_ref().unwrap().containers[0];
    let ours = pod();
    let ours = &ours.spec.as_ref().unwrap().containers[0];
    assert_eq!(ours.name, theirs.name);
    let image = ours.image.as_deref().unwrap();
    assert_eq!(image.rsplit_once(':').map(|(name, _)| name), theirs.image.as_deref());
    let ports = |c: &k8s_openapi::api::core::v1::Container| -> BTreeSet<(i32, Option<String>)> {
        c.ports.iter().flatten().map(|p| (p.container_port, p.protocol.clone())).collect()
    };
    assert!(ports(ours).is_superset(&ports(theirs)), "{:?}", ports(ours));
}

#[test]
fn the_public_address() {
    let theirs: Pod = clearwater::yaml::read_one(POD).unwrap();
    let address = theirs.spec.unwrap().containers[0].env.as_ref().unwrap()[0].value.clone().unwrap();
    let manifest = ARTICLE.manifest("default");
    let Some(Object::ConfigMap(map)) = manifest.find("ConfigMap", "bono-start") else { panic!("no bono-start") };
    assert!(map.data.as_ref().unwrap()["start.sh"].contains(&format!("bono-0) PUBLIC_IP={address} ;;")));
}

#[test]
fn the_service() {
    let theirs: Service = clearwater::yaml::read_one(SERVICE).unwrap();
    let manifest = ARTICLE.manifest("default");
    let Some(Object::Service(ours)) = manifest.find("Service", "bono-0") else { panic!("no Service bono-0") };
    assert_eq!(ours.spec.as_ref().unwrap().type_, theirs.spec.as_ref().unwrap().type_);
    let mut ours_ports = node_ports(ours);
    // Beyond the article: STUN is asked over UDP in the first place.
    assert!(ours_ports.remove(&(3478, "UDP".to_owned(), 3478)));
    assert_eq!(ours_ports, node_ports(&theirs));
    let labels = pod().metadata.labels.unwrap();
    let mut selector = ours.spec.as_ref().unwrap().selector.clone().unwrap();
    assert_eq!(selector.remove("statefulset.kubernetes.io/pod-name").as_deref(), Some("bono-0"));
    assert!(selector.iter().all(|(k, v)| labels.get(k) == Some(v)));
}

#[test]
fn services_have_virtual_addresses() {
    let manifest = ARTICLE.manifest("default");
    for object in manifest.objects() {
        if let Object::Service(service) = object {
            assert_eq!(service.spec.as_ref().unwrap().cluster_ip, None, "{}", object.name());
        }
    }
}

/// The article's way to the same pods with today's means: headless Services, and sub-domains from the pods' names.
#[test]
fn the_ports_are_the_same_with_headless_services() {
    let headless =
        CLASSIC.to_owned() + "bono: {exposure: nodePort, addresses: [15.116.146.11], nodePortRange: 3000-32767}\n";
    let manifest = render(&deployment(&headless, "default"), &Inputs::default()).unwrap();
    let article = ARTICLE.manifest("default");
    assert_eq!(manifest.find("Service", "bono-0"), article.find("Service", "bono-0"));
}
