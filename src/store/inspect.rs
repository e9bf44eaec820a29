use super::entry::Entry;

/// What the tiers hold under one key.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// In the memory tier.
    pub memory: Option<Entry>,
    /// On a disk.
    pub disk: Option<Entry>,
}

/// Which tiers have something under a key, as far as can be told without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Present {
    /// The memory tier.
    pub memory: bool,
    /// The disks; seldom wrong, in either direction.
    pub disk: bool,
}
