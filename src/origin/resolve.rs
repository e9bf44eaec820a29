use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

type Addresses = Arc<[SocketAddr]>;
type Answer = Result<Addresses, Arc<io::Error>>;

/// One server's name, looked up for every new connection, so that a moved origin is found without a restart.
///
/// Callers at the same time share one look-up: a resolver that hangs then holds one thread, not one a request.
/// If the name cannot be looked up, the last good addresses still serve.
#[derive(Debug)]
pub(super) struct Resolver {
    host: String,
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<Option<watch::Receiver<Option<Answer>>>>,
    last_good: Mutex<Option<Addresses>>,
}

/// Why there is no address.
#[derive(Debug)]
pub(super) enum Unresolved {
    Failed(Arc<io::Error>),
    TimedOut,
}

impl Resolver {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            shared: Arc::default(),
        }
    }

    /// All addresses, in the order in which to try them; never empty.
    ///
    /// A silent resolver may use up the time until `patience` if an older answer is at hand, else until
    /// `deadline`.
    pub(super) async fn addresses(
        &self,
        patience: Instant,
        deadline: Instant,
    ) -> Result<Addresses, Unresolved> {
        let last_good = self.shared.last_good.lock().clone();
        let until = if last_good.is_some() {
            patience
        } else {
            deadline
        };
        let mut lookup = self.lookup();
        let failure = match timeout_at(until, lookup.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => match answer.as_ref() {
                Some(Ok(addresses)) => return Ok(Arc::clone(addresses)),
                Some(Err(error)) => Unresolved::Failed(Arc::clone(error)),
                None => Unresolved::TimedOut,
            },
            Ok(Err(_)) => Unresolved::Failed(Arc::new(io::Error::other("the look-up was dropped"))),
            Err(_) => Unresolved::TimedOut,
        };
        last_good.ok_or(failure)
    }

    /// Joins the look-up under way or starts one. It runs to its end even if nobody waits any more: its thread
    /// cannot be taken back.
    fn lookup(&self) -> watch::Receiver<Option<Answer>> {
        let mut running = self.shared.running.lock();
        if let Some(lookup) = running.as_ref()
            && lookup.has_changed().is_ok()
        {
            return lookup.clone();
        }
        let (tell, lookup) = watch::channel(None);
        *running = Some(lookup.clone());
        drop(running);
        let (host, port) = (self.host.clone(), self.port);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let answer = look_up(&host, port).await;
            if let Ok(addresses) = &answer {
                *shared.last_good.lock() = Some(Arc::clone(addresses));
            }
            // Off the shared place first: who comes from now on asks anew.
            *shared.running.lock() = None;
            tell.send_replace(Some(answer));
        });
        lookup
    }
}

async fn look_up(host: &str, port: u16) -> Answer {
    let found: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    if found.is_empty() {
        return Err(Arc::new(io::Error::other("the name has no address")));
    }
    Ok(interleaved(found).into())
}

/// Alternates the address families, so that one broken family costs one attempt (RFC 8305 §4).
fn interleaved(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    // Ends when both are used up.
    loop {
        let before = ordered.len();
        ordered.extend(first.next());
        ordered.extend(second.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn families_alternate_and_the_systems_choice_stays_first() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"];
        let expect = ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"];
        assert_eq!(
            interleaved(found.map(address).to_vec()),
            expect.map(address)
        );
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer() {
        let resolver = Resolver::new("127.0.0.1", 81);
        let addresses = resolver.addresses(far(), far()).await.unwrap();
        assert_eq!(*addresses, ["127.0.0.1:81".parse().unwrap()]);
        let resolver = Resolver::new("::1", 81);
        let addresses = resolver.addresses(far(), far()).await.unwrap();
        assert_eq!(*addresses, ["[::1]:81".parse().unwrap()]);
    }

    #[tokio::test]
    async fn the_last_good_answer_serves_while_the_resolver_is_silent() {
        let resolver = Resolver::new("127.0.0.1", 81);
        resolver.addresses(far(), far()).await.unwrap();
        let (_silent, lookup) = watch::channel(None);
        *resolver.shared.running.lock() = Some(lookup);
        let addresses = resolver.addresses(Instant::now(), far()).await.unwrap();
        assert_eq!(*addresses, ["127.0.0.1:81".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_look_up_that_was_dropped_is_started_again() {
        let resolver = Resolver::new("127.0.0.1", 81);
        let (silent, lookup) = watch::channel(None);
        *resolver.shared.running.lock() = Some(lookup);
        drop(silent);
        assert!(resolver.addresses(far(), far()).await.is_ok());
    }
}
