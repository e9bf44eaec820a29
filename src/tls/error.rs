use std::io;
use std::path::PathBuf;

/// Why certificates, keys or the TLS settings cannot be used. Each message names the file and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read ({source}); check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word on it.
        #[source]
        source: io::Error,
    },
    /// A file or folder of our own cannot be written.
    #[error("{} cannot be written ({source}); the folder must exist and belong to this user", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's word on it.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any chain or key.
    #[error("{} is larger than {limit} bytes; it is not a PEM certificate or key", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// The PEM text is damaged.
    #[error("{} is not valid PEM ({reason}); export it again", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The parser's word on it.
        reason: String,
    },
    /// No certificate in the certificate file.
    #[error("{} holds no certificate; it must be PEM text with a `BEGIN CERTIFICATE` section, leaf first", path.display())]
    NoCertificateInFile {
        /// The file.
        path: PathBuf,
    },
    /// No key in the key file.
    #[error("{} holds no private key; it must be PEM text with a `BEGIN PRIVATE KEY` section (PKCS #8, SEC1 or PKCS #1)", path.display())]
    NoKeyInFile {
        /// The file.
        path: PathBuf,
    },
    /// The key is protected by a passphrase.
    #[error("{} is protected by a passphrase; store the key without one (openssl pkey -in … -out …)", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that TLS servers do not use, or damaged.
    #[error("the key in {} cannot be used ({reason}); use ECDSA P-256/P-384, Ed25519 or RSA of 2048 bits or more", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// The TLS library's word on it.
        reason: String,
    },
    /// The leaf certificate cannot be parsed.
    #[error("the first certificate in {} cannot be parsed ({reason}); export the chain again, leaf first", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// The parser's word on it.
        reason: String,
    },
    /// Certificate and key are not a pair.
    #[error("the key in {} does not belong to the first certificate in {}; put the leaf first, or name the matching key", key.display(), cert.display())]
    Mismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// A name for which no certificate can be made.
    #[error(
        "self_signed name {name:?} cannot be put into a certificate ({reason}); write a host name or an IP address"
    )]
    BadName {
        /// The name.
        name: String,
        /// The generator's word on it.
        reason: String,
    },
    /// Neither files nor names for self-signed certificates.
    #[error("TLS has no certificate; add [[tls.certificate]] or names to `self_signed`")]
    NoCertificates,
    /// The library refused the settings or has no randomness.
    #[error("TLS cannot be set up ({reason})")]
    Library {
        /// The library's word on it.
        reason: String,
    },
}
