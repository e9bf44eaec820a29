use std::sync::Arc;

use http::HeaderMap;

use crate::cache::Inspection;

use super::{Client, Pipeline, Refusal};

/// A stored object, as operators name one.
#[derive(Debug, Clone)]
pub enum ObjectName {
    /// By the full text of its key.
    Key(String),
    /// By what a client would ask for.
    Url {
        /// With the port, if one is named.
        host: String,
        /// As the client sends it.
        path: String,
        /// Without `?`.
        query: Option<String>,
        /// Fields that belong to the key, or decide about rules.
        headers: HeaderMap,
    },
}

impl Pipeline {
    /// The key that an object of `site` has, and what is stored under it. Looking changes nothing.
    ///
    /// # Errors
    /// When the name is none of an object of the site.
    pub async fn stored(
        &self,
        client: Client,
        site: &str,
        name: ObjectName,
    ) -> Result<(String, Inspection), Refusal> {
        let routes = self.routes();
        let state = routes.site(site).ok_or(Refusal::UnknownHost)?;
        let (key, zone) = match name {
            // Every key begins with its site.
            ObjectName::Key(key) if key.split(' ').next() == Some(site) => {
                (key, Arc::clone(&state.zone))
            }
            ObjectName::Key(_) => return Err(Refusal::UnknownHost),
            ObjectName::Url {
                host,
                path,
                query,
                headers,
            } => {
                let query = query.as_deref();
                let admitted = self.admit_parts(&routes, client, &host, &path, query, &headers)?;
                if *admitted.site.site.name != *site {
                    return Err(Refusal::UnknownHost);
                }
                let (ask, _) = self.ask(admitted, client, headers, None)?;
                (ask.key.to_string(), Arc::clone(&ask.zone))
            }
        };
        let inspection = self.cache().inspect(&zone, &key).await;
        Ok((key, inspection))
    }
}
