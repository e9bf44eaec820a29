use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::UnknownName;
use super::certificate::Certificate;

/// Chooses the certificate of a handshake: the exact name, then the wildcard one label up, then
/// what the settings say about unknown and absent names.
#[derive(Debug)]
pub(super) struct Choice {
    first: Option<Arc<CertifiedKey>>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By the part after `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    unknown: UnknownName,
    absent: UnknownName,
}

impl Choice {
    /// The first certificate that names a host keeps it; the first of all is the default.
    pub(super) fn new(
        certificates: &[Certificate],
        unknown: UnknownName,
        absent: UnknownName,
    ) -> Self {
        let mut choice = Self {
            first: certificates.first().map(|one| Arc::clone(&one.key)),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            unknown,
            absent,
        };
        for certificate in certificates {
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut choice.wildcard, parent),
                    None => (&mut choice.exact, name.as_str()),
                };
                names
                    .entry(name.to_owned())
                    .or_insert_with(|| Arc::clone(&certificate.key));
            }
        }
        choice
    }

    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        // RFC 6066 section 3: names compare without case. rustls hands them on as they came.
        let lower;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            lower.as_str()
        } else {
            name
        };
        // RFC 9525 section 6.3: a wildcard stands for exactly one label.
        self.exact
            .get(name)
            .or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }

    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let policy = match name {
            Some(name) => match self.named(name) {
                Some(key) => return Some(Arc::clone(key)),
                None => self.unknown,
            },
            None => self.absent,
        };
        match policy {
            UnknownName::Default => self.first.clone(),
            UnknownName::Reject => None,
        }
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let cert = rcgen::CertificateParams::new(names.clone())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = CertifiedKey::from_der(vec![cert.der().clone()], der, &provider).unwrap();
        Certificate {
            key: Arc::new(key),
            names,
        }
    }

    #[test]
    fn exact_beats_wildcard_and_wildcards_stand_for_one_label() {
        let all = [
            certificate(&["default.example"]),
            certificate(&["*.example.com"]),
            certificate(&["www.example.com", "example.com"]),
        ];
        let choice = Choice::new(&all, UnknownName::Reject, UnknownName::Default);
        let check = |name: Option<&str>, expect: Option<usize>| {
            let found = choice.choose(name);
            let found = found.map(|key| {
                all.iter()
                    .position(|one| Arc::ptr_eq(&one.key, &key))
                    .unwrap()
            });
            assert_eq!(found, expect, "{name:?}");
        };
        check(Some("www.example.com"), Some(2));
        check(Some("WWW.Example.COM"), Some(2));
        check(Some("example.com"), Some(2));
        check(Some("img.example.com"), Some(1));
        check(Some("img.example.com."), Some(1));
        check(Some("a.img.example.com"), None);
        check(Some("example.org"), None);
        check(Some("com"), None);
        check(Some(""), None);
        check(None, Some(0));
    }

    #[test]
    fn the_policies_are_told_apart() {
        let all = [certificate(&["a.example"])];
        let lenient = Choice::new(&all, UnknownName::Default, UnknownName::Reject);
        assert!(lenient.choose(Some("b.example")).is_some());
        assert!(lenient.choose(None).is_none());
        let empty = Choice::new(&[], UnknownName::Default, UnknownName::Default);
        assert!(empty.choose(None).is_none());
    }
}
