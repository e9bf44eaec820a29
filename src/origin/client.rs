use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::semantics::hop_by_hop;
use crate::semantics::interim::{self, INTERIM_MAX};

use super::admission::{Admission, Slot};
use super::body::{Body, Exchange};
use super::config::{Config, HostHeader, RetryOn, Scheme, Server};
use super::dial::Dialer;
use super::error::OriginError;
use super::head::{self, Refused};
use super::message::{Request, Response};
use super::pool::{Lease, NoAnswer, Pool};
use super::rotation::{Outcome, Rotation, Tried};
use super::trust;
use super::upload::{Sending, Uploading};

/// The way to one or more HTTP servers.
#[derive(Debug)]
pub(super) struct Client {
    config: Config,
    members: Vec<Member>,
    rotation: Rotation,
    admission: Admission,
}

#[derive(Debug)]
struct Member {
    server: Server,
    /// What Host or `:authority` says unless configured: the port only if it is not the scheme's.
    authority: String,
    pool: Arc<Pool>,
}

/// Whether a connection that is already there will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Kept,
    /// A second try must not meet a second stale connection.
    Fresh,
}

/// One server's answer, its body still to come.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    length: Option<u64>,
    incoming: Incoming,
    lease: Lease,
    /// It asks for no more of the request's body.
    stops_upload: bool,
    /// There is none, whatever the server sends.
    bodyless: bool,
    keeps: bool,
}

/// One server's failure.
#[derive(Debug)]
struct Failure {
    error: OriginError,
    /// The connection had been used before and broke before any byte.
    stale: bool,
    /// Nothing was sent.
    unsent: bool,
}

impl Client {
    pub(super) fn new(config: &Config, servers: &[Server]) -> Result<Self, OriginError> {
        if servers.is_empty() {
            return Err(OriginError::Unusable {
                why: "it has no server".to_owned(),
            });
        }
        let needs_tls = servers.iter().any(|server| server.scheme == Scheme::Https);
        let tls = needs_tls
            .then(|| trust::client_config(config))
            .transpose()?;
        let members = servers
            .iter()
            .map(|server| {
                let (authority, name) = names(server);
                let dialer = Dialer::new(config, server, name, tls.as_ref())?;
                Ok(Member {
                    server: server.clone(),
                    authority,
                    pool: Arc::new(Pool::new(dialer, config.keepalive)),
                })
            })
            .collect::<Result<_, OriginError>>()?;
        Ok(Self {
            rotation: Rotation::new(servers),
            admission: Admission::new(config.max_connections, config.queue),
            config: config.clone(),
            members,
        })
    }

    pub(super) async fn fetch(&self, mut request: Request) -> Result<Response, OriginError> {
        let slot = self.admission.enter().await?;
        let (mut sending, uploading) = std::mem::take(&mut request.body).split();
        let safe = request.method == Method::GET || request.method == Method::HEAD;
        let repeats = safe && uploading.is_none();
        let mut left = self.config.retries.count;
        let mut tried: Vec<Tried> = Vec::new();
        let mut reuse = Reuse::Kept;
        // Ends when `left` does: each turn but the first lowers it, save two that happen once at most (a
        // request that a stale connection never sent, and a last resort to a backup server).
        loop {
            let index = self.rotation.pick(&tried, Instant::now());
            let Some(member) = self.members.get(index) else {
                return Err(OriginError::Request);
            };
            let failure = match self
                .attempt(index, member, &request, &mut sending, &uploading, reuse)
                .await
            {
                Ok(answer) if repeats && left > 0 && self.config.retries.wants(answer.status) => {
                    left -= 1;
                    tried.push(Tried::failed(index));
                    continue;
                }
                Ok(answer) => return Ok(self.deliver(member, answer, uploading, slot)),
                Err(failure) => failure,
            };
            if !repeats && !failure.unsent {
                return Err(failure.error);
            }
            let first_stale = failure.stale && reuse == Reuse::Kept;
            reuse = Reuse::Fresh;
            if first_stale {
                // The usual race of keep-alive (RFC 9112 §9.3.1), not a fault: tried again whatever `retries`
                // says, but as one of them if the server may have seen it.
                if !failure.unsent {
                    left = left.saturating_sub(1);
                }
                tried.push(Tried::stale(index));
                continue;
            }
            if !failure.error.is_retryable(&self.config.retries) {
                return Err(failure.error);
            }
            tried.push(Tried::failed(index));
            if left > 0 {
                left -= 1;
            } else if self.last_resort(&failure.error, &tried) {
                tracing::debug!(error = %failure.error, "asking a backup server");
            } else {
                return Err(failure.error);
            }
        }
    }

    /// Whether a backup server is asked although the tries are used up: nothing was sent to anybody yet.
    fn last_resort(&self, error: &OriginError, tried: &[Tried]) -> bool {
        let primaries_only = tried.iter().all(|one| {
            self.members
                .get(one.server)
                .is_some_and(|member| !member.server.backup)
        });
        let all_primaries = self
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| !member.server.backup)
            .all(|(index, _)| tried.iter().any(|one| one.server == index));
        error.is_unreachable()
            && self.config.retries.count > 0
            && primaries_only
            && all_primaries
            && self.rotation.has_untried_backup(tried)
    }

    async fn attempt(
        &self,
        index: usize,
        member: &Member,
        request: &Request,
        sending: &mut Sending,
        uploading: &Uploading,
        reuse: Reuse,
    ) -> Result<Answer, Failure> {
        let mut lease = self.lease(index, member, reuse).await?;
        let interim = Interim::watch(&lease, request.interim.as_ref());
        let message = self.message(member, request, sending.length(), &lease)?;
        // Without a body there is nothing to run out of: the next try sends the same.
        let message = interim.attach(message.map(|()| std::mem::take(sending)));
        let before = lease.received();
        let name = member.pool.name();
        let limit = self.config.first_byte_timeout;
        let answered = uploading.bound(limit, lease.send(message)).await;
        let began = lease.received() > before;
        if let Some(error) = uploading.error()
            && !matches!(answered, Some(Ok(_)))
        {
            return Err(Failure::from(OriginError::Upload(error)));
        }
        if interim.too_many() {
            return Err(Failure::from(OriginError::Malformed {
                server: Arc::clone(name),
                what: "too many interim answers",
            }));
        }
        match answered {
            Some(Ok(answer)) => {
                let answer = Answer::checked(answer, lease, &self.config, &request.method, name)?;
                if answer.stops_upload {
                    uploading.hold();
                }
                Ok(answer)
            }
            Some(Err(failed)) => {
                let NoAnswer { error, unsent } = failed;
                let error = no_answer(error, name, began);
                let unsent = match unsent {
                    Some(body) => {
                        *sending = body;
                        true
                    }
                    None => false,
                };
                Err(Failure {
                    stale: lease.reused() && matches!(error, OriginError::Reset { .. }),
                    unsent,
                    error,
                })
            }
            // A dripping head is no reason to ask again, so it is told apart.
            None if began && matches!(lease, Lease::H1 { .. }) => {
                Err(Failure::from(OriginError::ReadTimeout {
                    server: Arc::clone(name),
                    limit,
                }))
            }
            None => {
                // Perhaps only this URL is slow, perhaps the shared connection is dead: what it carries may
                // end, the next request gets another.
                member.pool.retire(&lease);
                Err(Failure::from(OriginError::FirstByteTimeout {
                    server: Arc::clone(name),
                    limit,
                }))
            }
        }
    }

    async fn lease(
        &self,
        index: usize,
        member: &Member,
        reuse: Reuse,
    ) -> Result<Lease, OriginError> {
        if reuse == Reuse::Kept
            && let Some(lease) = member.pool.kept().await
        {
            return Ok(lease);
        }
        self.make_room();
        let connected = member.pool.connect().await;
        match &connected {
            Ok(_) => self.rotation.reached(index),
            Err(error) if error.is_unreachable() => {
                self.rotation.not_reached(index, Instant::now());
            }
            Err(_) => {}
        }
        connected
    }

    /// Closes idle connections, of any server, that would make more than `max_connections` with a new one.
    fn make_room(&self) {
        let idle: Vec<(usize, Option<Instant>)> = self
            .members
            .iter()
            .map(|member| member.pool.idle())
            .collect();
        let kept: usize = idle.iter().map(|(count, _)| count).sum();
        if self.admission.taken().saturating_add(kept) <= self.admission.size() {
            return;
        }
        let oldest = self
            .members
            .iter()
            .zip(idle)
            .filter_map(|(member, (_, since))| Some((since?, member)))
            .min_by_key(|(since, _)| *since);
        if let Some((_, member)) = oldest {
            member.pool.close_oldest();
        }
    }

    /// Builds the request anew for this server and protocol.
    fn message(
        &self,
        member: &Member,
        request: &Request,
        length: Option<u64>,
        lease: &Lease,
    ) -> Result<http::Request<()>, OriginError> {
        let host = match (&self.config.host_header, &request.client_host) {
            (HostHeader::Fixed(host), _) => host.clone(),
            (HostHeader::Client, Some(host)) => field(host)?,
            (HostHeader::Client, None) | (HostHeader::Url, _) => field(&member.authority)?,
        };
        let target = target(member, request)?;
        let mut fields = self.fields(&request.headers);
        let uri = match lease {
            Lease::H1 { .. } => {
                fields.insert(HOST, host);
                Uri::from(target)
            }
            // HTTP/2 has `:scheme` and `:authority` instead (RFC 9113 §8.3.1).
            Lease::H2(_) => Uri::builder()
                .scheme(match member.server.scheme {
                    Scheme::Http => "http",
                    Scheme::Https => "https",
                })
                .authority(host.as_bytes())
                .path_and_query(target)
                .build()
                .map_err(|_| OriginError::Request)?,
        };
        let mut message = http::Request::new(());
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = uri;
        // Said also where the protocol layer would not: a body of no bytes is a body (RFC 9110 §8.6).
        if let Some(length) = length {
            fields.insert(CONTENT_LENGTH, length.into());
        }
        *message.headers_mut() = fields;
        Ok(message)
    }

    fn fields(&self, given: &HeaderMap) -> HeaderMap {
        // Host is named first, so that it is also written first (RFC 9110 §7.2).
        let mut fields = HeaderMap::with_capacity(given.len() + self.config.set_headers.len() + 1);
        fields.insert(HOST, HeaderValue::from_static(""));
        for (name, value) in given {
            fields.append(name, value.clone());
        }
        for name in &self.config.remove_headers {
            fields.remove(name);
        }
        for (name, value) in &self.config.set_headers {
            fields.insert(name, value.clone());
        }
        // The connection is ours alone, and so is the framing of the body, which is sent without waiting for a 100.
        hop_by_hop::remove(&mut fields);
        fields.remove(CONTENT_LENGTH);
        fields.remove(EXPECT);
        fields.remove(HOST);
        fields
    }

    fn deliver(
        &self,
        member: &Member,
        answer: Answer,
        uploading: Uploading,
        slot: Slot,
    ) -> Response {
        let Answer {
            status,
            headers,
            length,
            incoming,
            lease,
            stops_upload: _,
            bodyless,
            keeps,
        } = answer;
        let server = Arc::clone(member.pool.name());
        Response {
            status,
            headers,
            content_length: length,
            body: Body::exchange(Exchange {
                incoming,
                uploading,
                bodyless,
                lease,
                home: keeps.then(|| Arc::clone(&member.pool)),
                slot,
                server: Arc::clone(&server),
                length,
                received: 0,
                read_timeout: self.config.read_timeout,
            }),
            server,
        }
    }

    #[cfg(test)]
    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }
}

impl Answer {
    /// Refuses a head that has more than one meaning.
    fn checked(
        answer: http::Response<Incoming>,
        lease: Lease,
        config: &Config,
        method: &Method,
        server: &Arc<str>,
    ) -> Result<Self, Failure> {
        let (parts, incoming) = answer.into_parts();
        let mut headers = parts.headers;
        let length = head::check(config.any_status, parts.status, parts.version, &headers)
            .map_err(|refused| {
                let server = Arc::clone(server);
                match refused {
                    Refused::Malformed(what) => OriginError::Malformed { server, what },
                    Refused::TooLarge => OriginError::HeadTooLarge { server },
                }
            })?;
        let bodyless = *method == Method::HEAD
            || parts.status == StatusCode::NO_CONTENT
            || parts.status == StatusCode::NOT_MODIFIED;
        // The end of a close-delimited body cannot be told from a cut, except under TLS, where a close without
        // notice is an error (RFC 9112 §9.8).
        let delimited =
            bodyless || length.is_some() || headers.contains_key(http::header::TRANSFER_ENCODING);
        let closes = asks_to_close(&headers);
        let keeps = match parts.version {
            Version::HTTP_2 => true,
            Version::HTTP_11 => delimited && !closes,
            _ => false,
        };
        // RFC 9112 §9.5. Other answers may well come while the server reads on.
        let stops_upload = closes || parts.status.as_u16() >= 400;
        hop_by_hop::remove(&mut headers);
        head::single_length(&mut headers, length);
        Ok(Self {
            status: parts.status,
            headers,
            length,
            incoming,
            lease,
            stops_upload,
            bodyless,
            keeps,
        })
    }
}

impl From<OriginError> for Failure {
    fn from(error: OriginError) -> Self {
        Self {
            stale: false,
            unsent: error.is_unreachable(),
            error,
        }
    }
}

impl Tried {
    fn failed(server: usize) -> Self {
        Self {
            server,
            how: Outcome::Failed,
        }
    }

    fn stale(server: usize) -> Self {
        Self {
            server,
            how: Outcome::Stale,
        }
    }
}

impl super::config::Retries {
    fn wants(&self, status: StatusCode) -> bool {
        let on = match status {
            StatusCode::BAD_GATEWAY => RetryOn::Status502,
            StatusCode::SERVICE_UNAVAILABLE => RetryOn::Status503,
            StatusCode::GATEWAY_TIMEOUT => RetryOn::Status504,
            _ => return false,
        };
        self.on.contains(&on)
    }
}

impl Lease {
    fn received(&self) -> u64 {
        match self {
            Self::H1 { connection, .. } => connection.received(),
            // Other streams share the count, and a head comes whole or not at all.
            Self::H2(_) => 0,
        }
    }
}

/// Counts interim answers and hands them on, and ends the connection of a server that sends nothing else.
struct Interim {
    count: Arc<AtomicUsize>,
    told: Option<interim::Interim>,
    driver: Option<tokio::task::AbortHandle>,
}

impl Interim {
    fn watch(lease: &Lease, told: Option<&interim::Interim>) -> Self {
        Self {
            count: Arc::default(),
            told: told.cloned(),
            driver: match lease {
                Lease::H1 { connection, .. } => Some(connection.driver()),
                Lease::H2(_) => None,
            },
        }
    }

    fn attach(&self, mut message: http::Request<Sending>) -> http::Request<Sending> {
        if let Some(driver) = self.driver.clone() {
            let count = Arc::clone(&self.count);
            let told = self.told.clone();
            hyper::ext::on_informational(&mut message, move |answer| {
                if count.fetch_add(1, Ordering::AcqRel) >= INTERIM_MAX {
                    driver.abort();
                } else if let Some(told) = &told {
                    told.tell(answer.status(), answer.headers());
                }
            });
        }
        message
    }

    fn too_many(&self) -> bool {
        self.count.load(Ordering::Acquire) > INTERIM_MAX
    }
}

fn no_answer(error: hyper::Error, server: &Arc<str>, began: bool) -> OriginError {
    let server = Arc::clone(server);
    if error.is_parse_too_large() {
        OriginError::HeadTooLarge { server }
    } else if error.is_parse() || is_h2_protocol_error(&error) {
        OriginError::Malformed {
            server,
            what: "head",
        }
    } else if began {
        OriginError::Truncated {
            server,
            received: 0,
        }
    } else {
        OriginError::Reset {
            server,
            source: Arc::new(error),
        }
    }
}

/// Whether our side found fault with what the server sent over HTTP/2.
fn is_h2_protocol_error(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(|source| {
            source.is_library() && source.reason() == Some(h2::Reason::PROTOCOL_ERROR)
        })
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("close"))
}

fn field(text: &str) -> Result<HeaderValue, OriginError> {
    HeaderValue::from_str(text).map_err(|_| OriginError::Request)
}

fn target(member: &Member, request: &Request) -> Result<PathAndQuery, OriginError> {
    let mut text = String::with_capacity(
        member.server.base_path.len()
            + request.path.len()
            + request.query.as_ref().map_or(0, |query| query.len() + 1),
    );
    text.push_str(&member.server.base_path);
    text.push_str(&request.path);
    if let Some(query) = &request.query {
        text.push('?');
        text.push_str(query);
    }
    // The parser would cut a fragment off in silence, and ask for something else than the key says.
    if !text.starts_with('/') || text.contains('#') {
        return Err(OriginError::Request);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(text)).map_err(|_| OriginError::Request)
}

/// What Host says, and what logs say.
fn names(server: &Server) -> (String, Arc<str>) {
    let host = if server.host.contains(':') {
        format!("[{}]", server.host)
    } else {
        server.host.clone()
    };
    let name = format!("{host}:{}", server.port);
    let usual = match server.scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let authority = if server.port == usual {
        host
    } else {
        name.clone()
    };
    (authority, name.into())
}
