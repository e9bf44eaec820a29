use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};

use super::certificate::Certificate;
use super::sni::Choice;
use super::{Config, MinVersion, Tickets, TlsError, self_signed};

/// Reads every certificate, makes the self-signed one if names ask for it, and builds the TLS
/// settings. The first certificate of the files is the default one, else the self-signed.
///
/// ALPN is left empty: each listener sets its own. `tickets` outlives reloads, so that sessions
/// do too. Blocks on small files.
///
/// # Errors
///
/// The first file, name or setting that cannot be used.
pub fn load(
    config: &Config,
    state: &Path,
    now: SystemTime,
    tickets: &Arc<Tickets>,
) -> Result<Arc<ServerConfig>, TlsError> {
    // X25519MLKEM768 comes first by the library's `prefer-post-quantum`; its TLS 1.2 suites are
    // ECDHE with AEAD only.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut certificates = Vec::new();
    for files in &config.certificates {
        certificates.push(Certificate::read(files, &provider)?);
    }
    if !config.self_signed.is_empty() {
        certificates.push(self_signed::keep(
            &config.self_signed,
            state,
            now,
            &provider,
        )?);
    }
    if certificates.is_empty() {
        return Err(TlsError::NoCertificates);
    }

    let versions: &[&rustls::SupportedProtocolVersion] = match config.min_version {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    let choice = Choice::new(&certificates, config.unknown_sni, config.no_sni);
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| TlsError::Library {
            reason: error.to_string(),
        })?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(choice));
    // The default store is a small table behind one lock; tickets need none.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    if config.session_tickets {
        tickets.rotate_every(config.ticket_rotation);
        server.ticketer = Arc::<Tickets>::clone(tickets);
    } else {
        server.send_tls13_tickets = 0;
    }
    Ok(Arc::new(server))
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;
    use crate::clock::SystemClock;

    fn load_with(config: &Config) -> Result<Arc<ServerConfig>, TlsError> {
        let state = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let now = clock.now();
        let tickets = Tickets::new(config.ticket_rotation, clock).unwrap();
        load(config, state.path(), now, &tickets)
    }

    #[test]
    fn no_certificate_is_an_error() {
        assert!(matches!(
            load_with(&Config::default()),
            Err(TlsError::NoCertificates)
        ));
    }

    #[test]
    fn the_hybrid_group_comes_first_and_suites_are_modern() {
        let config = Config {
            self_signed: vec!["localhost".to_owned()],
            ..Config::default()
        };
        let server = load_with(&config).unwrap();
        let provider = server.crypto_provider();
        assert_eq!(
            provider.kx_groups.first().unwrap().name(),
            NamedGroup::X25519MLKEM768
        );
        for suite in &provider.cipher_suites {
            let name = format!("{:?}", suite.suite());
            let modern = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
            assert!(modern && !name.contains("CBC"), "{name}");
        }
        assert!(server.ticketer.enabled());
        assert_eq!(server.max_early_data_size, 0);
    }

    #[test]
    fn tickets_can_be_off() {
        let config = Config {
            self_signed: vec!["localhost".to_owned()],
            session_tickets: false,
            min_version: MinVersion::Tls13,
            ..Config::default()
        };
        let server = load_with(&config).unwrap();
        assert!(!server.ticketer.enabled());
        assert_eq!(server.send_tls13_tickets, 0);
    }
}
