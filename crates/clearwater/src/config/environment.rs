//! What containers are given, and which of them what.

use std::collections::BTreeMap;

use super::Keys;
use crate::component::Component;

/// What stands between two lines of the one variable that holds several.
pub(super) const LINE_END: &str = "\\n";

/// What the containers of a deployment are given, but for etcd's, which reads none of it. Keys and passwords are given to
/// those alone that read them: [`ContainerEnvironment::variables_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEnvironment {
    /// The data of the ConfigMap that containers take their environment from.
    pub config_map: BTreeMap<String, String>,
    /// Further variables, in an order in which each is defined before it is referred to: those of all components.
    pub variables: Vec<Variable>,
    /// For the classic release: the auto-config script. Meant for a ConfigMap; it holds no secret.
    pub auto_config: Option<String>,
}

impl ContainerEnvironment {
    /// The further variables of one component's containers. In the others' configuration the keys that they are not
    /// given keep the value that comes with the image.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use clearwater::component::Component;
    /// use clearwater::config::{DeploymentFile, shared::environment};
    ///
    /// let given = environment(&DeploymentFile::default().deploy("ims")?, &BTreeMap::new())?;
    /// assert!(given.variables_of(Component::Ellis).iter().any(|v| v.name == "SIGNUP_KEY"));
    /// assert_eq!(given.variables_of(Component::Sprout), []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn variables_of(&self, component: Component) -> Vec<Variable> {
        let is_read = |v: &&Variable| match v.value {
            VariableValue::Secret { .. } => Keys::reader(&v.name.to_lowercase()) == component,
            VariableValue::Text(_) | VariableValue::ConfigMap { .. } => true,
        };
        let mut kept: Vec<Variable> = self.variables.iter().filter(is_read).cloned().collect();
        if !kept.iter().any(|v| matches!(v.value, VariableValue::Secret { .. })) {
            // Without secrets the ConfigMap's own text is the whole text.
            return Vec::new();
        }
        let lost: Vec<String> =
            self.variables.iter().filter(|v| !is_read(v)).map(|v| format!("'$({})'", v.name)).collect();
        for variable in &mut kept {
            if let VariableValue::Text(text) = &mut variable.value {
                let lines =
                    text.split_inclusive(LINE_END).filter(|line| !lost.iter().any(|l| line.contains(l.as_str())));
                *text = lines.collect();
            }
        }
        kept
    }
}

/// A variable of a container's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: VariableValue,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableValue {
    /// A text, in which Kubernetes replaces `$(NAME)` by the variable of that name.
    Text(String),
    /// A key of the deployment's own ConfigMap.
    ConfigMap {
        /// The key.
        key: String,
    },
    /// A key of a Secret.
    Secret {
        /// The Secret's name.
        secret: String,
        /// The key in its data.
        key: String,
    },
}
