//! A coded answer to a cold request goes out while the origin still sends: nothing waits for the rest.

use brim::variant::{Coding, Decoder};
use bytes::Bytes;

use crate::support::client::{Client, Streaming};
use crate::support::edge::Edge;
use crate::support::gate::Gate;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

const CODINGS: [&str; 4] = ["identity", "gzip", "br", "zstd"];

/// Lines that get some four times smaller.
fn text(bytes: usize) -> Bytes {
    let mut text = String::with_capacity(bytes + 100);
    let mut number = 1_u32;
    while text.len() < bytes {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (a, b) = (number >> 20, number >> 27);
        text.push_str(&format!(
            "export const item{a} = (a, b) => a * {b} + b.field{a};\n"
        ));
    }
    text.truncate(bytes);
    text.into()
}

/// What a client has understood so far.
struct Reading {
    stream: Streaming,
    decoder: Option<Decoder>,
    content: Vec<u8>,
}

impl Reading {
    async fn of(client: &Client, coding: &str) -> Self {
        let fields = [("accept-encoding", coding)];
        let stream = client.open("/a.js", &fields).await.unwrap();
        let expect = if coding == "identity" { "" } else { coding };
        assert_eq!(stream.header("content-encoding"), expect);
        let coding = Coding::of_token(coding);
        Self {
            stream,
            decoder: coding.map(|coding| Decoder::new(coding, u64::MAX).unwrap()),
            content: Vec::new(),
        }
    }

    async fn until(&mut self, bytes: usize) {
        while self.content.len() < bytes {
            let has = self.content.len();
            let Ok(piece) = self.stream.next().await else {
                panic!("it breaks at {has} bytes, before {bytes}");
            };
            let piece = piece.expect("the body goes on");
            match &mut self.decoder {
                Some(decoder) => self.content.extend(decoder.push(&piece).unwrap()),
                None => self.content.extend(piece),
            }
        }
    }

    async fn rest(mut self) -> (Vec<u8>, Bytes) {
        while let Some(piece) = self.stream.next().await.unwrap() {
            match &mut self.decoder {
                Some(decoder) => self.content.extend(decoder.push(&piece).unwrap()),
                None => self.content.extend(piece),
            }
        }
        if let Some(decoder) = self.decoder {
            self.content.extend(decoder.finish().unwrap());
        }
        (self.content, Bytes::copy_from_slice(self.stream.received()))
    }
}

/// The origin waits at each place until the client has understood everything before it.
async fn every_byte_comes_before_the_next(
    client: impl Fn(&Edge) -> Client,
    length: usize,
    places: &[usize],
) {
    let content = text(length);
    for coding in CODINGS {
        let origin = Origin::start().await;
        let mut reply = Reply::ok(content.clone())
            .cache_control("max-age=60")
            .header("content-type", "text/javascript");
        let gates: Vec<_> = places.iter().map(|_| Gate::closed()).collect();
        for (place, gate) in places.iter().zip(&gates) {
            reply = reply.hold_body(*place as u64, gate);
        }
        origin.serve("/a.js", reply);
        let edge = Edge::before(&origin).await;
        let client = client(&edge);
        let mut reading = Reading::of(&client, coding).await;
        for (place, gate) in places.iter().zip(&gates) {
            reading.until(*place).await;
            assert!(
                reading.content == content[..*place],
                "{coding}: {} bytes of {place}",
                reading.content.len()
            );
            gate.reached(1).await;
            gate.open();
        }
        let (whole, sent) = reading.rest().await;
        assert!(whole == content, "{coding}: {} bytes", whole.len());
        edge.settled().await;
        let fields = [("accept-encoding", coding)];
        let hit = client.get_with("/a.js", &fields).await.unwrap();
        let status = hit.header("cache-status");
        assert!(status.contains("; hit"), "{coding}: {status}");
        assert!(hit.body == sent, "{coding}: stored as it went out");
        assert_eq!(origin.count_for("/a.js"), 1, "{coding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_mib_reach_the_client_as_the_origin_sends_them_in_every_coding() {
    let places = [0, 1, 64 << 10, 700_000, 4 << 20, (8 << 20) - 1, 8 << 20];
    every_byte_comes_before_the_next(Edge::http, 8 << 20, &places).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_through_tls_and_h2() {
    let places = [0, 100, 64 << 10, 600_000];
    every_byte_comes_before_the_next(Edge::h1, 700_000, &places).await;
    every_byte_comes_before_the_next(Edge::h2, 700_000, &places).await;
}
