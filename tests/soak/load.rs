//! Clients and operators: requests of every kind, purges of every kind, and what their answers oblige to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::chance::Chance;
use crate::judge::{Answer, Asked, WRONGS, Window, Wrong, judge};
use crate::world::{Class, Purged, Resource, World};

/// No answer takes longer: the node would hang.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
const FINDINGS_KEPT: usize = 30;

/// What all clients have seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers that were looked at and are right.
    pub(crate) verified: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) purges_verified: AtomicU64,
    pub(crate) invalidations: AtomicU64,
    /// Answers that were cut off with an error though the node was up and all of their bytes were at hand before.
    pub(crate) cut: AtomicU64,
    /// The same of objects of several chunks: one may be gone, and the origin have another generation by then. Cutting
    /// the answer off is what is right.
    pub(crate) cut_midway: AtomicU64,
    /// Requests without an answer though the node was up.
    pub(crate) unanswered: AtomicU64,
    pub(crate) purges_refused: AtomicU64,
    wrong: [AtomicU64; WRONGS.len()],
    findings: Mutex<Vec<String>>,
    events: Mutex<Vec<String>>,
}

impl Tally {
    pub(crate) fn find(&self, wrong: Wrong, text: String) {
        for (counter, (kind, _)) in self.wrong.iter().zip(WRONGS) {
            if kind == wrong {
                counter.fetch_add(1, SeqCst);
            }
        }
        self.note(text);
    }

    pub(crate) fn note(&self, text: String) {
        let mut findings = self.findings.lock();
        if findings.len() < FINDINGS_KEPT {
            findings.push(text);
        }
    }

    /// What was done to the program, for whoever has to explain what was found.
    pub(crate) fn happened(&self, text: String) {
        self.events.lock().push(text);
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().clone()
    }

    pub(crate) fn wrongs(&self) -> Vec<(&'static str, u64)> {
        let counts = self.wrong.iter().zip(WRONGS);
        counts
            .map(|(count, (_, name))| (name, count.load(SeqCst)))
            .collect()
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.findings.lock().clone()
    }
}

/// One life of the program, as its clients see it.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) world: Arc<World>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) token: Arc<str>,
    pub(crate) round: usize,
    /// Cleared just before the program is ended: what fails from then on says nothing.
    pub(crate) alive: Arc<AtomicBool>,
}

/// A connection that is made anew when it breaks.
struct Line {
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

enum Failed {
    /// The head came and the body did not, whole.
    Cut(String),
    /// Nothing came.
    NoAnswer(String),
}

impl Line {
    fn to(address: SocketAddr) -> Self {
        Self {
            address,
            sender: None,
        }
    }

    async fn send(&mut self, request: &Request<Full<Bytes>>) -> Result<Answer, Failed> {
        match tokio::time::timeout(ANSWER_DEADLINE, self.try_twice(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.sender = None;
                Err(Failed::NoAnswer("no answer in a minute".to_owned()))
            }
        }
    }

    async fn try_twice(&mut self, request: &Request<Full<Bytes>>) -> Result<Answer, Failed> {
        let was_open = self.sender.is_some();
        match self.try_once(request).await {
            // A connection that was open may have been closed for being idle.
            Err(Failed::NoAnswer(_)) if was_open => self.try_once(request).await,
            other => other,
        }
    }

    async fn try_once(&mut self, request: &Request<Full<Bytes>>) -> Result<Answer, Failed> {
        let none = |error: &dyn std::fmt::Debug| Failed::NoAnswer(format!("{error:?}"));
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => {
                let stream = TcpStream::connect(self.address)
                    .await
                    .map_err(|error| none(&error))?;
                let (sender, driver) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(|error| none(&error))?;
                tokio::spawn(driver);
                sender
            }
        };
        sender.ready().await.map_err(|error| none(&error))?;
        let response = sender
            .send_request(request.clone())
            .await
            .map_err(|error| none(&error))?;
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| Failed::Cut(format!("{} {error:?}", parts.status)))?
            .to_bytes();
        self.sender = Some(sender);
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }
}

impl Life {
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(SeqCst)
    }

    /// Asks for what chance says, until the program is ended.
    pub(crate) async fn browse(self, seed: u64) {
        let mut chance = Chance::new(seed);
        let mut line = Line::to(self.http);
        let mut tags: Vec<Option<String>> = vec![None; self.world.resources.len()];
        while self.is_alive() {
            let resource = &self.world.resources[chance.popular(self.world.resources.len())];
            if resource.class == Class::Large && chance.percent(60) {
                continue;
            }
            let asked = ask(resource, &tags[resource.number], &mut chance);
            let coding = match asked {
                Asked::Whole | Asked::Head => {
                    ["identity", "gzip", "br", "zstd", "gzip, br"][chance.below(5)]
                }
                Asked::Range(..) | Asked::Suffix(_) | Asked::Unless(_) => "identity",
            };
            if let Some(answer) = self.read(&mut line, resource, &asked, coding).await
                && answer.field("content-encoding").is_empty()
            {
                let tag = answer.field("etag");
                tags[resource.number] = (!tag.is_empty()).then(|| tag.to_owned());
            }
        }
    }

    /// One request, judged.
    async fn read(
        &self,
        line: &mut Line,
        resource: &Resource,
        asked: &Asked,
        coding: &str,
    ) -> Option<Answer> {
        let method = match asked {
            Asked::Head => Method::HEAD,
            _ => Method::GET,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&resource.path)
            .header("host", "localhost")
            .header("accept-encoding", coding);
        request = match asked {
            Asked::Whole | Asked::Head => request,
            Asked::Range(first, Some(last)) => {
                request.header("range", format!("bytes={first}-{last}"))
            }
            Asked::Range(first, None) => request.header("range", format!("bytes={first}-")),
            Asked::Suffix(count) => request.header("range", format!("bytes=-{count}")),
            Asked::Unless(tag) => request.header("if-none-match", tag),
        };
        let request = request.body(Full::default()).expect("a request");
        let least = resource.least();
        let answer = match line.send(&request).await {
            Ok(answer) => answer,
            Err(failed) => {
                self.failed(resource, asked, &failed);
                return None;
            }
        };
        let window = Window {
            least,
            newest: resource.generation(),
        };
        match judge(&self.world, resource, asked, window, &answer) {
            Ok(_) => {
                self.tally.verified.fetch_add(1, SeqCst);
                if answer.is_hit() {
                    self.tally.hits.fetch_add(1, SeqCst);
                }
            }
            Err((wrong, text)) => self.tally.find(
                wrong,
                format!(
                    "round {}: {wrong:?}: {text}\n    {asked:?} {coding} {} -> {} {:?}",
                    self.round, resource.path, answer.status, answer.headers
                ),
            ),
        }
        Some(answer)
    }

    fn failed(&self, resource: &Resource, asked: &Asked, failed: &Failed) {
        if !self.is_alive() {
            return;
        }
        let (counter, text) = match failed {
            Failed::Cut(text) if resource.class == Class::Large => (&self.tally.cut_midway, text),
            Failed::Cut(text) => (&self.tally.cut, text),
            Failed::NoAnswer(text) => (&self.tally.unanswered, text),
        };
        counter.fetch_add(1, SeqCst);
        self.tally.note(format!(
            "round {}: {asked:?} {}: {text}",
            self.round, resource.path
        ));
    }

    /// Reads every resource once: what comes as a hit and without a request to the origin has outlived the restart.
    pub(crate) async fn verify(&self, clients: usize, seed: u64) {
        let purges = std::mem::take(&mut *self.world.purges.lock());
        let tasks: Vec<_> = (0..clients)
            .map(|client| {
                let life = self.clone();
                tokio::spawn(async move {
                    let mut chance = Chance::new(seed ^ client as u64);
                    let mut line = Line::to(life.http);
                    let mut read = Vec::new();
                    let mine = life.world.resources.iter().skip(client).step_by(clients);
                    for resource in mine {
                        let before = resource.asked.load(SeqCst);
                        let coding = ["identity", "identity", "gzip", "br"][chance.below(4)];
                        let answer = life.read(&mut line, resource, &Asked::Whole, coding).await;
                        let Some(answer) = answer else { continue };
                        read.push(resource.number);
                        if answer.is_hit() && resource.asked.load(SeqCst) == before {
                            life.tally.recovered.fetch_add(1, SeqCst);
                        }
                    }
                    read
                })
            })
            .collect();
        let mut read = vec![false; self.world.resources.len()];
        for task in tasks {
            for number in task.await.expect("a client does not panic") {
                read[number] = true;
            }
        }
        let (checked, left): (Vec<_>, Vec<_>) = purges
            .into_iter()
            .partition(|purge| purge.resources.iter().all(|number| read[*number]));
        let verified = checked.iter().filter(|purge| !purge.resources.is_empty());
        self.tally
            .purges_verified
            .fetch_add(verified.count() as u64, SeqCst);
        self.world.purges.lock().extend(left);
    }

    /// Changes resources and purges them, until the program is ended.
    pub(crate) async fn operate(self, seed: u64) {
        let mut chance = Chance::new(seed);
        let mut line = Line::to(self.admin);
        while self.is_alive() {
            let (order, resources) = order(&self.world, &mut chance);
            // Before the purge: what is fetched from here on may be served after it.
            let generations: Vec<(usize, u64)> = resources
                .iter()
                .map(|number| (*number, self.world.resources[*number].change()))
                .collect();
            let request = Request::post("/v1/purge")
                .header("host", "localhost")
                .header("authorization", format!("Bearer {}", self.token))
                .header("content-type", "application/json")
                .body(Full::from(order.to_string()))
                .expect("a request");
            match line.send(&request).await {
                Ok(answer) if answer.status.is_success() => {
                    for (number, generation) in generations {
                        self.world.resources[number].raise_least(generation);
                    }
                    self.world.purges.lock().push(Purged { resources });
                    self.tally.acknowledged.fetch_add(1, SeqCst);
                }
                Ok(answer) => {
                    self.tally.purges_refused.fetch_add(1, SeqCst);
                    self.tally.note(format!(
                        "round {}: purge {}: {}",
                        self.round,
                        answer.status,
                        String::from_utf8_lossy(&answer.body)
                    ));
                }
                Err(_) if !self.is_alive() => return,
                Err(Failed::Cut(text) | Failed::NoAnswer(text)) => {
                    self.tally.unanswered.fetch_add(1, SeqCst);
                    self.tally
                        .note(format!("round {}: purge: {text}", self.round));
                }
            }
            let pause = chance.between(Duration::ZERO, Duration::from_millis(30));
            tokio::time::sleep(pause).await;
        }
    }

    /// Changes resources through the node (RFC 9111 section 4.4), until the program is ended.
    pub(crate) async fn post(self, seed: u64) {
        let mut chance = Chance::new(seed);
        let mut line = Line::to(self.http);
        while self.is_alive() {
            let resource = &self.world.resources[chance.popular(self.world.resources.len())];
            let request = Request::post(&resource.path)
                .header("host", "localhost")
                .body(Full::from("x"))
                .expect("a request");
            match line.send(&request).await {
                Ok(answer) if answer.status.is_success() => {
                    if let Ok(generation) = answer.field("x-generation").parse() {
                        resource.raise_least(generation);
                        self.tally.invalidations.fetch_add(1, SeqCst);
                    }
                }
                Ok(answer) => self.tally.find(
                    Wrong::Head,
                    format!("round {}: POST: {}", self.round, answer.status),
                ),
                Err(failed) => self.failed(resource, &Asked::Whole, &failed),
            }
            let pause = chance.between(Duration::ZERO, Duration::from_millis(60));
            tokio::time::sleep(pause).await;
        }
    }
}

fn ask(resource: &Resource, tag: &Option<String>, chance: &mut Chance) -> Asked {
    let length = resource.length(resource.generation());
    match chance.below(20) {
        0..10 => Asked::Whole,
        10 | 11 => Asked::Head,
        12..15 => {
            let first = chance.below(length);
            Asked::Range(first, Some(first + chance.below(200_000)))
        }
        15 => Asked::Range(chance.below(length), None),
        16 => Asked::Suffix(1 + chance.below(length)),
        _ => tag.clone().map_or(Asked::Whole, Asked::Unless),
    }
}

/// A purge of some kind, and the resources that it names.
fn order(world: &World, chance: &mut Chance) -> (Value, Vec<usize>) {
    let named = |of: &dyn Fn(&Resource) -> bool| -> Vec<usize> {
        let of = world.resources.iter().filter(|resource| of(resource));
        of.map(|resource| resource.number).collect()
    };
    let soft = chance.percent(35);
    let all = world.resources.len();
    let (mut order, resources) = match chance.below(100) {
        0..55 => {
            let count = 1 + chance.below(4);
            let mut resources: Vec<usize> = (0..count).map(|_| chance.popular(all)).collect();
            resources.sort_unstable();
            resources.dedup();
            let urls: Vec<&str> = resources
                .iter()
                .map(|number| &*world.resources[*number].path)
                .collect();
            (json!({"sites": ["site"], "urls": urls}), resources)
        }
        55..75 => {
            let tag = chance.below(24);
            (
                json!({"sites": ["site"], "tags": [format!("t{tag}")]}),
                named(&|resource| resource.tag == tag),
            )
        }
        75..82 => {
            let folder = chance.below(8);
            (
                json!({"sites": ["site"], "prefixes": [format!("/d{folder}/")]}),
                named(&|resource| resource.folder == folder),
            )
        }
        82..87 => {
            let folder = chance.below(8);
            (
                json!({"sites": ["site"], "prefixes": [format!("/d{folder}/med*")]}),
                named(&|resource| resource.folder == folder && resource.class == Class::Medium),
            )
        }
        // Nobody's: they fill the table of clocks, so that the floor rises now and then.
        87..98 => {
            let urls: Vec<String> = (0..1 + chance.below(150))
                .map(|_| format!("/nothing/{:x}", chance.next()))
                .collect();
            (json!({"sites": ["site"], "urls": urls}), Vec::new())
        }
        98 => (
            json!({"sites": ["site"], "everything": true}),
            named(&|_| true),
        ),
        _ => (json!({"everything": true}), named(&|_| true)),
    };
    order["soft"] = soft.into();
    (order, resources)
}
