//! `backup --schedule`: the objects by which a cluster makes backups by itself. They are written, and never applied.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use clearwater::backup::CronSchedule;
use clearwater_kube::rights::{Grantee, Task, roles};
use serde_json::{Value, json};

/// The name of each object, and of the service account.
const NAME: &str = "clearwater-backup";
/// Where the claim is in the container.
const PLACE: &str = "/backups";
/// The user and the group of the published image; any other image's process is run as these, too.
const USER: u32 = 65532;
/// How many archives stay where nothing else is said: two weeks of nights.
const KEPT: u32 = 14;
/// A run that could not begin is made up for within an hour, and one that hangs is ended after six.
const LATE_S: u32 = 60 * 60;
const LONGEST_S: u32 = 6 * 60 * 60;

/// What a backup that a cluster makes is made of.
#[derive(Debug, Args)]
pub(super) struct ScheduleArgs {
    /// Write a CronJob that does it, with its rights and a claim for the files, instead of doing it: minute, hour, day of the
    /// month, month, day of the week, in UTC. Nothing is applied
    #[arg(long, value_name = "CRON", value_parser = cron, requires = "image", conflicts_with = "to")]
    pub(super) schedule: Option<CronSchedule>,
    /// The image of the CronJob's pods: one with this program as its entry point
    #[arg(long, value_name = "IMAGE", value_parser = NonEmptyStringValueParser::new(), requires = "schedule")]
    image: Option<String>,
    /// The size of the claim
    #[arg(long, value_name = "QUANTITY", value_parser = size, default_value = "1Gi", requires = "schedule")]
    size: String,
    /// The StorageClass of the claim. Default: the cluster's
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), requires = "schedule")]
    storage_class: Option<String>,
}

fn cron(text: &str) -> Result<CronSchedule, String> {
    text.parse().map_err(|error: clearwater::backup::InvalidCron| error.reason)
}

fn size(text: &str) -> Result<String, String> {
    match clearwater::quantity::parse(text) {
        Some(bytes) if bytes >= 1.0 => Ok(text.to_owned()),
        _ => Err("it is no quantity, as 1Gi or 500Mi".to_owned()),
    }
}

/// What the command in the pods is told beside the place.
pub(super) struct Told<'a> {
    pub(super) accounts: &'a [String],
    pub(super) keep: Option<u32>,
}

impl ScheduleArgs {
    /// The objects, in the order in which they can be applied; none where nothing is scheduled.
    pub(super) fn objects(&self, namespace: &str, told: &Told<'_>) -> Option<Vec<Value>> {
        let (schedule, image) = (self.schedule.as_ref()?, self.image.as_ref()?);
        let meta = || {
            json!({"name": NAME, "namespace": namespace,
                "labels": {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "clearwater"}})
        };
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta()});
        let grantee = Grantee::ServiceAccount { namespace: namespace.to_owned(), name: NAME.to_owned() };
        // Whether a namespace is there where it looks empty is a question of people: nothing of the whole cluster is given.
        let rights = roles(&[Task::Backup], namespace, true, &grantee);
        let rights = rights.into_iter().filter(|object| object["metadata"]["namespace"] == namespace);
        let mut claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta(),
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": self.size}}},
        });
        if let Some(class) = &self.storage_class {
            claim["spec"]["storageClassName"] = json!(class);
        }
        let mut args =
            vec!["backup".to_owned(), "-n".to_owned(), namespace.to_owned(), "--to".to_owned(), PLACE.to_owned()];
        args.extend(["--keep".to_owned(), told.keep.unwrap_or(KEPT).to_string()]);
        args.extend(told.accounts.iter().flat_map(|account| ["--account".to_owned(), account.clone()]));
        let pod = json!({
            "serviceAccountName": NAME,
            "restartPolicy": "Never",
            "enableServiceLinks": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "backup", "image": image, "args": args,
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "backups", "mountPath": PLACE}],
            }],
            "volumes": [{"name": "backups", "persistentVolumeClaim": {"claimName": NAME}}],
        });
        let job = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta(),
            "spec": {
                "schedule": schedule.to_string(), "timeZone": "Etc/UTC", "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": LATE_S, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 3,
                "jobTemplate": {"spec": {
                    "backoffLimit": 2, "activeDeadlineSeconds": LONGEST_S,
                    "template": {"metadata": {"labels": meta()["labels"]}, "spec": pod},
                }},
            },
        });
        Some(std::iter::once(account).chain(rights).chain([claim, job]).collect())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clearwater::manifest::{PodSecurity, SERVICE_LABEL};
    use k8s_openapi::api::batch::v1::CronJob;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ScheduleArgs,
        #[arg(long)]
        to: Option<String>,
    }

    fn objects(more: &[&str]) -> Vec<Value> {
        let line = ["x", "--schedule", "30  3 * * *", "--image", "r.example/kubectl-clearwater:1"];
        let line = Line::try_parse_from(line.iter().chain(more)).unwrap();
        let accounts = ["ann@example.com".to_owned()];
        line.args.objects("ims", &Told { accounts: &accounts, keep: None }).unwrap()
    }

    #[test]
    fn a_pod_of_it_keeps_to_the_strictest_level_and_may_do_what_a_backup_takes() {
        let objects = objects(&["--size", "5Gi", "--storage-class", "fast"]);
        let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim", "CronJob"]);
        assert!(objects.iter().all(|object| object["metadata"]["namespace"] == "ims"));
        let job: CronJob = serde_json::from_value(objects[4].clone()).unwrap();
        let spec = job.spec.unwrap();
        assert_eq!((spec.schedule.as_str(), spec.time_zone.as_deref()), ("30 3 * * *", Some("Etc/UTC")));
        let template = spec.job_template.spec.unwrap().template;
        // Nobody takes it for a component.
        assert!(!template.metadata.unwrap().labels.unwrap().contains_key(SERVICE_LABEL));
        let pod = template.spec.unwrap();
        assert_eq!(PodSecurity::of(&pod), PodSecurity::Restricted);
        let args = pod.containers[0].args.clone().unwrap();
        assert_eq!(args.join(" "), "backup -n ims --to /backups --keep 14 --account ann@example.com");
        assert_eq!(objects[3]["spec"]["storageClassName"], "fast");
        let binding = &objects[2];
        assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "namespace": "ims", "name": NAME}]));
        assert_eq!(binding["roleRef"]["name"], objects[1]["metadata"]["name"]);
        let rules = objects[1]["rules"].to_string();
        assert!(rules.contains("pods/portforward") && rules.contains("env-vars"), "{rules}");
        // The same as `rbac` gives for the namespace.
        let grantee = Grantee::ServiceAccount { namespace: "ims".to_owned(), name: NAME.to_owned() };
        assert!(roles(&[Task::Backup], "ims", true, &grantee).contains(&objects[1]));
    }

    #[test]
    fn what_is_no_schedule_or_lacks_its_image_is_refused() {
        let refused = |line: &[&str]| Line::try_parse_from([&["x"][..], line].concat()).unwrap_err().to_string();
        assert!(refused(&["--schedule", "* * * *", "--image", "i"]).contains("it has 4 fields in place of five"));
        assert!(refused(&["--schedule", "* * * * *"]).contains("--image"));
        assert!(refused(&["--image", "i"]).contains("--schedule"));
        assert!(refused(&["--schedule", "* * * * *", "--image", "i", "--size", "many"]).contains("no quantity"));
        assert!(refused(&["--schedule", "* * * * *", "--image", "i", "--to", "x"]).contains("--to"));
    }
}
