use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::decode::Demand;
use super::super::error::ImageError;
use super::super::recipe::Recipe;
use super::memory::Reservation;

/// How long a decoded picture is kept after its last use: the other widths of a page come within a second or two.
const LINGER: Duration = Duration::from_secs(2);

/// A herd has come in once this long nobody more came…
const GATHER_PAUSE: Duration = Duration::from_millis(20);
/// …and is not waited for longer than this.
const GATHER_MAX: Duration = Duration::from_millis(150);

/// A picture that is kept decoded, and the memory that it takes.
pub(super) struct Kept<D> {
    pub(super) decoded: D,
    pub(super) demand: Demand,
    pub(super) reserved: Reservation,
}

/// The pictures that jobs are about, by the version of their files: who will want something of each, its bytes, and
/// what it is decoded to.
pub(super) struct Sources<D> {
    of: HashMap<u128, Source<D>>,
    next: u64,
    /// Bytes of all files.
    file_bytes: u64,
    file_bytes_max: u64,
}

struct Source<D> {
    /// What was announced and is not done.
    intents: HashMap<u64, Recipe>,
    first: Duration,
    last: Duration,
    file: File,
    slot: Slot<D>,
    used: Duration,
}

/// A source's bytes, collected once for all who want something of it.
enum File {
    Wanted,
    Coming(u64),
    Here(Bytes),
}

enum Slot<D> {
    Empty,
    /// A thread is at it.
    Decoding,
    Kept(Arc<Kept<D>>),
    /// It cannot be had: what holds for one holds for all.
    Failed(ImageError),
}

/// What a job finds that needs a picture decoded.
pub(super) enum Found {
    /// It is there, and is enough.
    Kept,
    /// This job must decode it.
    Yours,
    /// Another job is at it.
    Busy,
    Failed(ImageError),
}

/// What is found of a source's bytes.
pub(super) enum FoundFile {
    Here(Bytes),
    /// To be collected by whoever asks.
    Yours,
    /// Another collects them.
    Coming,
    /// As many bytes wait as may.
    Full,
}

impl<D> Sources<D> {
    pub(super) fn new(file_bytes_max: u64) -> Self {
        Self {
            of: HashMap::new(),
            next: 0,
            file_bytes: 0,
            file_bytes_max,
        }
    }

    /// Says that `recipe` will be wanted of `source`, until [`Self::leave`].
    pub(super) fn announce(&mut self, source: u128, recipe: &Recipe, now: Duration) -> u64 {
        self.next += 1;
        let source = self.of.entry(source).or_insert_with(|| Source {
            intents: HashMap::new(),
            first: now,
            last: now,
            file: File::Wanted,
            slot: Slot::Empty,
            used: now,
        });
        if source.intents.is_empty() {
            source.first = now;
        }
        source.last = now;
        source.intents.insert(self.next, recipe.clone());
        self.next
    }

    /// Takes an announcement back, done or not. With the last one the file goes; what it was decoded to lingers.
    pub(super) fn leave(&mut self, id: u128, intent: u64, now: Duration) {
        let Some(source) = self.of.get_mut(&id) else {
            return;
        };
        source.intents.remove(&intent);
        if !source.intents.is_empty() {
            return;
        }
        self.file_bytes -= source.file.bytes();
        source.file = File::Wanted;
        source.used = now;
        if matches!(source.slot, Slot::Empty) {
            self.of.remove(&id);
        }
    }

    /// What is announced of `source`.
    pub(super) fn recipes(&self, source: u128) -> Vec<Recipe> {
        let source = self.of.get(&source);
        source.map_or_else(Vec::new, |source| {
            source.intents.values().cloned().collect()
        })
    }

    /// From when on a job of `source` may run; `None` while another decodes it.
    pub(super) fn ready_at(&self, source: u128) -> Option<Duration> {
        let Some(source) = self.of.get(&source) else {
            return Some(Duration::ZERO);
        };
        match source.slot {
            Slot::Decoding => None,
            Slot::Kept(_) | Slot::Failed(_) => Some(Duration::ZERO),
            Slot::Empty if !source.is_herd() => Some(Duration::ZERO),
            // What is decoded must do for all of them.
            Slot::Empty => Some((source.last + GATHER_PAUSE).min(source.first + GATHER_MAX)),
        }
    }

    /// Looks for what serves `demand`; the caller must decode when it is told so.
    pub(super) fn claim(&mut self, source: u128, demand: Demand) -> Found {
        let Some(source) = self.of.get_mut(&source) else {
            return Found::Yours;
        };
        match &source.slot {
            Slot::Kept(kept) if covers(kept.demand, demand) => Found::Kept,
            Slot::Decoding => Found::Busy,
            Slot::Failed(error) => Found::Failed(error.clone()),
            Slot::Empty | Slot::Kept(_) => {
                source.slot = Slot::Decoding;
                Found::Yours
            }
        }
    }

    /// What is decoded, if it is still there and serves `demand`.
    pub(super) fn kept(
        &mut self,
        source: u128,
        demand: Demand,
        now: Duration,
    ) -> Option<Arc<Kept<D>>> {
        let source = self.of.get_mut(&source)?;
        match &source.slot {
            Slot::Kept(kept) if covers(kept.demand, demand) => {
                source.used = now;
                Some(Arc::clone(kept))
            }
            Slot::Kept(_) | Slot::Empty | Slot::Decoding | Slot::Failed(_) => None,
        }
    }

    /// The decoding that was claimed has ended so. `None` is without a result that others could use.
    pub(super) fn decoded(
        &mut self,
        source: u128,
        outcome: Option<Result<&Arc<Kept<D>>, &ImageError>>,
        now: Duration,
    ) {
        let Some(entry) = self.of.get_mut(&source) else {
            return;
        };
        entry.used = now;
        entry.slot = match outcome {
            Some(Ok(kept)) => Slot::Kept(Arc::clone(kept)),
            Some(Err(error)) if error.is_permanent() => Slot::Failed(error.clone()),
            Some(Err(_)) | None => Slot::Empty,
        };
        if matches!(entry.slot, Slot::Empty) && entry.intents.is_empty() {
            self.of.remove(&source);
        }
    }

    /// Gives back what has not been used for a while, to be dropped.
    pub(super) fn expired(&mut self, now: Duration) -> Vec<Arc<Kept<D>>> {
        let over: Vec<u128> = self
            .of
            .iter()
            .filter(|(_, source)| source.expires().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        let removed = over.into_iter().filter_map(|id| self.of.remove(&id));
        removed.filter_map(|source| source.slot.kept()).collect()
    }

    /// When the next one is to go.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.of.values().filter_map(Source::expires).min()
    }

    /// Gives up one that no job is at, to make room: the one that was not used for the longest time, and first those
    /// that nothing more is wanted of.
    pub(super) fn spare(&mut self) -> Option<Arc<Kept<D>>> {
        let idle = self.of.iter().filter(|(_, source)| match &source.slot {
            Slot::Kept(kept) => Arc::strong_count(kept) == 1,
            Slot::Empty | Slot::Decoding | Slot::Failed(_) => false,
        });
        let (id, _) = idle.min_by_key(|(_, source)| (!source.intents.is_empty(), source.used))?;
        let id = *id;
        let source = self.of.get_mut(&id)?;
        let slot = std::mem::replace(&mut source.slot, Slot::Empty);
        if source.intents.is_empty() {
            self.of.remove(&id);
        }
        slot.kept()
    }

    /// Bytes of pictures that are kept decoded.
    pub(super) fn kept_bytes(&self) -> u64 {
        let slots = self.of.values().map(|source| &source.slot);
        slots
            .map(|slot| match slot {
                Slot::Kept(kept) => kept.reserved.bytes(),
                Slot::Empty | Slot::Decoding | Slot::Failed(_) => 0,
            })
            .sum()
    }

    /// Looks for the bytes of an announced source; `length` is what is expected of them.
    pub(super) fn file(&mut self, source: u128, length: u64) -> FoundFile {
        let Some(source) = self.of.get_mut(&source) else {
            return FoundFile::Full;
        };
        match &source.file {
            File::Here(bytes) => FoundFile::Here(bytes.clone()),
            File::Coming(_) => FoundFile::Coming,
            // A single one is always let in, however large it may be.
            File::Wanted
                if self.file_bytes > 0
                    && self.file_bytes.saturating_add(length) > self.file_bytes_max =>
            {
                FoundFile::Full
            }
            File::Wanted => {
                source.file = File::Coming(length);
                self.file_bytes += length;
                FoundFile::Yours
            }
        }
    }

    /// The same, but nobody is bound to anything.
    pub(super) fn look(&self, source: u128) -> FoundFile {
        match self.of.get(&source).map(|source| &source.file) {
            Some(File::Here(bytes)) => FoundFile::Here(bytes.clone()),
            Some(File::Coming(_)) => FoundFile::Coming,
            Some(File::Wanted) => FoundFile::Yours,
            None => FoundFile::Full,
        }
    }

    /// The bytes that were to be collected, or `None` when they cannot be had.
    pub(super) fn collected(&mut self, source: u128, bytes: Option<Bytes>) {
        let Some(source) = self.of.get_mut(&source) else {
            return;
        };
        if matches!(source.file, File::Coming(_)) {
            self.file_bytes -= source.file.bytes();
            source.file = bytes.map_or(File::Wanted, File::Here);
            self.file_bytes += source.file.bytes();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.of.clear();
        self.file_bytes = 0;
    }
}

impl<D> Source<D> {
    /// Whether pictures of more than one kind are wanted, which may need more of it than one alone.
    fn is_herd(&self) -> bool {
        let mut recipes = self.intents.values();
        let first = recipes.next().map(|recipe| &recipe.operations);
        recipes.any(|recipe| Some(&recipe.operations) != first)
    }

    fn expires(&self) -> Option<Duration> {
        let lingers =
            self.intents.is_empty() && matches!(self.slot, Slot::Kept(_) | Slot::Failed(_));
        lingers.then(|| self.used + LINGER)
    }
}

impl<D> Slot<D> {
    fn kept(self) -> Option<Arc<Kept<D>>> {
        match self {
            Self::Kept(kept) => Some(kept),
            Self::Empty | Self::Decoding | Self::Failed(_) => None,
        }
    }
}

impl File {
    fn bytes(&self) -> u64 {
        match self {
            Self::Wanted => 0,
            Self::Coming(bytes) => *bytes,
            Self::Here(bytes) => bytes.len() as u64,
        }
    }
}

/// Whether what was decoded for `had` serves `wanted`, too.
fn covers(had: Demand, wanted: Demand) -> bool {
    had.and(wanted) == had
}

#[cfg(test)]
mod tests {
    use super::super::super::cook::Watch as _;
    use super::super::memory::{Memory, Ticket};
    use super::super::tests::recipe_of;
    use super::*;

    const WHOLE: Demand = Demand {
        reduction: 1,
        all_frames: false,
    };
    const HALF: Demand = Demand {
        reduction: 2,
        all_frames: false,
    };

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn sources() -> Sources<()> {
        Sources::new(100)
    }

    fn kept(demand: Demand) -> Arc<Kept<()>> {
        let memory = Memory::new(100, Box::new(|| false));
        Arc::new(Kept {
            decoded: (),
            demand,
            reserved: Ticket::new(&memory).reserve(10).unwrap(),
        })
    }

    #[test]
    fn a_herd_is_gathered_and_one_alone_is_not_held_up() {
        let mut sources = sources();
        sources.announce(7, &recipe_of("width=1"), at(1000));
        assert_eq!(sources.ready_at(7), Some(Duration::ZERO));
        sources.announce(7, &recipe_of("width=2"), at(1010));
        assert_eq!(sources.ready_at(7), Some(at(1030)));
        sources.announce(7, &recipe_of("width=3"), at(1140));
        assert_eq!(sources.ready_at(7), Some(at(1150)), "no longer than that");
        assert_eq!(sources.recipes(7).len(), 3);
    }

    #[test]
    fn one_decodes_and_the_others_use_it_if_it_is_enough() {
        let mut sources = sources();
        let intent = sources.announce(7, &recipe_of(""), at(0));
        assert!(matches!(sources.claim(7, HALF), Found::Yours));
        assert!(matches!(sources.claim(7, HALF), Found::Busy));
        assert_eq!(sources.ready_at(7), None);
        let half = kept(HALF);
        sources.decoded(7, Some(Ok(&half)), at(1));
        assert!(matches!(sources.claim(7, HALF), Found::Kept));
        assert!(sources.kept(7, HALF, at(1)).is_some());
        assert!(sources.kept(7, WHOLE, at(1)).is_none());
        assert!(matches!(sources.claim(7, WHOLE), Found::Yours));
        sources.decoded(7, Some(Ok(&kept(WHOLE))), at(1));
        assert!(matches!(sources.claim(7, HALF), Found::Kept));
        sources.leave(7, intent, at(2));
    }

    #[test]
    fn what_cannot_be_decoded_fails_for_all_and_what_was_given_up_does_not() {
        let mut sources = sources();
        sources.announce(7, &recipe_of(""), at(0));
        assert!(matches!(sources.claim(7, WHOLE), Found::Yours));
        sources.decoded(7, Some(Err(&ImageError::Cancelled)), at(1));
        assert!(matches!(sources.claim(7, WHOLE), Found::Yours));
        sources.decoded(7, Some(Err(&ImageError::TypeMismatch)), at(1));
        assert!(matches!(
            sources.claim(7, WHOLE),
            Found::Failed(ImageError::TypeMismatch)
        ));
    }

    #[test]
    fn what_is_decoded_lingers_and_goes_when_its_room_is_needed() {
        let mut sources = sources();
        for id in [7, 8, 9] {
            let intent = sources.announce(id, &recipe_of(""), at(0));
            assert!(matches!(sources.claim(id, WHOLE), Found::Yours));
            sources.decoded(id, Some(Ok(&kept(WHOLE))), at(100));
            if id != 7 {
                sources.leave(id, intent, at(u64::try_from(id).unwrap() * 100));
            }
        }
        assert_eq!(sources.kept_bytes(), 30);
        let in_use = sources.kept(8, WHOLE, at(800)).unwrap();
        // 9 is not in use and nothing more is wanted of it; 7 is not in use either.
        assert!(sources.spare().is_some());
        assert!(matches!(sources.claim(9, WHOLE), Found::Yours));
        assert!(sources.spare().is_some());
        assert!(sources.spare().is_none(), "8 is in use");
        drop(in_use);
        assert_eq!(sources.next_expiry(), Some(at(2800)));
        assert!(sources.expired(at(2799)).is_empty());
        assert_eq!(sources.expired(at(2800)).len(), 1);
        assert_eq!(sources.kept_bytes(), 0);
    }

    #[test]
    fn a_file_is_collected_once_and_all_files_are_bounded() {
        let mut sources = sources();
        let first = sources.announce(7, &recipe_of(""), at(0));
        let second = sources.announce(7, &recipe_of("width=9"), at(0));
        assert!(matches!(sources.file(7, 60), FoundFile::Yours));
        assert!(matches!(sources.file(7, 60), FoundFile::Coming));
        sources.announce(8, &recipe_of(""), at(0));
        assert!(matches!(sources.file(8, 60), FoundFile::Full));
        sources.collected(7, Some(Bytes::from(vec![1; 40])));
        assert!(matches!(sources.file(7, 60), FoundFile::Here(bytes) if bytes.len() == 40));
        assert!(matches!(sources.file(8, 60), FoundFile::Yours));
        sources.collected(8, None);
        assert!(matches!(sources.file(8, 60), FoundFile::Yours));
        sources.leave(7, first, at(1));
        assert!(matches!(sources.file(7, 60), FoundFile::Here(_)));
        sources.leave(7, second, at(1));
        assert_eq!(sources.file_bytes, 60, "with the last one the file goes");
    }
}
