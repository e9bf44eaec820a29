use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use rustls::crypto::CryptoProvider;

use super::certificate::Certificate;
use super::{CertificateFiles, TlsError};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Clients refuse server certificates that hold for more than 398 days.
const VALIDITY: Duration = Duration::from_secs(397 * 24 * 3600);
/// Re-made at the first start within this time of its end.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The self-signed certificate for `names`: the kept one, or a new one when there is none, when its
/// names differ, when it ends soon, or when its files do not fit each other (a crash between the
/// two writes).
pub(super) fn keep(
    names: &[String],
    state: &Path,
    now: SystemTime,
    provider: &CryptoProvider,
) -> Result<Certificate, TlsError> {
    let folder = state.join("tls");
    let files = CertificateFiles {
        cert: folder.join("self-signed.pem"),
        key: folder.join("self-signed.key"),
    };
    let label = Label {
        names: subject_names(names),
        not_after: now + VALIDITY,
    };
    if Label::of(&files.cert).is_some_and(|old| old.serves(&label, now))
        && let Ok(kept) = Certificate::read(&files, provider)
    {
        return Ok(kept);
    }
    make(&label, &files, &folder, now)?;
    Certificate::read(&files, provider)
}

/// `localhost` stands for the loopback addresses too: browsers are pointed at all three.
fn subject_names(names: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for name in names {
        all.push(name.to_ascii_lowercase());
        if name.eq_ignore_ascii_case("localhost") {
            all.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
        }
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|name| seen.insert(name.clone()));
    all
}

fn make(
    label: &Label,
    files: &CertificateFiles,
    folder: &Path,
    now: SystemTime,
) -> Result<(), TlsError> {
    let mut params =
        CertificateParams::new(label.names.clone()).map_err(|error| TlsError::BadName {
            name: label.names.join(", "),
            reason: error.to_string(),
        })?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "brim self-signed");
    if let Some(first) = label.names.first() {
        subject.push(DnType::CommonName, first.as_str());
    }
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // A day back, for clients whose clocks lag.
    params.not_before = epoch + since_epoch(now.checked_sub(DAY).unwrap_or(now));
    params.not_after = epoch + since_epoch(label.not_after);

    let failed = |error: rcgen::Error| TlsError::Library {
        reason: error.to_string(),
    };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;

    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| write_failed(folder, source))?;
    replace(&files.key, &key.serialize_pem(), 0o600)?;
    replace(
        &files.cert,
        &format!("{}{}", label.text(), certificate.pem()),
        0o644,
    )
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Writes beside the file and renames, so that no reader sees half of it; the mode holds from the
/// first byte on.
fn replace(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let beside = path.with_extension("new");
    let write = || -> io::Result<()> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| write_failed(path, source))
}

fn write_failed(path: &Path, source: io::Error) -> TlsError {
    TlsError::Write {
        path: PathBuf::from(path),
        source,
    }
}

/// What a certificate of ours says about itself in the explanatory text before its PEM section
/// (RFC 7468 section 5.2), so that no certificate parser is needed to judge it.
#[derive(Debug, PartialEq, Eq)]
struct Label {
    names: Vec<String>,
    not_after: SystemTime,
}

impl Label {
    fn text(&self) -> String {
        format!(
            "names: {}\nnot-after: {}\n",
            self.names.join(" "),
            since_epoch(self.not_after).as_secs()
        )
    }

    fn of(path: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let seconds = field("not-after: ")?.parse().ok()?;
        Some(Self {
            names: field("names: ")?
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            not_after: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?,
        })
    }

    fn serves(&self, wanted: &Self, now: SystemTime) -> bool {
        self.names == wanted.names
            && now + RENEW_BEFORE < self.not_after
            // A clock that was far ahead when it was made gives a certificate that is not valid yet.
            && self.not_after <= wanted.not_after + DAY
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn day(number: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(number * 24 * 3600)
    }

    fn keep_at(state: &Path, names: &[&str], now: SystemTime) -> Result<Certificate, TlsError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        keep(&names, state, now, &provider)
    }

    fn leaf(certificate: &Certificate) -> Vec<u8> {
        certificate.key.cert[0].to_vec()
    }

    #[test]
    fn it_is_kept_until_names_change_or_its_end_is_near() {
        let state = tempfile::tempdir().unwrap();
        let mut last = Vec::new();
        let mut check = |wanted: &[&str], now: SystemTime, remade: bool| {
            let der = leaf(&keep_at(state.path(), wanted, now).unwrap());
            assert_eq!(der != last, remade, "{wanted:?}");
            last = der;
        };
        check(&["localhost"], day(20_000), true);
        check(&["localhost"], day(20_001), false);
        check(&["LOCALHOST", "localhost"], day(20_300), false);
        check(&["localhost"], day(20_370), true);
        check(&["localhost", "cdn.test"], day(20_371), true);
        check(&["localhost", "cdn.test"], day(20_000), true);
    }

    #[test]
    fn the_key_is_private_and_fits() {
        let state = tempfile::tempdir().unwrap();
        let certificate = keep_at(state.path(), &["localhost"], day(20_000)).unwrap();
        let mode = |path: &str| {
            let path = state.path().join(path);
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("tls/self-signed.key"), 0o600);
        assert_eq!(mode("tls"), 0o700);
        assert_eq!(certificate.names, ["localhost"]);
    }

    #[test]
    fn lost_damaged_and_strange_files_make_a_new_pair() {
        let state = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        keep_at(other.path(), &["localhost"], day(20_000)).unwrap();
        let first = leaf(&keep_at(state.path(), &["localhost"], day(20_000)).unwrap());
        let key = state.path().join("tls/self-signed.key");

        fs::remove_file(&key).unwrap();
        let second = leaf(&keep_at(state.path(), &["localhost"], day(20_000)).unwrap());
        assert_ne!(first, second);

        fs::copy(other.path().join("tls/self-signed.key"), &key).unwrap();
        let third = leaf(&keep_at(state.path(), &["localhost"], day(20_000)).unwrap());
        assert_ne!(second, third);

        let cert = state.path().join("tls/self-signed.pem");
        fs::write(cert, "names: localhost\nnot-after: soon\n").unwrap();
        let fourth = leaf(&keep_at(state.path(), &["localhost"], day(20_000)).unwrap());
        assert_ne!(third, fourth);
    }

    #[test]
    fn addresses_and_bad_names_are_told_apart() {
        let state = tempfile::tempdir().unwrap();
        keep_at(state.path(), &["10.0.0.1", "::1"], day(20_000)).unwrap();
        let error = keep_at(state.path(), &["b\u{fc}cher.example"], day(20_000)).unwrap_err();
        assert!(matches!(error, TlsError::BadName { .. }), "{error}");
    }
}
