use std::hash::Hasher;
use std::hint::black_box;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use siphasher::sip128::{Hasher128, SipHasher24};

use super::config::Token;
use super::error::AdminError;
use super::refusal::Refusal;

/// What a token may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    Purge,
    Warm,
    Explain,
    Objects,
    Status,
    Reload,
    Drain,
}

impl Permission {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Purge => "purge",
            Self::Warm => "warm",
            Self::Explain => "explain",
            Self::Objects => "objects",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::Drain => "drain",
        }
    }
}

/// All tokens, as digests under a key that lives as long as the process: two digests of fixed length are
/// compared, so that neither the length nor the beginning of a secret shows in the time it takes.
pub(super) struct Keyring {
    key: [u8; 16],
    grants: Vec<(u128, Arc<Grant>)>,
}

/// What a caller may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) name: String,
    allow: Vec<String>,
    sites: Vec<String>,
}

impl Keyring {
    pub(super) fn new(tokens: &[Token]) -> Result<Self, AdminError> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(AdminError::Random)?;
        let grant = |token: &Token| Grant {
            name: token.name.clone(),
            allow: token.allow.clone(),
            sites: token.sites.clone(),
        };
        let grants = tokens
            .iter()
            // An empty secret would open the door to `Bearer ` with nothing behind it.
            .filter(|token| !token.secret.is_empty())
            .map(|token| {
                (
                    digest(&key, token.secret.as_bytes()),
                    Arc::new(grant(token)),
                )
            })
            .collect();
        Ok(Self { key, grants })
    }

    /// Who asks, by `Authorization: Bearer …` (RFC 6750 §2.1) alone; an address or a forwarded field never
    /// counts.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        permission: Permission,
    ) -> Result<Arc<Grant>, Refusal> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Err(Refusal::unauthorized(
                "This needs the field 'Authorization: Bearer <token>', once.",
            ));
        };
        let Some(secret) = bearer(field.as_bytes()) else {
            return Err(Refusal::unauthorized(
                "Only the Authorization scheme 'Bearer' is known here.",
            ));
        };
        let given = digest(&self.key, secret);
        let mut found = None;
        // All of them, whichever matches: the place in the list does not show either.
        for (digest, grant) in &self.grants {
            if black_box(digest ^ given) == 0 {
                found = Some(grant);
            }
        }
        let Some(grant) = found else {
            tracing::warn!(
                permission = permission.as_str(),
                "admin request with an unknown token"
            );
            return Err(Refusal::unauthorized("The token is not known."));
        };
        grant.must_allow(permission)?;
        Ok(Arc::clone(grant))
    }
}

impl Grant {
    fn must_allow(&self, permission: Permission) -> Result<(), Refusal> {
        if contains(&self.allow, permission.as_str()) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "The token '{}' does not allow '{}'.",
            self.name,
            permission.as_str()
        )))
    }

    /// Whether the token reaches this site.
    pub(super) fn covers(&self, site: &str) -> bool {
        contains(&self.sites, site)
    }

    pub(super) fn must_cover(&self, site: &str) -> Result<(), Refusal> {
        if self.covers(site) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "The token '{}' does not reach the site '{site}'.",
            self.name
        )))
    }

    /// Whether the token reaches all sites.
    pub(super) fn covers_all(&self) -> bool {
        self.sites.iter().any(|site| site == "*")
    }

    /// For what concerns the whole node.
    pub(super) fn must_cover_all(&self) -> Result<(), Refusal> {
        if self.covers_all() {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "The token '{}' reaches some sites only, and this concerns all.",
            self.name
        )))
    }
}

fn contains(list: &[String], word: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == word)
}

fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(b"Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ")).then(|| rest.trim_ascii())
}

fn digest(key: &[u8; 16], secret: &[u8]) -> u128 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(secret);
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    fn token(name: &str, secret: &str, allow: &[&str], sites: &[&str]) -> Token {
        let owned = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
        Token {
            name: name.to_owned(),
            secret: secret.to_owned(),
            allow: owned(allow),
            sites: owned(sites),
        }
    }

    fn keyring() -> Keyring {
        Keyring::new(&[
            token("ops", "all-of-it", &["*"], &["*"]),
            token("ci", "purge-only", &["purge", "status"], &["shop"]),
            token("broken", "", &["*"], &["*"]),
        ])
        .unwrap()
    }

    #[track_caller]
    fn check(field: Option<&str>, permission: Permission, expect: Result<&str, StatusCode>) {
        let mut headers = HeaderMap::new();
        if let Some(field) = field {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(field).unwrap());
        }
        let found = keyring().admit(&headers, permission);
        match expect {
            Ok(name) => assert_eq!(found.unwrap().name, name),
            Err(status) => assert_eq!(found.unwrap_err().status(), status),
        }
    }

    #[test]
    fn a_token_opens_what_it_allows() {
        check(Some("Bearer all-of-it"), Permission::Drain, Ok("ops"));
        check(Some("bearer all-of-it"), Permission::Purge, Ok("ops"));
        check(Some("Bearer purge-only"), Permission::Purge, Ok("ci"));
        check(
            Some("Bearer purge-only"),
            Permission::Reload,
            Err(StatusCode::FORBIDDEN),
        );
    }

    #[test]
    fn nothing_else_opens() {
        for field in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer all-of-i"),
            Some("Bearer all-of-itt"),
            Some("Bearer all-of-it, purge-only"),
            Some("Basic all-of-it"),
            Some("all-of-it"),
        ] {
            check(field, Permission::Status, Err(StatusCode::UNAUTHORIZED));
        }
    }

    #[test]
    fn two_fields_open_nothing() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer all-of-it"));
        }
        assert!(keyring().admit(&headers, Permission::Status).is_err());
    }

    #[test]
    fn sites_bound_a_token() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer purge-only"));
        let grant = keyring().admit(&headers, Permission::Purge).unwrap();
        assert!(grant.must_cover("shop").is_ok());
        assert!(grant.must_cover("blog").is_err());
        assert!(grant.must_cover_all().is_err());
    }
}
