use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, USER_AGENT, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::origin;
use crate::policy;
use crate::store::Store;

use super::Zone;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// One request for a stored object: the key, and all that a pull for it needs.
#[derive(Clone)]
pub struct Ask {
    /// The site.
    pub zone: Arc<Zone>,
    /// The full key as text; compared on every hit.
    pub key: String,
    /// The key's hash: where the tiers keep it.
    pub id: u128,
    /// Canonical path.
    pub path: String,
    /// The query that belongs to the key and goes to the origin.
    pub query: Option<String>,
    /// The client's host when it belongs to the key.
    pub host: Option<String>,
    /// The client's fields.
    pub headers: HeaderMap,
    /// The client's address.
    pub peer: IpAddr,
    /// Whether the client came over TLS.
    pub secure: bool,
}

impl Ask {
    /// The hash that exact purges name: every variant of the URL shares it.
    #[must_use]
    pub fn url(&self, store: &Store) -> u128 {
        let text = policy::url_key(
            &self.zone.name,
            self.host.as_deref(),
            &self.path,
            self.query.as_deref(),
        );
        store.hash(&[text.as_bytes()])
    }

    /// The client's fields that a learnt `Vary` names, which are therefore keyed and may be forwarded.
    #[must_use]
    pub(super) fn varied(&self, fields: &[HeaderName]) -> HeaderMap {
        let mut varied = HeaderMap::new();
        for name in fields {
            for value in self.headers.get_all(name) {
                varied.append(name, value.clone());
            }
        }
        varied
    }

    /// The origin request, built anew (DESIGN §3): what is not in the key is not forwarded. `extra` brings
    /// validators or a range.
    pub(super) fn origin_request(
        &self,
        varied: &HeaderMap,
        extra: Vec<(HeaderName, HeaderValue)>,
    ) -> origin::Request {
        let config = self.zone.origin.config();
        let mut headers = HeaderMap::new();
        for (name, value) in varied {
            headers.append(name, value.clone());
        }
        for name in &config.forward_headers {
            headers.remove(name);
            for value in self.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        if self.zone.policy.authorization != policy::Authorization::Strip
            && let Some(value) = self.headers.get(http::header::AUTHORIZATION)
        {
            headers.insert(http::header::AUTHORIZATION, value.clone());
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!(
                "brim/",
                env!("CARGO_PKG_VERSION")
            )));
        if let Ok(via) = HeaderValue::try_from(format!("1.1 {}", self.zone.node)) {
            headers.insert(VIA, via);
        }
        self.pass_loop_tokens(&mut headers);
        if let Ok(value) = HeaderValue::try_from(self.peer.to_string()) {
            headers.insert(FORWARDED_FOR, value);
        }
        let scheme = if self.secure { "https" } else { "http" };
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
        for (name, value) in extra {
            headers.insert(name, value);
        }
        origin::Request {
            method: Method::GET,
            path: self.path.clone(),
            query: self.query.clone(),
            client_host: self.host.clone(),
            headers,
        }
    }

    /// RFC 8586 §2: every node appends its token and keeps those that are there.
    fn pass_loop_tokens(&self, headers: &mut HeaderMap) {
        let before = self
            .headers
            .get_all(CDN_LOOP)
            .iter()
            .map(HeaderValue::as_bytes);
        let tokens: Vec<&[u8]> = before.chain([self.zone.node.as_bytes()]).collect();
        if let Ok(list) = HeaderValue::from_bytes(&tokens.join(&b", "[..])) {
            headers.insert(CDN_LOOP, list);
        }
    }
}
