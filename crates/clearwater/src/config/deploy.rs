//! From a file to a deployment: what a file is checked for as a whole, with a namespace and without.

use super::problem::sort;
use super::read::values;
use super::{ConfigErrors, Deployment, DeploymentFile, Problem, check};

impl DeploymentFile {
    /// Puts the file on a namespace and checks it as a whole.
    ///
    /// ```
    /// use clearwater::config::DeploymentFile;
    ///
    /// let deployment = DeploymentFile::default().deploy("ims").unwrap();
    /// assert_eq!(deployment.zone(), "ims.svc.cluster.local");
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong, each value's range among it: a file that was built in code is checked as one that was read.
    pub fn deploy(&self, namespace: &str) -> Result<Deployment, ConfigErrors> {
        ConfigErrors::unless_empty(values(self))?;
        let deployment = Deployment::new_unchecked(self.clone(), namespace.to_owned());
        let findings = check::file(self).into_iter().chain(check::deployment(&deployment));
        ConfigErrors::unless_empty(findings.map(|f| f.problem).filter(Problem::is_error).collect())?;
        ConfigErrors::unless_empty(check::environment(&deployment).into_iter().map(|f| f.problem).collect())?;
        Ok(deployment)
    }

    /// What works and is likely not meant, or needs something of the cluster.
    /// [`Deployment::warnings`] says what depends on the namespace as well.
    pub fn warnings(&self) -> Vec<Problem> {
        warnings(check::file(self))
    }
}

impl Deployment {
    /// What works and is likely not meant, or needs something of the cluster.
    pub fn warnings(&self) -> Vec<Problem> {
        warnings(check::file(self.file()).into_iter().chain(check::deployment(self)).collect())
    }
}

/// The warnings among the findings, in the order of the file.
fn warnings(findings: Vec<check::Fault>) -> Vec<Problem> {
    let mut warnings: Vec<Problem> = findings.into_iter().map(|f| f.problem).filter(|p| !p.is_error()).collect();
    sort(&mut warnings);
    warnings
}
