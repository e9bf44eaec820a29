use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::Folder;
use super::find::{Found, INDEX, find};

/// A file that lies beside another one under its name and a suffix, such as `app.js.br` beside `app.js`.
#[derive(Debug)]
pub struct Sibling {
    /// Its name below the folder, as a URL has it.
    pub name: String,
    /// All of it, as it was read; whether these bytes are what they should be is for others to find out.
    pub bytes: Bytes,
    /// The tag of this state of it.
    pub etag: String,
    /// The tag that the file itself has now.
    pub source_etag: Option<String>,
}

impl Folder {
    /// The file whose name is that of `path` and `suffix`, if there is one that may be served and has at most `most_bytes`.
    /// What cannot be read counts as not there.
    pub(in crate::origin) async fn sibling(
        &self,
        path: &str,
        suffix: &'static str,
        most_bytes: u64,
    ) -> Option<Sibling> {
        let root = Arc::clone(&self.root);
        let source = match path.ends_with('/') {
            true => format!("{path}{INDEX}"),
            false => path.to_owned(),
        };
        tokio::task::spawn_blocking(move || beside(&root, &source, suffix, most_bytes))
            .await
            .ok()?
    }
}

fn beside(root: &Path, source: &str, suffix: &str, most_bytes: u64) -> Option<Sibling> {
    let name = format!("{source}{suffix}");
    let Ok(Found::File { file, stamp }) = find(root, &name) else {
        return None;
    };
    if stamp.length > most_bytes {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stamp.length).ok()?);
    // It may grow meanwhile.
    let mut bounded = file.take(most_bytes.saturating_add(1));
    bounded.read_to_end(&mut bytes).ok()?;
    if bytes.is_empty() || bytes.len() as u64 > most_bytes {
        return None;
    }
    let source_etag = match find(root, source) {
        Ok(Found::File { stamp, .. }) => Some(stamp.etag()),
        Ok(_) | Err(_) => None,
    };
    Some(Sibling {
        name,
        bytes: bytes.into(),
        etag: stamp.etag(),
        source_etag,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    async fn check(outer: &TempDir, path: &str, expect: Option<(&str, &str)>) {
        let folder = Folder::new(outer.path().join("site"));
        let found = folder.sibling(path, ".br", 10).await;
        let found = found.as_ref().map(|sibling| {
            let text = std::str::from_utf8(&sibling.bytes).unwrap();
            (sibling.name.as_str(), text)
        });
        assert_eq!(found, expect, "{path}");
    }

    #[tokio::test]
    async fn a_sibling_is_a_regular_visible_file_of_the_folder_and_not_longer_than_asked_for() {
        let outer = TempDir::new().unwrap();
        let root = outer.path().join("site");
        fs::create_dir_all(root.join("docs")).unwrap();
        fs::create_dir_all(root.join("folder.js.br")).unwrap();
        for (name, text) in [
            ("site/a.js", "content"),
            ("site/a.js.br", "coded"),
            ("site/a b.js.br", "space"),
            ("site/docs/index.html.br", "index"),
            ("site/docs.br", "beside the folder"),
            ("site/.hidden.js.br", "hidden"),
            ("site/long.js.br", "12345678901"),
            ("site/just.js.br", "1234567890"),
            ("site/empty.js.br", ""),
            ("out.js.br", "outside"),
        ] {
            fs::write(outer.path().join(name), text).unwrap();
        }
        symlink("../out.js.br", root.join("link.js.br")).unwrap();
        symlink(".hidden.js.br", root.join("shown.js.br")).unwrap();
        symlink("a.js.br", root.join("inside.js.br")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe.js.br"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        check(&outer, "/a.js", Some(("/a.js.br", "coded"))).await;
        check(&outer, "/a%20b.js", Some(("/a%20b.js.br", "space"))).await;
        check(&outer, "/docs/", Some(("/docs/index.html.br", "index"))).await;
        check(&outer, "/inside.js", Some(("/inside.js.br", "coded"))).await;
        check(&outer, "/just.js", Some(("/just.js.br", "1234567890"))).await;
        for path in [
            "/none.js",
            "/long.js",
            "/empty.js",
            "/folder.js",
            "/pipe.js",
            "/.hidden.js",
            "/link.js",
            "/shown.js",
            "/../out.js",
            "/docs/../../out.js",
            "/%2e%2e/out.js",
            "/docs//index.html",
        ] {
            check(&outer, path, None).await;
        }
    }

    #[tokio::test]
    async fn it_tells_its_own_state_and_its_sources() {
        let outer = TempDir::new().unwrap();
        fs::write(outer.path().join("a.js"), "content").unwrap();
        fs::write(outer.path().join("a.js.br"), "coded").unwrap();
        let folder = Folder::new(outer.path().to_owned());
        let first = folder.sibling("/a.js", ".br", 10).await.unwrap();
        fs::write(outer.path().join("a.js"), "other content").unwrap();
        let second = folder.sibling("/a.js", ".br", 10).await.unwrap();
        assert_eq!(first.etag, second.etag);
        assert_ne!(first.source_etag, second.source_etag);
        fs::remove_file(outer.path().join("a.js")).unwrap();
        let third = folder.sibling("/a.js", ".br", 10).await.unwrap();
        assert_eq!(third.source_etag, None);
    }
}
