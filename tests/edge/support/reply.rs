//! What the origin answers: whole, slow, short, cut off or malformed, as the test wants it.

use std::ops::Range;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::content::Content;
use super::gate::Gate;
use super::origin::Request;

/// One answer. Starts as a right one with a Content-Length; each method makes one thing different.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(String, String)>,
    pub(super) content: Content,
    pub(super) framing: Framing,
    pub(super) head_gate: Option<Gate>,
    pub(super) body_gates: Vec<(u64, Gate)>,
    pub(super) end: End,
    pub(super) raw: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    DeclaredLength(u64),
    Chunked,
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// The connection is closed after this many bytes of the body.
    CloseAfter(u64),
    /// The connection is reset after this many bytes of the body.
    ResetAfter(u64),
}

impl Reply {
    pub fn new(status: u16, content: impl Into<Content>) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("a status of three digits"),
            headers: Vec::new(),
            content: content.into(),
            framing: Framing::Length,
            head_gate: None,
            body_gates: Vec::new(),
            end: End::Whole,
            raw: None,
        }
    }

    pub fn ok(content: impl Into<Content>) -> Self {
        Self::new(200, content)
    }

    pub fn status(status: u16) -> Self {
        Self::new(status, "")
    }

    /// These bytes as they are instead of an answer, then the connection is closed.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        let mut reply = Self::ok("");
        reply.raw = Some(bytes.into());
        reply
    }

    /// No answer: the connection is reset where the head should come.
    pub fn reset() -> Self {
        let mut reply = Self::raw("");
        reply.end = End::ResetAfter(0);
        reply
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn cache_control(self, value: &str) -> Self {
        self.header("cache-control", value)
    }

    /// In chunks instead of with a length.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Neither length nor chunks: the body ends where the connection ends.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// A Content-Length that need not be true; the connection is closed behind what there is.
    #[must_use]
    pub fn declared_length(mut self, length: u64) -> Self {
        self.framing = Framing::DeclaredLength(length);
        self
    }

    /// Closes the connection after `bytes` of the body (with chunks: without the last chunk).
    #[must_use]
    pub fn close_after(mut self, bytes: u64) -> Self {
        self.end = End::CloseAfter(bytes);
        self
    }

    /// Resets the connection after `bytes` of the body.
    #[must_use]
    pub fn reset_after(mut self, bytes: u64) -> Self {
        self.end = End::ResetAfter(bytes);
        self
    }

    /// Waits at `gate` before the head.
    #[must_use]
    pub fn hold_head(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    /// Waits at `gate` when `bytes` of the body are sent; at the length or more: before the end.
    #[must_use]
    pub fn hold_body(mut self, bytes: u64, gate: &Gate) -> Self {
        self.body_gates.push((bytes, gate.clone()));
        self.body_gates.sort_by_key(|(place, _)| *place);
        self
    }
}

/// A thing with validators, as a file server has it: answers conditionals with 304 and single
/// ranges with 206.
#[derive(Clone, Debug)]
pub struct Resource {
    content: Content,
    etag: Option<String>,
    last_modified: Option<String>,
    headers: Vec<(String, String)>,
    ranges: bool,
}

impl Resource {
    pub fn new(content: impl Into<Content>) -> Self {
        Self {
            content: content.into(),
            etag: None,
            last_modified: None,
            headers: Vec::new(),
            ranges: true,
        }
    }

    /// With quotes, and `W/` for a weak one.
    #[must_use]
    pub fn etag(mut self, etag: &str) -> Self {
        self.etag = Some(etag.to_owned());
        self
    }

    #[must_use]
    pub fn last_modified(mut self, date: &str) -> Self {
        self.last_modified = Some(date.to_owned());
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn cache_control(self, value: &str) -> Self {
        self.header("cache-control", value)
    }

    /// Answers a range with the whole, as many origins do.
    #[must_use]
    pub fn without_ranges(mut self) -> Self {
        self.ranges = false;
        self
    }

    /// The answer to `request`. Further methods of [`Reply`] can spoil it.
    pub fn reply(&self, request: &Request) -> Reply {
        if self.is_unchanged(request) {
            return self.dressed(Reply::status(304));
        }
        match self.wanted_range(request) {
            None => self.dressed(Reply::ok(self.content.clone())),
            Some(Ok(range)) => {
                let length = self.content.length();
                let place = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                self.dressed(Reply::new(206, self.content.slice(range)))
                    .header("content-range", &place)
            }
            Some(Err(Unsatisfiable)) => {
                let place = format!("bytes */{}", self.content.length());
                Reply::status(416).header("content-range", &place)
            }
        }
    }

    fn dressed(&self, mut reply: Reply) -> Reply {
        reply.headers.extend(self.headers.iter().cloned());
        if let Some(etag) = &self.etag {
            reply = reply.header("etag", etag);
        }
        if let Some(date) = &self.last_modified {
            reply = reply.header("last-modified", date);
        }
        reply
    }

    fn is_unchanged(&self, request: &Request) -> bool {
        if let Some(known) = request.header("if-none-match") {
            let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
            return self.etag.as_deref().is_some_and(|own| {
                known.trim() == "*" || known.split(',').any(|tag| opaque(tag) == opaque(own))
            });
        }
        // RFC 9110 section 13.1.3 compares dates; an origin of ours only ever sees its own back.
        request
            .header("if-modified-since")
            .is_some_and(|date| Some(date) == self.last_modified.as_deref())
    }

    fn wanted_range(&self, request: &Request) -> Option<Result<Range<u64>, Unsatisfiable>> {
        if !self.ranges || request.method != Method::GET {
            return None;
        }
        if let Some(condition) = request.header("if-range") {
            let strong_etag = self.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
            if Some(condition) != strong_etag && Some(condition) != self.last_modified.as_deref() {
                return None;
            }
        }
        let length = self.content.length();
        let (first, last) = request
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let range = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) => first..length.min(last + 1),
            (Ok(first), Err(_)) => first..length,
            (Err(_), Ok(suffix)) => length.saturating_sub(suffix)..length,
            (Err(_), Err(_)) => return None,
        };
        Some(if range.is_empty() {
            Err(Unsatisfiable)
        } else {
            Ok(range)
        })
    }
}

struct Unsatisfiable;
