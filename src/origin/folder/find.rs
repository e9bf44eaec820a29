use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::origin::OriginError;

/// What a folder answers with.
pub(super) const INDEX: &str = "index.html";

/// What a name in the folder stands for.
#[derive(Debug)]
pub(super) enum Found {
    File { file: File, stamp: Stamp },
    Folder,
    Nothing,
    Forbidden,
}

/// Tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) length: u64,
    pub(super) modified: SystemTime,
}

/// Looks a canonical path up below the folder. Neither `..` nor a link leads out of it.
pub(super) fn find(root: &Path, path: &str) -> Result<Found, OriginError> {
    // The folder itself may be a link that a deployment moves; that is asked each time. If it is not there,
    // nothing is known about what it would hold: an error, not a 404.
    let root = root.canonicalize().map_err(unreadable)?;
    let Some(relative) = relative(path) else {
        return Ok(Found::Nothing);
    };
    let wants_folder = path.ends_with('/');
    let relative = if wants_folder {
        relative.join(INDEX)
    } else {
        relative
    };
    let file = match open(&root, &relative) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Found::Nothing),
        Err(error) => return not_opened(error),
    };
    let about = file.metadata().map_err(unreadable)?;
    if about.is_file() {
        let stamp = Stamp::of(&file).map_err(unreadable)?;
        Ok(Found::File { file, stamp })
    } else if about.is_dir() && !wants_folder {
        Ok(Found::Folder)
    } else {
        Ok(Found::Nothing)
    }
}

fn not_opened(error: io::Error) -> Result<Found, OriginError> {
    match Errno::from_io_error(&error) {
        Some(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::ILSEQ
            | Errno::XDEV
            | Errno::NXIO,
        ) => Ok(Found::Nothing),
        Some(Errno::ACCESS | Errno::PERM) => Ok(Found::Forbidden),
        Some(_) | None => Err(unreadable(error)),
    }
}

/// The path in the file system: decoded, without anything that is not a plain visible name.
fn relative(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    if path == "/" {
        return Some(relative);
    }
    let inner = path.strip_prefix('/')?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    for segment in inner.split('/') {
        let name = decoded(segment)?;
        // A slash that was encoded is part of a name, and no file's name can have one.
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && !name.contains(['/', '\\', '\0'])
            && (cfg!(unix) || !name.contains(':'));
        if !plain {
            return None;
        }
        relative.push(name);
    }
    Some(relative)
}

fn decoded(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut name = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            name.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()
}

/// Opens what is really there, if that is below the root and visible.
fn open(root: &Path, relative: &Path) -> io::Result<Option<File>> {
    let real = root.join(relative).canonicalize()?;
    let Ok(inner) = real.strip_prefix(root) else {
        return Ok(None);
    };
    let is_hidden = inner
        .components()
        .any(|name| name.as_os_str().as_encoded_bytes().starts_with(b"."));
    if is_hidden {
        return Ok(None);
    }
    if inner.as_os_str().is_empty() {
        return File::open(root).map(Some);
    }
    open_below(root, inner, &real).map(Some)
}

/// Not blocking, so that a pipe in the folder holds no thread.
const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW);

/// The kernel checks again while it opens: between the look and the opening, a name may become a link.
#[cfg(target_os = "linux")]
fn open_below(root: &Path, inner: &Path, real: &Path) -> io::Result<File> {
    use rustix::fs::ResolveFlags;

    let folder = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let opened = rustix::fs::openat2(
        &folder,
        inner,
        OPEN,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    );
    match opened {
        Ok(file) => Ok(File::from(file)),
        // A kernel before 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_plainly(real),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_below(_root: &Path, _inner: &Path, real: &Path) -> io::Result<File> {
    open_plainly(real)
}

fn open_plainly(real: &Path) -> io::Result<File> {
    Ok(File::from(rustix::fs::open(real, OPEN, Mode::empty())?))
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self {
            length: about.len(),
            modified: about.modified()?,
        })
    }

    /// Strong: time of change to the nanosecond, and length. The same on every node that holds a faithful copy.
    pub(super) fn etag(&self) -> String {
        let since = self
            .modified
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        format!("\"{:x}-{:x}\"", since.as_nanos(), self.length)
    }
}

pub(super) fn unreadable(error: io::Error) -> OriginError {
    OriginError::Read {
        source: Arc::new(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;

    #[track_caller]
    fn check(path: &str, expect: Option<&str>) {
        assert_eq!(relative(path).as_deref(), expect.map(Path::new), "{path}");
    }

    #[test]
    fn plain_names_are_decoded_and_others_are_refused() {
        check("/", Some(""));
        check("/a/b.css", Some("a/b.css"));
        check("/a/", Some("a"));
        check("/a%20b", Some("a b"));
        check("/%C3%A4", Some("ä"));
        for path in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/.a",
            "/%2e",
            "/%2E%2e/a",
            "/a%2fb",
            "/a%5cb",
            "/a%00",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/%ff",
        ] {
            check(path, None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_names_anything_but_plain_names(path in "(/|%2[eEfF]|\\.|\\\\|[a-z%]|\\PC){0,20}") {
            if let Some(relative) = relative(&path) {
                let plain = relative
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)));
                assert!(plain, "{relative:?}");
            }
        }
    }
}
