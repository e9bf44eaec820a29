use std::borrow::Cow;
use std::sync::Arc;

use crate::semantics::host::Host;
use crate::semantics::path;
use crate::variant::{self, Located, ParameterError, PathParameters};

use super::answer::{Admitted, host_text};
use super::ruling::Ruling;
use super::{Refusal, SiteState};

/// What a request is about, once a path that names a picture in another product's form is read.
pub(super) struct Place<'a> {
    /// As keys and origins see it.
    pub(super) host: Option<String>,
    /// Canonical.
    pub(super) path: Cow<'a, str>,
    pub(super) query: Option<Cow<'a, str>>,
    /// What stood in the path besides the picture.
    pub(super) parameters: Option<PathParameters>,
    /// What a signature is of, where the site signs.
    pub(super) signed: Option<SignedTarget>,
}

/// A request's target as the client wrote it, its path canonical.
pub(super) struct SignedTarget {
    pub(super) path: String,
    pub(super) query: Option<String>,
}

impl Place<'_> {
    pub(super) fn admitted(self, site: &Arc<SiteState>, ruling: Ruling) -> Admitted {
        Admitted {
            site: Arc::clone(site),
            host: self.host,
            query: self.query.map(Cow::into_owned),
            parameters: self.parameters,
            signed: self.signed,
            ruling,
        }
    }
}

impl SiteState {
    /// Where a request for this path leads. Only the site's own origin is ever read: a picture on a host that is none
    /// of the site's is refused.
    pub(super) fn place<'a>(
        &self,
        host: Option<String>,
        path: &'a str,
        query: Option<&'a str>,
    ) -> Result<Place<'a>, Refusal> {
        let images = &self.site.images;
        let path = path::canonical(path)?;
        let signed = images.sign.is_used().then(|| SignedTarget {
            path: path.clone().into_owned(),
            query: query.map(str::to_owned),
        });
        let Some(located) = variant::located(images, &path, query)? else {
            return Ok(Place {
                host,
                path,
                query: query.map(Cow::Borrowed),
                parameters: None,
                signed,
            });
        };
        let Located {
            host: of_picture,
            path,
            query,
            parameters,
        } = located;
        let host = match of_picture {
            Some(text) => Some(self.own_host(&text)?),
            None => host,
        };
        Ok(Place {
            host,
            path: Cow::Owned(path::canonical(&path)?.into_owned()),
            query: query.map(Cow::Owned),
            parameters: Some(parameters),
            signed,
        })
    }

    fn own_host(&self, text: &str) -> Result<String, Refusal> {
        let host = Host::parse(text).ok();
        host.filter(|host| self.site.answers_for(&host.name))
            .map(host_text)
            .ok_or_else(|| {
                Refusal::Parameter(ParameterError::Value {
                    name: "the picture's URL",
                    expected: "on a host of this site".to_owned(),
                })
            })
    }
}
