use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, USER_AGENT, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::origin::{self, Upload};
use crate::policy::{self, KeyText};
use crate::semantics::dictionary::{AVAILABLE_DICTIONARY, DICTIONARY_ID};
use crate::semantics::{hop_by_hop, interim::Interim, reference::Base};
use crate::store::{Store, Subject};

use crate::variant::DictionaryMode;

use super::Zone;
use super::dictionary::accepted_deltas;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// One request for a stored object: the key, and all that a pull for it needs.
#[derive(Clone)]
pub struct Ask {
    /// The site.
    pub zone: Arc<Zone>,
    /// The full key as text; compared on every hit.
    pub key: KeyText,
    /// The key's hash: where the tiers keep it.
    pub id: u128,
    /// Canonical path.
    pub path: String,
    /// The query that belongs to the key and goes to the origin.
    pub query: Option<String>,
    /// The host, and perhaps the port, that the client named.
    pub authority: Option<String>,
    /// Whether that belongs to the key.
    pub keys_host: bool,
    /// The client's fields.
    pub headers: HeaderMap,
    /// The client's address.
    pub peer: IpAddr,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// Where interim answers go that come for this very request.
    pub interim: Option<Interim>,
}

impl Ask {
    /// The same, for work that goes on when its client has left.
    #[must_use]
    pub(super) fn behind(&self) -> Self {
        Self {
            interim: None,
            ..self.clone()
        }
    }

    /// The client's host when it belongs to the key.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.authority.as_deref().filter(|_| self.keys_host)
    }

    /// The hash that exact purges name: every variant of the URL shares it.
    #[must_use]
    pub fn url(&self, store: &Store) -> u128 {
        let text = policy::url_key(
            &self.zone.name,
            self.host(),
            &self.path,
            self.query.as_deref(),
        );
        store.hash(&[text.as_bytes()])
    }

    /// What purges may name of it; `tags` are those of its object.
    #[must_use]
    pub fn subject<'a>(&'a self, store: &Store, tags: &'a [u128]) -> Subject<'a> {
        Subject {
            url: self.url(store),
            host: self.host().map(policy::without_port),
            path: &self.path,
            tags,
        }
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
        // An origin that answers against dictionaries must know of them before it has said that it does.
        if self.passes_dictionary() {
            for name in [AVAILABLE_DICTIONARY, DICTIONARY_ID, ACCEPT_ENCODING] {
                varied.remove(&name);
                for value in self.headers.get_all(&name) {
                    varied.append(&name, value.clone());
                }
            }
        }
        varied
    }

    /// Whether the origin is told of the client's dictionary. What it answers then is for those alone who have it.
    pub(super) fn passes_dictionary(&self) -> bool {
        self.headers.contains_key(AVAILABLE_DICTIONARY)
            && !self.is_transparent()
            && self.zone.compression.dictionaries.mode == DictionaryMode::Passthrough
    }

    /// Whether the origin could have been told of it.
    pub(super) fn shows_dictionary(&self) -> bool {
        self.is_transparent()
            || self.zone.compression.dictionaries.mode == DictionaryMode::Passthrough
    }

    /// The codings that the origin may answer with.
    fn accept_encoding(&self, passes_dictionary: bool) -> HeaderValue {
        let ours = self.zone.compression.accept_encoding();
        if !passes_dictionary {
            return ours;
        }
        let deltas = accepted_deltas(&self.headers).join(", ");
        let value = match ours.to_str() {
            Ok(ours) if ours != "identity" => HeaderValue::try_from(format!("{deltas}, {ours}")),
            _ => HeaderValue::try_from(deltas),
        };
        value.unwrap_or(ours)
    }

    /// The URL of the request, for references in answers to be read against.
    pub(super) fn target(&self) -> Base<'_> {
        Base {
            scheme: if self.secure { "https" } else { "http" },
            host: self.authority.as_deref(),
            path: &self.path,
            query: self.query.as_deref(),
        }
    }

    /// Whether the origin sees all of the client's end-to-end fields.
    pub(super) fn is_transparent(&self) -> bool {
        self.zone.is_transparent()
    }

    /// Whether the request says who asks, in a way that the origin gets to see: its answer may be for this client
    /// alone although nothing in it says so.
    pub(super) fn is_personal(&self) -> bool {
        let authorized = self.zone.policy.authorization != policy::Authorization::Strip
            && self.headers.contains_key(AUTHORIZATION);
        authorized || (self.is_transparent() && self.headers.contains_key(COOKIE))
    }

    /// The text by which this request's variant is told apart, among those that vary by `fields`.
    pub(super) fn secondary(&self, fields: &[HeaderName]) -> KeyText {
        policy::secondary_key(fields, &self.selecting(fields), &self.zone.policy.vary)
    }

    /// The fields that choose a variant, as the origin sees them: those that the node makes itself are not
    /// the client's.
    fn selecting(&self, fields: &[HeaderName]) -> Cow<'_, HeaderMap> {
        if !fields.iter().any(is_made_here) {
            return Cow::Borrowed(&self.headers);
        }
        let mut seen = self.headers.clone();
        self.sign(&mut seen);
        Cow::Owned(seen)
    }

    /// The request for the object itself. What is not in the key is not forwarded, unless the site is transparent
    /// (DESIGN §3). `extra` brings validators or a range.
    pub(super) fn origin_request(
        &self,
        varied: &HeaderMap,
        extra: Vec<(HeaderName, HeaderValue)>,
    ) -> origin::Request {
        self.message(Method::GET, varied, Conditions::Ours(extra))
    }

    /// A request to the origin, built anew.
    pub(super) fn message(
        &self,
        method: Method,
        varied: &HeaderMap,
        conditions: Conditions,
    ) -> origin::Request {
        let mut headers = if self.is_transparent() {
            self.all_fields()
        } else {
            self.listed_fields(varied)
        };
        if self.zone.policy.authorization == policy::Authorization::Strip {
            headers.remove(AUTHORIZATION);
        }
        if !is_read(&method) {
            for (name, value) in &self.headers {
                if describes_a_body(name) {
                    headers.insert(name, value.clone());
                }
            }
        }
        match conditions {
            Conditions::Ours(fields) => {
                for name in &CONDITIONS {
                    headers.remove(name);
                }
                for (name, value) in fields {
                    if name == RANGE {
                        // Blocks are of the bytes as they are.
                        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
                        headers.remove(AVAILABLE_DICTIONARY);
                        headers.remove(DICTIONARY_ID);
                    }
                    headers.insert(name, value);
                }
            }
            Conditions::Theirs => {
                for name in &CONDITIONS {
                    headers.remove(name);
                    for value in self.headers.get_all(name) {
                        headers.append(name, value.clone());
                    }
                }
            }
        }
        self.sign(&mut headers);
        origin::Request {
            method,
            path: self.path.clone(),
            query: self.query.clone(),
            client_host: self.host().map(str::to_owned),
            headers,
            body: Upload::None,
            interim: self.interim.clone(),
        }
    }

    /// The client's end-to-end fields.
    fn all_fields(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        hop_by_hop::remove(&mut headers);
        for name in [HOST, EXPECT, CONTENT_LENGTH] {
            headers.remove(name);
        }
        headers
    }

    /// What is known to choose a variant, what the site lists, and what the node says for all its clients.
    fn listed_fields(&self, varied: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in varied {
            headers.append(name, value.clone());
        }
        for name in &self.zone.origin.config().forward_headers {
            headers.remove(name);
            for value in self.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        if let Some(value) = self.headers.get(AUTHORIZATION) {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let passes_dictionary =
            headers.contains_key(AVAILABLE_DICTIONARY) && self.passes_dictionary();
        let codings = self.accept_encoding(passes_dictionary);
        headers.insert(ACCEPT_ENCODING, codings);
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!(
                "brim/",
                env!("CARGO_PKG_VERSION")
            )));
        headers
    }

    /// Says who hands the request on, and for whom. A transparent site hands on what nodes before it said.
    pub(super) fn sign(&self, headers: &mut HeaderMap) {
        let transparent = self.is_transparent();
        let before = |name: &HeaderName| match transparent {
            true => self.headers.get_all(name).iter().collect(),
            false => Vec::new(),
        };
        append_member(
            headers,
            VIA,
            &before(&VIA),
            &format!("1.1 {}", self.zone.node),
        );
        append_member(
            headers,
            FORWARDED_FOR,
            &before(&FORWARDED_FOR),
            &self.peer.to_string(),
        );
        let loop_tokens: Vec<_> = self.headers.get_all(CDN_LOOP).iter().collect();
        // RFC 8586 §2: every node appends its token and keeps those that are there.
        append_member(headers, CDN_LOOP, &loop_tokens, &self.zone.node);
        let scheme = if self.secure { "https" } else { "http" };
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
}

/// What becomes of the client's own conditions and range in a request to the origin.
pub(super) enum Conditions {
    /// They are left out, for the node answers them itself. These take their place.
    Ours(Vec<(HeaderName, HeaderValue)>),
    /// As they came: the answer is for this client alone.
    Theirs,
}

const CONDITIONS: [HeaderName; 6] = [
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
    RANGE,
];

/// Whether requests of this method are for the object itself.
pub(super) fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

pub(super) fn is_made_here(name: &HeaderName) -> bool {
    [VIA, FORWARDED_FOR, FORWARDED_PROTO, CDN_LOOP].contains(name)
}

/// RFC 9110 §8: the representation in a request. Its length is for the connection to say.
fn describes_a_body(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-") && *name != CONTENT_LENGTH
}

/// One line of what was there and the node's own member.
fn append_member(headers: &mut HeaderMap, name: HeaderName, before: &[&HeaderValue], own: &str) {
    let members: Vec<&[u8]> = before
        .iter()
        .map(|value| value.as_bytes())
        .chain([own.as_bytes()])
        .collect();
    if let Ok(line) = HeaderValue::from_bytes(&members.join(&b", "[..])) {
        headers.insert(name, line);
    }
}
