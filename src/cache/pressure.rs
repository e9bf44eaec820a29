use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How short of memory the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    Ample,
    /// Caches shrink and idle connections go.
    Tight,
    /// Nothing new is begun: what is not stored is refused, and no other forms are made.
    Short,
}

impl Pressure {
    /// A closed word, for logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ample => "ample",
            Self::Tight => "tight",
            Self::Short => "short",
        }
    }

    fn of(code: u8) -> Self {
        match code {
            0 => Self::Ample,
            1 => Self::Tight,
            _ => Self::Short,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Ample => 0,
            Self::Tight => 1,
            Self::Short => 2,
        }
    }
}

/// What was not begun for want of memory, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shed {
    /// Requests that would have gone to an origin.
    pub misses: u64,
    /// Codings and pictures: the object went out as it is.
    pub forms: u64,
}

/// The pressure as all requests read it: one relaxed load, and only on the way to an origin.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    now: AtomicU8,
    misses: AtomicU64,
    forms: AtomicU64,
}

impl Gauge {
    pub(super) fn set(&self, pressure: Pressure) {
        self.now.store(pressure.code(), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Pressure {
        Pressure::of(self.now.load(Ordering::Relaxed))
    }

    /// Whether a fetch must not begin; counted.
    pub(super) fn refuses_miss(&self) -> bool {
        self.refuses(&self.misses)
    }

    /// Whether another form must not be made; counted.
    pub(super) fn refuses_form(&self) -> bool {
        self.refuses(&self.forms)
    }

    fn refuses(&self, counter: &AtomicU64) -> bool {
        let is_short = self.get() == Pressure::Short;
        if is_short {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        is_short
    }

    pub(super) fn shed(&self) -> Shed {
        Shed {
            misses: self.misses.load(Ordering::Relaxed),
            forms: self.forms.load(Ordering::Relaxed),
        }
    }
}
