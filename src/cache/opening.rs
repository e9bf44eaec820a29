use std::sync::Arc;

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::origin;
use crate::policy;
use crate::semantics::date;
use crate::semantics::digest::{CONTENT_DIGEST, CONTENT_MD5};
use crate::semantics::range::ContentRange;
use crate::store::Body;

use super::Zone;
use super::blocks::{BLOCK, BlockSource};
use super::flight::{Head, HeadBody, Landing, Pilot};
use super::pull::{Fill, Flown, Times};
use super::sparse::can_have_parts;

/// What became of asking for one block instead of the whole.
pub(super) enum Opened {
    /// The object is open: its head is stored and the block is, too.
    Landed(Flown),
    /// An answer as to a request for the whole.
    Answered(Pilot, origin::Response, Times),
    /// The part was of no use: the whole must be asked for.
    Whole(Pilot),
}

/// What a 206 is good for.
enum Part {
    /// It is all of a small object.
    All,
    /// It is a block of an object of this length, whose others can be had, too.
    Block(u64),
    /// Nothing.
    Useless,
}

impl Fill {
    /// Asks for block `number`; where there is none, for the first, which brings the length.
    pub(super) async fn open(
        &self,
        mut number: u32,
        pilot: Pilot,
        landing: &mut Landing,
    ) -> Opened {
        // Twice at most: the first block is not tried again.
        loop {
            let first = u64::from(number) * BLOCK;
            let range = format!("bytes={first}-{}", first + BLOCK - 1);
            let range = HeaderValue::try_from(range).ok();
            let (response, times) = match self.fetch(&pilot, range).await {
                Ok(fetched) => fetched,
                Err(error) => return Opened::Landed(Err((error, pilot))),
            };
            match response.status {
                StatusCode::PARTIAL_CONTENT => {
                    return self.opened(number, pilot, landing, response, times).await;
                }
                StatusCode::RANGE_NOT_SATISFIABLE if number > 0 => number = 0,
                // An empty object has no first block.
                StatusCode::RANGE_NOT_SATISFIABLE => return Opened::Whole(pilot),
                StatusCode::OK => {
                    self.cache.blocks.remember_no_parts(&self.ask);
                    return Opened::Answered(pilot, response, times);
                }
                _ => return Opened::Answered(pilot, response, times),
            }
        }
    }

    async fn opened(
        &self,
        number: u32,
        pilot: Pilot,
        landing: &mut Landing,
        mut response: origin::Response,
        times: Times,
    ) -> Opened {
        match part_of(number, &response) {
            Part::All => {
                response.status = StatusCode::OK;
                response.headers.remove(CONTENT_RANGE);
                return Opened::Answered(pilot, response, times);
            }
            Part::Block(length) => {
                let mut headers = response.headers.clone();
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
                if !headers.contains_key(DATE) {
                    headers.insert(DATE, date::format(times.received_at));
                }
                let zone = self.ask.zone.for_response(StatusCode::OK, &headers);
                let fits = length <= zone.policy.max_object_bytes
                    && self.can_have_parts(&headers, Some(length));
                if fits && let Ok(freshness) = self.assess(&zone, StatusCode::OK, &headers, &times)
                {
                    let head = self.sparse_head(&zone, headers, length, freshness, &pilot);
                    let flown = self
                        .settle(number, head, pilot, landing, response.body)
                        .await;
                    return Opened::Landed(flown);
                }
            }
            // A coded part says nothing of what other clients of this URL get.
            Part::Useless if response.headers.contains_key(CONTENT_ENCODING) => {}
            Part::Useless => self.cache.blocks.remember_no_parts(&self.ask),
        }
        Opened::Whole(pilot)
    }

    pub(super) fn can_have_parts(&self, headers: &HeaderMap, length: Option<u64>) -> bool {
        can_have_parts(&self.ask.zone, headers, length)
    }

    /// The head of a 200 that the 206 is a part of.
    fn sparse_head(
        &self,
        zone: &Zone,
        mut headers: HeaderMap,
        length: u64,
        freshness: policy::Freshness,
        pilot: &Pilot,
    ) -> Head {
        policy::stored_fields(&zone.policy, &mut headers);
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_RANGE);
        // It speaks of the part alone (RFC 9530 §2).
        headers.remove(CONTENT_DIGEST);
        headers.remove(CONTENT_MD5);
        let sequence = pilot.sequence();
        let mut object = self.object(zone, StatusCode::OK, &headers, freshness, sequence);
        object.body = Body::Chunked { length };
        // An origin that answers a condition which holds with a part of the very same: its other blocks are good.
        if let Some(stored) = &self.candidate
            && stored.body == object.body
            && headers.contains_key(ETAG)
            && policy::is_part_of(&stored.headers(), &headers)
        {
            object.version = stored.version;
            object.body_seq = stored.body_seq;
        }
        let vary = self.learnt_vary(&object.headers);
        Head {
            object: Arc::new(object.seal()),
            length: Some(length),
            stored: Ok(()),
            body: HeadBody::Sparse,
            personal: self.ask.is_personal(),
            vary,
        }
    }

    /// Puts the head where look-ups find it and lets everybody go on by blocks, while the first one comes.
    async fn settle(
        &self,
        number: u32,
        head: Head,
        pilot: Pilot,
        landing: &mut Landing,
        body: origin::Body,
    ) -> Flown {
        let cache = &self.cache;
        cache.marks.clear(self.id);
        let placement = cache.block_placement(&self.ask.zone, head.object.body.length());
        let varied = self.varied.clone();
        let place = self.place(head.vary.as_ref());
        self.count_use(place);
        let source = BlockSource::of(
            &self.ask,
            place,
            &head.object,
            head.length,
            varied,
            placement,
        );
        let fetch = source.map(|source| cache.blocks.announce(&source, number));
        let object = Arc::clone(&head.object);
        cache
            .install(&self.ask, place, object, head.vary.as_ref())
            .await;
        landing.close();
        pilot.publish_head(head);
        pilot.finish();
        match fetch {
            Some(fetch) => Ok(fetch.receive_announced(body).await),
            None => Ok((crate::telemetry::FillOutcome::NotStored, 0)),
        }
    }
}

fn part_of(number: u32, response: &origin::Response) -> Part {
    let told = response
        .headers
        .get(CONTENT_RANGE)
        .and_then(ContentRange::parse);
    let Some(told) = told else {
        return Part::Useless;
    };
    let start = u64::from(number) * BLOCK;
    let end = (start + BLOCK).min(told.complete_bytes);
    let length = response.content_length;
    if told.part != (start..end) || length.is_some_and(|length| length != end - start) {
        return Part::Useless;
    }
    if end - start == told.complete_bytes {
        // Only a length of its own tells that all of it came.
        return match length {
            Some(_) => Part::All,
            None => Part::Useless,
        };
    }
    // Blocks are of the plain bytes; what is coded on the way may be coded otherwise the next time.
    if response.headers.contains_key(CONTENT_ENCODING) {
        return Part::Useless;
    }
    Part::Block(told.complete_bytes)
}
