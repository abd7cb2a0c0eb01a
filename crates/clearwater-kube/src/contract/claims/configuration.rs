//! What the generator makes of a container's environment.

use super::{Book, look};

const GENERATOR: &str = "clearwater-infrastructure debian/clearwater-auto-config-docker.init.d";

/// Settings of both releases, each with its value; `@` stands for the zone with a dot before it.
const SETTINGS: [&str; 5] = [
    "sprout_hostname=sprout@",
    "xdms_hostname=homer@:7888",
    "ralf_hostname=ralf@:10888",
    "chronos_hostname=chronos@",
    "cassandra_hostname=cassandra@",
];
const HUNTER: [&str; 8] = [
    "hs_hostname=homestead@:8888",
    "sprout_registration_store=astaire@",
    "homestead_impu_store=astaire@",
    "ralf_session_store=astaire@",
    "upstream_hostname=sprout@",
    "scscf_uri=sip:sprout@:5054;transport=tcp",
    "icscf_uri=sip:sprout@:5052;transport=tcp",
    "bgcf_uri=sip:sprout@:5053;transport=tcp",
];
const CLASSIC: [&str; 2] = ["hs_hostname=hs@:8888", "hs_provisioning_hostname=hs@:8889"];

pub(super) fn put(book: &mut Book<'_>) {
    let place = book.place;
    // Lines that were added on purpose come later in the file and win: the first assignment is the generator's.
    let script = look!(
        place,
        r#"z=${ZONE:+.$ZONE}; bad=0
is() {
  seen=$(sed -n "s/^$1=//p" /etc/clearwater/shared_config | head -n 1 | tr -d '"')
  [ "$seen" = "$2" ] || { echo "$1 is '$seen', not '$2'"; bad=1; }
}
is home_domain "${ZONE:-example.com}"
for want in "$@"; do is "${want%%=*}" "${want#*=}"; done
exit $bad"#
    );
    let script = script.args(SETTINGS.iter().chain(if book.classic { &CLASSIC[..] } else { &HUNTER[..] }).copied());
    book.read("shared-config", "has shared_config made from ZONE", GENERATOR, script);
    if !book.classic {
        book.seen(
            "generator-order",
            "has ralf_session_store before homestead_impu_store",
            GENERATOR,
            look!(
                place,
                r#"seen=$(grep -Eo '^(ralf_session|homestead_impu)_store=' /etc/clearwater/shared_config); echo "$seen"
[ "$seen" = $'ralf_session_store=\nhomestead_impu_store=' ]"#
            ),
        );
    }
    book.read(
        "name-servers",
        "asks the name servers of its resolv.conf",
        GENERATOR,
        look!(
            place,
            r#"want=$(grep nameserver /etc/resolv.conf | cut -d ' ' -f 2 | paste -sd ,)
seen=$(sed -n 's/^signaling_dns_server=//p' /etc/clearwater/shared_config | tail -n 1)
echo "signaling_dns_server is $seen, resolv.conf has $want"; [ "$seen" = "$want" ]"#
        ),
    );
    book.read(
        "local-config",
        "has local_config made from its address and PUBLIC_IP",
        GENERATOR,
        look!(
            place,
            r#"f=/etc/clearwater/local_config; cat $f
grep -qx "local_ip=$ip" $f && grep -qx "public_ip=${PUBLIC_IP:-$ip}" $f &&
  grep -qx 'etcd_proxy=etcd0=http://etcd:2380' $f && ! grep -q '^etcd_cluster=' $f"#
        ),
    );
}
