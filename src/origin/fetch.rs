use std::sync::Arc;

use super::client::Client;
use super::config::{Config, Source};
use super::error::OriginError;
use super::folder::{Folder, Sibling};
use super::message::{Request, Response};

/// The way to one site's origin. It keeps connections, so one serves all requests of a site.
#[derive(Debug)]
pub struct Origin {
    config: Config,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Client(Box<Client>),
    Folder(Folder),
}

impl Origin {
    /// Reads the file with the certificate authorities, if one is named. Asks nothing of any server: an origin
    /// that is down, or whose name does not resolve yet, is no reason not to start.
    ///
    /// # Errors
    /// When the authorities cannot be read, a server's name cannot be one, or the source is still the demo.
    pub fn new(config: &Config) -> Result<Arc<Self>, OriginError> {
        let way = match &config.source {
            Source::Servers(servers) => Way::Client(Box::new(Client::new(config, servers)?)),
            Source::Folder(folder) => Way::Folder(Folder::new(folder.clone())),
            Source::Demo => {
                return Err(OriginError::Unusable {
                    why: "the demo origin has no address yet".to_owned(),
                });
            }
        };
        Ok(Arc::new(Self {
            config: config.clone(),
            way,
        }))
    }

    /// The configuration that it was made of.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Asks the origin. Any final status is an answer, not an error; redirects are not followed.
    ///
    /// Waits in the queue, connects and tries again as configured; a request with a body, or one that is neither GET
    /// nor HEAD, only as long as nothing of it was sent. An answer that comes before the whole body was sent counts;
    /// after one with a status of 400 or more, or one that closes the connection, no more of the body is sent. Dropping the future, or the body that it
    /// gives, ends the exchange and its connection. Call it within a tokio runtime: the connections' tasks run
    /// there as long as they are kept.
    ///
    /// # Errors
    /// When no whole head of an answer came, or it cannot be trusted; [`OriginError::Upload`] when the request's own
    /// body is the reason.
    pub async fn fetch(&self, request: Request) -> Result<Response, OriginError> {
        match &self.way {
            Way::Client(client) => client.fetch(request).await,
            Way::Folder(folder) => folder.fetch(request).await,
        }
    }

    /// Whether [`Origin::sibling`] can find anything at all.
    #[must_use]
    pub fn has_siblings(&self) -> bool {
        matches!(self.way, Way::Folder(_))
    }

    /// The file of a folder whose name is that of the file under `path` and `suffix` (`.br`), by the folder's own rules of
    /// what may be served; `None` without one, when it has more than `most_bytes` or cannot be read, and at once when the
    /// origin is no folder. Cancel-safe.
    pub async fn sibling(
        &self,
        path: &str,
        suffix: &'static str,
        most_bytes: u64,
    ) -> Option<Sibling> {
        match &self.way {
            Way::Client(_) => None,
            Way::Folder(folder) => folder.sibling(path, suffix, most_bytes).await,
        }
    }

    #[cfg(test)]
    pub(super) fn client(&self) -> &Client {
        match &self.way {
            Way::Client(client) => client,
            Way::Folder(_) => panic!("a folder has no connections"),
        }
    }
}
