//! Who listens where, and what is answered.

use clearwater::component::Component;

use super::{Book, look};

/// Ports of a component: on its own address, and whether the loopback answers too.
fn listens(component: Component, classic: bool) -> &'static [(u16, bool)] {
    match component {
        Component::Astaire => &[(11211, true), (11311, true)],
        Component::Memcached => &[(11211, true)],
        Component::Cassandra => &[(7000, false), (9042, true), (9160, true)],
        Component::Chronos => &[(7253, false)],
        Component::Homestead if classic => &[(8888, false), (8889, true)],
        Component::Homestead => &[(8888, false)],
        Component::HomesteadProv => &[(8889, true)],
        Component::Homer => &[(7888, true)],
        Component::Ralf => &[(10888, false)],
        Component::Sprout => &[(5052, false), (5053, false), (5054, false), (9888, false)],
        Component::Bono => &[(5058, false), (5060, false), (5062, false), (3478, false)],
        Component::Ellis => &[(80, true)],
        _ => &[],
    }
}

/// The port whose `/ping` answers OK.
fn pinged(component: Component) -> Option<u16> {
    Some(match component {
        Component::Chronos => 7253,
        Component::Homestead => 8888,
        Component::HomesteadProv => 8889,
        Component::Homer => 7888,
        Component::Ralf => 10888,
        Component::Sprout => 9888,
        Component::Ellis => 80,
        _ => return None,
    })
}

pub(super) fn put(book: &mut Book<'_>) {
    const PACKAGING: &str = "packaging of each component, */Dockerfile EXPOSE";
    let (component, place) = (book.component(), book.place);
    for (port, everywhere) in listens(component, book.classic) {
        let (words, script) = if *everywhere {
            let script = look!(
                place,
                r#"nc -z -w 2 "$ip" "$1" || { n=$?; echo "nothing on $ip:$1"; exit $n; }
nc -z -w 2 127.0.0.1 "$1" || { echo "nothing on 127.0.0.1:$1"; exit 1; }"#
            );
            (format!("listens on {port}, on the loopback too"), script)
        } else {
            let script = look!(
                place,
                r#"nc -z -w 2 "$ip" "$1" || { n=$?; echo "nothing on $ip:$1"; exit $n; }
! nc -z -w 2 127.0.0.1 "$1" || { echo "127.0.0.1:$1 answers"; exit 1; }"#
            );
            (format!("listens on {port} on its own address only"), script)
        };
        book.read(format!("port-{port}"), words, PACKAGING, script.arg(port));
    }
    if let Some(port) = pinged(component) {
        // What nginx stands before is asked on the loopback.
        let everywhere = listens(component, book.classic).contains(&(port, true));
        // A URL has an address of IPv6 in brackets.
        let own = if place.address.contains(':') { format!("[{}]", place.address) } else { place.address.clone() };
        let host = if everywhere { "127.0.0.1".to_owned() } else { own };
        let script = look!(place, r#"seen=$(curl -s -m 5 "http://$1/ping"); echo "$seen"; [ "$seen" = OK ]"#);
        let source = "crest api/ping.py; cpp-common httpstack_utils";
        book.read("ping", "answers /ping with exactly OK", source, script.arg(format_args!("{host}:{port}")));
    }
    match component {
        Component::Astaire => {
            binary(book, 11211, "memcached-store", "memcached doc/protocol-binary.txt");
            astaire(book);
        }
        Component::Memcached => binary(book, 11211, "memcached-store", "memcached doc/protocol-binary.txt"),
        // One that hangs has its connections taken by the kernel.
        Component::Cassandra => {
            let script = look!(
                place,
                r#"exec 3<>"/dev/tcp/$ip/9042" || exit 1; printf '\x03\x00\x00\x00\x05\x00\x00\x00\x00' >&3
LC_ALL=C IFS= read -r -t 5 -N 1 seen <&3 || { echo "no answer"; exit 1; }"#
            );
            let spec = "Apache Cassandra doc/native_protocol_v3.spec, 4.1.3";
            book.read("cql", "answers CQL's OPTIONS on 9042", spec, script);
        }
        Component::Bono => {
            options(book, &[5058, 5060]);
            let script = look!(
                place,
                r#"seen=$(printf '\x00\x01\x00\x00\x21\x12\xa4\x42contract-one' | timeout 3 nc -u -w 1 "$ip" 3478 | head -c 2 | od -An -tx1 | tr -d ' \n')
echo "the answer begins with: $seen"; [ "$seen" = 0101 ]"#
            );
            book.read("stun", "answers STUN on UDP 3478", "restund, RFC 5389", script);
        }
        Component::Sprout => options(book, &[5052, 5053, 5054]),
        _ => {}
    }
}

fn options(book: &mut Book<'_>, ports: &[u16]) {
    for port in ports {
        let script = look!(
            book.place,
            r#"exec 3<>"/dev/tcp/$ip/$1" || exit 1
printf '%s\r\n' "OPTIONS sip:$ip:$1 SIP/2.0" "Via: SIP/2.0/TCP $ip;rport;branch=z9hG4bK-$RANDOM$RANDOM" 'Max-Forwards: 2' \
  "To: <sip:$ip:$1>" "From: <sip:poll@$ip>;tag=$RANDOM" "Call-ID: $RANDOM$RANDOM" 'CSeq: 1 OPTIONS' 'Content-Length: 0' '' >&3
IFS= read -r -t 4 seen <&3; echo "$seen"; [[ $seen == 'SIP/2.0 200 '* ]]"#
        );
        let words = format!("answers OPTIONS on {port} with 200");
        book.read(format!("options-{port}"), words, "sprout src/options.cpp", script.arg(port));
    }
}

/// memcached's `version`, of its binary protocol.
fn binary(book: &mut Book<'_>, port: u16, id: &str, source: &'static str) {
    let script = look!(
        book.place,
        r#"seen=$({ printf '\x80\x0b'; for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do printf '\x00'; done; } |
  timeout 3 nc -w 1 127.0.0.1 "$1" | tr -cd '[:print:]'); echo "$seen"; [[ $seen =~ [0-9]+[.][0-9]+ ]]"#
    );
    book.read(id, format!("answers memcached's binary protocol on {port}"), source, script.arg(port));
}

fn astaire(book: &mut Book<'_>) {
    const PROXY: &str = "astaire src/proxy_server.cpp";
    binary(book, 11311, "memcached-binary", PROXY);
    let text = look!(
        book.place,
        r#"seen=$(printf 'version\r\n' | timeout 2 nc -w 1 127.0.0.1 11311 | tr -d '\0'); echo "$seen"; [ -z "$seen" ]"#
    );
    book.seen("rogers", "does not answer memcached's text protocol on 11311", PROXY, text);
}
