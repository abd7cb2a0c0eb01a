//! etcd, and what members of stores know of each other.

use clearwater::component::Component;

use super::{Book, Known, look};

pub(super) fn put(book: &mut Book<'_>) {
    let component = book.component();
    let place = book.place;
    if matches!(component, Component::Astaire | Component::Memcached) {
        etcd(book);
        cluster(book);
    }
    if let Some(clustering) = book.entry.clustering {
        let script = look!(
            place,
            r#"seen=$(curl -s -m 5 "http://127.0.0.1:4000/v2/keys$1"); echo "$seen"
grep -Eq "\\\\\"${ip//./[.]}\\\\\": ?\\\\\"normal\\\\\"" <<< "$seen""#
        );
        let words = format!("is `normal` in the map {}", clustering.etcd_key);
        book.read("member-normal", words, "clearwater-etcd-plugins *_plugin.py", script.arg(clustering.etcd_key));
        let script = look!(
            place,
            r#"seen=$(cat /var/log/clearwater-cluster-manager/cluster-manager_*.txt |
  grep -Eao 'Pausing for [0-9]+ seconds in case more nodes are joining the cluster|waiting to join' | sort -u)
[[ $seen != *'Pausing for '* ]] || exit 0
[[ $seen == *'waiting to join'* ]] || { echo "its log of when it joined is no longer there"; exit 125; }
echo "its log has the member waiting to join, and no pause"; exit 1"#
        );
        let manager = "clearwater-etcd src/metaswitch/clearwater/cluster_manager/synchronization_fsm.py";
        book.seen("join-pause", "paused for others before it joined", manager, script);
    }
    match component {
        Component::Chronos => book.read(
            "chronos-cluster",
            "has its member list in chronos_cluster.conf",
            "clearwater-etcd-plugins chronos/chronos_plugin.py",
            look!(place, r#"f=/etc/chronos/chronos_cluster.conf; cat $f; grep -q "^node *= *${ip//./[.]}" $f"#),
        ),
        Component::Cassandra => {
            book.read(
                "cassandra-yaml",
                "has a cassandra.yaml written when it joined",
                "clearwater-etcd-plugins clearwater_cassandra/cassandra_plugin.py",
                look!(
                    place,
                    r#"f=/etc/cassandra/cassandra.yaml; grep '^listen_address' $f; grep -q "^listen_address: *${ip//./[.]}" $f"#
                ),
            );
            let script =
                look!(place, r#"seen=$(timeout 15 nodetool status 2>&1); echo "$seen"; grep -q '^UN' <<< "$seen""#);
            book.read("nodetool", "is up and normal in nodetool status", "Apache Cassandra 2.1 nodetool", script);
        }
        _ => {}
    }
}

fn etcd(book: &mut Book<'_>) {
    const SERVER: &str = "etcd-io/etcd etcdmain/etcd.go";
    for (id, words, path, wanted) in [
        ("etcd-health", "answers /health on 2379", "2379/health", "\"health\""),
        ("etcd-v2", "serves the v2 keys on 4001", "4001/v2/keys", "\"node\""),
        ("etcd-members", "lists its members on 2380, where proxies look", "2380/members", "clientURLs"),
    ] {
        let script = look!(
            book.place,
            r#"[ -n "$1" ] || { echo "no pod of etcd runs"; exit 125; }
seen=$(curl -s -m 5 "http://$1:$2"); echo "$seen"; [[ $seen == *"$3"* ]]"#
        );
        let script = script.arg(book.place.etcd.as_deref().unwrap_or_default()).arg(path).arg(wanted);
        book.put(Component::Etcd, id, words, SERVER, Known::Read, script);
    }
}

/// The store of registrations.
fn cluster(book: &mut Book<'_>) {
    book.read(
        "cluster-state",
        "prints the clusters with cw-check_cluster_state and ends 0 when all are normal",
        "clearwater-etcd src/metaswitch/clearwater/etcd_tests, check_cluster_state.py",
        look!(
            book.place,
            r#"seen=$(timeout 15 cw-check_cluster_state); code=$?; echo "$seen"
grep -q '^This script prints the status of the data store clusters' <<< "$seen" &&
  grep -q '^Describing the Memcached cluster:' <<< "$seen" && grep -q '^  The cluster is stable.' <<< "$seen" &&
  grep -q "^    ${ip//./[.]} is in state normal." <<< "$seen" && exit $code"#
        ),
    );
    book.read(
        "cluster-settings",
        "has its member list in cluster_settings",
        "clearwater-etcd-plugins clearwater_memcached/memcached_utils.py",
        look!(book.place, r#"f=/etc/clearwater/cluster_settings; cat $f; grep -q "^servers=.*${ip//./[.]}:11211" $f"#),
    );
}
