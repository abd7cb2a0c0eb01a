//! What containers are given by the ConfigMap that all of them take their environment from, and by Secrets, and with what of it
//! they run: a container gets it when it is started and keeps it, whatever is written there later.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clearwater::manifest::ENV_VARS;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Secret};

use crate::cluster::{Cluster, is_forbidden, say};
use crate::pod::Script;

/// The variable below whose value daemons look each other up.
pub(crate) const ZONE: &str = "ZONE";

/// What Secrets hold, each by its name. It is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, BTreeMap<String, String>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Reads those of which containers take variables. What cannot be read is left out, with why.
    pub(crate) async fn read(cluster: &Cluster, names: BTreeSet<String>) -> (Self, Option<String>) {
        let read = |name: String| async move {
            let found = match cluster.api::<Secret>().get_opt(&name).await {
                Ok(found) => found.and_then(|secret| secret.data).unwrap_or_default(),
                Err(error) if is_forbidden(&error) => return Err("needs get secrets".to_owned()),
                Err(error) => return Err(format!("secret/{name}: {}", say(&error))),
            };
            let text = found.into_iter().filter_map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?)));
            Ok((name, text.collect()))
        };
        let (mut secrets, mut unread) = (Self::default(), None);
        for read in join_all(names.into_iter().map(read)).await {
            match read {
                Ok((name, held)) => {
                    secrets.0.insert(name, held);
                }
                Err(why) => unread = Some(why),
            }
        }
        (secrets, unread)
    }

    /// What one of them holds below a key.
    pub(crate) fn value(&self, name: &str, key: &str) -> Option<&str> {
        self.0.get(name)?.get(key).map(String::as_str)
    }

    /// Those that a container takes variables from.
    pub(crate) fn named_by(container: &Container) -> impl Iterator<Item = &str> {
        let from = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
        from.filter_map(|from| from.secret_key_ref.as_ref()).map(|of| of.name.as_str())
    }
}

/// A variable's value, and the object that it is taken from, as `configmap/NAME`. The value is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenVariable {
    pub(crate) value: String,
    pub(crate) of: String,
}

impl fmt::Debug for GivenVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {}", self.of)
    }
}

/// The zone in which containers look names up, as the ConfigMap has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneSeen {
    /// What stands there, which is nothing where the key is missing; `None` where there is no such ConfigMap.
    pub(crate) stands: Option<String>,
    /// What it should be, where that is known.
    pub(crate) wanted: Option<String>,
}

impl ZoneSeen {
    /// What stands, beside what the deployment file makes it. Without one it is known of one case alone: names of Services
    /// end with their own namespace, so that another one's are never this deployment's.
    pub(crate) fn of(namespace: &str, stands: Option<String>, by_file: Option<String>) -> Self {
        let own = |zone: &String| {
            let (of, domain) =
                zone.split_once(".svc.").filter(|(of, domain)| !of.contains('.') && !domain.is_empty())?;
            (of != namespace).then(|| format!("{namespace}.svc.{domain}"))
        };
        let wanted = by_file.or_else(|| stands.as_ref().and_then(own));
        Self { stands, wanted }
    }

    /// The zone that is right as far as is known.
    pub(crate) fn right(&self) -> Option<&str> {
        self.wanted.as_deref().or(self.stands.as_deref()).filter(|zone| !zone.is_empty())
    }

    /// Whether the ConfigMap is there and has none.
    pub(crate) fn is_missing(&self) -> bool {
        self.stands.as_deref() == Some("")
    }

    /// Whether what stands is known to be wrong.
    pub(crate) fn is_wrong(&self) -> bool {
        self.is_missing() || self.stands.is_some() && self.stands.as_deref() != self.right()
    }

    /// What is wrong with it, where something is.
    pub(crate) fn fault(&self) -> Option<String> {
        let stands = self.stands.as_deref().filter(|_| self.is_wrong())?;
        let is = if self.is_missing() { "it is not there".to_owned() } else { format!("it is {stands}") };
        Some(self.right().map_or_else(|| is.clone(), |right| format!("{is}, and should be {right}")))
    }
}

/// The variables that a container takes from the ConfigMap, and from Secrets: those that its own list does not set, and those
/// that it takes from there by name.
pub(crate) fn variables(
    container: &Container,
    map: &BTreeMap<String, String>,
    secrets: &Secrets,
) -> BTreeMap<String, GivenVariable> {
    let taken = |value: &String| GivenVariable { value: value.clone(), of: format!("configmap/{ENV_VARS}") };
    let mut given = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        if source.config_map_ref.as_ref().is_some_and(|of| of.name == ENV_VARS) {
            let prefix = source.prefix.as_deref().unwrap_or_default();
            given.extend(map.iter().map(|(key, value)| (format!("{prefix}{key}"), taken(value))));
        }
    }
    for own in container.env.iter().flatten() {
        given.remove(&own.name);
        let Some(from) = &own.value_from else { continue };
        let of_map = from.config_map_key_ref.as_ref().filter(|of| of.name == ENV_VARS);
        let of_map = of_map.and_then(|of| map.get(&of.key)).map(taken);
        let of_secret = from.secret_key_ref.as_ref().and_then(|of| {
            let value = secrets.0.get(&of.name)?.get(&of.key)?.clone();
            Some(GivenVariable { value, of: format!("secret/{}", of.name) })
        });
        given.extend(of_map.or(of_secret).map(|taken| (own.name.clone(), taken)));
    }
    given
}

/// Which variables of a container have another value than they are to have: `other` and the name, and of the zone the value it
/// has: `zone`. The arguments are names and values in turn. A program that `exec` starts has the environment that the container
/// was made with, and bash's own view of it may differ. Where it cannot be read there is no end, and nothing is known.
const COMPARE: &str = r#"
  value() {
    local line
    while IFS= read -r -d '' line; do
      case $line in "$1="*) found=${line#*=}; return 0 ;; esac
    done 2>/dev/null </proc/$$/environ
    return 1
  }
  if { IFS= read -r -d '' found </proc/$$/environ; } 2>/dev/null; then
    while [ $# -gt 1 ]; do
      if value "$1"; then
        [ "$found" = "$2" ] || printf 'other %s\n' "$1"
        [ "$1" != ZONE ] || printf 'zone %s\n' "${found//[[:cntrl:]]/?}"
      elif [ -n "$2" ]; then
        printf 'other %s\n' "$1"
      fi
      shift 2
    done
    printf 'end\n'
  fi
  unset found
"#;

/// Asks a container what of these it runs with.
pub(crate) fn compare(given: &BTreeMap<String, GivenVariable>) -> Script {
    Script::new(COMPARE).args(given.iter().flat_map(|(name, given)| [name.clone(), given.value.clone()]))
}

/// What a container runs with, beside what it is given now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunsWith {
    /// The zone that it was started with, where it has one.
    pub zone: Option<String>,
    /// The variables of which it was started with another value.
    pub others: Vec<String>,
    /// What these are taken from, as `configmap/NAME`.
    pub of: BTreeSet<String>,
}

impl RunsWith {
    /// Reads the answer of one that is given these; `None` where it is not whole.
    pub(crate) fn read(answer: &str, given: &BTreeMap<String, GivenVariable>) -> Option<Self> {
        let mut with = Self::default();
        let mut whole = false;
        for line in answer.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("other", name) => {
                    with.others.push(name.to_owned());
                    with.of.extend(given.get(name).map(|given| given.of.clone()));
                }
                ("zone", zone) => with.zone = Some(zone.to_owned()),
                ("end", "") => whole = true,
                _ => {}
            }
        }
        whole.then_some(with)
    }

    /// The zone, where it is another one than it is to be; empty where it has none at all.
    pub(crate) fn other_zone(&self) -> Option<&str> {
        self.others.iter().any(|name| name == ZONE).then(|| self.zone.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_a_container_sets_itself_is_not_taken_from_the_map() {
        let container: Container = serde_json::from_value(json!({"name": "ellis",
            "envFrom": [{"configMapRef": {"name": "env-vars"}}, {"configMapRef": {"name": "others"}}],
            "env": [{"name": "ADDITIONAL_SHARED_CONFIG", "value": "x$(CLEARWATER_SHARED_CONFIG)"},
                {"name": "TURN_WORKAROUND", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "turn_workaround"}}},
                {"name": "UNREAD", "valueFrom": {"secretKeyRef": {"name": "unread", "key": "x"}}},
                {"name": "CLEARWATER_SHARED_CONFIG",
                    "valueFrom": {"configMapKeyRef": {"name": "env-vars", "key": "ADDITIONAL_SHARED_CONFIG"}}}]}))
        .unwrap();
        let stands = map([("ZONE", "ims.svc"), ("ADDITIONAL_SHARED_CONFIG", "a=b")]);
        let secrets = Secrets([("keys".to_owned(), map([("turn_workaround", "hush")]))].into());
        let taken = variables(&container, &stands, &secrets);
        let shown: Vec<(&str, &str, &str)> =
            taken.iter().map(|(name, given)| (name.as_str(), given.value.as_str(), given.of.as_str())).collect();
        let of = "configmap/env-vars";
        assert_eq!(
            shown,
            [
                ("CLEARWATER_SHARED_CONFIG", "a=b", of),
                ("TURN_WORKAROUND", "hush", "secret/keys"),
                ("ZONE", "ims.svc", of)
            ]
        );
        assert_eq!(Secrets::named_by(&container).collect::<Vec<_>>(), ["keys", "unread"]);
        assert!(!format!("{taken:?} {secrets:?}").contains("hush"), "{taken:?} {secrets:?}");
        let bare: Container = serde_json::from_value(json!({"name": "etcd"})).unwrap();
        assert!(variables(&bare, &stands, &secrets).is_empty());
    }

    /// The script on this machine's own bash, which has these variables.
    #[test]
    fn a_container_says_what_it_was_started_with() {
        let given = [
            ("ZONE", "ims.svc", "configmap/env-vars"),
            ("HSS", "", "configmap/env-vars"),
            ("ADDITIONAL_SHARED_CONFIG", "a='b'\nc", "configmap/env-vars"),
            ("GONE", "x", "secret/keys"),
            ("SAME", "$x", "secret/others"),
        ];
        let given = given
            .map(|(name, value, of)| (name.to_owned(), GivenVariable { value: value.to_owned(), of: of.to_owned() }));
        let given = BTreeMap::from(given);
        let output = std::process::Command::new("bash")
            .args(["-c", &compare(&given).line().unwrap()])
            .envs([("ZONE", "old.svc"), ("ADDITIONAL_SHARED_CONFIG", "a='b'\nc=secret"), ("SAME", "$x")])
            .env_remove("HSS")
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        let with = RunsWith::read(&answer, &given).unwrap();
        assert_eq!(with.others, ["ADDITIONAL_SHARED_CONFIG", "GONE", ZONE]);
        assert_eq!(with.of, ["configmap/env-vars", "secret/keys"].map(str::to_owned).into());
        assert_eq!((with.zone.as_deref(), with.other_zone()), (Some("old.svc"), Some("old.svc")));
        assert!(!answer.contains("secret"), "only the zone is told: {answer}");
        assert_eq!(RunsWith::read("other ZONE\n", &given), None, "half an answer is none");
    }

    /// What may not be read is told, and hides nothing of the rest.
    #[tokio::test]
    async fn secrets_are_read_as_far_as_may_be() {
        let (cluster, _) = crate::fake_api::cluster(|path| match path.rsplit('/').next()? {
            "keys" => Some(json!({"metadata": {}, "data": {"turn_workaround": "aHVzaA==", "binary": "/w=="}})),
            "others" => Some(serde_json::Value::Null),
            _ => None,
        });
        let (secrets, unread) = Secrets::read(&cluster, ["keys", "others", "gone"].map(str::to_owned).into()).await;
        let held = [("keys".to_owned(), map([("turn_workaround", "hush")])), ("gone".to_owned(), BTreeMap::new())];
        assert_eq!(secrets, Secrets(held.into()));
        assert_eq!(unread.as_deref(), Some("needs get secrets"));
    }

    #[test]
    fn a_zone_of_another_namespace_is_no_zone_of_this_one() {
        for (stands, file, fault, right) in [
            (
                Some("old.svc.cluster.local"),
                None,
                Some("it is old.svc.cluster.local, and should be ims.svc.cluster.local"),
                Some("ims.svc.cluster.local"),
            ),
            (Some("ims.svc.cluster.local"), None, None, Some("ims.svc.cluster.local")),
            // A zone of one's own is known by nobody else.
            (Some("ims.example"), None, None, Some("ims.example")),
            (
                Some("ims.example"),
                Some("ims.svc.x"),
                Some("it is ims.example, and should be ims.svc.x"),
                Some("ims.svc.x"),
            ),
            (Some(""), None, Some("it is not there"), None),
            (Some(""), Some("ims.svc.x"), Some("it is not there, and should be ims.svc.x"), Some("ims.svc.x")),
            // What others made has none where we look for it.
            (None, None, None, None),
            (None, Some("ims.svc.x"), None, Some("ims.svc.x")),
        ] {
            let seen = ZoneSeen::of("ims", stands.map(str::to_owned), file.map(str::to_owned));
            assert_eq!((seen.fault().as_deref(), seen.right()), (fault, right), "{seen:?}");
            assert_eq!(seen.is_wrong(), fault.is_some(), "{seen:?}");
        }
    }
}
