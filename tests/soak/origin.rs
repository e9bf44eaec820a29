//! The origin: always healthy, with validators and ranges, and what it serves follows from path and generation.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::world::{Resource, World};

/// Listens on a free port, for as long as the runtime lives.
pub(crate) async fn start(world: Arc<World>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("its number");
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|request| {
                    let answer = answer(&world, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // A node that is killed leaves its connections broken.
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    });
    address
}

fn answer(world: &World, request: &Request<Incoming>) -> Response<Pieces> {
    let Some(resource) = world.find(request.uri().path()) else {
        return empty(StatusCode::NOT_FOUND);
    };
    resource.asked.fetch_add(1, SeqCst);
    match *request.method() {
        Method::POST => {
            let generation = resource.change();
            let mut response = empty(StatusCode::OK);
            mark(response.headers_mut(), resource, generation);
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, "no-store".parse().expect("a value"));
            response.headers_mut().remove(header::ETAG);
            response
        }
        _ => read(world, resource, request),
    }
}

fn read(world: &World, resource: &Resource, request: &Request<Incoming>) -> Response<Pieces> {
    let generation = resource.generation();
    let etag = resource.etag(generation);
    let field = |name: header::HeaderName| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if field(header::IF_NONE_MATCH).is_some_and(|tags| tags.split(", ").any(|tag| tag == etag)) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        mark(response.headers_mut(), resource, generation);
        return response;
    }
    let body = resource.body(generation, &world.pool);
    let same = field(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let range = field(header::RANGE)
        .filter(|_| same)
        .and_then(|text| range(text, body.len()));
    let mut response = match range {
        Some((first, last)) => {
            let told = format!("bytes {first}-{last}/{}", body.len());
            let mut response = Response::new(Pieces::of(body.slice(first..=last), true));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response
                .headers_mut()
                .insert(header::CONTENT_RANGE, told.parse().expect("a value"));
            response
        }
        None => Response::new(Pieces::of(body, !resource.is_streamed())),
    };
    mark(response.headers_mut(), resource, generation);
    response
}

fn range(text: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let last = last.parse().unwrap_or(length - 1).min(length - 1);
    (first <= last).then_some((first, last))
}

fn mark(headers: &mut HeaderMap, resource: &Resource, generation: u64) {
    let fields = [
        (header::CONTENT_TYPE, resource.media_type().to_owned()),
        (
            header::CACHE_CONTROL,
            format!("max-age={}", resource.lifetime_seconds()),
        ),
        (header::ETAG, resource.etag(generation)),
        (
            header::HeaderName::from_static("x-generation"),
            generation.to_string(),
        ),
        (
            header::HeaderName::from_static("surrogate-key"),
            format!("all t{}", resource.tag),
        ),
    ];
    for (name, value) in fields {
        headers.insert(name, value.parse().expect("a value"));
    }
}

fn empty(status: StatusCode) -> Response<Pieces> {
    let mut response = Response::new(Pieces::of(Bytes::new(), true));
    *response.status_mut() = status;
    response
}

/// A body in pieces, with or without a length in front.
pub(crate) struct Pieces {
    rest: Bytes,
    tells_length: bool,
}

impl Pieces {
    fn of(rest: Bytes, tells_length: bool) -> Self {
        Self { rest, tells_length }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(64 << 10);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.tells_length {
            SizeHint::with_exact(self.rest.len() as u64)
        } else {
            SizeHint::default()
        }
    }
}
