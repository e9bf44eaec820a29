/// `[limits]` on a request's head, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Method, target and version; beyond: 414.
    pub request_line_bytes: usize,
    /// One field; beyond: 431.
    pub request_field_bytes: usize,
    /// All fields; beyond: 431.
    pub request_headers_bytes: usize,
    /// Number of fields; beyond: 431.
    pub header_count: usize,
    /// Requests at one time, all listeners together; beyond: 503.
    pub in_flight: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            request_line_bytes: 8 << 10,
            request_field_bytes: 8 << 10,
            request_headers_bytes: 32 << 10,
            header_count: 100,
            in_flight: 10_000,
        }
    }
}
