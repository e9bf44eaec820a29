use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;

use super::body::{Answering, Multiplexed, Outgoing};
use super::control::Control;
use super::interim::Interims;
use super::listener::Settings;
use super::streams::Streams;
use super::{Answer, Mode, Peer};
use crate::pipeline::{RequestError, check, known_method};
use crate::semantics::interim::Interim;

/// What the requests of one connection share.
#[derive(Debug)]
pub(super) struct Session<A> {
    pub(super) answer: Arc<A>,
    pub(super) peer: Peer,
    pub(super) control: Arc<Control>,
    pub(super) settings: Arc<Settings>,
    pub(super) way: Way,
}

/// What is peculiar to the connection's protocol.
#[derive(Debug)]
pub(super) enum Way {
    Http1(Arc<Interims>),
    Http2(Streams),
}

/// The books of one answer, opened when its request's head is whole.
#[derive(Debug)]
pub(super) struct Begun {
    answering: Answering,
    multiplexed: Option<Multiplexed>,
    /// Of the request, on HTTP/1.
    number: u64,
}

impl<A: Answer> Session<A> {
    /// Opens the books. Called inside the protocol layer's call of the service.
    pub(super) fn begin(&self) -> Begun {
        let (multiplexed, number) = match &self.way {
            Way::Http1(interims) => (None, interims.begin()),
            Way::Http2(streams) => {
                let multiplexed = Multiplexed {
                    control: Arc::clone(&self.control),
                    stream: streams.begin(),
                    piece_bytes: self.settings.config.h2_config.send_buffer_bytes.max(1),
                };
                (Some(multiplexed), 0)
            }
        };
        Begun {
            answering: Answering::begin(&self.control),
            multiplexed,
            number,
        }
    }

    pub(super) async fn answer(
        &self,
        begun: Begun,
        request: Request<Incoming>,
    ) -> Response<Outgoing<A::Body>> {
        let head_only = request.method() == Method::HEAD;
        let version = request.version();
        let Begun {
            answering,
            multiplexed,
            number,
        } = begun;
        let mut response = match self.settings.config.mode {
            Mode::Serve => {
                let interim = self.interim(version, number);
                let answer = self.answer.answer(&self.peer, request, interim).await;
                if head_only {
                    without_body(answer, answering, multiplexed)
                } else {
                    answer.map(|body| Outgoing::of(body, answering, multiplexed))
                }
            }
            Mode::RedirectHttps => {
                let redirect = self.redirect(request);
                if head_only {
                    without_body(
                        redirect.map(http_body_util::Full::new),
                        answering,
                        multiplexed,
                    )
                } else {
                    redirect.map(|text| Outgoing::text(text, answering, multiplexed))
                }
            }
        };
        // The least surprise for the few clients that still speak it: one answer a connection,
        // whatever their Connection field asks for.
        if version == Version::HTTP_10 {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Way::Http1(interims) = &self.way {
            interims.answered(number);
        }
        response
    }

    /// HTTP/1.0 has no interim answers (RFC 9110 §15.2), and the HTTP/2 layer takes none from us.
    fn interim(&self, version: Version, number: u64) -> Option<Interim> {
        match &self.way {
            Way::Http1(interims) if version == Version::HTTP_11 => Some(interims.of(number)),
            Way::Http1(_) | Way::Http2(_) => None,
        }
    }

    fn redirect(&self, request: Request<Incoming>) -> Response<Bytes> {
        let (parts, _body) = request.into_parts();
        let checked = check(&self.settings.request_limits, &parts, self.peer.secure)
            .and_then(|checked| known_method(&parts.method).map(|()| checked));
        match checked {
            Ok(checked) => {
                let port = self.settings.https_port.unwrap_or(443);
                let location = checked.host.and_then(|host| {
                    let path = if checked.path == "*" {
                        "/"
                    } else {
                        checked.path
                    };
                    let target = https_target(&host.name, port, path, checked.query);
                    HeaderValue::from_str(&target).ok()
                });
                match location {
                    Some(location) => {
                        let mut response =
                            text(StatusCode::PERMANENT_REDIRECT, "This is at https.");
                        response.headers_mut().insert(LOCATION, location);
                        response
                    }
                    None => refusal(&RequestError::HostAbsent),
                }
            }
            Err(error) => refusal(&error),
        }
    }
}

fn https_target(host: &str, port: u16, path: &str, query: Option<&str>) -> String {
    let port = match port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    format!("https://{host}{port}{path}{query}")
}

fn refusal(error: &RequestError) -> Response<Bytes> {
    let mut response = text(error.status(), &error.to_string());
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn text(status: StatusCode, sentence: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{sentence}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// RFC 9110 section 9.3.2: no content, but the length that GET would have. HTTP/2 needs this
/// done for it; and whatever makes the body is let go at once.
fn without_body<B: Body, C>(
    response: Response<B>,
    answering: Answering,
    multiplexed: Option<Multiplexed>,
) -> Response<Outgoing<C>> {
    let (mut parts, body) = response.into_parts();
    if let Some(length @ 1..) = body.size_hint().exact()
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    drop(body);
    Response::from_parts(parts, Outgoing::text(Bytes::new(), answering, multiplexed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_keeps_host_path_and_query() {
        let check = |host, port, path, query, expect: &str| {
            assert_eq!(https_target(host, port, path, query), expect);
        };
        check("a.example", 443, "/", None, "https://a.example/");
        check(
            "a.example",
            8443,
            "/x%20y",
            Some("z=1"),
            "https://a.example:8443/x%20y?z=1",
        );
        check("[::1]", 443, "//b", Some(""), "https://[::1]//b?");
    }
}
