use clearwater::config::DeploymentFile;

/// A deployment file that was read.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    pub(crate) file: DeploymentFile,
    /// What says its namespace: the file, or the flag that was put over it.
    pub(crate) namespace_from: String,
}
