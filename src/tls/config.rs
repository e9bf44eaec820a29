use std::path::PathBuf;
use std::time::Duration;

/// `[tls]` of the node, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// What a name without a certificate gets.
    pub unknown_sni: UnknownName,
    /// What a client without a name gets.
    pub no_sni: UnknownName,
    /// Names for which certificates are made at start and kept in `state`.
    pub self_signed: Vec<String>,
    /// Whether sessions may be resumed.
    pub session_tickets: bool,
    /// How long a ticket key is used for new tickets.
    pub ticket_rotation: Duration,
    /// Certificates from files; the first one is the default.
    pub certificates: Vec<CertificateFiles>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            min_version: MinVersion::Tls12,
            unknown_sni: UnknownName::Reject,
            no_sni: UnknownName::Default,
            self_signed: Vec::new(),
            session_tickets: true,
            ticket_rotation: Duration::from_secs(8 * 3600),
            certificates: Vec::new(),
        }
    }
}

/// The oldest TLS version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 (ECDHE and AEAD suites only).
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What a handshake without a matching certificate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownName {
    /// The alert `unrecognized_name`.
    Reject,
    /// The first certificate.
    Default,
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key (PKCS #8, SEC1 or PKCS #1).
    pub key: PathBuf,
}
