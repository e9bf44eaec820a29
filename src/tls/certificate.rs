use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{CertificateFiles, TlsError};

/// Chains of a dozen large RSA certificates stay under 64 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A chain with its key, and the names that it is for.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    /// What rustls presents.
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names of the leaf, lower case; `*.` at the front is a wildcard.
    pub(super) names: Vec<String>,
}

impl Certificate {
    /// Reads a chain and its key from the files.
    pub(super) fn read(
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let chain = chain_of(&files.cert, &read(&files.cert)?)?;
        let key = key_of(&files.key, &read(&files.key)?)?;
        Self::pair(files, chain, key, provider)
    }

    fn pair(
        files: &CertificateFiles,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let names = names_of(&files.cert, &chain)?;
        let signing = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsError::BadKey {
                path: files.key.clone(),
                reason: error.to_string(),
            })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch {
                    cert: files.cert.clone(),
                    key: files.key.clone(),
                });
            }
            Err(error) => {
                return Err(TlsError::BadCertificate {
                    path: files.cert.clone(),
                    reason: error.to_string(),
                });
            }
        }
        Ok(Self {
            key: Arc::new(certified),
            names,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge {
            path: path.to_owned(),
            limit: FILE_BYTES_MAX,
        });
    }
    Ok(text)
}

fn chain_of(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad_pem(path, &error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificateInFile {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

fn key_of(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) if !is_encrypted(pem) => Ok(key),
        Ok(_) => Err(TlsError::EncryptedKey {
            path: path.to_owned(),
        }),
        Err(_) if is_encrypted(pem) => Err(TlsError::EncryptedKey {
            path: path.to_owned(),
        }),
        Err(PemError::NoItemsFound) => Err(TlsError::NoKeyInFile {
            path: path.to_owned(),
        }),
        Err(error) => Err(bad_pem(path, &error)),
    }
}

/// Both marks of a passphrase: PKCS #8 has its own section name, the older forms a header line.
fn is_encrypted(pem: &[u8]) -> bool {
    memchr::memmem::find(pem, b"BEGIN ENCRYPTED PRIVATE KEY").is_some()
        || memchr::memmem::find(pem, b"Proc-Type: 4,ENCRYPTED").is_some()
}

fn bad_pem(path: &Path, error: &PemError) -> TlsError {
    TlsError::Pem {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// The names of the leaf. RFC 9525 section 2: only subjectAltName counts, the common name does not.
fn names_of(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Vec<String>, TlsError> {
    let Some(leaf) = chain.first() else {
        return Err(TlsError::NoCertificateInFile {
            path: path.to_owned(),
        });
    };
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|error| TlsError::BadCertificate {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(leaf
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let cert = rcgen::CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (cert.pem(), key.serialize_pem())
    }

    #[track_caller]
    fn check(cert: &str, key: &str, expect: &str) {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            cert: folder.path().join("a.pem"),
            key: folder.path().join("a.key"),
        };
        fs::write(&files.cert, cert).unwrap();
        fs::write(&files.key, key).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        match Certificate::read(&files, &provider) {
            Ok(certificate) => assert_eq!(certificate.names.join(" "), expect),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(expect), "{text:?} does not say {expect:?}");
                assert!(text.contains("a.pem") || text.contains("a.key"), "{text}");
            }
        }
    }

    #[test]
    fn a_pair_is_read_with_its_names() {
        let (cert, key) = pair(&["Example.com", "*.example.com", "127.0.0.1"]);
        check(&cert, &key, "example.com *.example.com");
    }

    #[test]
    fn each_fault_is_told_with_file_and_fix() {
        let (cert, key) = pair(&["a.example"]);
        let (_, other_key) = pair(&["a.example"]);
        check(&cert, &other_key, "does not belong to");
        check("", &key, "holds no certificate");
        check(&key, &key, "holds no certificate");
        check(&cert, "", "holds no private key");
        check(&cert, &cert, "holds no private key");
        check(
            &cert.replace("END CERTIFICATE", "END"),
            &key,
            "not valid PEM",
        );
        check(
            &cert,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "passphrase",
        );
        check(
            &cert,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "cannot be used",
        );
        check(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            "cannot be parsed",
        );
        check(&"x".repeat(2 << 20), &key, "larger than");
    }

    #[test]
    fn an_absent_file_is_named() {
        let files = CertificateFiles {
            cert: "/nowhere/a.pem".into(),
            key: "/nowhere/a.key".into(),
        };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let error = Certificate::read(&files, &provider).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/a.pem cannot be read")
        );
    }
}
