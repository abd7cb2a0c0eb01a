//! What containers are given by the ConfigMap that all of them take their environment from, and with what of it they run: a
//! container gets it when it is started and keeps it, whatever is written there later.

use std::collections::BTreeMap;

use clearwater::manifest::ENV_VARS;
use k8s_openapi::api::core::v1::Container;

use crate::pod::Script;

/// The variable below whose value daemons look each other up.
pub(crate) const ZONE: &str = "ZONE";

/// The zone in which containers look names up, as the ConfigMap has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneSeen {
    /// What stands there; `None` where there is no such ConfigMap, or it has no zone.
    pub(crate) stands: Option<String>,
    /// What it should be, where that is known.
    pub(crate) wanted: Option<String>,
}

impl ZoneSeen {
    /// What stands, beside what the deployment file makes it. Without one it is known of one case alone: names of Services
    /// end with their own namespace, so that another one's are never this deployment's.
    pub(crate) fn of(namespace: &str, stands: Option<String>, by_file: Option<String>) -> Self {
        let stands = stands.filter(|zone| !zone.is_empty());
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
        self.wanted.as_deref().or(self.stands.as_deref())
    }

    /// What stands and what should, where these differ.
    pub(crate) fn wrong(&self) -> Option<(&str, &str)> {
        let (stands, wanted) = (self.stands.as_deref()?, self.wanted.as_deref()?);
        (stands != wanted).then_some((stands, wanted))
    }
}

/// The variables that a container takes from the ConfigMap: those that its own list does not set, and those that it takes
/// from there by name.
pub(crate) fn variables(container: &Container, map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut given = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        if source.config_map_ref.as_ref().is_some_and(|of| of.name == ENV_VARS) {
            let prefix = source.prefix.as_deref().unwrap_or_default();
            given.extend(map.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
        }
    }
    for own in container.env.iter().flatten() {
        given.remove(&own.name);
        let taken = own.value_from.as_ref().and_then(|from| from.config_map_key_ref.as_ref());
        if let Some(value) = taken.filter(|of| of.name == ENV_VARS).and_then(|of| map.get(&of.key)) {
            given.insert(own.name.clone(), value.clone());
        }
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
pub(crate) fn compare(given: &BTreeMap<String, String>) -> Script {
    Script::new(COMPARE).args(given.iter().flat_map(|(name, value)| [name.clone(), value.clone()]))
}

/// What a container runs with, beside what the ConfigMap gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunsWith {
    /// The zone that it was started with, where it has one.
    pub zone: Option<String>,
    /// The variables of which it was started with another value.
    pub others: Vec<String>,
}

impl RunsWith {
    /// Reads the answer; `None` where it is not whole.
    pub(crate) fn read(answer: &str) -> Option<Self> {
        let mut with = Self::default();
        let mut whole = false;
        for line in answer.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("other", name) => with.others.push(name.to_owned()),
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
                {"name": "CLEARWATER_SHARED_CONFIG",
                    "valueFrom": {"configMapKeyRef": {"name": "env-vars", "key": "ADDITIONAL_SHARED_CONFIG"}}}]}))
        .unwrap();
        let stands = map([("ZONE", "ims.svc"), ("ADDITIONAL_SHARED_CONFIG", "a=b")]);
        assert_eq!(variables(&container, &stands), map([("ZONE", "ims.svc"), ("CLEARWATER_SHARED_CONFIG", "a=b")]));
        let bare: Container = serde_json::from_value(json!({"name": "etcd"})).unwrap();
        assert!(variables(&bare, &stands).is_empty());
    }

    /// The script on this machine's own bash, which has these variables.
    #[test]
    fn a_container_says_what_it_was_started_with() {
        let given = map([
            ("ZONE", "ims.svc"),
            ("HSS", ""),
            ("ADDITIONAL_SHARED_CONFIG", "a='b'\nc"),
            ("GONE", "x"),
            ("SAME", "$x"),
        ]);
        let output = std::process::Command::new("bash")
            .args(["-c", &compare(&given).line().unwrap()])
            .envs([("ZONE", "old.svc"), ("ADDITIONAL_SHARED_CONFIG", "a='b'\nc=secret"), ("SAME", "$x")])
            .env_remove("HSS")
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        let with = RunsWith::read(&answer).unwrap();
        assert_eq!(with.others, ["ADDITIONAL_SHARED_CONFIG", "GONE", ZONE]);
        assert_eq!((with.zone.as_deref(), with.other_zone()), (Some("old.svc"), Some("old.svc")));
        assert!(!answer.contains("secret"), "only the zone is told: {answer}");
        assert_eq!(RunsWith::read("other ZONE\n"), None, "half an answer is none");
    }

    #[test]
    fn a_zone_of_another_namespace_is_no_zone_of_this_one() {
        let seen =
            |stands: &str, file: Option<&str>| ZoneSeen::of("ims", Some(stands.to_owned()), file.map(str::to_owned));
        assert_eq!(
            seen("old.svc.cluster.local", None).wrong(),
            Some(("old.svc.cluster.local", "ims.svc.cluster.local"))
        );
        assert_eq!(seen("ims.svc.cluster.local", None).wrong(), None);
        // A zone of one's own is known by nobody else.
        assert_eq!((seen("ims.example", None).wrong(), seen("ims.example", None).right()), (None, Some("ims.example")));
        assert_eq!(seen("ims.example", Some("ims.svc.x")).wrong(), Some(("ims.example", "ims.svc.x")));
        assert_eq!(ZoneSeen::of("ims", None, None).right(), None);
    }
}
