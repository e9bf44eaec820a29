use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::config::{Config, Token};
use super::error::AdminError;

const TOKEN_FILE: &str = "admin.token";
const TOKEN_BYTES: usize = 32;

/// The tokens that open the door: the configured ones, or else the one in `admin.token` of the state folder,
/// which is made at the first start and opens everything.
///
/// # Errors
/// When that file cannot be read or written.
pub fn tokens(config: &Config, state: &Path) -> Result<Vec<Token>, AdminError> {
    if !config.tokens.is_empty() {
        return Ok(config.tokens.clone());
    }
    let secret = match stored_token(state).map_err(|source| AdminError::TokenFile {
        path: state.join(TOKEN_FILE),
        source,
    })? {
        Some(secret) => secret,
        None => make(state)?,
    };
    Ok(vec![Token {
        name: TOKEN_FILE.to_owned(),
        secret,
        allow: vec!["*".to_owned()],
        sites: vec!["*".to_owned()],
    }])
}

/// The token in the state folder, if a node has ever made one.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn stored_token(state: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(state.join(TOKEN_FILE)) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|secret| !secret.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn make(state: &Path) -> Result<String, AdminError> {
    let mut random = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(AdminError::Random)?;
    let secret = hex(&random);
    let path = state.join(TOKEN_FILE);
    write(state, &path, &secret).map_err(|source| AdminError::TokenFile { path, source })?;
    Ok(secret)
}

/// Through a second file, so that a crash leaves no half token.
fn write(state: &Path, path: &Path, secret: &str) -> io::Result<()> {
    fs::create_dir_all(state)?;
    let draft: PathBuf = path.with_extension("token.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    // The mode above holds only for a file that was not there.
    file.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

/// Not to be guessed, since an id opens a record. Without random numbers the number has to do.
pub(super) fn new_id(number: u64) -> String {
    let mut random = [0_u8; 12];
    match getrandom::fill(&mut random) {
        Ok(()) => hex(&random),
        Err(_) => format!("{number:024x}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::config::Bind;
    use super::*;

    fn config(tokens: Vec<Token>) -> Config {
        Config {
            bind: Bind::Unix("unused".into()),
            tokens,
        }
    }

    #[test]
    fn a_token_is_made_once_private_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        assert_eq!(stored_token(&state).unwrap(), None);

        let first = tokens(&config(Vec::new()), &state).unwrap();
        let secret = first[0].secret.clone();
        assert_eq!(secret.len(), 2 * TOKEN_BYTES);
        let mode = fs::metadata(state.join(TOKEN_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        let second = tokens(&config(Vec::new()), &state).unwrap();
        assert_eq!(second[0].secret, secret);
        assert_eq!(stored_token(&state).unwrap(), Some(secret));
    }

    #[test]
    fn configured_tokens_leave_the_state_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token {
            name: "ops".into(),
            secret: "s".into(),
            allow: vec![],
            sites: vec![],
        };
        let found = tokens(&config(vec![token.clone()]), folder.path()).unwrap();
        assert_eq!(found, [token]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(TOKEN_FILE), "\n").unwrap();
        let found = tokens(&config(Vec::new()), folder.path()).unwrap();
        assert_eq!(found[0].secret.len(), 2 * TOKEN_BYTES);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = tokens(&config(Vec::new()), &file).unwrap_err().to_string();
        assert!(error.contains("admin.token"), "{error}");
        assert!(error.contains("[admin] tokens"), "{error}");
    }
}
