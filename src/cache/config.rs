/// `[cache.fill]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillConfig {
    /// Readers of one running fill.
    pub max_waiters: usize,
    /// A fill without readers goes on if no more than this is missing.
    pub finish_if_remaining_bytes: u64,
    /// Fills at one time, all sites together (`[limits] origin_in_flight`).
    pub in_flight: usize,
}

impl Default for FillConfig {
    fn default() -> Self {
        Self {
            max_waiters: 10_000,
            finish_if_remaining_bytes: 16 << 20,
            in_flight: 1000,
        }
    }
}
