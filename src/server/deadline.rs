use std::time::Duration;

/// How long a drain waits for the first request of a connection that has sent none yet: it may be
/// on the wire already.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(500);

/// The deadlines of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// A head, from its first byte; the first one from accept.
    pub(super) head: Duration,
    /// Nothing to do.
    pub(super) idle: Duration,
    /// No progress in sending.
    pub(super) write: Duration,
}

/// What a connection is at; times are since accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Activity {
    /// Whether any request came yet.
    pub(super) requested: bool,
    /// Since when a head is being read.
    pub(super) head_since: Option<Duration>,
    /// Since when there is nothing to do.
    pub(super) quiet_since: Option<Duration>,
    /// Since when the socket takes nothing.
    pub(super) blocked_since: Option<Duration>,
    /// Since when data that HTTP/2 holds does not move.
    pub(super) owing_since: Option<Duration>,
}

/// What the passing of a deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The client takes no bytes: reset.
    Stalled,
    /// The head did not arrive in time: end.
    Head,
    /// Nothing to do for too long: close in good order.
    Idle,
    /// Told to close, but nobody ends it: end.
    Lingering,
}

/// The deadline that comes first, since accept. `closing_since` is when the connection was told
/// to close.
pub(super) fn next(
    timeouts: &Timeouts,
    activity: &Activity,
    closing_since: Option<Duration>,
) -> Option<(Duration, Due)> {
    let blocked = activity
        .blocked_since
        .map(|since| (since + timeouts.write, Due::Stalled));
    // HTTP/2 resets a stream that stalls alone after one `write`. When nothing at all moves for
    // half of it longer, it is the connection.
    let owing = activity
        .owing_since
        .map(|since| (since + timeouts.write + timeouts.write / 2, Due::Stalled));
    let head = activity
        .head_since
        .map(|since| (since + timeouts.head, Due::Head));
    let idle = match (activity.quiet_since, closing_since) {
        (Some(quiet), None) if activity.head_since.is_none() => {
            Some((quiet + timeouts.idle, Due::Idle))
        }
        (Some(quiet), Some(closing)) if activity.requested => {
            Some((quiet.max(closing) + timeouts.write, Due::Lingering))
        }
        (Some(_), Some(closing)) => Some((closing + FIRST_REQUEST_GRACE, Due::Lingering)),
        (Some(_) | None, None) | (None, Some(_)) => None,
    };
    [blocked, owing, head, idle]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[track_caller]
    fn check(activity: Activity, closing: Option<Duration>, expect: Option<(Duration, Due)>) {
        let timeouts = Timeouts {
            head: s(10),
            idle: s(15),
            write: s(20),
        };
        assert_eq!(next(&timeouts, &activity, closing), expect);
    }

    fn quiet(since: u64) -> Activity {
        Activity {
            requested: true,
            quiet_since: Some(s(since)),
            ..Activity::default()
        }
    }

    #[test]
    fn a_new_connection_owes_a_head() {
        let new = Activity {
            head_since: Some(s(0)),
            quiet_since: Some(s(0)),
            ..Activity::default()
        };
        check(new, None, Some((s(10), Due::Head)));
        check(
            new,
            Some(s(1)),
            Some((Duration::from_millis(1500), Due::Lingering)),
        );
    }

    #[test]
    fn a_running_answer_has_no_deadline() {
        let busy = Activity {
            requested: true,
            ..Activity::default()
        };
        check(busy, None, None);
        check(busy, Some(s(3)), None);
    }

    #[test]
    fn between_requests_the_idle_time_runs_until_a_byte_comes() {
        check(quiet(5), None, Some((s(20), Due::Idle)));
        let reading = Activity {
            head_since: Some(s(6)),
            ..quiet(5)
        };
        check(reading, None, Some((s(16), Due::Head)));
    }

    #[test]
    fn a_stall_counts_in_every_state() {
        let blocked = Activity {
            blocked_since: Some(s(2)),
            ..Activity::default()
        };
        check(blocked, None, Some((s(22), Due::Stalled)));
        let tail = Activity {
            blocked_since: Some(s(0)),
            ..quiet(50)
        };
        check(tail, None, Some((s(20), Due::Stalled)));
        let owing = Activity {
            owing_since: Some(s(2)),
            ..Activity::default()
        };
        check(owing, Some(s(0)), Some((s(32), Due::Stalled)));
    }

    #[test]
    fn a_closing_connection_does_not_linger() {
        check(quiet(5), Some(s(4)), Some((s(25), Due::Lingering)));
        check(quiet(5), Some(s(9)), Some((s(29), Due::Lingering)));
    }
}
