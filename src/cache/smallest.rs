//! Notes at an object of what was made of it: which coding is the smallest, and whether it is kept as a dictionary.

use std::sync::atomic::Ordering;

use crate::store::{Entry, EntryKey, Object};
use crate::variant::Coding;

use super::{Ask, Cache, Form};

const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
/// A bit for each coding that has been seen stored; above them, in two bits, one more than the place of the smallest.
const SMALLEST_SHIFT: u32 = 3;
const SEEN: u8 = 0b111;
/// Whether the content is kept as a dictionary, which has nothing to do with codings.
const KEPT_AS_DICTIONARY: u8 = 1 << 7;

fn place(coding: Coding) -> u8 {
    match coding {
        Coding::Zstd => 0,
        Coding::Brotli => 1,
        Coding::Gzip => 2,
    }
}

impl Cache {
    /// Of codings that suit a client equally well, the one to give: the site's first, unless that one is stored and the
    /// smallest of all that are is among the others.
    #[must_use]
    pub fn smallest(&self, source: &Object, tied: &[Coding]) -> Option<Coding> {
        let first = *tied.first()?;
        let note = source.forms.load(Ordering::Relaxed);
        if note & (1 << place(first)) == 0 {
            return Some(first);
        }
        let at = usize::from((note & !KEPT_AS_DICTIONARY) >> SMALLEST_SHIFT).checked_sub(1);
        let smallest = at.and_then(|at| CODINGS.get(at)).copied();
        Some(
            smallest
                .filter(|coding| tied.contains(coding))
                .unwrap_or(first),
        )
    }

    /// Notes that a coding of `source` is stored, and which one is now the smallest. Cheap once it has been noted.
    pub(super) fn note_coding(&self, ask: &Ask, source: &Object, coding: Coding) {
        let note = source.forms.load(Ordering::Relaxed);
        if note & (1 << place(coding)) != 0 {
            return;
        }
        let seen = (note & SEEN) | (1 << place(coding));
        let length = |coding: Coding| {
            let key = Form::Coded(coding, ask.zone.compression.first_level.of(coding)).key();
            let id = self.form_id(source, &key);
            match ask.zone.store.memory(&EntryKey::head(id))? {
                Entry::Object(object) => Some(object.body.length()),
                Entry::Vary(_) | Entry::Chunk(_) => None,
            }
        };
        let smallest = CODINGS
            .into_iter()
            .filter(|coding| seen & (1 << place(*coding)) != 0)
            .filter_map(|coding| Some((length(coding)?, place(coding))))
            .min()
            .map_or(0, |(_, place)| place + 1);
        let noted = seen | (smallest << SMALLEST_SHIFT);
        // An error is what `None` would be: it never is.
        let _before = source
            .forms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |note| {
                Some((note & KEPT_AS_DICTIONARY) | noted)
            });
    }
}

/// Which one is the smallest is to be found anew.
pub(super) fn forget_smallest(source: &Object) {
    source
        .forms
        .fetch_and(KEPT_AS_DICTIONARY, Ordering::Relaxed);
}

/// Whether the content of `source` is kept as a dictionary, or cannot be.
pub(super) fn is_kept(source: &Object) -> bool {
    source.forms.load(Ordering::Relaxed) & KEPT_AS_DICTIONARY != 0
}

/// Notes that it is. Gives whether that is news.
pub(super) fn note_kept(source: &Object) -> bool {
    source.forms.fetch_or(KEPT_AS_DICTIONARY, Ordering::Relaxed) & KEPT_AS_DICTIONARY == 0
}

/// It was not kept after all, and may be tried again.
pub(super) fn forget_kept(source: &Object) {
    source
        .forms
        .fetch_and(!KEPT_AS_DICTIONARY, Ordering::Relaxed);
}
