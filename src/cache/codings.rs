//! What codings cost and save, by site.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::variant::Coding;

/// With which effort a coding was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// While the answer goes out.
    First,
    /// Behind the answers.
    Best,
    /// By whoever filled the folder: the time is that of the comparison.
    Sibling,
    /// Behind the answers, against a dictionary that clients have.
    Dictionary,
    /// The origin's coding, undone.
    Undone,
}

impl Effort {
    /// A closed label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Best => "best",
            Self::Sibling => "sibling",
            Self::Dictionary => "dictionary",
            Self::Undone => "undone",
        }
    }
}

/// What came of trying to make a coding better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upgrade {
    /// There is a better one now.
    Better,
    /// The first one stays, for good.
    NoBetter,
    /// It may be tried again.
    NotNow,
    /// What it was about is gone.
    Gone,
}

impl Upgrade {
    /// A closed label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NoBetter => "no-better",
            Self::NotNow => "not-now",
            Self::Gone => "gone",
        }
    }
}

/// What became of dictionaries, and of requests from clients that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dictionaries {
    /// A version of an asset is kept as one.
    Kept,
    /// A coding against one is there now.
    Coded,
    /// It would hardly be smaller than an ordinary one.
    NoGain,
    /// The edge does not have the client's.
    Unknown,
    /// It may be tried again.
    NotNow,
}

impl Dictionaries {
    /// A closed label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Coded => "coded",
            Self::NoGain => "no-gain",
            Self::Unknown => "unknown",
            Self::NotNow => "not-now",
        }
    }
}

/// Sums of finished jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CodingSums {
    /// Jobs.
    pub jobs: u64,
    /// Bytes that went in.
    pub bytes_in: u64,
    /// Bytes that came out.
    pub bytes_out: u64,
    /// Time of the processor.
    pub cpu: Duration,
}

/// The sums of one site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteCodings {
    /// By coding and effort.
    pub sums: BTreeMap<(Coding, Effort), CodingSums>,
    /// Outcomes of upgrades.
    pub upgrades: BTreeMap<Upgrade, u64>,
    /// Times that a coded file beside its source was not used, because it does not hold the same.
    pub siblings_refused: u64,
    /// What became of dictionaries.
    pub dictionaries: BTreeMap<Dictionaries, u64>,
}

/// The sums of all sites. Sites are those of the configuration, so their number is bounded.
#[derive(Default)]
pub(super) struct Codings {
    sites: Mutex<BTreeMap<Arc<str>, SiteCodings>>,
}

impl Codings {
    /// Counts a finished job of so many bytes in and out.
    pub(super) fn made(
        &self,
        site: &Arc<str>,
        what: (Coding, Effort),
        (bytes_in, bytes_out): (u64, u64),
        cpu: Duration,
    ) {
        let mut sites = self.sites.lock();
        let sums = sites
            .entry(Arc::clone(site))
            .or_default()
            .sums
            .entry(what)
            .or_default();
        sums.jobs += 1;
        sums.bytes_in += bytes_in;
        sums.bytes_out += bytes_out;
        sums.cpu += cpu;
    }

    pub(super) fn upgraded(&self, site: &Arc<str>, outcome: Upgrade) {
        let mut sites = self.sites.lock();
        let upgrades = &mut sites.entry(Arc::clone(site)).or_default().upgrades;
        *upgrades.entry(outcome).or_default() += 1;
    }

    pub(super) fn sibling_refused(&self, site: &Arc<str>) {
        let mut sites = self.sites.lock();
        sites.entry(Arc::clone(site)).or_default().siblings_refused += 1;
    }

    pub(super) fn dictionary(&self, site: &Arc<str>, outcome: Dictionaries) {
        let mut sites = self.sites.lock();
        let dictionaries = &mut sites.entry(Arc::clone(site)).or_default().dictionaries;
        *dictionaries.entry(outcome).or_default() += 1;
    }

    pub(super) fn of_sites(&self) -> Vec<(Arc<str>, SiteCodings)> {
        let sites = self.sites.lock();
        sites
            .iter()
            .map(|(name, sums)| (Arc::clone(name), sums.clone()))
            .collect()
    }
}
