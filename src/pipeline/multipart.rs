use std::collections::VecDeque;
use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;

use crate::cache::{FillError, Reader};

/// What an answer in parts may cost beside the bytes of the whole: a client must not get more by asking for pieces.
const OVERHEAD_BYTES_MAX: u64 = 8 << 10;

/// A body of type multipart/byteranges (RFC 9110 §14.6), not read yet.
pub(super) struct Plan {
    boundary: String,
    parts: VecDeque<Part>,
    length: u64,
}

struct Part {
    head: Bytes,
    range: Range<u64>,
}

impl Plan {
    /// The parts of an object of `length` bytes and this type; `None` when the whole is the better answer.
    pub(super) fn new(
        ranges: impl IntoIterator<Item = Range<u64>>,
        length: u64,
        media_type: Option<&HeaderValue>,
    ) -> Option<Self> {
        let boundary = boundary()?;
        let mut parts = VecDeque::new();
        let mut total = closing(&boundary).len() as u64;
        for range in ranges {
            let mut head = Vec::new();
            if !parts.is_empty() {
                head.extend_from_slice(b"\r\n");
            }
            head.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            if let Some(media_type) = media_type {
                head.extend_from_slice(b"Content-Type: ");
                head.extend_from_slice(media_type.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
            let place = format!(
                "Content-Range: bytes {}-{}/{length}\r\n\r\n",
                range.start,
                range.end.saturating_sub(1)
            );
            head.extend_from_slice(place.as_bytes());
            total += head.len() as u64 + (range.end - range.start);
            parts.push_back(Part {
                head: head.into(),
                range,
            });
        }
        (total <= length.saturating_add(OVERHEAD_BYTES_MAX)).then_some(Self {
            boundary,
            parts,
            length: total,
        })
    }

    /// Bytes of the body.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn content_type(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("multipart/byteranges; boundary={}", self.boundary)).ok()
    }

    /// Where the first part begins.
    pub(super) fn start(&self) -> u64 {
        self.parts.front().map_or(0, |part| part.range.start)
    }

    /// The body, out of a reader of the object.
    pub(super) fn read(self, reader: Reader) -> Parts {
        Parts {
            reader,
            closing: Some(closing(&self.boundary)),
            waiting: self.parts,
            within: 0,
            left: self.length,
        }
    }
}

fn closing(boundary: &str) -> Bytes {
    format!("\r\n--{boundary}--\r\n").into()
}

/// Random: what an object holds cannot be made to look like it. `None` when the system has no random numbers.
fn boundary() -> Option<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// The body as it goes out.
pub(super) struct Parts {
    reader: Reader,
    waiting: VecDeque<Part>,
    closing: Option<Bytes>,
    /// What is missing of the part that the reader is in.
    within: u64,
    left: u64,
}

impl Parts {
    pub(super) fn remaining(&self) -> u64 {
        self.left
    }

    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, FillError>>> {
        let bytes = if self.within > 0 {
            match self.reader.poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => {
                    self.within = self.within.saturating_sub(bytes.len() as u64);
                    bytes
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                // A reader of known end does not end before it; after an error there is nothing more.
                Poll::Ready(None) => return Poll::Ready(None),
            }
        } else if let Some(part) = self.waiting.pop_front() {
            self.reader.aim(part.range.start, Some(part.range.end));
            self.within = part.range.end - part.range.start;
            part.head
        } else if let Some(closing) = self.closing.take() {
            closing
        } else {
            return Poll::Ready(None);
        };
        self.left = self.left.saturating_sub(bytes.len() as u64);
        Poll::Ready(Some(Ok(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_counts_what_it_will_send() {
        let media_type = HeaderValue::from_static("text/plain");
        let plan = Plan::new([0..10, 20..21], 100, Some(&media_type)).unwrap();
        let heads: usize = plan.parts.iter().map(|part| part.head.len()).sum();
        assert_eq!(
            plan.length(),
            heads as u64 + 11 + closing(&plan.boundary).len() as u64
        );
        assert!(plan.parts[1].head.starts_with(b"\r\n--"));
        assert_eq!(plan.start(), 0);
    }

    #[test]
    fn parts_that_cost_more_than_the_whole_are_not_planned() {
        let long = HeaderValue::from_str(&"x".repeat(5000)).unwrap();
        assert!(Plan::new([0..1, 90..91], 100, Some(&long)).is_none());
        assert!(Plan::new([0..1, 90..91], 100, None).is_some());
    }
}
