//! The first phone: a pod that tries to get a number and to register it, from the start of a run.

use std::collections::BTreeMap;
use std::process::Child;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use clearwater_testbed::Kubectl;
use clearwater_testbed::sip::Phone;

use crate::common::endpoints;

/// Asks Ellis for a number until it gives one, then registers it until that succeeds; prints when that was.
const SCRIPT: &str = r#"
cd "$(mktemp -d)"
ask() { curl --silent --max-time 2 --cookie jar --cookie-jar jar "$@"; }
ellis=$1 bono=$2 mail=first@example.com
number=
while [ -z "$number" ]; do
  ask --data "email=$mail&password=secret1&full_name=First&signup_code=secret" "http://$ellis/accounts/" > /dev/null
  ask --data "email=$mail&password=secret1" "http://$ellis/session/" > /dev/null
  number=$(ask --request POST --data 'pstn=false&private_id=' "http://$ellis/accounts/$mail/numbers/" | grep sip_uri)
  [ -n "$number" ] || sleep 0.2
done
field() { printf '%s' "$number" | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }
uri=$(field sip_uri)
printf 'SEQUENTIAL\n%s;[authentication username=%s password=%s];x\n' "$uri" "$(field private_id)" "$(field sip_password)" > u.csv
own=$(hostname -I | cut -d ' ' -f 1)
until timeout 3 sipp "$bono:5060" -i "$own" \
  -t t1 -m 1 -nostdin -recv_timeout 2000 -p 5070 -inf u.csv -key domain "${uri#*@}" -key expires 60 \
  -sf /usr/share/clearwater-sip/register.xml > /dev/null 2>&1; do
  sleep 0.2
done
date +%s%6N
"#;

/// A phone that waits for Ellis and Bono to be published, and then tries.
///
/// It neither tries nor looks names up before: that would take the machine from what is measured, and plant negative
/// answers in the cluster's DNS that the components themselves then meet.
pub(crate) struct First {
    watch: Child,
    done: Option<JoinHandle<Result<u64>>>,
}

impl First {
    /// Starts the phone's pod, and watches. The pod is there before the clock of the run starts.
    pub(crate) fn start(kubectl: &Kubectl) -> Result<Self> {
        Phone::start(kubectl)?;
        let line = "{.metadata.labels.kubernetes\\.io/service-name}={.endpoints[*].conditions.ready} {.endpoints[*].addresses[0]}{\"\\n\"}";
        let (watch, lines) = endpoints(kubectl, line, &[])?;
        let kubectl = kubectl.clone();
        let done = std::thread::spawn(move || {
            let mut seen: BTreeMap<String, String> = BTreeMap::new();
            for line in lines {
                let line = line?;
                let Some((service, endpoints)) = line.split_once('=') else { continue };
                // Whether each is ready, then the address of each.
                let words: Vec<&str> = endpoints.split_whitespace().collect();
                let (ready, addresses) = words.split_at(words.len() / 2);
                let Some((_, address)) = ready.iter().zip(addresses).find(|(ready, _)| **ready == "true") else {
                    continue;
                };
                seen.insert(service.to_owned(), (*address).to_owned());
                if let (Some(ellis), Some(bono)) = (seen.get("ellis"), seen.get("bono")) {
                    return register(&kubectl, ellis, bono);
                }
            }
            Err(anyhow!("Ellis and Bono were never both published; seen: {seen:?}"))
        });
        Ok(Self { watch, done: Some(done) })
    }

    /// When it was registered, in microseconds since 1970.
    pub(crate) fn registered(mut self) -> Result<u64> {
        let done = self.done.take().context("it was asked already")?;
        done.join().map_err(|_| anyhow!("the phone's thread panicked"))?
    }
}

impl Drop for First {
    fn drop(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

fn register(kubectl: &Kubectl, ellis: &str, bono: &str) -> Result<u64> {
    let text = kubectl.run(["exec", "phone", "--", "timeout", "300", "bash", "-c", SCRIPT, "first", ellis, bono])?;
    text.trim().parse().with_context(|| format!("no phone was registered within five minutes: {text}"))
}

/// ERROR lines in the log files of every container.
pub(crate) fn error_lines(kubectl: &Kubectl) -> Result<u64> {
    let pods = kubectl.run(["get", "pods", "--selector=service", "--output=name"])?;
    let mut sum = 0;
    for pod in pods.lines() {
        let script = "for f in /var/log/*/*_*.txt; do [ -L $f ] || cat $f; done 2> /dev/null | grep -cE ' Error [^ ]+:[0-9]+' || true";
        sum += kubectl.run(["exec", pod, "--", "sh", "-c", script])?.trim().parse::<u64>().unwrap_or(0);
    }
    Ok(sum)
}
