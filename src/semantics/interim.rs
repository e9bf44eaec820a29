//! Interim answers on their way from an origin to a client.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::hop_by_hop;

/// Interim answers that one request may bring about; what comes beyond is a fault of the origin's.
pub const INTERIM_MAX: usize = 16;

/// Where the interim answers of one request go (RFC 9110 §15.2), each before the final answer and in order.
///
/// Only those that a client has a use for are told: 102, 103 (RFC 8297) and whatever 1xx is still to come. 100 is
/// between two neighbours, and 101 is refused.
///
/// Made for every request, so it costs a count and no allocation.
#[derive(Clone)]
pub struct Interim {
    to: Arc<dyn Tell>,
    request: u64,
}

/// Who writes interim answers to a client.
pub trait Tell: Send + Sync {
    /// Takes one for the request of this number; called from whichever task reads the origin's answer, so it must not
    /// wait. It is dropped if the final answer has begun, or the client has gone.
    fn tell(&self, request: u64, status: StatusCode, headers: &HeaderMap);
}

impl Interim {
    /// The way to the client of the request that `to` knows by this number.
    #[must_use]
    pub fn new(to: Arc<dyn Tell>, request: u64) -> Self {
        Self { to, request }
    }

    /// Hands on one interim answer without the fields of the connection that it came by.
    pub fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        if !passes(status) {
            return;
        }
        let mut headers = headers.clone();
        hop_by_hop::remove(&mut headers);
        // An interim answer has no content whose length it could tell (RFC 9110 §8.6).
        headers.remove(http::header::CONTENT_LENGTH);
        self.to.tell(self.request, status, &headers);
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interim")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

fn passes(status: StatusCode) -> bool {
    status.is_informational()
        && status != StatusCode::CONTINUE
        && status != StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<(u64, u16, HeaderMap)>>);

    impl Tell for Told {
        fn tell(&self, request: u64, status: StatusCode, headers: &HeaderMap) {
            let told = (request, status.as_u16(), headers.clone());
            self.0.lock().push(told);
        }
    }

    #[test]
    fn only_what_a_client_has_a_use_for_is_told_and_without_the_connections_fields() {
        let told = Arc::new(Told::default());
        let to: Arc<dyn Tell> = told.clone();
        let interim = Interim::new(to, 7);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("link", "</a>"),
            ("connection", "x"),
            ("x", "1"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        for status in [100, 101, 102, 103, 199, 200] {
            interim.tell(StatusCode::from_u16(status).unwrap(), &headers);
        }
        let mut left = HeaderMap::new();
        left.append("link", HeaderValue::from_static("</a>"));
        assert_eq!(
            *told.0.lock(),
            [102, 103, 199].map(|status| (7, status, left.clone()))
        );
    }
}
