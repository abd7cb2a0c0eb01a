//! The first telephone: a pod that tries to get a number and to register it, from the begin of a run.

use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clearwater_testbed::Kubectl;
use clearwater_testbed::sip::Phone;

/// Asks Ellis for a number until it gives one, then registers it until that succeeds; the time is noted in the pod.
const SCRIPT: &str = r#"
cd "$(mktemp -d)"
ask() { curl --silent --max-time 2 --cookie jar --cookie-jar jar "$@"; }
mail=first@example.com
number=
while [ -z "$number" ]; do
  ask --data "email=$mail&password=secret1&full_name=First&signup_code=secret" http://ellis/accounts/ > /dev/null
  ask --data "email=$mail&password=secret1" http://ellis/session/ > /dev/null
  number=$(ask --request POST --data 'pstn=false&private_id=' "http://ellis/accounts/$mail/numbers/" | grep sip_uri)
  [ -n "$number" ] || sleep 0.2
done
field() { printf '%s' "$number" | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }
uri=$(field sip_uri)
printf 'SEQUENTIAL\n%s;[authentication username=%s password=%s];x\n' "$uri" "$(field private_id)" "$(field sip_password)" > u.csv
own=$(hostname -I | cut -d ' ' -f 1)
until target=$(getent ahostsv4 bono | sed -n '1s/ .*//p') && [ -n "$target" ] && timeout 3 sipp "$target:5060" -i "$own" \
  -t t1 -m 1 -nostdin -recv_timeout 2000 -p 5070 -inf u.csv -key domain "${uri#*@}" -key expires 60 \
  -sf /usr/share/clearwater-sip/register.xml > /dev/null 2>&1; do
  sleep 0.2
done
date +%s%6N
"#;

/// A telephone that is trying.
pub(super) struct First {
    child: Child,
}

impl First {
    /// Starts the phone's pod and lets it try. The pod is there before the clock of the run starts.
    pub(super) fn start(kubectl: &Kubectl) -> Result<Self> {
        Phone::start(kubectl)?;
        let child = kubectl
            .command(["exec", "phone", "--", "timeout", "300", "bash", "-c", SCRIPT])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start kubectl")?;
        Ok(Self { child })
    }

    /// When it was registered, in microseconds since 1970.
    pub(super) fn registered(self) -> Result<u64> {
        let output = self.child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse().with_context(|| format!("no telephone was registered within five minutes: {text}"))
    }
}

/// Microseconds since 1970.
pub(super) fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

/// ERROR lines in the log files of every container.
pub(super) fn error_lines(kubectl: &Kubectl) -> Result<u64> {
    let pods = kubectl.run(["get", "pods", "--selector=service", "--output=name"])?;
    let mut sum = 0;
    for pod in pods.lines() {
        let script = "cat /var/log/*/*_*.txt 2> /dev/null | grep -cE ' Error [^ ]+:[0-9]+' || true";
        sum += kubectl.run(["exec", pod, "--", "sh", "-c", script])?.trim().parse::<u64>().unwrap_or(0);
    }
    Ok(sum)
}
