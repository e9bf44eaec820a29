//! The door over real sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::config::{Bind, Config, Token};
use super::control::ControlError;
use super::door::Door;
use super::fake::FakeNode;
use super::objects::ObjectsName;

pub(super) struct Edge {
    pub(super) door: Door,
    pub(super) node: Arc<FakeNode>,
    folder: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    #[track_caller]
    pub(super) fn refused(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        let body = self.json();
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(says), "{error}");
        assert!(error.ends_with('.') && !error.contains('\n'), "{error}");
    }
}

impl Edge {
    pub(super) async fn open() -> Self {
        Self::open_at(|_| Bind::Tcp(([127, 0, 0, 1], 0).into())).await
    }

    async fn open_at(bind: impl FnOnce(&tempfile::TempDir) -> Bind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = |name: &str, allow: &[&str], sites: &[&str]| Token {
            name: name.to_owned(),
            secret: format!("{name}-secret"),
            allow: allow.iter().map(|&word| word.to_owned()).collect(),
            sites: sites.iter().map(|&word| word.to_owned()).collect(),
        };
        let config = Config {
            bind: bind(&folder),
            tokens: vec![
                token("ops", &["*"], &["*"]),
                token("shop", &["*"], &["shop"]),
                token("reader", &["status", "explain"], &["*"]),
            ],
        };
        let node = Arc::new(FakeNode::default());
        let control = Arc::<FakeNode>::clone(&node);
        let door = Door::open(&config, folder.path(), control).await.unwrap();
        Self { door, node, folder }
    }

    pub(super) async fn ask(&self, method: &str, target: &str, token: &str, body: &str) -> Answer {
        let authorization = match token {
            "" => String::new(),
            name => format!("Authorization: Bearer {name}-secret\r\n"),
        };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n{authorization}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match self.door.place() {
            Bind::Tcp(address) => {
                exchange(TcpStream::connect(address).await.unwrap(), &request).await
            }
            Bind::Unix(path) => exchange(UnixStream::connect(path).await.unwrap(), &request).await,
        }
    }

    pub(super) async fn get(&self, target: &str, token: &str) -> Answer {
        self.ask("GET", target, token, "").await
    }

    pub(super) async fn post(&self, target: &str, token: &str, body: &Value) -> Answer {
        self.ask("POST", target, token, &body.to_string()).await
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    // A refused body may reset the connection while we still send; the answer is there all the same.
    stream.write_all(request.as_bytes()).await.ok();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.ok();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn health_and_metrics_need_no_token() {
    let edge = Edge::open().await;
    let health = edge.get("/healthz", "").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    assert!(health.head.contains("cache-control: no-store"));
    let ready = edge.get("/readyz", "").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    let metrics = edge.get("/metrics", "").await;
    assert_eq!((metrics.status, metrics.body.as_str()), (200, "# EOF\n"));
    assert!(
        metrics
            .head
            .contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
}

#[tokio::test]
async fn everything_else_needs_one() {
    let edge = Edge::open().await;
    for (method, target) in [
        ("POST", "/v1/purge"),
        ("GET", "/v1/purge/x"),
        ("POST", "/v1/warm"),
        ("GET", "/v1/warm"),
        ("GET", "/v1/warm/x"),
        ("DELETE", "/v1/warm/x"),
        ("GET", "/v1/explain?url=http://shop.example/"),
        ("GET", "/v1/objects?url=http://shop.example/"),
        ("GET", "/v1/status"),
        ("GET", "/v1/sites"),
        ("POST", "/v1/reload"),
        ("POST", "/v1/drain"),
    ] {
        for token in ["", "unknown"] {
            let answer = edge.ask(method, target, token, "{}").await;
            answer.refused(401, "");
            assert!(answer.head.contains("www-authenticate: bearer"), "{target}");
        }
    }
    assert!(edge.node.is_untouched());
}

#[tokio::test]
async fn a_token_opens_what_it_allows() {
    let edge = Edge::open().await;
    assert_eq!(edge.get("/v1/status", "reader").await.status, 200);
    for target in ["/v1/purge", "/v1/reload", "/v1/drain"] {
        let answer = edge.post(target, "reader", &json!({})).await;
        answer.refused(403, "The token 'reader' does not allow");
    }
    for target in ["/v1/reload", "/v1/drain"] {
        let answer = edge.post(target, "shop", &json!({})).await;
        answer.refused(403, "some sites only");
    }
    let all = json!({ "sites": "*", "everything": true });
    let answer = edge.post("/v1/purge", "shop", &all).await;
    answer.refused(403, "some sites only");
    let answer = edge
        .get("/v1/explain?url=http://blog.example/", "shop")
        .await;
    answer.refused(403, "does not reach the site 'blog'");
    assert!(edge.node.is_untouched());
}

#[tokio::test]
async fn a_purge_is_done_answered_and_remembered() {
    let edge = Edge::open().await;
    let order = json!({
        "sites": ["shop"], "urls": ["/a", "/b"], "prefixes": ["/img/*"], "tags": ["x"], "soft": true
    });
    let answer = edge.post("/v1/purge", "shop", &order).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let record = answer.json();
    assert_eq!(record["sequence"], 1);
    assert_eq!(record["soft"], true);
    assert_eq!(record["token"], "shop");
    assert_eq!(
        record["counts"],
        json!({ "urls": 2, "prefixes": 1, "tags": 1, "sites": 0, "everything": 0 })
    );
    assert_eq!(edge.node.purges.lock()[0].items.len(), 4);

    let target = format!("/v1/purge/{}", record["id"].as_str().unwrap());
    assert_eq!(edge.get(&target, "ops").await.json(), record);
    assert_eq!(edge.get(&target, "shop").await.json(), record);
    edge.get(&target, "reader").await.refused(403, "'purge'");
    edge.get("/v1/purge/0", "ops")
        .await
        .refused(404, "No purge");

    let blog = json!({ "urls": ["https://blog.example/x"] });
    let record = edge.post("/v1/purge", "ops", &blog).await.json();
    let target = format!("/v1/purge/{}", record["id"].as_str().unwrap());
    edge.get(&target, "shop").await.refused(404, "No purge");
}

#[tokio::test]
async fn a_wrong_purge_is_told_what_is_wrong() {
    let edge = Edge::open().await;
    for (body, says) in [
        ("", "not a purge"),
        ("[", "not a purge"),
        (r#"{"url": ["/a"]}"#, "`url`"),
        (r#"{"urls": "/a"}"#, "sequence"),
        (
            r#"{"sites": 1, "everything": true}"#,
            "sites: a list of site names",
        ),
        (r#"{"urls": ["/a"]}"#, "urls[0]"),
        (r#"{"sites": ["nope"], "everything": true}"#, "'nope'"),
    ] {
        let answer = edge.ask("POST", "/v1/purge", "ops", body).await;
        answer.refused(400, says);
    }
    assert!(edge.node.is_untouched());
}

#[tokio::test]
async fn the_node_says_why_a_purge_failed() {
    let edge = Edge::open().await;
    for (error, status) in [
        (ControlError::Refused("Bad path.".into()), 400),
        (ControlError::Unavailable("Draining.".into()), 503),
        (ControlError::Failed("Disk full.".into()), 500),
    ] {
        let says = error.to_string();
        *edge.node.failure.lock() = Some(error);
        let order = json!({ "sites": "*", "everything": true });
        let answer = edge.post("/v1/purge", "ops", &order).await;
        answer.refused(status, &says);
    }
}

#[tokio::test]
async fn a_body_is_bounded() {
    let edge = Edge::open().await;
    let body = " ".repeat((16 << 20) + 1);
    let answer = edge.ask("POST", "/v1/purge", "ops", &body).await;
    answer.refused(413, "longer than 16777216 bytes");
    // Without a token the body is not even read.
    let answer = edge.ask("POST", "/v1/purge", "", &body).await;
    answer.refused(401, "");
}

#[tokio::test]
async fn explain_hands_the_request_on() {
    let edge = Edge::open().await;
    let answer = edge
        .get(
            "/v1/explain?url=https%3A%2F%2FShop.example%2Fa%3Fb%3Dc%26d&header=Accept:%20image/avif&header=x:+y",
            "reader",
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.json(),
        json!({ "site": "shop", "key": "shop|/a", "decision": "forward", "reason": "uri-miss" })
    );
    let question = edge.node.questions.lock().pop().unwrap();
    assert_eq!(question.url.query.as_deref(), Some("b=c&d"));
    assert_eq!(question.headers["accept"], "image/avif");
    assert_eq!(question.headers["x"], "y");

    for (target, status, says) in [
        ("/v1/explain", 400, "url is missing"),
        ("/v1/explain?url=http://shop.example/&x=y", 400, "'x'"),
        ("/v1/explain?url=http://other.example/", 404, "421"),
    ] {
        edge.get(target, "ops").await.refused(status, says);
    }
}

#[tokio::test]
async fn an_object_is_named_by_key_or_url_of_a_site_that_the_token_reaches() {
    let edge = Edge::open().await;
    for (target, key) in [
        ("site=shop&key=shop%20p=/a", "shop p=/a"),
        ("url=https://shop.example:81/a%3Fb", "shop.example:81/a"),
        ("site=shop&key=/a", "shop.example/a"),
        ("site=shop&url=/a&header=Accept:%20x", "shop.example/a"),
    ] {
        let answer = edge.get(&format!("/v1/objects?{target}"), "shop").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["key"], key);
        assert_eq!(answer.json()["site"], "shop");
    }
    let asked = edge.node.asked.lock().pop().unwrap();
    let ObjectsName::Url { headers, .. } = asked.name else {
        panic!("it was asked by URL");
    };
    assert_eq!(headers["accept"], "x");
    for (target, status, says) in [
        ("", 400, "by key or by url"),
        ("site=shop", 400, "by key or by url"),
        ("site=shop&key=a&url=/a", 400, "by key or by url"),
        ("key=a", 400, "site is missing"),
        ("url=/a", 400, "site is missing"),
        ("site=nope&key=a", 400, "'nope'"),
        ("site=shop&site=shop&key=a", 400, "once"),
        ("site=shop&key=a&x=y", 400, "'x'"),
        ("site=shop&url=https://blog.example/", 400, "'blog.example'"),
        ("site=shop&url=https://other.test/", 400, "'other.test'"),
        ("url=https://other.test/", 404, "other.test"),
        ("url=https://blog.example/", 403, "'blog'"),
        ("site=shop&key=nothing", 404, "Nothing is stored"),
    ] {
        let answer = edge.get(&format!("/v1/objects?{target}"), "shop").await;
        answer.refused(status, says);
    }
    edge.get("/v1/objects?site=shop&key=a", "reader")
        .await
        .refused(403, "'objects'");
}

#[tokio::test]
async fn sites_are_those_of_the_token() {
    let edge = Edge::open().await;
    let names = async |token| {
        let answer = edge.get("/v1/sites", token).await.json();
        let sites = answer["sites"].as_array().unwrap().clone();
        sites
            .iter()
            .map(|site| site["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("ops").await, ["shop", "blog"]);
    assert_eq!(names("shop").await, ["shop"]);
    assert_eq!(edge.get("/v1/status", "ops").await.json()["id"], "fake");
}

#[tokio::test]
async fn a_reload_lists_every_mistake() {
    let edge = Edge::open().await;
    let answer = edge.ask("POST", "/v1/reload", "ops", "").await;
    assert_eq!(answer.json(), json!({ "reloaded": true }));
    *edge.node.mistakes.lock() = vec!["edge.toml:1".into(), "edge.toml:2".into()];
    let answer = edge.ask("POST", "/v1/reload", "ops", "").await;
    answer.refused(400, "nothing was changed");
    assert_eq!(
        answer.json()["errors"],
        json!(["edge.toml:1", "edge.toml:2"])
    );
}

#[tokio::test]
async fn a_drain_shows_in_readyz() {
    let edge = Edge::open().await;
    let answer = edge.ask("POST", "/v1/drain", "ops", "").await;
    assert_eq!(answer.status, 202);
    assert_eq!(edge.get("/readyz", "").await.status, 503);
    assert_eq!(edge.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let edge = Edge::open().await;
    edge.get("/v2", "ops").await.refused(404, "/v2");
    let answer = edge.get("/v1/purge", "ops").await;
    answer.refused(405, "GET");
    assert!(answer.head.contains("allow: post"));
}

#[tokio::test]
async fn tokens_can_be_replaced_while_the_door_is_open() {
    let edge = Edge::open().await;
    let config = Config {
        bind: edge.door.place().clone(),
        tokens: vec![Token {
            name: "next".into(),
            secret: "next-secret".into(),
            allow: vec!["*".into()],
            sites: vec!["*".into()],
        }],
    };
    edge.door
        .replace_tokens(&config, edge.folder.path())
        .unwrap();
    edge.get("/v1/status", "ops").await.refused(401, "");
    assert_eq!(edge.get("/v1/status", "next").await.status, 200);
}

#[tokio::test]
async fn the_random_token_opens_everything() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        bind: Bind::Tcp(([127, 0, 0, 1], 0).into()),
        tokens: Vec::new(),
    };
    let node = Arc::new(FakeNode::default());
    let control = Arc::<FakeNode>::clone(&node);
    let door = Door::open(&config, folder.path(), control).await.unwrap();
    let Bind::Tcp(address) = door.place() else {
        panic!("not TCP");
    };
    let request = format!(
        "POST /v1/drain HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        door.token()
    );
    let answer = exchange(TcpStream::connect(address).await.unwrap(), &request).await;
    assert_eq!(answer.status, 202);
    assert!(node.draining.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_unix_socket_is_private_and_removed_at_close() {
    let edge = Edge::open_at(|folder| Bind::Unix(folder.path().join("admin.sock"))).await;
    let path = edge.folder.path().join("admin.sock");
    assert_eq!(edge.get("/healthz", "").await.status, 200);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    edge.door.close().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn an_abandoned_socket_file_is_taken_over_and_a_live_one_is_not() {
    let edge = Edge::open_at(|folder| {
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Bind::Unix(path)
    })
    .await;
    assert_eq!(edge.get("/healthz", "").await.status, 200);

    let config = Config {
        bind: edge.door.place().clone(),
        tokens: Vec::new(),
    };
    let node = Arc::new(FakeNode::default());
    let error = Door::open(&config, edge.folder.path(), node)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("admin.sock"), "{error}");
    assert_eq!(edge.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_change() {
    let edge = Edge::open().await;
    let config = Config {
        bind: edge.door.place().clone(),
        tokens: Vec::new(),
    };
    let node = Arc::new(FakeNode::default());
    let error = Door::open(&config, edge.folder.path(), node)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1:") && text.contains("[admin] bind"),
        "{text}"
    );
}

#[tokio::test]
async fn a_closed_door_lets_nobody_in() {
    let edge = Edge::open().await;
    let Bind::Tcp(address) = edge.door.place().clone() else {
        panic!("not TCP");
    };
    // An idle connection does not hold the close up.
    let idle = TcpStream::connect(address).await.unwrap();
    edge.door.close().await;
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}
