//! Interim answers on their way from an origin to a client.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::hop_by_hop;

/// Interim answers that one request may bring about; what comes beyond is a fault of the origin's.
pub const INTERIM_MAX: usize = 16;

type Tell = dyn Fn(StatusCode, &HeaderMap) + Send + Sync;

/// Where the interim answers of one request go (RFC 9110 §15.2), each before the final answer and in order.
///
/// Only those that a client has a use for are told: 102, 103 (RFC 8297) and whatever 1xx is still to come. 100 is
/// between two neighbours, and 101 is refused.
#[derive(Clone)]
pub struct Interim(Arc<Tell>);

impl Interim {
    /// `tell` is called from whichever task reads the answer. It must not wait.
    pub fn new(tell: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
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
        (self.0)(status, &headers);
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interim")
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

    #[test]
    fn only_what_a_client_has_a_use_for_is_told_and_without_the_connections_fields() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&told);
        let interim = Interim::new(move |status, headers| {
            record.lock().push((status.as_u16(), headers.clone()));
        });
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
            *told.lock(),
            [(102, left.clone()), (103, left.clone()), (199, left)]
        );
    }
}
