//! Entries as bytes on disk.
//!
//! A record is a head and a body: `format, kind, length of the head`, the fields, then the body as it
//! is. Reading trusts nothing: anything that this version would not have written is an error, and the
//! caller takes it for a miss.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::entry::{CHUNK_BYTES, Entry, VaryIndex};
use super::object::{Body, Draft, Object};
use crate::policy::Freshness;

/// Raised with every change of the bytes below; part of the disk tier's fingerprint.
pub(super) const FORMAT: u8 = 1;

const KIND_INLINE: u8 = 1;
const KIND_CHUNKED: u8 = 2;
const KIND_VARY: u8 = 3;
const KIND_CHUNK: u8 = 4;

/// Format, kind and the length of the head.
const PREAMBLE_BYTES: usize = 6;
/// Longer than any head that passes the limits on responses and keys.
const HEAD_BYTES_MAX: usize = 512 << 10;
/// Field lines, tags or variants of one entry.
const ITEMS_MAX: usize = 16_384;
/// Far above [`CHUNK_BYTES`] would be a body that nobody bounded.
const BODY_BYTES_MAX: usize = 2 * CHUNK_BYTES;

/// Why bytes are not an entry, or an entry does not become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    #[error("the entry is larger than a record may be")]
    TooLarge,
    #[error("written by another version")]
    Format,
    #[error("shorter than it says")]
    Short,
    #[error("longer than it says")]
    Long,
    #[error("a field is out of its range")]
    Field,
}

/// An entry as it lies on disk. What comes back from the disk is in one piece, in `head`.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

impl Record {
    pub(super) fn encode(entry: &Entry) -> Result<Self, CodecError> {
        let mut head = BytesMut::with_capacity(1024);
        head.put_u8(FORMAT);
        let (kind, body) = match entry {
            Entry::Object(object) => match &object.body {
                Body::Inline(body) => (KIND_INLINE, body.clone()),
                Body::Chunked { .. } => (KIND_CHUNKED, Bytes::new()),
            },
            Entry::Vary(_) => (KIND_VARY, Bytes::new()),
            Entry::Chunk(body) => (KIND_CHUNK, body.clone()),
        };
        head.put_u8(kind);
        head.put_u32_le(0);
        match entry {
            Entry::Object(object) => put_object(&mut head, object)?,
            Entry::Vary(index) => put_vary(&mut head, index)?,
            Entry::Chunk(_) => {}
        }
        if head.len() > HEAD_BYTES_MAX || body.len() > BODY_BYTES_MAX {
            return Err(CodecError::TooLarge);
        }
        let length = u32::try_from(head.len()).map_err(|_| CodecError::TooLarge)?;
        if let Some(place) = head.get_mut(2..PREAMBLE_BYTES) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        Ok(Self {
            head: head.freeze(),
            body,
        })
    }

    /// Bytes on disk, without what the disk tier adds.
    pub(super) fn length(&self) -> usize {
        self.head.len() + self.body.len()
    }

    pub(super) fn decode(self) -> Result<Entry, CodecError> {
        let Self { mut head, body } = self;
        let whole = head.len();
        let mut read = Reader(&mut head);
        if read.u8()? != FORMAT {
            return Err(CodecError::Format);
        }
        let kind = read.u8()?;
        let length = read.u32()?;
        let rest = length
            .checked_sub(PREAMBLE_BYTES)
            .ok_or(CodecError::Field)?;
        let mut fields = read.take(rest)?;
        let body = match (whole == length, body.is_empty()) {
            // From disk: the body follows the head, and keeps the whole buffer alive, unless that is much more than it.
            (_, true) if length > head.len() / 8 => Bytes::copy_from_slice(&head),
            (_, true) => head,
            // From the write queue: still in two pieces.
            (true, false) => body,
            (false, false) => return Err(CodecError::Long),
        };
        let mut read = Reader(&mut fields);
        let entry = match kind {
            KIND_INLINE => {
                let object = read_object(&mut read, |_| Ok(Body::Inline(body)))?;
                Entry::Object(Arc::new(object))
            }
            KIND_CHUNKED if body.is_empty() => {
                let object = read_object(&mut read, |read| {
                    let length = read.u64()?;
                    Ok(Body::Chunked { length })
                })?;
                Entry::Object(Arc::new(object))
            }
            KIND_VARY if body.is_empty() => Entry::Vary(Arc::new(read_vary(&mut read)?)),
            KIND_CHUNK => Entry::Chunk(body),
            KIND_CHUNKED | KIND_VARY => return Err(CodecError::Long),
            _ => return Err(CodecError::Field),
        };
        if fields.is_empty() {
            Ok(entry)
        } else {
            Err(CodecError::Long)
        }
    }
}

fn put_object(out: &mut BytesMut, object: &Object) -> Result<(), CodecError> {
    put_text(out, object.key())?;
    put_text(out, object.site())?;
    out.put_u128_le(object.url);
    put_text(out, object.path())?;
    out.put_u128_le(object.version);
    out.put_u16_le(object.status.as_u16());
    let headers = object.headers();
    put_count(out, headers.len())?;
    for (name, value) in headers.iter() {
        put_text(out, name.as_str())?;
        put_bytes(out, value.as_bytes())?;
    }
    put_freshness(out, &object.freshness());
    let tags = object.tags();
    put_count(out, tags.len())?;
    for tag in &tags {
        out.put_u128_le(*tag);
    }
    out.put_u64_le(object.body_seq);
    out.put_u64_le(object.checked_seq);
    put_text(out, object.detail())?;
    if let Body::Chunked { length } = object.body {
        out.put_u64_le(length);
    }
    Ok(())
}

fn read_object(
    read: &mut Reader<'_>,
    body: impl FnOnce(&mut Reader<'_>) -> Result<Body, CodecError>,
) -> Result<Object, CodecError> {
    let key = read.text()?;
    let site = read.text()?;
    let url = read.u128()?;
    let path = read.text()?;
    let version = read.u128()?;
    let status = StatusCode::from_u16(read.u16()?).map_err(|_| CodecError::Field)?;
    let headers = read_headers(read)?;
    let freshness = read_freshness(read)?;
    let tags = (0..read.count()?)
        .map(|_| read.u128())
        .collect::<Result<_, _>>()?;
    let draft = Draft {
        key,
        site,
        url,
        path,
        version,
        status,
        headers,
        freshness,
        tags,
        body_seq: read.u64()?,
        checked_seq: read.u64()?,
        detail: read.text()?,
        body: body(read)?,
        fetch_started: Duration::ZERO,
    };
    Ok(draft.seal())
}

fn read_headers(read: &mut Reader<'_>) -> Result<HeaderMap, CodecError> {
    let count = read.count()?;
    let mut headers = HeaderMap::with_capacity(count.min(64));
    for _ in 0..count {
        let name = HeaderName::from_bytes(&read.bytes()?).map_err(|_| CodecError::Field)?;
        let value = HeaderValue::from_maybe_shared(read.bytes()?).map_err(|_| CodecError::Field)?;
        headers
            .try_append(name, value)
            .map_err(|_| CodecError::Field)?;
    }
    Ok(headers)
}

fn put_freshness(out: &mut BytesMut, freshness: &Freshness) {
    let (after, distance) = match freshness.received_at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => (true, since),
        Err(before) => (false, before.duration()),
    };
    out.put_u8(u8::from(after));
    put_duration(out, distance);
    put_duration(out, freshness.initial_age);
    put_duration(out, freshness.lifetime);
    put_duration(out, freshness.stale_while_revalidate);
    put_duration(out, freshness.stale_if_error);
    out.put_u8(u8::from(freshness.always_validate));
    out.put_u8(u8::from(freshness.must_revalidate));
}

fn read_freshness(read: &mut Reader<'_>) -> Result<Freshness, CodecError> {
    let after = read.flag()?;
    let distance = read.duration()?;
    let received_at = if after {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    };
    Ok(Freshness {
        received_at: received_at.ok_or(CodecError::Field)?,
        initial_age: read.duration()?,
        lifetime: read.duration()?,
        stale_while_revalidate: read.duration()?,
        stale_if_error: read.duration()?,
        always_validate: read.flag()?,
        must_revalidate: read.flag()?,
    })
}

fn put_vary(out: &mut BytesMut, index: &VaryIndex) -> Result<(), CodecError> {
    put_text(out, &index.key)?;
    put_count(out, index.fields.len())?;
    for name in &index.fields {
        put_text(out, name.as_str())?;
    }
    put_count(out, index.variants.len())?;
    for (key, id) in &index.variants {
        put_text(out, key)?;
        out.put_u128_le(*id);
    }
    Ok(())
}

fn read_vary(read: &mut Reader<'_>) -> Result<VaryIndex, CodecError> {
    Ok(VaryIndex {
        key: read.text()?,
        fields: (0..read.count()?)
            .map(|_| HeaderName::from_bytes(&read.bytes()?).map_err(|_| CodecError::Field))
            .collect::<Result<_, _>>()?,
        variants: (0..read.count()?)
            .map(|_| Ok((read.text()?.into_string(), read.u128()?)))
            .collect::<Result<_, _>>()?,
    })
}

fn put_count(out: &mut BytesMut, count: usize) -> Result<(), CodecError> {
    if count > ITEMS_MAX {
        return Err(CodecError::TooLarge);
    }
    out.put_u32_le(u32::try_from(count).map_err(|_| CodecError::TooLarge)?);
    Ok(())
}

fn put_text(out: &mut BytesMut, text: &str) -> Result<(), CodecError> {
    put_bytes(out, text.as_bytes())
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.len() > HEAD_BYTES_MAX {
        return Err(CodecError::TooLarge);
    }
    out.put_u32_le(u32::try_from(bytes.len()).map_err(|_| CodecError::TooLarge)?);
    out.put_slice(bytes);
    Ok(())
}

fn put_duration(out: &mut BytesMut, duration: Duration) {
    out.put_u64_le(duration.as_secs());
    out.put_u32_le(duration.subsec_nanos());
}

/// Takes values off the front of a buffer; none of its readings panics.
struct Reader<'a>(&'a mut Bytes);

impl Reader<'_> {
    fn u8(&mut self) -> Result<u8, CodecError> {
        self.0.try_get_u8().map_err(|_| CodecError::Short)
    }

    fn u16(&mut self) -> Result<u16, CodecError> {
        self.0.try_get_u16_le().map_err(|_| CodecError::Short)
    }

    fn u32(&mut self) -> Result<usize, CodecError> {
        let number = self.0.try_get_u32_le().map_err(|_| CodecError::Short)?;
        usize::try_from(number).map_err(|_| CodecError::Field)
    }

    fn u64(&mut self) -> Result<u64, CodecError> {
        self.0.try_get_u64_le().map_err(|_| CodecError::Short)
    }

    fn u128(&mut self) -> Result<u128, CodecError> {
        self.0.try_get_u128_le().map_err(|_| CodecError::Short)
    }

    fn flag(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Field),
        }
    }

    fn duration(&mut self) -> Result<Duration, CodecError> {
        let seconds = self.u64()?;
        let nanos = self.0.try_get_u32_le().map_err(|_| CodecError::Short)?;
        if nanos >= 1_000_000_000 {
            return Err(CodecError::Field);
        }
        Ok(Duration::new(seconds, nanos))
    }

    fn count(&mut self) -> Result<usize, CodecError> {
        let count = self.u32()?;
        if count > ITEMS_MAX {
            return Err(CodecError::Field);
        }
        Ok(count)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, CodecError> {
        if length > self.0.len() {
            return Err(CodecError::Short);
        }
        Ok(self.0.split_to(length))
    }

    fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let length = self.u32()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<Box<str>, CodecError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes)
            .map(Box::from)
            .map_err(|_| CodecError::Field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    /// As the disk gives it back: in one piece.
    fn from_disk(record: &Record) -> Record {
        let mut whole = BytesMut::new();
        whole.put_slice(&record.head);
        whole.put_slice(&record.body);
        Record {
            head: whole.freeze(),
            body: Bytes::new(),
        }
    }

    #[track_caller]
    fn check_round_trip(entry: &Entry) {
        let record = Record::encode(entry).unwrap();
        for back in [from_disk(&record), record] {
            let back = back.decode().unwrap();
            assert_eq!(testing::view(&back), testing::view(entry));
        }
    }

    fn entries() -> Vec<Entry> {
        vec![
            testing::object("https://a.example/x", b"hello"),
            testing::object("https://a.example/empty", b""),
            testing::chunked_object("https://a.example/large", 3 << 20),
            Entry::Chunk(Bytes::from_static(b"piece")),
            Entry::Chunk(Bytes::new()),
            Entry::Vary(Arc::new(VaryIndex {
                key: "k".into(),
                fields: vec![http::header::ACCEPT_ENCODING, http::header::ACCEPT],
                variants: vec![("br".to_owned(), 7), (String::new(), u128::MAX)],
            })),
        ]
    }

    #[test]
    fn what_was_written_is_read() {
        for entry in entries() {
            check_round_trip(&entry);
        }
    }

    #[test]
    fn times_before_the_epoch_survive() {
        let Entry::Object(object) = testing::object("k", b"x") else {
            unreachable!()
        };
        let mut object = object.draft();
        object.freshness.received_at = SystemTime::UNIX_EPOCH - Duration::new(5, 7);
        check_round_trip(&Entry::Object(Arc::new(object.seal())));
    }

    #[test]
    fn every_cut_is_an_error() {
        for entry in entries() {
            let record = Record::encode(&entry).unwrap();
            for length in 0..record.head.len() {
                let cut = Record {
                    head: record.head.slice(..length),
                    body: Bytes::new(),
                };
                assert!(cut.decode().is_err(), "{length}");
            }
        }
    }

    #[test]
    fn another_version_is_an_error() {
        let record = Record::encode(&testing::object("k", b"x")).unwrap();
        let mut head = BytesMut::from(&record.head[..]);
        head[0] = FORMAT + 1;
        let other = Record {
            head: head.freeze(),
            body: record.body,
        };
        assert_eq!(other.decode().unwrap_err(), CodecError::Format);
    }

    #[test]
    fn what_is_too_large_is_not_encoded() {
        let huge = Entry::Chunk(Bytes::from(vec![0; BODY_BYTES_MAX + 1]));
        assert_eq!(Record::encode(&huge).unwrap_err(), CodecError::TooLarge);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let record = Record { head: bytes.into(), body: Bytes::new() };
            drop(record.decode());
        }

        #[test]
        fn a_flipped_byte_never_panics(place in 0usize..400, flip in 1u8..) {
            for entry in entries() {
                let record = from_disk(&Record::encode(&entry).unwrap());
                let mut bytes = BytesMut::from(&record.head[..]);
                let place = place % bytes.len();
                bytes[place] ^= flip;
                let record = Record { head: bytes.freeze(), body: Bytes::new() };
                drop(record.decode());
            }
        }

        #[test]
        fn any_object_survives(
            key in ".{0,80}",
            path in "/[a-z/%]{0,80}",
            values in proptest::collection::vec("[ -~]{0,40}", 0..20),
            body in proptest::collection::vec(any::<u8>(), 0..2000),
            tags in proptest::collection::vec(any::<u128>(), 0..64),
            seqs in any::<(u64, u64)>(),
            lifetime in any::<(u64, u32)>(),
            status in 100u16..1000,
        ) {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append("x-field", HeaderValue::from_str(value).unwrap());
            }
            let Entry::Object(object) = testing::object(&key, &body) else { unreachable!() };
            let mut object = object.draft();
            object.path = path.into();
            object.headers = headers;
            object.tags = tags;
            (object.body_seq, object.checked_seq) = seqs;
            object.freshness.lifetime = Duration::new(lifetime.0, lifetime.1 % 1_000_000_000);
            object.status = StatusCode::from_u16(status).unwrap();
            check_round_trip(&Entry::Object(Arc::new(object.seal())));
        }
    }
}
