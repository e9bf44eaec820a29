use std::path::PathBuf;

use crate::config::{ConfigErrors, NodeConfig, resolve};

/// Where a node's configuration comes from: asked at the start and again at each reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigSource {
    /// A folder with `edge.toml` and `sites`; without one it is the default folder, or what is built in.
    pub folder: Option<PathBuf>,
    /// URLs and folders that get a site each.
    pub origins: Vec<String>,
}

impl ConfigSource {
    /// Reads it now.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(&self) -> Result<NodeConfig, ConfigErrors> {
        resolve(self.folder.as_deref(), &self.origins)
    }
}
