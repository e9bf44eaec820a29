//! What goes out and what comes back when all is well.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;

use crate::semantics::interim::{Interim, Tell};

use super::super::config::HostHeader;
use super::super::fetch::Origin;
use super::super::message::Request;
use super::super::script::{HELLO, Scripted, config, fetched, get, origin, read, server};

#[tokio::test]
async fn an_answer_comes_whole_and_without_the_fields_of_its_connection() {
    let scripted = Scripted::answering(
        "HTTP/1.1 203 Fine\r\nContent-Length: 5\r\nETag: \"a\"\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\nhello",
    )
    .await;
    let origin = origin(vec![scripted.server()]);
    let mut response = origin.fetch(get("/a")).await.unwrap();
    assert_eq!(response.status, StatusCode::NON_AUTHORITATIVE_INFORMATION);
    assert_eq!(response.content_length, Some(5));
    assert_eq!(*response.server, *scripted.address.to_string());
    assert_eq!(response.headers["etag"], "\"a\"");
    assert_eq!(response.headers.len(), 2);
    assert_eq!(read(&mut response).await.unwrap(), b"hello");
    assert!(response.body.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn the_request_is_built_anew() {
    let scripted = Scripted::answering(HELLO).await;
    let mut server = scripted.server();
    server.base_path = "/base".to_owned();
    let mut settings = config(vec![server]);
    settings.remove_headers = vec![HeaderName::from_static("x-gone")];
    settings.set_headers = vec![(
        HeaderName::from_static("x-set"),
        HeaderValue::from_static("ours"),
    )];
    let origin = Origin::new(&settings).unwrap();
    let mut request = get("/a%2Fb");
    request.query = Some("x=1&y".to_owned());
    for (name, value) in [
        ("accept-encoding", "gzip"),
        ("x-gone", "1"),
        ("x-set", "theirs"),
        ("host", "evil.example"),
        ("connection", "x-named"),
        ("x-named", "1"),
        ("transfer-encoding", "chunked"),
        ("content-length", "3"),
    ] {
        request
            .headers
            .append(name, HeaderValue::from_static(value));
    }
    fetched(&origin, request).await.unwrap();
    let expect = format!(
        "GET /base/a%2Fb?x=1&y HTTP/1.1\r\nhost: {}\r\naccept-encoding: gzip\r\nx-set: ours\r\n\r\n",
        scripted.address
    );
    let sent = &scripted.requests()[0];
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(sent), sorted(&expect));
}

#[track_caller]
fn host_line(request: &str) -> &str {
    request
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
}

#[tokio::test]
async fn host_says_what_is_configured() {
    let scripted = Scripted::answering(HELLO).await;
    let own = scripted.address.to_string();
    let fixed = HostHeader::Fixed(HeaderValue::from_static("fixed.example"));
    let table = [
        (HostHeader::Url, Some("client.example"), own.as_str()),
        (HostHeader::Client, Some("client.example"), "client.example"),
        (HostHeader::Client, None, own.as_str()),
        (fixed, Some("client.example"), "fixed.example"),
    ];
    for (number, (rule, client, expect)) in table.into_iter().enumerate() {
        let mut settings = config(vec![scripted.server()]);
        settings.host_header = rule;
        let origin = Origin::new(&settings).unwrap();
        let mut request = get("/");
        request.client_host = client.map(str::to_owned);
        fetched(&origin, request).await.unwrap();
        assert_eq!(host_line(&scripted.requests()[number]), expect);
    }
}

#[tokio::test]
async fn one_connection_serves_request_after_request() {
    let scripted = Scripted::answering(HELLO).await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..5 {
        // Not read to the `None`: the length says that all came.
        let mut response = origin.fetch(get("/")).await.unwrap();
        assert_eq!(response.body.chunk().await.unwrap().unwrap(), "hello");
    }
    assert_eq!((scripted.connections(), scripted.requests().len()), (1, 5));
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_free_at_once() {
    for (method, answer, length) in [
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            Some(5),
        ),
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            None,
        ),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            Some(5),
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", None),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Some(0),
        ),
    ] {
        let scripted = Scripted::answering(answer).await;
        let mut settings = config(vec![scripted.server()]);
        settings.max_connections = 1;
        let origin = Origin::new(&settings).unwrap();
        let request = || Request {
            method: method.clone(),
            ..get("/")
        };
        let first = origin.fetch(request()).await.unwrap();
        assert_eq!(first.content_length, length);
        let mut second = origin.fetch(request()).await.unwrap();
        assert!(read(&mut second).await.unwrap().is_empty());
        assert_eq!(scripted.connections(), 1);
    }
}

#[tokio::test]
async fn chunks_are_decoded_and_the_connection_is_kept() {
    let scripted = Scripted::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n",
    )
    .await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..3 {
        let got = fetched(&origin, get("/")).await.unwrap();
        assert_eq!(got, b"hello world");
    }
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_says_close_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let scripted = Scripted::answering(answer).await;
        let origin = origin(vec![scripted.server()]);
        for _ in 0..2 {
            assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
        }
        assert_eq!(scripted.connections(), 2);
    }
}

#[tokio::test]
async fn a_body_may_end_with_the_connection() {
    let scripted = Scripted::answering_once("HTTP/1.1 200 OK\r\n\r\nhello").await;
    let origin = origin(vec![scripted.server()]);
    let mut response = origin.fetch(get("/")).await.unwrap();
    assert_eq!(response.content_length, None);
    assert_eq!(read(&mut response).await.unwrap(), b"hello");
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(16);
    let scripted = Scripted::answering(format!("{early}{HELLO}")).await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..2 {
        assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<(u16, HeaderMap)>>);

impl Tell for Told {
    fn tell(&self, _request: u64, status: StatusCode, headers: &HeaderMap) {
        self.0.lock().push((status.as_u16(), headers.clone()));
    }
}

#[tokio::test]
async fn interim_answers_are_told_before_the_final_one_and_are_no_part_of_it() {
    let scripted = Scripted::answering(format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nconnection: x\r\nx: 1\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n{HELLO}"
    ))
    .await;
    let origin = origin(vec![scripted.server()]);
    for _ in 0..2 {
        let told = Arc::new(Told::default());
        let to: Arc<dyn Tell> = told.clone();
        let request = Request {
            interim: Some(Interim::new(to, 1)),
            ..get("/")
        };
        let response = origin.fetch(request).await.unwrap();
        assert!(!response.headers.contains_key("link"));
        let mut hints = HeaderMap::new();
        for value in ["</a>", "</b>"] {
            hints.append("link", HeaderValue::from_static(value));
        }
        assert_eq!(*told.0.lock(), [(102, HeaderMap::new()), (103, hints)]);
    }
}

#[tokio::test]
async fn a_status_that_no_register_knows_passes_where_it_may() {
    let scripted = Scripted::answering("HTTP/1.1 799 Odd\r\ncontent-length: 0\r\n\r\n").await;
    for any_status in [false, true] {
        let mut settings = config(vec![scripted.server()]);
        settings.any_status = any_status;
        let answered = Origin::new(&settings).unwrap().fetch(get("/")).await;
        match answered {
            Ok(response) => assert!(any_status && response.status.as_u16() == 799),
            Err(error) => assert!(!any_status && error.kind() == "malformed"),
        }
    }
}

#[tokio::test]
async fn a_large_body_comes_in_pieces() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut answer = head.into_bytes();
    answer.extend_from_slice(&body);
    let scripted = Scripted::answering(answer).await;
    let origin = origin(vec![scripted.server()]);
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), body);
}

#[tokio::test]
async fn a_name_is_looked_up_and_all_its_addresses_are_tried() {
    // Where `localhost` is ::1 first, nothing listens there.
    let scripted = Scripted::answering(HELLO).await;
    let mut named = server(scripted.address);
    named.host = "localhost".to_owned();
    let origin = origin(vec![named]);
    assert_eq!(fetched(&origin, get("/")).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_target_that_cannot_be_said_is_refused_before_anything_is_sent() {
    let scripted = Scripted::answering(HELLO).await;
    let origin = origin(vec![scripted.server()]);
    for path in ["", "no-slash", "/a b", "/a#b", "/a\r\nx: y"] {
        let error = origin.fetch(get(path)).await.unwrap_err();
        assert_eq!(error.kind(), "request", "{path:?}");
    }
    let mut fragment = get("/");
    fragment.query = Some("a#b".to_owned());
    let error = origin.fetch(fragment).await.unwrap_err();
    assert_eq!(error.kind(), "request");
    assert!(scripted.requests().is_empty());
}
