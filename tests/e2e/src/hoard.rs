use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use clearwater::scale::Members;
use clearwater_testbed::Kubectl;
use clearwater_testbed::sip::Phone;
use serde_json::Value;

/// Writes down every change below a key of etcd's, one a line, whoever made it.
const RECORDER: &str = r#"
url=http://etcd:2379/v2/keys/clearwater
i=$(curl -s -D - -o /dev/null $url | tr -d '\r' | sed -n 's/^X-Etcd-Index: //Ip')
( while :; do
    line=$(curl -s --max-time 60 "$url?recursive=true&wait=true&waitIndex=$((i + 1))") || continue
    n=$(printf '%s' "$line" | grep -o '"modifiedIndex":[0-9]*' | head -n 1 | tr -dc 0-9)
    [ -n "$n" ] || continue
    i=$n; printf '%s\n' "$line" >> /tmp/changes
  done ) > /dev/null 2>&1 < /dev/null &
"#;

/// Writes down what timers call back with.
const RECEIVER: &str = r#"
cat > /tmp/receiver.py <<'END'
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        with open("/tmp/fired", "a") as f:
            f.write(body + "\n")
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8099), Handler).serve_forever()
END
touch /tmp/fired /tmp/changes
python3 /tmp/receiver.py > /dev/null 2>&1 < /dev/null &
"#;

/// What stores hold while their members come and go: keys in astaire, timers in chronos, and a record of every list of
/// members that etcd has held, kept apart from the program under test.
#[derive(Debug)]
pub struct Hoard {
    kubectl: Kubectl,
    phone: Phone,
    keys: u32,
    timers: u32,
}

impl Hoard {
    /// Fills the stores of kubectl's namespace. The timers are due after so many seconds.
    pub fn put(kubectl: &Kubectl, keys: u32, timers: u32, due: u32) -> Result<Self> {
        let phone = Phone::start(kubectl)?;
        phone.script(RECEIVER)?;
        phone.script(RECORDER)?;
        let hoard = Self { kubectl: kubectl.clone(), phone, keys, timers };
        let missing = hoard.store("fill")?;
        ensure!(missing.is_empty(), "filling the store: {missing}");
        let chronos = addresses(kubectl, "chronos")?.pop().context("no chronos")?;
        let script = format!(
            "own=$(hostname -I | cut -d ' ' -f 1)\n\
             one() {{\n\
               curl -sf -o /dev/null -d '{{\"timing\": {{\"interval\": {due}, \"repeat-for\": {due}}}, \"callback\": {{\"http\": \
               {{\"uri\": \"http://'$own':8099/pop\", \"opaque\": \"timer-'$1'\"}}}}}}' http://{chronos}:7253/timers\n\
             }}\n\
             for i in $(seq {timers}); do one $i || exit 1; done\n"
        );
        hoard.phone.script(&script).context("setting the timers")?;
        Ok(hoard)
    }

    /// The phone whose pod keeps the record.
    pub fn phone(&self) -> &Phone {
        &self.phone
    }

    fn store(&self, action: &str) -> Result<String> {
        let address = addresses(&self.kubectl, "astaire")?.into_iter().next().context("no astaire")?;
        let command = format!("standin store {action} {address}:11311 key- {} 2>&1; true", self.keys);
        let args = ["exec", "astaire-0", "-c", "astaire", "--", "bash", "-c", &command];
        Ok(self.kubectl.run(args)?.trim().to_owned())
    }

    /// Every key is there.
    pub fn check_keys(&self) -> Result<()> {
        let missing = self.store("check")?;
        ensure!(missing.is_empty(), "{} of {} keys are gone: {missing}", missing.lines().count(), self.keys);
        Ok(())
    }

    /// How many of the timers have fired so far, each counted once.
    pub fn fired(&self) -> Result<u32> {
        Ok(self.phone.script("sort -u /tmp/fired | grep -c timer- || true")?.trim().parse()?)
    }

    /// How many timers were set.
    pub fn timers(&self) -> u32 {
        self.timers
    }

    /// Checks every list of members that etcd has held, but for members that died without a word. Yields how many
    /// changes of each store's list there were.
    pub fn obeyed(&self, dead: &[String]) -> Result<BTreeMap<String, usize>> {
        let dead: Vec<IpAddr> = dead.iter().map(|d| d.parse()).collect::<Result<_, _>>()?;
        let mut last: BTreeMap<String, Members> = BTreeMap::new();
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for line in self.phone.script("cat /tmp/changes")?.lines() {
            let event: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            let Some((_, store)) = event["node"]["key"].as_str().and_then(|k| k.split_once("/clustering/")) else {
                continue;
            };
            let members = Members::parse(event["node"]["value"].as_str().unwrap_or_default())?;
            let before = last.insert(store.to_owned(), members.clone()).unwrap_or_default();
            let changes = count.entry(store.to_owned()).or_default();
            *changes += 1;
            members.check(&dead).with_context(|| format!("{store}, change {changes}: {members}; before: {before}"))?;
        }
        Ok(count)
    }
}

/// The addresses of a component's pods, those on their way out left out.
pub fn addresses(kubectl: &Kubectl, component: &str) -> Result<Vec<String>> {
    let pods = kubectl.json(["get", "pods", "--selector", &format!("service={component}")])?;
    let pods = pods["items"].as_array().into_iter().flatten();
    let staying = pods.filter(|p| p["metadata"]["deletionTimestamp"].is_null());
    Ok(staying.filter_map(|p| p["status"]["podIP"].as_str().map(str::to_owned)).collect())
}
