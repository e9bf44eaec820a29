use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::admin::{Bind, Config, stored_token};

/// From connecting to the last byte. A purge of many items waits for the disk.
const TIMEOUT: Duration = Duration::from_secs(60);

/// No answer of ours is near this.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Asks the running node through its admin door.
#[derive(Debug)]
pub(super) struct Client {
    place: Bind,
    authorization: HeaderValue,
}

/// What the door says when it refuses.
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("{}", std::iter::once(error).chain(errors).map(String::as_str).collect::<Vec<_>>().join("\n"))]
pub(super) struct RefusedByNode {
    pub(super) error: String,
    #[serde(default)]
    pub(super) errors: Vec<String>,
}

impl Client {
    /// The token is the given one, else a configured one with the permission, else the one in the state
    /// folder.
    pub(super) fn new(
        config: &Config,
        state: &Path,
        given: Option<String>,
        permission: &str,
    ) -> anyhow::Result<Self> {
        let configured = || {
            let may = |allow: &[String]| {
                allow
                    .iter()
                    .any(|entry| entry == "*" || entry == permission)
            };
            let token = config.tokens.iter().find(|token| may(&token.allow));
            token.map(|token| token.secret.clone())
        };
        let token = match given.filter(|token| !token.is_empty()).or_else(configured) {
            Some(token) => token,
            None => stored_token(state)
                .with_context(|| format!("the admin token in {} cannot be read", state.display()))?
                .with_context(|| {
                    format!(
                        "there is no admin.token in {}; has the node ever been started?",
                        state.display()
                    )
                })?,
        };
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}"))
            .context("the admin token has characters that cannot be sent")?;
        authorization.set_sensitive(true);
        Ok(Self {
            place: config.bind.clone(),
            authorization,
        })
    }

    pub(super) fn get(&self, target: &str) -> anyhow::Result<Bytes> {
        self.ask(Method::GET, target, Bytes::new())
    }

    pub(super) fn post(&self, target: &str, body: &serde_json::Value) -> anyhow::Result<Bytes> {
        self.ask(Method::POST, target, body.to_string().into())
    }

    /// Posts, and hands over each line of the answer as it comes. The answer may take as long as it has to say
    /// something from time to time.
    pub(super) fn post_for_lines(
        &self,
        target: &str,
        body: &serde_json::Value,
        on_line: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let request = self.request(Method::POST, target, body.to_string().into())?;
        runtime()?.block_on(async {
            match &self.place {
                Bind::Tcp(address) => lines_on(connect(*address).await?, request, on_line).await,
                Bind::Unix(path) => lines_on(connect_unix(path).await?, request, on_line).await,
            }
        })
    }

    /// The body of a 2xx; anything else is an error in the node's own words.
    fn ask(&self, method: Method, target: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let request = self.request(method, target, body)?;
        runtime()?.block_on(async {
            tokio::time::timeout(TIMEOUT, self.exchange(request))
                .await
                .with_context(|| format!("no answer in {} seconds", TIMEOUT.as_secs()))?
        })
    }

    fn request(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "brim-admin")
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .context("the request cannot be built")
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        match &self.place {
            Bind::Tcp(address) => exchange_on(connect(*address).await?, request).await,
            Bind::Unix(path) => exchange_on(connect_unix(path).await?, request).await,
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the request")
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let address = reachable(address);
    let stream = TcpStream::connect(address).await;
    stream.with_context(|| nobody_at(&address.to_string()))
}

async fn connect_unix(path: &Path) -> anyhow::Result<UnixStream> {
    let stream = UnixStream::connect(path).await;
    stream.with_context(|| nobody_at(&path.display().to_string()))
}

/// As [`exchange_on`], line by line. Ends with the answer.
async fn lines_on(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
    on_line: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = AbortOnDrop(tokio::spawn(connection));
    let answer = tokio::time::timeout(TIMEOUT, sender.send_request(request))
        .await
        .with_context(|| format!("no answer in {} seconds", TIMEOUT.as_secs()))??;
    let status = answer.status();
    if !status.is_success() {
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let Ok(body) = body else {
            bail!("the node's answer was cut off or too long");
        };
        return Err(refusal(status, &body.to_bytes()));
    }
    let mut body = answer.into_body();
    let mut line = Vec::new();
    loop {
        let frame = tokio::time::timeout(TIMEOUT, body.frame())
            .await
            .with_context(|| format!("the node was silent for {} seconds", TIMEOUT.as_secs()))?;
        let Some(frame) = frame else { break };
        let Ok(piece) = frame.context("the node's answer was cut off")?.into_data() else {
            continue;
        };
        for byte in piece {
            match byte {
                b'\n' => {
                    on_line(&line)?;
                    line.clear();
                }
                _ if line.len() >= ANSWER_BYTES_MAX => bail!("the node's answer is too long"),
                _ => line.push(byte),
            }
        }
    }
    drop(connection);
    Ok(())
}

/// A connection that does not outlive the wish for its answer.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange_on(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Bytes> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection; the runtime that it lives on ends with the request.
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await;
    connection.abort();
    let Ok(body) = body else {
        bail!("the node's answer was cut off or too long");
    };
    let body = body.to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    Err(refusal(status, &body))
}

/// What the door says, as an error.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    match serde_json::from_slice::<RefusedByNode>(body) {
        Ok(refused) => refused.into(),
        Err(_) => anyhow!("the admin door answered {status}; is it brim that listens there?"),
    }
}

fn nobody_at(place: &str) -> String {
    format!("no brim answers at {place}; is the node running, and is this its configuration?")
}

/// A node that listens on all addresses is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::admin::Token;

    fn config(tokens: &[(&str, &str)]) -> Config {
        Config {
            bind: Bind::Tcp(([127, 0, 0, 1], 1).into()),
            tokens: tokens
                .iter()
                .map(|&(secret, allow)| Token {
                    name: secret.into(),
                    secret: secret.into(),
                    allow: vec![allow.into()],
                    sites: vec!["*".into()],
                })
                .collect(),
        }
    }

    #[test]
    fn the_token_is_the_given_the_configured_or_the_stored() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let token = |given: Option<&str>, config: &Config| {
            Client::new(config, state, given.map(Into::into), "purge")
                .map(|client| client.authorization.to_str().unwrap().to_owned())
        };
        let error = token(None, &config(&[])).unwrap_err().to_string();
        assert!(error.contains("no admin.token"), "{error}");
        fs::write(state.join("admin.token"), "stored\n").unwrap();
        let two = config(&[("a", "status"), ("b", "purge")]);
        assert_eq!(token(None, &config(&[])).unwrap(), "Bearer stored");
        assert_eq!(token(Some(""), &config(&[])).unwrap(), "Bearer stored");
        assert_eq!(
            token(None, &config(&[("a", "status")])).unwrap(),
            "Bearer stored"
        );
        assert_eq!(token(None, &two).unwrap(), "Bearer b");
        assert_eq!(token(Some("c"), &two).unwrap(), "Bearer c");
        assert!(token(Some("a\nb"), &two).is_err());
    }

    #[test]
    fn a_node_that_is_not_there_is_named() {
        let config = config(&[("a", "*")]);
        let client = Client::new(&config, Path::new("/nonexistent"), None, "status").unwrap();
        let error = format!("{:#}", client.get("/v1/status").unwrap_err());
        assert!(error.contains("no brim answers at 127.0.0.1:1"), "{error}");
    }

    #[test]
    fn unspecified_addresses_are_asked_on_loopback() {
        for (bind, expect) in [
            ("0.0.0.0:9", "127.0.0.1:9"),
            ("[::]:9", "[::1]:9"),
            ("10.1.2.3:9", "10.1.2.3:9"),
        ] {
            assert_eq!(reachable(bind.parse().unwrap()).to_string(), expect);
        }
    }
}
