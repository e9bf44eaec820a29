use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::config::Server;

/// A server that could not be reached is left alone this long if another one can be asked. Short, because a
/// recovered origin is to be used within two seconds.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// Which of an origin's servers is asked next: smooth weighted round robin among the best that are left.
///
/// Only failures to connect count against a server; a bad URL never does.
#[derive(Debug)]
pub(super) struct Rotation {
    members: Mutex<Vec<Member>>,
}

#[derive(Debug)]
struct Member {
    weight: i64,
    backup: bool,
    current: i64,
    health: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// Not reached when last tried; one request may try again after `until`.
    Failed {
        until: Instant,
    },
}

/// A server that this request has been to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) server: usize,
    pub(super) how: Outcome,
}

/// How it went there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Failed,
    /// Only a kept-alive connection had gone stale, which says nothing about the server.
    Stale,
}

/// Best first; the order of the variants is the order of choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Primary,
    StalePrimary,
    Backup,
    StaleBackup,
    ProbePrimary,
    ProbeBackup,
    LeftAlonePrimary,
    LeftAloneBackup,
    TriedPrimary,
    TriedBackup,
}

impl Rotation {
    pub(super) fn new(servers: &[Server]) -> Self {
        let members = servers
            .iter()
            .map(|server| Member {
                weight: i64::from(server.weight.max(1)),
                backup: server.backup,
                current: 0,
                health: Health::Good,
            })
            .collect();
        Self {
            members: Mutex::new(members),
        }
    }

    /// The index of the server to ask, for a request that has been to `tried`.
    pub(super) fn pick(&self, tried: &[Tried], now: Instant) -> usize {
        let mut members = self.members.lock();
        let ranks: Vec<Rank> = members
            .iter()
            .enumerate()
            .map(|(index, member)| member.rank(index, tried, now))
            .collect();
        let Some(best) = ranks.iter().min().copied() else {
            return 0;
        };
        let mut total = 0;
        let mut chosen: Option<(usize, i64)> = None;
        for (index, (member, rank)) in members.iter_mut().zip(&ranks).enumerate() {
            if *rank != best {
                continue;
            }
            member.current += member.weight;
            total += member.weight;
            if chosen.is_none_or(|(_, current)| member.current > current) {
                chosen = Some((index, member.current));
            }
        }
        let Some((index, _)) = chosen else { return 0 };
        if let Some(member) = members.get_mut(index) {
            member.current -= total;
            member.claim(now);
        }
        index
    }

    /// The server took a connection.
    pub(super) fn reached(&self, index: usize) {
        if let Some(member) = self.members.lock().get_mut(index) {
            member.health = Health::Good;
        }
    }

    /// The server took no connection.
    pub(super) fn not_reached(&self, index: usize, now: Instant) {
        if let Some(member) = self.members.lock().get_mut(index) {
            member.health = Health::Failed {
                until: now + LEFT_ALONE,
            };
        }
    }

    /// Whether a backup server remains that this request has not been to.
    pub(super) fn has_untried_backup(&self, tried: &[Tried]) -> bool {
        let members = self.members.lock();
        members
            .iter()
            .enumerate()
            .any(|(index, member)| member.backup && !tried.iter().any(|one| one.server == index))
    }
}

impl Member {
    fn rank(&self, index: usize, tried: &[Tried], now: Instant) -> Rank {
        let mut outcomes = tried.iter().filter(|one| one.server == index).peekable();
        let stale = outcomes.peek().is_some();
        if outcomes.any(|one| one.how == Outcome::Failed) {
            return self.of(Rank::TriedPrimary, Rank::TriedBackup);
        }
        match self.health {
            Health::Good if stale => self.of(Rank::StalePrimary, Rank::StaleBackup),
            Health::Good => self.of(Rank::Primary, Rank::Backup),
            // A first try may find out whether a server is back; a second try wants an answer.
            Health::Failed { until } if until <= now && tried.is_empty() => {
                self.of(Rank::Primary, Rank::Backup)
            }
            Health::Failed { until } if until <= now => {
                self.of(Rank::ProbePrimary, Rank::ProbeBackup)
            }
            Health::Failed { .. } => self.of(Rank::LeftAlonePrimary, Rank::LeftAloneBackup),
        }
    }

    fn of(&self, primary: Rank, backup: Rank) -> Rank {
        if self.backup { backup } else { primary }
    }

    /// One request at a time finds out whether a failed server is back.
    fn claim(&mut self, now: Instant) {
        if let Health::Failed { until } = &mut self.health
            && *until <= now
        {
            *until = now + LEFT_ALONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Scheme;
    use super::*;

    fn rotation(servers: &[(u32, bool)]) -> Rotation {
        let servers: Vec<Server> = servers
            .iter()
            .map(|&(weight, backup)| Server {
                scheme: Scheme::Http,
                host: "origin.example".to_owned(),
                port: 80,
                base_path: String::new(),
                weight,
                backup,
            })
            .collect();
        Rotation::new(&servers)
    }

    #[track_caller]
    fn check(rotation: &Rotation, tried: &[Tried], now: Instant, expect: &[usize]) {
        let got: Vec<usize> = expect.iter().map(|_| rotation.pick(tried, now)).collect();
        assert_eq!(got, expect);
    }

    fn failed(server: usize) -> Tried {
        Tried {
            server,
            how: Outcome::Failed,
        }
    }

    fn stale(server: usize) -> Tried {
        Tried {
            server,
            how: Outcome::Stale,
        }
    }

    #[test]
    fn shares_follow_the_weights_and_are_spread_out() {
        let now = Instant::now();
        check(
            &rotation(&[(5, false), (1, false), (1, false)]),
            &[],
            now,
            &[0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0],
        );
        check(&rotation(&[(1, false), (1, true)]), &[], now, &[0, 0, 0]);
    }

    #[test]
    fn a_second_try_goes_to_another_server_and_a_backup_comes_last() {
        let now = Instant::now();
        let three = rotation(&[(1, false), (1, false), (1, true)]);
        check(&three, &[failed(0)], now, &[1, 1]);
        check(&three, &[failed(0), failed(1)], now, &[2]);
        check(&three, &[failed(0), failed(1), failed(2)], now, &[0, 1, 0]);
        check(&rotation(&[(1, false)]), &[failed(0)], now, &[0]);
    }

    #[test]
    fn a_stale_connection_does_not_send_a_request_to_the_backup() {
        let now = Instant::now();
        check(&rotation(&[(1, false), (1, true)]), &[stale(0)], now, &[0]);
        check(&rotation(&[(1, false), (1, false)]), &[stale(0)], now, &[1]);
    }

    #[test]
    fn an_unreachable_server_is_left_alone_for_a_second_and_then_probed_by_one() {
        let now = Instant::now();
        let two = rotation(&[(1, false), (1, true)]);
        two.not_reached(0, now);
        check(&two, &[], now, &[1, 1]);
        let later = now + LEFT_ALONE;
        check(&two, &[], later, &[0, 1, 1]);
        two.reached(0);
        check(&two, &[], later, &[0, 0]);
    }

    #[test]
    fn a_second_try_prefers_a_backup_that_works_to_a_primary_that_did_not() {
        let now = Instant::now();
        let three = rotation(&[(1, false), (1, false), (1, true)]);
        three.not_reached(0, now);
        three.not_reached(1, now);
        check(&three, &[failed(0)], now + LEFT_ALONE, &[2]);
    }

    #[test]
    fn when_nobody_was_reached_the_primaries_are_asked_all_the_same() {
        let now = Instant::now();
        let two = rotation(&[(1, false), (1, true)]);
        two.not_reached(0, now);
        two.not_reached(1, now);
        check(&two, &[], now, &[0]);
    }
}
