//! What an answer may be. Everything else is wrong, and has a name.

use std::io::Read;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::world::{Resource, World, owner};

/// A whole answer, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.field("cache-status").contains("; hit")
    }
}

/// What was asked, as far as it changes what the answer may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Whole,
    Head,
    /// First byte, and last or the end.
    Range(usize, Option<usize>),
    /// The last bytes.
    Suffix(usize),
    /// With this entity tag at hand.
    Unless(String),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Bytes that nobody has ever sent.
    Corrupt,
    /// Bytes of another resource.
    Foreign,
    /// Bytes of another generation than the head tells.
    Mixed,
    /// Too few or too many bytes, and no error.
    Truncated,
    /// From before an acknowledged purge or invalidation.
    Purged,
    /// A generation that the origin has not had.
    Unborn,
    /// A 5xx, though the origin is healthy.
    ServerError,
    /// A head that contradicts itself, or a status that nothing asks for.
    Head,
}

pub(crate) const WRONGS: [(Wrong, &str); 8] = [
    (Wrong::Corrupt, "corrupt"),
    (Wrong::Foreign, "foreign"),
    (Wrong::Mixed, "mixed"),
    (Wrong::Truncated, "truncated without an error"),
    (Wrong::Purged, "purged"),
    (Wrong::Unborn, "of no generation"),
    (Wrong::ServerError, "5xx"),
    (Wrong::Head, "head"),
];

/// Bounds of the generation that may be answered with: no older than the first when the request began, no newer than the
/// second when its answer had come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) least: u64,
    pub(crate) newest: u64,
}

/// The generation that was served, or what is wrong with the answer.
pub(crate) fn judge(
    world: &World,
    resource: &Resource,
    asked: &Asked,
    window: Window,
    answer: &Answer,
) -> Result<u64, (Wrong, String)> {
    let generation = told_generation(resource, answer)?;
    if generation > window.newest {
        return Err((
            Wrong::Unborn,
            format!("{generation}, newest {}", window.newest),
        ));
    }
    if generation < window.least {
        return Err((
            Wrong::Purged,
            format!("{generation}, least {}", window.least),
        ));
    }
    let length = resource.length(generation);
    match (answer.status, asked) {
        (StatusCode::NOT_MODIFIED, Asked::Unless(tag)) => {
            let told = answer.field("etag");
            if told != tag && told != format!("W/{tag}") {
                return Err((Wrong::Head, format!("304 for {tag}: {told}")));
            }
            return Ok(generation);
        }
        (StatusCode::OK, Asked::Head) => {
            let told = answer.field("content-length");
            let is_coded = !answer.field("content-encoding").is_empty();
            if !told.is_empty() && !is_coded && told != length.to_string() {
                return Err((Wrong::Head, format!("length {told} instead of {length}")));
            }
            return Ok(generation);
        }
        (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => {}
        (StatusCode::RANGE_NOT_SATISFIABLE, Asked::Range(first, _)) if *first >= length => {
            let told = answer.field("content-range");
            if told != format!("bytes */{length}") {
                return Err((Wrong::Head, format!("{told} instead of {length}")));
            }
            return Ok(generation);
        }
        (other, _) => return Err((Wrong::Head, format!("status {other}"))),
    }
    let body = decoded(answer)?;
    let whole = resource.body(generation, &world.pool);
    let (first, expected) = if answer.status == StatusCode::OK {
        (0, whole)
    } else {
        let (first, last) = match *asked {
            Asked::Range(first, last) => (first, last.unwrap_or(length - 1).min(length - 1)),
            Asked::Suffix(count) => (length - count.min(length), length - 1),
            Asked::Whole | Asked::Head | Asked::Unless(_) => {
                return Err((Wrong::Head, "206 without a range".to_owned()));
            }
        };
        let told = answer.field("content-range");
        if told != format!("bytes {first}-{last}/{length}") {
            return Err((
                Wrong::Head,
                format!("{told} instead of {first}-{last}/{length}"),
            ));
        }
        (first, whole.slice(first..=last))
    };
    if body == expected {
        return Ok(generation);
    }
    let differs = body
        .iter()
        .zip(&expected)
        .position(|(one, other)| one != other);
    let Some(at) = differs else {
        return Err((
            Wrong::Truncated,
            format!("{} bytes instead of {}", body.len(), expected.len()),
        ));
    };
    // Blocks begin at multiples of their size in the body, not in a part of it.
    let mut placed = vec![0; first];
    placed.extend_from_slice(&body);
    let wrong = match owner(&placed, first + at) {
        Some((number, _)) if number != resource.number && number < world.resources.len() => {
            Wrong::Foreign
        }
        Some((_, other)) if other != generation && other <= window.newest => Wrong::Mixed,
        _ => Wrong::Corrupt,
    };
    Err((wrong, format!("from byte {} on", first + at)))
}

/// The generation that the head tells, twice.
fn told_generation(resource: &Resource, answer: &Answer) -> Result<u64, (Wrong, String)> {
    if answer.status.is_server_error() {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        return Err((Wrong::ServerError, text));
    }
    let told = answer.field("x-generation");
    if answer.status == StatusCode::RANGE_NOT_SATISFIABLE {
        return told
            .parse()
            .map_err(|_| (Wrong::Head, format!("416, x-generation {told:?}")));
    }
    let etag = answer.field("etag");
    let text = etag.trim_start_matches("W/").trim_matches('"');
    let text = text.split(';').next().unwrap_or_default();
    let owner = text
        .split_once('-')
        .and_then(|(number, generation)| Some((number.parse::<usize>().ok()?, generation)));
    let Some((number, by_tag)) = owner else {
        return Err((Wrong::Head, format!("{} etag {etag:?}", answer.status)));
    };
    if number != resource.number {
        return Err((Wrong::Foreign, format!("etag {etag}")));
    }
    let by_tag = by_tag.parse().unwrap_or(0);
    if told.is_empty() && answer.status == StatusCode::NOT_MODIFIED {
        return Ok(by_tag);
    }
    if told.parse() == Ok(by_tag) {
        Ok(by_tag)
    } else {
        Err((Wrong::Mixed, format!("etag {etag}, x-generation {told}")))
    }
}

fn decoded(answer: &Answer) -> Result<Bytes, (Wrong, String)> {
    let coded = &answer.body[..];
    let mut plain = Vec::new();
    let read = match answer.field("content-encoding") {
        "" | "identity" => return Ok(answer.body.clone()),
        "gzip" => flate2::read::GzDecoder::new(coded).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(coded, 1 << 16).read_to_end(&mut plain),
        "zstd" => zstd::Decoder::new(coded).and_then(|mut decoder| decoder.read_to_end(&mut plain)),
        other => return Err((Wrong::Head, format!("coding {other}"))),
    };
    match read {
        Ok(_) => Ok(plain.into()),
        Err(error) => Err((
            Wrong::Corrupt,
            format!("{}: {error}", answer.field("content-encoding")),
        )),
    }
}

/// The judge finds what it is there to find: otherwise a soak without findings says nothing.
pub(crate) fn is_of_use(world: &World) {
    let resource = &world.resources[261];
    let other = &world.resources[262];
    for _ in 0..9 {
        resource.change();
    }
    let window = Window {
        least: 3,
        newest: 10,
    };
    let answer = |generation: u64, body: Bytes| {
        let mut headers = HeaderMap::new();
        let etag = resource.etag(generation);
        headers.insert("etag", etag.parse().expect("a value"));
        headers.insert("x-generation", generation.into());
        Answer {
            status: StatusCode::OK,
            headers,
            body,
        }
    };
    let right = resource.body(5, &world.pool);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = right.to_vec();
        change(&mut body);
        Bytes::from(body)
    };
    let (foreign, older) = (other.body(5, &world.pool), resource.body(4, &world.pool));
    let cases = [
        (5, right.clone(), None),
        (2, resource.body(2, &world.pool), Some(Wrong::Purged)),
        (11, resource.body(11, &world.pool), Some(Wrong::Unborn)),
        (5, right.slice(1..), Some(Wrong::Corrupt)),
        (5, right.slice(..right.len() - 1), Some(Wrong::Truncated)),
        (5, changed(&|body| body[9000] ^= 1), Some(Wrong::Corrupt)),
        (
            5,
            changed(&|body| body[8192..12288].copy_from_slice(&foreign[8192..12288])),
            Some(Wrong::Foreign),
        ),
        (
            5,
            changed(&|body| body[8192..12288].copy_from_slice(&older[8192..12288])),
            Some(Wrong::Mixed),
        ),
    ];
    for (index, (generation, body, expect)) in cases.into_iter().enumerate() {
        let found = judge(
            world,
            resource,
            &Asked::Whole,
            window,
            &answer(generation, body),
        );
        assert_eq!(found.err().map(|(wrong, _)| wrong), expect, "case {index}");
    }
}
