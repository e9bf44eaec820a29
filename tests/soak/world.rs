//! What the origin holds, and what may still be served of it: every body tells whose it is, and each byte of it can
//! be made again.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bytes::{Bytes, BytesMut};

use crate::chance::mix;

const BLOCK_BYTES: usize = 4096;
const POOL_BYTES: usize = 1 << 20;
const FOLDERS: usize = 8;
const TAGS: usize = 24;

/// How large an object is, which also says how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A few pages at most.
    Small,
    /// About 100 KiB: with its head in one entry.
    Medium,
    /// Some MiB: in chunks.
    Large,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }
}

/// A resource of the origin.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) number: usize,
    pub(crate) path: String,
    pub(crate) class: Class,
    pub(crate) folder: usize,
    pub(crate) tag: usize,
    /// The origin's present generation.
    generation: AtomicU64,
    /// The least generation that a request may still be answered with.
    least: AtomicU64,
    /// Requests that reached the origin.
    pub(crate) asked: AtomicU64,
}

impl Resource {
    fn new(number: usize, class: Class) -> Self {
        let folder = number % FOLDERS;
        let ending = if number.is_multiple_of(2) {
            "css"
        } else {
            "bin"
        };
        Self {
            number,
            path: format!("/d{folder}/{}{number}.{ending}", class.name()),
            class,
            folder,
            tag: number / FOLDERS % TAGS,
            generation: AtomicU64::new(1),
            least: AtomicU64::new(1),
            asked: AtomicU64::new(0),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// The origin's content changes; the new generation.
    pub(crate) fn change(&self) -> u64 {
        self.generation.fetch_add(1, SeqCst) + 1
    }

    pub(crate) fn least(&self) -> u64 {
        self.least.load(SeqCst)
    }

    /// From now on nothing older may be served.
    pub(crate) fn raise_least(&self, generation: u64) {
        self.least.fetch_max(generation, SeqCst);
    }

    pub(crate) fn media_type(&self) -> &'static str {
        if self.path.ends_with("css") {
            "text/css"
        } else {
            "application/octet-stream"
        }
    }

    /// Some become stale while the soak runs, so that validation is a part of it.
    pub(crate) fn lifetime_seconds(&self) -> u64 {
        if self.number.is_multiple_of(5) {
            2
        } else {
            86_400
        }
    }

    /// Sent without a length, so that the node learns it only at the end.
    pub(crate) fn is_streamed(&self) -> bool {
        self.number.is_multiple_of(7)
    }

    pub(crate) fn etag(&self, generation: u64) -> String {
        format!("\"{}-{generation}\"", self.number)
    }

    pub(crate) fn length(&self, generation: u64) -> usize {
        let dice = usize::try_from(mix(self.seed(generation)) >> 40).expect("24 bits");
        match self.class {
            Class::Small => 100 + dice % 6000,
            Class::Medium => (90 << 10) + dice % (30 << 10),
            Class::Large => (1 << 20) + dice % (5 << 20),
        }
    }

    fn seed(&self, generation: u64) -> u64 {
        mix(self.number as u64 + 1) ^ generation
    }

    /// Blocks that begin with the resource, the generation and the place, filled from the pool at a place that follows
    /// from those.
    pub(crate) fn body(&self, generation: u64, pool: &Pool) -> Bytes {
        let length = self.length(generation);
        let mut body = BytesMut::with_capacity(length + BLOCK_BYTES);
        let mut block = 0_u64;
        while body.len() < length {
            let dice = mix(self.seed(generation) ^ mix(block + 1));
            let mark = format!(
                "#{:08}.{generation:012}.{block:08}.{dice:016x}\n",
                self.number
            );
            body.extend_from_slice(mark.as_bytes());
            body.extend_from_slice(pool.piece(dice, BLOCK_BYTES - mark.len()));
            block += 1;
        }
        body.truncate(length);
        body.freeze()
    }
}

/// Whose bytes those at `at` in a body are, by the mark of their block.
pub(crate) fn owner(body: &[u8], at: usize) -> Option<(usize, u64)> {
    let start = at / BLOCK_BYTES * BLOCK_BYTES;
    let mark = body.get(start..start + 22)?;
    let text = std::str::from_utf8(mark).ok()?.strip_prefix('#')?;
    let (number, generation) = text.split_once('.')?;
    Some((number.parse().ok()?, generation.parse().ok()?))
}

/// Text that compresses about as well as style sheets do.
#[derive(Debug)]
pub(crate) struct Pool(Vec<u8>);

impl Pool {
    fn new() -> Self {
        const WORDS: [&str; 8] = [
            "margin", "0 auto", "color", "#aa3355", "{ ", " }\n", "display", "grid;",
        ];
        let mut text = String::with_capacity(POOL_BYTES + BLOCK_BYTES);
        let mut state = 7;
        while text.len() < POOL_BYTES {
            state = mix(state);
            let word = usize::try_from(state % 8).expect("below 8");
            text.push_str(WORDS[word]);
            if state.is_multiple_of(3) {
                text.push_str(&format!("{:x} ", state >> 40));
            }
        }
        Self(text.into_bytes())
    }

    fn piece(&self, dice: u64, length: usize) -> &[u8] {
        let room = (self.0.len() - length) as u64;
        let start = usize::try_from(dice % room).expect("inside the pool");
        &self.0[start..start + length]
    }
}

/// What an acknowledged purge forbids.
#[derive(Debug)]
pub(crate) struct Purged {
    pub(crate) resources: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) resources: Vec<Resource>,
    pub(crate) pool: Pool,
    /// Acknowledged since the last verification.
    pub(crate) purges: parking_lot::Mutex<Vec<Purged>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let classes = std::iter::repeat_n(Class::Small, 260)
            .chain(std::iter::repeat_n(Class::Medium, 60))
            .chain(std::iter::repeat_n(Class::Large, 14));
        Self {
            resources: classes
                .enumerate()
                .map(|(number, class)| Resource::new(number, class))
                .collect(),
            pool: Pool::new(),
            purges: parking_lot::Mutex::default(),
        }
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Resource> {
        let digits = path
            .trim_start_matches("/d")
            .get(1..)?
            .trim_matches(|c: char| !c.is_ascii_digit());
        let resource = self.resources.get(digits.parse::<usize>().ok()?)?;
        (resource.path == path).then_some(resource)
    }
}
