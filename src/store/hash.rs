use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::error::StoreError;

const FILE: &str = "hash.key";
const BYTES: usize = 16;

/// The secret behind every id of the store: without it nobody can look for two keys with one id.
#[derive(Clone)]
pub(super) struct HashKey([u8; BYTES]);

impl HashKey {
    /// Reads the key of this state folder, or makes one.
    pub(super) fn load(state: &Path) -> Result<Self, StoreError> {
        let path = state.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                // Tightened when somebody has copied the folder about.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
                    .map_err(|error| StoreError::state("protect", &path, error))?;
                from_hex(text.trim())
                    .map(Self)
                    .ok_or(StoreError::HashKey { path })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self(random_bytes()?);
                write_durably(&path, &to_hex(&key.0))
                    .map_err(|error| StoreError::state("write", &path, error))?;
                Ok(key)
            }
            Err(error) => Err(StoreError::state("read", &path, error)),
        }
    }

    /// The hash of the parts. Each part is preceded by its length, so that no two lists of parts
    /// are the same bytes.
    pub(super) fn hash(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    /// Names the key without telling it.
    pub(super) fn public_id(&self) -> String {
        format!("{:032x}", self.hash(&[b"public id of the key"]))
    }
}

/// Random bytes from the system.
pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Random {
        reason: error.to_string(),
    })?;
    Ok(bytes)
}

/// Writes a small private file so that a crash leaves the old content or the new, never a part.
pub(super) fn write_durably(path: &Path, content: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Folds an [`EntryKey`](super::EntryKey) into 64 bits. The id is already a keyed hash or random, so
/// folding suffices; and this one cannot change under us, which matters since the disk tier finds its
/// entries by it after a restart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FoldBuilder;

impl BuildHasher for FoldBuilder {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold(0)
    }
}

#[derive(Debug)]
pub(super) struct Fold(u64);

impl Fold {
    fn mix(&mut self, word: u64) {
        // The multiplier of Fibonacci hashing; the rotation keeps the order of the words significant.
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        // The multiplication leaves the low bits weak, and those choose the shard.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_u128(&mut self, word: u128) {
        let [a, b, c, d, e, f, g, h, rest @ ..] = word.to_le_bytes();
        self.mix(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        self.mix(u64::from_le_bytes(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::EntryKey;
    use super::*;

    #[test]
    fn a_key_outlives_the_process_and_is_private() {
        let state = tempfile::tempdir().unwrap();
        let first = HashKey::load(state.path()).unwrap();
        let again = HashKey::load(state.path()).unwrap();
        assert_eq!(first.hash(&[b"a"]), again.hash(&[b"a"]));
        let mode = fs::metadata(state.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        let other = tempfile::tempdir().unwrap();
        let stranger = HashKey::load(other.path()).unwrap();
        assert_ne!(first.hash(&[b"a"]), stranger.hash(&[b"a"]));
        assert_ne!(first.public_id(), stranger.public_id());
    }

    #[test]
    fn a_file_that_is_no_key_is_told() {
        for content in ["", "zz", "+0112233445566778899aabbccddeeff", "00"] {
            let state = tempfile::tempdir().unwrap();
            fs::write(state.path().join(FILE), content).unwrap();
            assert!(
                matches!(HashKey::load(state.path()), Err(StoreError::HashKey { .. })),
                "{content}"
            );
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        let key = HashKey([7; BYTES]);
        assert_ne!(key.hash(&[b"ab", b"c"]), key.hash(&[b"a", b"bc"]));
        assert_ne!(key.hash(&[b"", b"a"]), key.hash(&[b"a", b""]));
        assert_ne!(key.hash(&[]), key.hash(&[b""]));
    }

    #[test]
    fn folded_keys_spread_over_shards() {
        let mut shards = [0u32; 16];
        for n in 0..16_000 {
            let hash = FoldBuilder.hash_one(EntryKey::chunk(7, n));
            shards[usize::try_from(hash % 16).unwrap()] += 1;
        }
        assert!(shards.iter().all(|n| (800..1200).contains(n)), "{shards:?}");
    }

    #[test]
    fn the_fold_never_changes() {
        // The disk tier of a running node finds its entries by these numbers.
        assert_eq!(
            FoldBuilder.hash_one(EntryKey::head(1)),
            FoldBuilder.hash_one(EntryKey::head(1))
        );
        assert_ne!(
            FoldBuilder.hash_one(EntryKey::head(1)),
            FoldBuilder.hash_one(EntryKey::chunk(1, 0))
        );
    }
}
