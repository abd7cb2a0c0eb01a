use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::LocalObjectReference;
use serde_json::json;

use super::image::{Origin, image};
use super::layout::Part;
use super::{Bundle, Files, Manifest};
use crate::yaml::{self, YamlError};

/// What Helm begins an action with, as a text that it writes as it is.
const BRACES: &str = "{{ \"{{\" }}";

impl Bundle<'_> {
    /// The objects as a Helm chart. Its values are the registry and the tag of Clearwater's own images, and the Secrets that
    /// images are pulled with; as they are given, the chart's objects are those of the manifest. An image that the
    /// deployment file gives a place or a digest of its own stays as it is.
    ///
    /// The objects name the deployment's namespace, because their host names do: it is no value.
    ///
    /// # Errors
    /// A text that YAML cannot hold.
    pub fn helm(&self) -> Result<Files, YamlError> {
        let d = self.deployment;
        let origin = Origin::of(d);
        let marks = Marks::beside(&self.manifest.to_yaml()?);
        let names: BTreeMap<String, String> = d
            .components()
            .filter_map(|e| {
                let own = Origin::name(d, e.component)?;
                let (registry, tag) = (&marks.registry, &marks.tag);
                Some((image(d, e.component).ok()?, format!("{registry}/{own}:{tag}")))
            })
            .collect();
        let mut manifest: Manifest = self.manifest.clone();
        for pod in manifest.items.iter_mut().filter_map(|item| item.object.pod_spec_mut()) {
            pod.image_pull_secrets = Some(vec![LocalObjectReference { name: marks.pull_secret.clone() }]);
            for container in pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten()) {
                if let Some(marked) = container.image.as_ref().and_then(|i| names.get(i)) {
                    container.image = Some(marked.clone());
                }
            }
        }
        let mut parts: Vec<Part> = self.keys()?.into_iter().collect();
        parts.extend(Bundle { manifest: &manifest, ..*self }.parts()?);
        let mut files: Files =
            parts.into_iter().map(|p| (format!("templates/{}", p.file), marks.template(&p.text))).collect();
        files.insert("Chart.yaml".to_owned(), self.chart()?);
        files.insert("values.yaml".to_owned(), self.values(origin)?);
        files.insert("values.schema.json".to_owned(), values_schema());
        Ok(files)
    }

    fn chart(&self) -> Result<String, YamlError> {
        let (release, namespace) = (self.deployment.release().name(), self.deployment.namespace());
        yaml::write_one(&json!({
            "apiVersion": "v2",
            "name": "clearwater",
            "description": format!("Clearwater IMS, release {release}, in the namespace {namespace}"),
            "type": "application",
            "version": env!("CARGO_PKG_VERSION"),
            "appVersion": release,
        }))
    }

    fn values(&self, origin: Option<Origin>) -> Result<String, YamlError> {
        let mut text = String::new();
        let mut value = |says: &str, value: serde_json::Value| {
            let written = yaml::write_one(&value)?;
            let _ = write!(text, "# {says}\n{written}");
            Ok::<_, YamlError>(())
        };
        if let Some(Origin { registry, tag }) = origin {
            value("The registry and path of Clearwater's images.", json!({"registry": registry}))?;
            value("Their tag.", json!({"tag": tag}))?;
        }
        let secrets = &self.deployment.file().images.pull_secrets;
        value("Names of Secrets in the namespace that images are pulled with.", json!({"pullSecrets": secrets}))?;
        Ok(text)
    }
}

fn values_schema() -> String {
    let text = json!({"type": "string", "minLength": 1});
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "registry": text,
            "tag": text,
            "pullSecrets": {"type": "array", "items": text},
            "global": {"type": "object"},
        },
    });
    format!("{schema:#}\n")
}

/// What stands in the place of values until the text is written: words that it has nowhere.
struct Marks {
    registry: String,
    tag: String,
    pull_secret: String,
}

impl Marks {
    fn beside(text: &str) -> Self {
        let word = |what: &str| {
            let mut words = (0usize..).map(|n| format!("value-{what}-{n}"));
            words.find(|word| !text.contains(word.as_str())).unwrap_or_default()
        };
        Self { registry: word("registry"), tag: word("tag"), pull_secret: word("pull-secret") }
    }

    /// The text as Helm reads it. The two lines of the pull secrets are left out where there are none.
    fn template(&self, text: &str) -> String {
        let text = text.replace("{{", BRACES);
        let text = text.replace(&self.registry, "{{ .Values.registry }}").replace(&self.tag, "{{ .Values.tag }}");
        let secret = format!("- name: {}", self.pull_secret);
        let mut lines: Vec<String> = Vec::new();
        for line in text.split('\n') {
            if line.trim_start() == secret {
                let head = lines.pop().unwrap_or_default();
                let indent = &line[..line.len() - line.trim_start().len()];
                lines.push("{{- with .Values.pullSecrets }}".to_owned());
                lines.push(head);
                lines.push(format!(
                    "{indent}{{{{- range . }}}}\n{indent}- name: {{{{ . | quote }}}}\n{indent}{{{{- end }}}}"
                ));
                lines.push("{{- end }}".to_owned());
            } else {
                lines.push(line.to_owned());
            }
        }
        lines.join("\n")
    }
}
