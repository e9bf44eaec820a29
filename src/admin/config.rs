use std::net::SocketAddr;
use std::path::PathBuf;

/// `[admin]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the door is.
    pub bind: Bind,
    /// Who may enter; when empty, a random token is written to `state/admin.token` at first start.
    pub tokens: Vec<Token>,
}

/// Where the admin door is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A bearer token and what it opens.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// For the log.
    pub name: String,
    /// Compared in constant time.
    pub secret: String,
    /// `*`, or of `purge`, `warm`, `explain`, `objects`, `status`, `reload`, `drain`.
    pub allow: Vec<String>,
    /// Site names, or `*`.
    pub sites: Vec<String>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("secret", &"…")
            .field("allow", &self.allow)
            .field("sites", &self.sites)
            .finish()
    }
}
