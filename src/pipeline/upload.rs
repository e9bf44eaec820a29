use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::origin::{Upload, UploadError};

/// The body of a request that may be passed on. Nothing of it is read before somebody wants it, so that a client that
/// waits for a 100 is asked for it only then; dropped, it stays unread and its HTTP/1.1 connection ends with the answer.
pub(super) enum RequestBody {
    /// Neither a body nor a word of one.
    None,
    Pieces {
        length: Option<u64>,
        pieces: BoxBody<Bytes, UploadError>,
        /// Until when all of it must be there.
        deadline: Instant,
        limit: Duration,
    },
}

impl RequestBody {
    /// The body of the request that `parts` begins, all of which may take `limit` from now on. With GET and HEAD
    /// there is none, whatever the client sends (RFC 9110 §9.3.1).
    pub(super) fn new<B>(parts: &Parts, body: B, limit: Duration) -> Self
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Sync + 'static,
    {
        if parts.method == Method::GET || parts.method == Method::HEAD {
            return Self::None;
        }
        let (length, pieces) = match (declared_length(&parts.headers), body.is_end_stream()) {
            (None, true) => return Self::None,
            (Some(_), true) => (Some(0), no_pieces()),
            (length, false) => (length, body.map_err(|_| UploadError::Cut).boxed()),
        };
        Self::Pieces {
            length,
            pieces,
            deadline: Instant::now() + limit,
            limit,
        }
    }

    /// The body as an origin gets it, if it has no more than `most_bytes`. One that does not say its length is counted
    /// while it goes out; where nothing is taken, whether there is anything is found out first.
    ///
    /// # Errors
    /// When it is known to be too large, or did not begin in time.
    pub(super) async fn upload(self, most_bytes: u64) -> Result<Upload, UploadError> {
        let too_large = UploadError::TooLarge {
            limit_bytes: most_bytes,
        };
        let Self::Pieces {
            length,
            pieces,
            deadline,
            limit,
        } = self
        else {
            return Ok(Upload::None);
        };
        if length.is_some_and(|length| length > most_bytes) {
            return Err(too_large);
        }
        let mut bounded = Bounded {
            pieces,
            left: most_bytes,
            most_bytes,
            deadline,
            limit,
            alarm: None,
        };
        if most_bytes > 0 || length.is_some() {
            return Ok(Upload::stream(length, bounded));
        }
        match timeout_at(deadline, bounded.frame()).await {
            Ok(None) => Ok(Upload::stream(Some(0), no_pieces())),
            Ok(Some(Ok(frame))) if frame.is_trailers() => Ok(Upload::stream(Some(0), no_pieces())),
            Ok(Some(Ok(_))) => Ok(Upload::stream(None, bounded)),
            Ok(Some(Err(error))) => Err(error),
            Err(_) => Err(UploadError::Timeout { limit }),
        }
    }
}

/// What Content-Length says; the request's check has seen to it that it is one number.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn no_pieces() -> BoxBody<Bytes, UploadError> {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body that ends with an error when it grows too large or takes too long.
struct Bounded {
    pieces: BoxBody<Bytes, UploadError>,
    left: u64,
    most_bytes: u64,
    deadline: Instant,
    limit: Duration,
    /// Made where the body is waited for, which is on another runtime than where it was received.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        let limit = this.limit;
        let Poll::Ready(frame) = Pin::new(&mut this.pieces).poll_frame(context) else {
            let deadline = this.deadline;
            let alarm = this
                .alarm
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            return alarm
                .as_mut()
                .poll(context)
                .map(|()| Some(Err(UploadError::Timeout { limit })));
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            this.left = this.left.checked_sub(bytes).ok_or(UploadError::TooLarge {
                limit_bytes: this.most_bytes,
            })?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Request;
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::origin;

    const LIMIT: Duration = Duration::from_secs(30);

    fn parts(method: Method, length: Option<&str>) -> Parts {
        let mut request = Request::builder().method(method);
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// A body of unknown length.
    struct Unmeasured(Option<&'static str>);

    impl Body for Unmeasured {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = self.0.take();
            Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
        }
    }

    /// Never gives anything.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    /// What an origin would get.
    async fn whole(upload: Upload) -> Result<Option<(Option<u64>, String)>, UploadError> {
        match upload {
            Upload::None => Ok(None),
            Upload::Stream { length, pieces } => {
                let bytes = pieces.collect().await?.to_bytes();
                Ok(Some((length, String::from_utf8(bytes.to_vec()).unwrap())))
            }
        }
    }

    #[track_caller]
    fn check(
        body: RequestBody,
        most_bytes: u64,
        expect: Result<Option<(Option<u64>, &str)>, UploadError>,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let got = runtime.block_on(async { whole(body.upload(most_bytes).await?).await });
        let expect = expect.map(|body| body.map(|(length, text)| (length, text.to_owned())));
        assert_eq!(got, expect);
    }

    fn measured(method: Method, text: &'static str) -> RequestBody {
        let length = text.len().to_string();
        let body = Full::new(Bytes::from_static(text.as_bytes()));
        RequestBody::new(&parts(method, Some(&length)), body, LIMIT)
    }

    fn unmeasured(text: Option<&'static str>) -> RequestBody {
        RequestBody::new(&parts(Method::POST, None), Unmeasured(text), LIMIT)
    }

    const fn too_large(limit_bytes: u64) -> UploadError {
        UploadError::TooLarge { limit_bytes }
    }

    #[test]
    fn a_body_of_known_length_is_judged_by_it() {
        check(
            measured(Method::POST, "body"),
            4,
            Ok(Some((Some(4), "body"))),
        );
        check(measured(Method::POST, "body"), 3, Err(too_large(3)));
        check(measured(Method::POST, "body"), 0, Err(too_large(0)));
        check(measured(Method::POST, ""), 0, Ok(Some((Some(0), ""))));
    }

    #[test]
    fn a_body_of_unknown_length_is_counted() {
        check(unmeasured(Some("body")), 4, Ok(Some((None, "body"))));
        check(unmeasured(Some("body")), 3, Err(too_large(3)));
        check(unmeasured(Some("body")), 0, Err(too_large(0)));
        check(unmeasured(None), 0, Ok(Some((Some(0), ""))));
    }

    #[test]
    fn no_body_is_no_upload() {
        let nothing = Empty::<Bytes>::new();
        check(
            RequestBody::new(&parts(Method::POST, None), nothing, LIMIT),
            0,
            Ok(None),
        );
    }

    #[test]
    fn get_and_head_have_none_whatever_comes() {
        for method in [Method::GET, Method::HEAD] {
            check(measured(method, "body"), 100, Ok(None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_of_it_must_be_there_in_time() {
        let timeout = UploadError::Timeout { limit: LIMIT };
        let silent = || RequestBody::new(&parts(Method::POST, None), Silent, LIMIT);
        assert_eq!(silent().upload(0).await.unwrap_err(), timeout);
        let upload = silent().upload(9).await.unwrap();
        assert_eq!(whole(upload).await, Err(timeout));
    }

    /// A door with nothing but this behind it: passes on whatever comes, and tells an error's name.
    async fn pass_on(
        origin: &origin::Origin,
        request: Request<Incoming>,
    ) -> Result<String, UploadError> {
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(&parts, body, LIMIT).upload(10).await?;
        let request = origin::Request {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: None,
            client_host: None,
            headers: HeaderMap::new(),
            body,
            interim: None,
        };
        let mut response = match origin.fetch(request).await {
            Ok(response) => response,
            Err(origin::OriginError::Upload(error)) => return Err(error),
            Err(other) => panic!("{other}"),
        };
        let piece = response.body.chunk().await.unwrap().unwrap_or_default();
        Ok(String::from_utf8(piece.to_vec()).unwrap())
    }

    /// Answers with the whole body of each request.
    async fn echo() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(|request: Request<Incoming>| async {
                    let body = request.into_body().collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(http::Response::new(Full::new(body)))
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }

    /// A connection to a door in front of an origin that echoes.
    async fn connect() -> TcpStream {
        let origin = echo().await;
        let server = origin::Server {
            scheme: origin::Scheme::Http,
            host: origin.ip().to_string(),
            port: origin.port(),
            base_path: String::new(),
            weight: 1,
            backup: false,
        };
        let mut settings = origin::Config::new(origin::Source::Servers(vec![server]));
        settings.protocols = vec![origin::Protocol::H1];
        let origin = origin::Origin::new(&settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request| async {
                let text = match pass_on(&origin, request).await {
                    Ok(text) => text,
                    Err(error) => error.kind().to_owned(),
                };
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(text))))
            });
            let served = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(served);
        });
        TcpStream::connect(address).await.unwrap()
    }

    async fn until(stream: &mut TcpStream, end: &str) -> String {
        let mut got = Vec::new();
        while !got.ends_with(end.as_bytes()) {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "{got:?}");
            got.push(byte[0]);
        }
        String::from_utf8(got).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_waits_for_a_100_gets_it_when_the_origin_wants_the_body() {
        let mut stream = connect().await;
        stream
            .write_all(
                b"PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
            )
            .await
            .unwrap();
        let interim = until(&mut stream, "\r\n\r\n").await;
        assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"body").await.unwrap();
        let answer = until(&mut stream, "body").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_is_refused_is_not_asked_for_its_body() {
        let mut stream = connect().await;
        stream
            .write_all(
                b"PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 11\r\n\r\n",
            )
            .await
            .unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert!(all.starts_with("HTTP/1.1 200 OK\r\n"), "{all}");
        assert!(all.ends_with("upload-too-large"), "{all}");
    }

    #[tokio::test]
    async fn chunks_go_through_until_they_are_too_many() {
        let mut stream = connect().await;
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let fits = format!("{head}5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n");
        stream.write_all(fits.as_bytes()).await.unwrap();
        until(&mut stream, "helloworld").await;
        let more = format!("{head}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
        stream.write_all(more.as_bytes()).await.unwrap();
        until(&mut stream, "upload-too-large").await;
    }
}
