//! Claims about SIP, and about what Ellis provisions.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Book, Seen, Site};

/// Bash functions for SIP over TCP with what every image has.
pub(super) const SIP: &str = r#"
open() { exec 3<> "/dev/tcp/$1/$2"; }
say() { printf '%s\r\n' "$@" '' >&3; }
hear() {
  local line code
  while :; do
    code=
    while IFS= read -r -t 8 line <&3; do
      line=${line%$'\r'}
      [ -n "$line" ] || break
      [ -n "$code" ] || { code=$(cut -d ' ' -f 2 <<< "$line"); answer=; }
      answer+=$line$'\n'
    done
    [ -n "$code" ] || { code=none; break; }
    [ "$code" = 100 ] || break
  done
  echo "$code" >&2
  status=$code
}
register() { # address port domain user extra-header...
  local address=$1 port=$2 domain=$3 user=$4
  shift 4
  say "REGISTER sip:$domain SIP/2.0" "Via: SIP/2.0/TCP $ip:5999;rport;branch=z9hG4bK-$RANDOM$RANDOM" 'Max-Forwards: 70' \
    "To: <$user>" "From: <$user>;tag=$RANDOM" "Call-ID: contract-$$" "CSeq: $((++cseq)) REGISTER" \
    "Contact: <sip:contract@$ip:5999;transport=tcp>" "$@" 'Content-Length: 0'
  hear
}
md5() { printf %s "$1" | md5sum | cut -d ' ' -f 1; }
part() { sed -n "s/^WWW-Authenticate:.*[ ,]$1=\"\([^\"]*\)\".*/\1/p" <<< "$answer"; }
credentials() { # impi password uri
  local nonce realm ha1 ha2
  nonce=$(part nonce)
  realm=$(part realm)
  ha1=$(md5 "$1:$realm:$2")
  ha2=$(md5 "REGISTER:$3")
  echo "Authorization: Digest username=\"$1\", realm=\"$realm\", nonce=\"$nonce\", uri=\"$3\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"abc\", response=\"$(md5 "$ha1:$nonce:00000001:abc:auth:$ha2")\""
}
enter() { # address port domain user impi password extra-header...: REGISTER, and again with the password
  local address=$1 port=$2 domain=$3 user=$4 impi=$5 password=$6
  shift 6
  register "$address" "$port" "$domain" "$user" "$@"
  [ "$status" = 401 ] || return
  register "$address" "$port" "$domain" "$user" "$@" "$(credentials "$impi" "$password" "sip:$domain")"
}
"#;

pub(super) fn sip(book: &mut Book, site: &Site) {
    book.claim("sprout", "answers 483 when Max-Forwards has run out", "sprout src/sproutletproxy.cpp", || {
        let domain = site.setting("sprout", "home_domain")?;
        site.holds(
            "sprout",
            &format!(
                "{SIP}\nopen $ip 5054; say 'MESSAGE sip:6505550000@{domain} SIP/2.0' \"Via: SIP/2.0/TCP $ip;branch=z9hG4bK-1$RANDOM\" \
                 'Max-Forwards: 0' 'To: <sip:6505550000@{domain}>' 'From: <sip:a@{domain}>;tag=1' \"Call-ID: $RANDOM\" 'CSeq: 1 MESSAGE' \
                 'Content-Length: 0'; hear; [ \"$status\" = 483 ]"
            ),
        )
    });
    book.fact("register-unknown", "bono", "forwards a REGISTER: unknown users get 403", "sprout src/icscfrouter.cpp", || {
        let domain = site.setting("bono", "home_domain")?;
        site.holds(
            "bono",
            &format!("{SIP}\nopen $ip 5060; register $ip 5060 {domain} sip:nobody@{domain} 'Expires: 60'; echo \"$answer\"; [ \"$status\" = 403 ]"),
        )
    });
    book.fact("route-name", "sprout", "serves a Route with its name, as bono writes it", "sprout src/bono.cpp", || {
        let domain = site.setting("sprout", "home_domain")?;
        let name = site.setting("sprout", "sprout_hostname")?;
        site.holds(
            "sprout",
            &format!(
                "{SIP}\nopen $ip 5052; register $ip 5052 {domain} sip:nobody@{domain} 'Expires: 60' \
                 'Route: <sip:{name}:5052;transport=TCP;lr;orig>'; echo \"$answer\"; [ \"$status\" = 403 ]"
            ),
        )
    });
    book.fact("invite-unknown", "sprout", "answers 404 to an INVITE for an unknown number", "sprout src/icscfrouter.cpp", || {
        let domain = site.setting("sprout", "home_domain")?;
        site.holds(
            "sprout",
            &format!(
                "{SIP}\nopen $ip 5052; say 'INVITE sip:6505550000@{domain} SIP/2.0' \"Via: SIP/2.0/TCP $ip;branch=z9hG4bK-3$RANDOM\" \
                 'Max-Forwards: 70' 'To: <sip:6505550000@{domain}>' 'From: <sip:a@{domain}>;tag=1' \"Call-ID: $RANDOM$RANDOM\" \
                 'CSeq: 1 INVITE' \"Contact: <sip:a@$ip>\" 'Content-Length: 0'; hear; echo \"$answer\"; [ \"$status\" = 404 ]"
            ),
        )
    });
}

/// A request over a connection of its own: to whom, at which port, and what is said.
struct Single {
    component: &'static str,
    port: u16,
    method: &'static str,
    /// `DOMAIN` in it is the home domain.
    uri: &'static str,
    /// A header more, as bash quotes it.
    more: &'static str,
}

impl Single {
    const fn to(component: &'static str, port: u16, method: &'static str, uri: &'static str) -> Self {
        Self { component, port, method, uri, more: "" }
    }

    /// Whether this is the answer.
    fn gets(&self, site: &Site, code: u16) -> Seen {
        let Self { component, port, method, more, .. } = self;
        let domain = site.setting(component, "home_domain")?;
        let uri = self.uri.replace("DOMAIN", &domain);
        site.holds(
            component,
            &format!(
                "{SIP}\nopen $ip {port}; say '{method} {uri} SIP/2.0' \"Via: SIP/2.0/TCP $ip;branch=z9hG4bK-4$RANDOM$RANDOM\" \
                 'Max-Forwards: 70' 'To: <{uri}>' 'From: <sip:a@{domain}>;tag=1' \"Call-ID: $RANDOM$RANDOM\" \
                 'CSeq: 1 {method}' {more} 'Content-Length: 0'; hear; echo \"$answer\"; [ \"$status\" = {code} ]"
            ),
        )
    }
}

/// What bono and sprout know transactions, phones and numbers by.
pub(super) fn flows(book: &mut Book, site: &Site) {
    const PROXY: &str = "sprout src/basicproxy.cpp";
    const EDGE: &str = "sprout src/bono.cpp";
    for (component, port, source) in [("bono", 5060, EDGE), ("sprout", 5054, PROXY)] {
        book.fact("cancel-stray", component, "answers 481 to a CANCEL of nothing", source, || {
            Single::to(component, port, "CANCEL", "sip:6505550000@DOMAIN").gets(site, 481)
        });
    }
    book.fact("flow-stranger", "bono", "lets nobody send who is not registered through it: 403", EDGE, || {
        Single::to("bono", 5060, "MESSAGE", "sip:6505550000@DOMAIN").gets(site, 403)
    });
    book.fact("flow-failed", "bono", "answers 430 to a request for a flow that it never had", EDGE, || {
        let more = "\"Route: <sip:nobody@$ip:5058;transport=TCP;lr>\"";
        Single { more, ..Single::to("bono", 5058, "MESSAGE", "sip:6505550000@192.0.2.1") }.gets(site, 430)
    });
    book.fact("register-trusted", "bono", "answers 405 to a REGISTER from within", EDGE, || {
        Single::to("bono", 5058, "REGISTER", "sip:DOMAIN").gets(site, 405)
    });
    book.fact("register-emergency", "bono", "answers 503 itself to an emergency registration", EDGE, || {
        let more = "\"Contact: <sip:a@$ip:5999;transport=tcp;sos>\"";
        Single { more, ..Single::to("bono", 5060, "REGISTER", "sip:DOMAIN") }.gets(site, 503)
    });
    for (component, port, code, words) in [
        ("bono", 5060, 403, "does not answer OPTIONS for a user: 403 for a stranger"),
        ("sprout", 5052, 404, "does not answer OPTIONS for a user: 404 where nobody has the number"),
    ] {
        book.fact("options-user", component, words, "sprout src/options.cpp, src/uri_classifier.cpp", || {
            Single::to(component, port, "OPTIONS", "sip:6505550000@DOMAIN").gets(site, code)
        });
    }
    let more = "'Event: reg' \"Contact: <sip:a@$ip>\"";
    let subscriptions = "sprout src/subscriptionsproutlet.cpp, src/hss_sip_mapping.cpp";
    book.fact(
        "reg-event-unknown",
        "sprout",
        "answers 403 to a SUBSCRIBE to nobody's registration",
        subscriptions,
        || Single { more, ..Single::to("sprout", 5054, "SUBSCRIBE", "sip:6505550000@DOMAIN") }.gets(site, 403),
    );
    let numbers = "sprout src/icscfsproutlet.cpp";
    book.fact("tel-without-enum", "sprout", "answers 404 to a number that nobody has", numbers, || {
        Single::to("sprout", 5052, "MESSAGE", "tel:+16505550000").gets(site, 404)
    });
    book.fact(
        "quoted-parameter",
        "sprout",
        "reads a quoted parameter, in To as well: 404, nobody has it",
        "pjsip sip_parser.c",
        || Single::to("sprout", 5052, "MESSAGE", "sip:6505550000@DOMAIN;x=\"a\"").gets(site, 404),
    );
}

pub(super) fn provisioning(book: &mut Book, site: &Site) {
    const ELLIS: &str = "ellis docs/api.md";
    let account = format!("contract-{}@example.com", std::process::id());
    let curl = "curl -s -m 20 -b /tmp/contract.jar -c /tmp/contract.jar -w '\\n%{http_code}'";
    let ellis = |arguments: &str, code: u16| -> Result<(Option<String>, String)> {
        let ran =
            site.run("ellis", &format!("key=$(. /etc/clearwater/config; echo \"$signup_key\"); {curl} {arguments}"))?;
        let (body, status) = ran.text.trim_end().rsplit_once('\n').unwrap_or(("", ran.text.trim()));
        Ok(((status != code.to_string()).then(|| ran.text.clone()), body.trim().to_owned()))
    };
    let sign_up = format!(
        "-d email={account} -d password=secret1 -d full_name=Contract -d signup_code=\"$key\" http://127.0.0.1/accounts/"
    );
    let accounts = "ellis src/metaswitch/ellis/api/accounts.py";
    book.fact("ellis-code", "ellis", "refuses an account with a wrong code: 403", accounts, || {
        Ok(ellis(
            "-d email=x@example.com -d password=secret1 -d full_name=X -d signup_code=wrong http://127.0.0.1/accounts/",
            403,
        )?
        .0)
    });
    book.fact("ellis-field", "ellis", "refuses an account without a name, whatever the code: 400", accounts, || {
        Ok(ellis("-d email=x@example.com -d password=secret1 -d signup_code=wrong http://127.0.0.1/accounts/", 400)?.0)
    });
    book.claim("ellis", "creates an account: 201", ELLIS, || Ok(ellis(&sign_up, 201)?.0));
    book.claim("ellis", "refuses the same account again: 409", ELLIS, || Ok(ellis(&sign_up, 409)?.0));
    book.claim("ellis", "refuses a wrong password: 403", ELLIS, || {
        Ok(ellis(&format!("-d email={account} -d password=wrong http://127.0.0.1/session/"), 403)?.0)
    });
    book.claim("ellis", "opens a session: 201", ELLIS, || {
        Ok(ellis(&format!("-d email={account} -d password=secret1 http://127.0.0.1/session/"), 201)?.0)
    });
    let mut number = Value::Null;
    book.claim("ellis", "hands out a number with its password: 201", ELLIS, || {
        let (seen, body) = ellis(&format!("-X POST -d pstn=false http://127.0.0.1/accounts/{account}/numbers/"), 201)?;
        number = serde_json::from_str(&body).unwrap_or(Value::Null);
        let complete = ["sip_uri", "sip_username", "private_id", "number", "formatted_number", "sip_password"]
            .iter()
            .all(|key| number[*key].is_string());
        Ok(seen.or((!complete).then_some(body)))
    });
    let line = Line::of(&number);
    profile(book, site, &line);
    registering(book, site, &line);
    services(book, site, &line);
    subscribing(book, site, &line);
    book.claim("ellis", "takes the number back: 200", ELLIS, || {
        line.made()?;
        Ok(ellis(&format!("-X DELETE http://127.0.0.1/accounts/{account}/numbers/{}/", line.uri), 200)?.0)
    });
}

/// The number that Ellis made.
struct Line {
    uri: String,
    impi: String,
    password: String,
}

impl Line {
    fn of(number: &Value) -> Self {
        let text = |key: &str| number[key].as_str().unwrap_or_default().to_owned();
        Self { uri: text("sip_uri"), impi: text("private_id"), password: text("sip_password") }
    }

    fn made(&self) -> Result<()> {
        ensure!(!self.uri.is_empty(), "Ellis made no number");
        Ok(())
    }
}

/// What homestead-prov and homer hold of the number.
fn profile(book: &mut Book, site: &Site, line: &Line) {
    const PROV: &str = "crest docs/homestead_prov_api.md";
    let (prov, port) = if site.is_classic() { ("homestead", 8889) } else { ("homestead-prov", 8889) };
    let ask = |path: String, code: u16| {
        site.holds(prov, &format!("seen=$(curl -s -m 5 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{port}{path}); echo $seen; [ $seen = {code} ]"))
    };
    book.claim(prov, "knows the private identity Ellis made: 200", PROV, || {
        line.made()?;
        ask(format!("/private/{}", line.impi), 200)
    });
    book.claim(prov, "does not know another: 404", PROV, || ask("/private/nobody@nowhere".to_owned(), 404));
    book.claim(prov, "redirects from a public identity to its service profile: 303", PROV, || {
        line.made()?;
        ask(format!("/public/{}/service_profile", line.uri.replace(':', "%3A").replace('@', "%40")), 303)
    });
    book.claim("homer", "holds the simservs that Ellis put there: 200", "crest docs/homer_api.md", || {
        line.made()?;
        site.holds(
            "homer",
            &format!("seen=$(curl -s -m 5 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:7888/org.etsi.ngn.simservs/users/{}/simservs.xml); echo $seen; [ $seen = 200 ]", line.uri),
        )
    });
}

/// What Bono lets the user do.
fn registering(book: &mut Book, site: &Site, line: &Line) {
    let Line { uri, impi, password } = line;
    let leave = |domain: &str| format!("enter $ip 5060 {domain} {uri} {impi} {password} 'Expires: 0'");
    book.claim("bono", "registers the user: 401 in the home domain, then 200 with Service-Route and P-Associated-URI",
        "sprout src/authenticationsproutlet.cpp, src/registrarsproutlet.cpp", || {
            line.made()?;
            let domain = site.setting("bono", "home_domain")?;
            let leave = leave(&domain);
            site.holds(
                "bono",
                &format!(
                    "{SIP}\nopen $ip 5060; register $ip 5060 {domain} {uri} 'Expires: 60'; echo \"$answer\"; \
                     [ \"$status\" = 401 ] && [ \"$(part realm)\" = {domain} ] || exit 1; c=$(credentials {impi} {password} sip:{domain}); \
                     register $ip 5060 {domain} {uri} 'Expires: 60' \"$c\"; echo \"$answer\"; \
                     [ \"$status\" = 200 ] && grep -qi '^Service-Route:.*orig' <<< \"$answer\" && grep -qi '^P-Associated-URI:' <<< \"$answer\" || exit 1; \
                     {leave}; [ \"$status\" = 200 ]"
                ),
            )
        });
    book.fact("nonce-once", "bono", "challenges a user who registers again, over the same flow or with a nonce that was used: 401",
        "sprout src/authenticationsproutlet.cpp", || {
            line.made()?;
            let domain = site.setting("bono", "home_domain")?;
            let leave = leave(&domain);
            site.holds(
                "bono",
                &format!(
                    "{SIP}\nopen $ip 5060; register $ip 5060 {domain} {uri} 'Expires: 60'; c=$(credentials {impi} {password} sip:{domain}); \
                     register $ip 5060 {domain} {uri} 'Expires: 60' \"$c\"; [ \"$status\" = 200 ] || exit 1; \
                     register $ip 5060 {domain} {uri} 'Expires: 60'; first=$status; \
                     register $ip 5060 {domain} {uri} 'Expires: 60' \"$c\"; echo \"$answer\"; second=$status; \
                     grep -qi '^WWW-Authenticate:.*stale=\"*true' <<< \"$answer\"; stale=$?; {leave}; \
                     [ \"$first $second $stale\" = '401 401 0' ]"
                ),
            )
        });
    book.fact("contacts", "bono", "registers all Contacts of one REGISTER, and tells each with its q and its own parameters",
        "sprout src/registrarsproutlet.cpp", || {
            line.made()?;
            let domain = site.setting("bono", "home_domain")?;
            let other = "\"Contact: <sip:other@$ip:5999;transport=tcp>;q=0.5;+sip.instance=\\\"<urn:uuid:1>\\\"\"";
            site.holds(
                "bono",
                &format!(
                    "{SIP}\nopen $ip 5060; enter $ip 5060 {domain} {uri} {impi} {password} 'Expires: 60' {other}; echo \"$answer\"; \
                     told=$(grep -i '^Contact:' <<< \"$answer\"); \
                     [ $(wc -l <<< \"$told\") = 2 ] && grep -q 'other@.*q=0.5.*+sip.instance=\"<urn:uuid:1>\"' <<< \"$told\"; held=$?; \
                     enter $ip 5060 {domain} {uri} {impi} {password} 'Expires: 0' {other}; [ \"$held $status\" = '0 200' ]"
                ),
            )
        });
    book.claim("bono", "refuses the user with a wrong password: 403", "sprout src/authenticationsproutlet.cpp", || {
        line.made()?;
        let domain = site.setting("bono", "home_domain")?;
        site.holds(
            "bono",
            &format!(
                "{SIP}\nopen $ip 5060; register $ip 5060 {domain} {uri} 'Expires: 60'; c=$(credentials {impi} wrong sip:{domain}); \
                 register $ip 5060 {domain} {uri} 'Expires: 60' \"$c\"; [ \"$status\" = 403 ]"
            ),
        )
    });
}

/// What MMTEL makes of the services that homer keeps of the line, which is not registered.
fn services(book: &mut Book, site: &Site, line: &Line) {
    const MMTEL: &str = "sprout src/mmtel.cpp";
    let uri = &line.uri;
    let part = |name: &str, rules: &str| format!("<{name} active=\"true\">{rules}</{name}>");
    let deny = "<cp:ruleset><cp:rule id=\"r\"><cp:conditions/><cp:actions><allow>false</allow></cp:actions></cp:rule></cp:ruleset>";
    let away = "<NoReplyTimer>20</NoReplyTimer><cp:ruleset><cp:rule id=\"r\"><cp:conditions><not-registered/></cp:conditions>\
                <cp:actions><forward-to><target>sip:nobody@nowhere.invalid</target></forward-to></cp:actions></cp:rule></cp:ruleset>";
    let own = "Route: <sip:$ip:5054;transport=TCP;lr;orig>";
    for (fact, words, document, route, code) in [
        (
            "mmtel-outgoing",
            "refuses a call of a line whose outgoing calls are barred: 603",
            part("outgoing-communication-barring", deny),
            own,
            603,
        ),
        (
            "mmtel-incoming",
            "refuses a call to a line whose incoming calls are barred: 603",
            part("incoming-communication-barring", deny),
            "X-None: 1",
            603,
        ),
        (
            "mmtel-diversion",
            "says 181 to a call that it diverts, of a line that is not registered",
            part("communication-diversion", away),
            "X-None: 1",
            181,
        ),
    ] {
        book.fact(fact, "sprout", words, MMTEL, || {
            line.made()?;
            let put = format!(
                "curl -s -m 5 -o /dev/null -w '%{{http_code}}' -X PUT --data-binary '<simservs \
                 xmlns=\"http://uri.etsi.org/ngn/params/xml/simservs/xcap\" xmlns:cp=\"urn:ietf:params:xml:ns:common-policy\">{document}</simservs>' \
                 http://127.0.0.1:7888/org.etsi.ngn.simservs/users/{uri}/simservs.xml"
            );
            if let Some(seen) = site.holds("homer", &format!("seen=$({put}); echo $seen; [ $seen = 200 ]"))? {
                return Ok(Some(format!("homer does not take the document: {seen}")));
            }
            // To itself it calls and is called.
            site.holds(
                "sprout",
                &format!(
                    "{SIP}\nopen $ip 5054; say 'INVITE {uri} SIP/2.0' \"Via: SIP/2.0/TCP $ip;branch=z9hG4bK-5$RANDOM$RANDOM\" \
                     'Max-Forwards: 70' 'To: <{uri}>' 'From: <{uri}>;tag=1' \"Call-ID: $RANDOM$RANDOM\" 'CSeq: 1 INVITE' \
                     \"Contact: <sip:a@$ip>\" 'P-Asserted-Identity: <{uri}>' \"{route}\" 'Content-Length: 0'; hear; echo \"$answer\"; \
                     [ \"$status\" = {code} ]"
                ),
            )
        });
    }
}

/// What sprout tells of registrations.
fn subscribing(book: &mut Book, site: &Site, line: &Line) {
    const SUBSCRIPTIONS: &str = "sprout src/subscriptionsproutlet.cpp";
    let Line { uri, impi, password } = line;
    book.fact("reg-event", "bono", "carries a SUBSCRIBE to a registration, and the NOTIFY of its state", SUBSCRIPTIONS, || {
        line.made()?;
        let domain = site.setting("bono", "home_domain")?;
        site.holds(
            "bono",
            &format!(
                "{SIP}\nopen $ip 5060; register $ip 5060 {domain} {uri} 'Expires: 60'; c=$(credentials {impi} {password} sip:{domain}); \
                 register $ip 5060 {domain} {uri} 'Expires: 60' \"$c\"; [ \"$status\" = 200 ] || exit 1; \
                 say 'SUBSCRIBE {uri} SIP/2.0' \"Via: SIP/2.0/TCP $ip:5999;rport;branch=z9hG4bK-6$RANDOM$RANDOM\" 'Max-Forwards: 70' \
                 'To: <{uri}>' 'From: <{uri}>;tag=7' \"Call-ID: sub-$$\" 'CSeq: 1 SUBSCRIBE' 'Event: reg' 'Expires: 20' \
                 \"Contact: <sip:contract@$ip:5999;transport=tcp>\" 'Content-Length: 0'; seen=$(timeout 3 cat <&3); echo \"$seen\"; \
                 grep -q 'SIP/2.0 200' <<< \"$seen\" && grep -q '^NOTIFY ' <<< \"$seen\" && \
                 grep -qi '^Subscription-State: *active' <<< \"$seen\" && grep -q 'state=\"full\"' <<< \"$seen\""
            ),
        )
    });
}
