use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use parking_lot::Mutex;
use rustls::server::ProducesTickets;

use super::TlsError;
use crate::clock::SharedClock;

const KEY_BYTES: usize = 32;
const NAME_BYTES: usize = 16;
/// RFC 8446 section 4.6.1: seven days at most.
const LIFETIME_SECONDS_MAX: u32 = 604_800;
/// A bound on what is decrypted: a session with a client's chain stays far under it.
const TICKET_BYTES_MAX: usize = 16 << 10;

/// Keys of session tickets. A key seals new tickets for one rotation and opens old ones for one
/// more, then it is gone, and with it what a thief of it could read. Outlives reloads, so that a
/// reload does not end every session.
pub struct Tickets {
    clock: SharedClock,
    keys: Mutex<Keys>,
}

struct Keys {
    rotation: Duration,
    current: Arc<TicketKey>,
    current_since: Duration,
    previous: Option<Arc<TicketKey>>,
}

struct TicketKey {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl Tickets {
    /// Makes the first key. `rotation` is how long a key is used for new tickets.
    ///
    /// # Errors
    ///
    /// [`TlsError::Library`] when the system gives no randomness.
    pub fn new(rotation: Duration, clock: SharedClock) -> Result<Arc<Self>, TlsError> {
        let current = TicketKey::new().ok_or_else(|| TlsError::Library {
            reason: "no randomness for a ticket key".to_owned(),
        })?;
        let current_since = clock.uptime();
        Ok(Arc::new(Self {
            clock,
            keys: Mutex::new(Keys {
                rotation,
                current: Arc::new(current),
                current_since,
                previous: None,
            }),
        }))
    }

    /// Takes a new rotation from a reload; a key that is older by now goes at its next use.
    pub fn rotate_every(&self, rotation: Duration) {
        self.keys.lock().rotation = rotation;
    }

    /// The keys that hold now: for new tickets, and for tickets of the rotation before.
    fn at_present(&self) -> (Arc<TicketKey>, Option<Arc<TicketKey>>) {
        let now = self.clock.uptime();
        let mut keys = self.keys.lock();
        let age = now.saturating_sub(keys.current_since);
        if age >= keys.rotation
            && let Some(fresh) = TicketKey::new()
        {
            let retired = std::mem::replace(&mut keys.current, Arc::new(fresh));
            // After two rotations without traffic even the retired key is past its time.
            keys.previous = (age < keys.rotation.saturating_mul(2)).then_some(retired);
            keys.current_since = now;
        }
        if now.saturating_sub(keys.current_since) >= keys.rotation {
            keys.previous = None;
        }
        (Arc::clone(&keys.current), keys.previous.clone())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let seconds = self.keys.lock().rotation.as_secs();
        u32::try_from(seconds)
            .unwrap_or(LIFETIME_SECONDS_MAX)
            .min(LIFETIME_SECONDS_MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.at_present().0.seal(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (current, previous) = self.at_present();
        current
            .open(ticket)
            .or_else(|| previous.and_then(|key| key.open(ticket)))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// A ticket is the key's name, the nonce, then AES-256-GCM over the session with the name as
/// associated data (the shape that RFC 5077 section 4 recommends).
impl TicketKey {
    fn new() -> Option<Self> {
        let mut name = [0; NAME_BYTES];
        let mut key = [0; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut name).ok()?;
        aws_lc_rs::rand::fill(&mut key).ok()?;
        Some(Self {
            name,
            key: RandomizedNonceKey::new(&AES_256_GCM, &key).ok()?,
        })
    }

    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(self.name), &mut sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME_BYTES + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        // The name is public: it travels in the open, so an ordinary comparison leaks nothing.
        if *name != self.name {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(self.name), &mut sealed)
            .ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at_hour_zero() -> (Arc<ManualClock>, Arc<Tickets>) {
        let clock = Arc::new(ManualClock::starting_at(SystemTime::UNIX_EPOCH));
        let tickets = Tickets::new(8 * HOUR, Arc::clone(&clock) as SharedClock).unwrap();
        (clock, tickets)
    }

    #[test]
    fn a_ticket_opens_for_one_rotation_after_its_own() {
        let (clock, tickets) = at_hour_zero();
        let ticket = tickets.encrypt(b"session").unwrap();
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"session");
        clock.advance(8 * HOUR);
        let younger = tickets.encrypt(b"session").unwrap();
        assert_ne!(ticket[..NAME_BYTES], younger[..NAME_BYTES]);
        assert!(tickets.decrypt(&ticket).is_some());
        clock.advance(8 * HOUR);
        assert!(tickets.decrypt(&ticket).is_none());
        assert!(tickets.decrypt(&younger).is_some());
    }

    #[test]
    fn a_long_silence_drops_both_keys() {
        let (clock, tickets) = at_hour_zero();
        let ticket = tickets.encrypt(b"session").unwrap();
        clock.advance(17 * HOUR);
        assert!(tickets.decrypt(&ticket).is_none());
    }

    #[test]
    fn the_lifetime_follows_the_rotation_within_the_standard() {
        let (_clock, tickets) = at_hour_zero();
        assert_eq!(tickets.lifetime(), 8 * 3600);
        tickets.rotate_every(1000 * HOUR);
        assert_eq!(tickets.lifetime(), LIFETIME_SECONDS_MAX);
    }

    #[test]
    fn a_changed_ticket_does_not_open() {
        let (_clock, tickets) = at_hour_zero();
        let ticket = tickets.encrypt(b"session").unwrap();
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert!(tickets.decrypt(&changed).is_none(), "byte {place}");
        }
        assert!(tickets.decrypt(&vec![0; 1 << 20]).is_none());
    }

    proptest! {
        #[test]
        fn whatever_is_sealed_opens_and_nothing_else_does(plain in proptest::collection::vec(any::<u8>(), 0..600),
                                                          noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (_clock, tickets) = at_hour_zero();
            let ticket = tickets.encrypt(&plain).unwrap();
            prop_assert_eq!(tickets.decrypt(&ticket), Some(plain));
            prop_assert_eq!(tickets.decrypt(&noise), None);
        }
    }
}
