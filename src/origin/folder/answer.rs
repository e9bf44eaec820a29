use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    LOCATION, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::policy::{self, Precondition};
use crate::semantics::{
    media_type,
    range::{self, Ranges},
};

use crate::origin::{Body, OriginError, Request, Response};

use super::body::{FileBody, PIECE_BYTES};
use super::find::{Found, INDEX, Stamp, find, unreadable};

/// A folder as origin: GET and HEAD of the regular files below it, and of nothing else.
#[derive(Debug)]
pub(in crate::origin) struct Folder {
    pub(super) root: Arc<Path>,
    name: Arc<str>,
}

/// A head, and where its body comes from.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    Nothing,
    Small(Bytes),
    Large {
        file: File,
        length: u64,
        stamp: Stamp,
    },
}

impl Folder {
    pub(in crate::origin) fn new(root: PathBuf) -> Self {
        Self {
            root: root.into(),
            name: "folder".into(),
        }
    }

    pub(in crate::origin) async fn fetch(&self, request: Request) -> Result<Response, OriginError> {
        let root = Arc::clone(&self.root);
        // One visit to the blocking threads for small files, which most are.
        let answer = tokio::task::spawn_blocking(move || answer(&root, &request))
            .await
            .map_err(|error| unreadable(io::Error::other(error)))??;
        let content_length = answer
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let body = match answer.payload {
            Payload::Nothing => Body::empty(),
            Payload::Small(bytes) => Body::whole(bytes),
            Payload::Large {
                file,
                length,
                stamp,
            } => Body::file(FileBody::new(file, length, stamp, Arc::clone(&self.name))),
        };
        Ok(Response {
            status: answer.status,
            headers: answer.headers,
            content_length,
            body,
            server: Arc::clone(&self.name),
        })
    }
}

fn answer(root: &Path, request: &Request) -> Result<Answer, OriginError> {
    let head = match request.method {
        Method::GET => false,
        Method::HEAD => true,
        _ => {
            let mut refusal = note(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            refusal.headers.insert(ALLOW, allowed);
            return Ok(refusal);
        }
    };
    let mut answer = match find(root, &request.path)? {
        Found::File { file, stamp } => of_file(request, file, stamp)?,
        Found::Folder => to_folder(request),
        Found::Nothing => note(StatusCode::NOT_FOUND),
        Found::Forbidden => note(StatusCode::FORBIDDEN),
    };
    if head {
        answer.payload = Payload::Nothing;
    }
    Ok(answer)
}

fn of_file(request: &Request, file: File, stamp: Stamp) -> Result<Answer, OriginError> {
    let etag = stamp.etag();
    let modified = httpdate::fmt_http_date(stamp.modified);
    let mut headers = HeaderMap::new();
    set(&mut headers, ETAG, &etag);
    set(&mut headers, LAST_MODIFIED, &modified);
    let validators = (headers.get(ETAG), headers.get(LAST_MODIFIED));
    let found = policy::evaluate(
        &request.method,
        &request.headers,
        validators.0,
        validators.1,
    );
    if found == Precondition::NotModified {
        return Ok(Answer {
            status: StatusCode::NOT_MODIFIED,
            headers,
            payload: Payload::Nothing,
        });
    }
    let kind = media_type::type_of_extension(&request.path_of_file())
        .unwrap_or("application/octet-stream");
    set(&mut headers, CONTENT_TYPE, kind);
    set(&mut headers, ACCEPT_RANGES, "bytes");
    // Without a Date of ours, a date is no strong validator for If-Range: the whole is always right.
    let applies = request.method == Method::GET
        && policy::range_applies(
            &request.headers,
            headers.get(ETAG),
            headers.get(LAST_MODIFIED),
            None,
        );
    let asked = match applies {
        true => range::resolve(request.headers.get(RANGE), stamp.length),
        false => Ranges::Whole,
    };
    let single = match &asked {
        Ranges::Parts(parts) if parts.len() == 1 => parts.first().cloned(),
        Ranges::Parts(_) | Ranges::Whole | Ranges::Unsatisfiable => None,
    };
    let (status, bytes) = match (asked, single) {
        (Ranges::Whole | Ranges::Parts(_), None) => (StatusCode::OK, 0..stamp.length),
        (_, Some(bytes)) => {
            let (first, last) = (bytes.start, bytes.end.saturating_sub(1));
            let value = format!("bytes {first}-{last}/{}", stamp.length);
            set(&mut headers, CONTENT_RANGE, &value);
            (StatusCode::PARTIAL_CONTENT, bytes)
        }
        (Ranges::Unsatisfiable, None) => {
            let mut refusal = note(StatusCode::RANGE_NOT_SATISFIABLE);
            let value = format!("bytes */{}", stamp.length);
            set(&mut refusal.headers, CONTENT_RANGE, &value);
            return Ok(refusal);
        }
    };
    let length = bytes.end.saturating_sub(bytes.start);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let payload = if request.method == Method::HEAD {
        Payload::Nothing
    } else {
        payload(file, &bytes, stamp)?
    };
    Ok(Answer {
        status,
        headers,
        payload,
    })
}

fn payload(mut file: File, bytes: &Range<u64>, stamp: Stamp) -> Result<Payload, OriginError> {
    let length = bytes.end.saturating_sub(bytes.start);
    if bytes.start > 0 {
        file.seek(SeekFrom::Start(bytes.start))
            .map_err(unreadable)?;
    }
    match usize::try_from(length) {
        Ok(small) if small <= PIECE_BYTES => {
            let mut content = vec![0; small];
            file.read_exact(&mut content).map_err(shrunk)?;
            if Stamp::of(&file).map_err(unreadable)? != stamp {
                return Err(OriginError::Changed);
            }
            Ok(Payload::Small(content.into()))
        }
        Ok(_) | Err(_) => Ok(Payload::Large {
            file,
            length,
            stamp,
        }),
    }
}

/// A folder named without its slash: relative links in its index would go astray.
fn to_folder(request: &Request) -> Answer {
    let mut location = format!("{}/", request.path);
    if let Some(query) = &request.query {
        location.push('?');
        location.push_str(query);
    }
    let mut answer = note(StatusCode::MOVED_PERMANENTLY);
    set(&mut answer.headers, LOCATION, &location);
    answer
}

/// A status with its name as body.
fn note(status: StatusCode) -> Answer {
    let text = status.canonical_reason().unwrap_or_default();
    let body = Bytes::from(format!("{text}\n"));
    let mut headers = HeaderMap::new();
    set(&mut headers, CONTENT_TYPE, "text/plain; charset=utf-8");
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    Answer {
        status,
        headers,
        payload: Payload::Small(body),
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl Request {
    fn path_of_file(&self) -> String {
        if self.path.ends_with('/') {
            format!("{}{INDEX}", self.path)
        } else {
            self.path.clone()
        }
    }
}

fn shrunk(error: io::Error) -> OriginError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => OriginError::Changed,
        _ => unreadable(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE};
    use tempfile::TempDir;

    use super::*;
    use crate::origin::Upload;

    /// `outer/secret.txt` beside `outer/site`, which is served.
    struct Site {
        outer: TempDir,
        folder: Folder,
    }

    impl Site {
        fn new() -> Self {
            let outer = TempDir::new().unwrap();
            let root = outer.path().join("site");
            fs::create_dir_all(root.join("docs/empty")).unwrap();
            fs::create_dir_all(root.join(".git")).unwrap();
            for (name, text) in [
                ("site/index.html", "start"),
                ("site/a.css", "0123456789"),
                ("site/a b.txt", "space"),
                ("site/docs/index.html", "docs"),
                ("site/.git/config", "hidden"),
                ("site/.htaccess", "hidden"),
                ("secret.txt", "secret"),
            ] {
                fs::write(outer.path().join(name), text).unwrap();
            }
            let folder = Folder::new(root);
            Self { outer, folder }
        }

        fn root(&self) -> PathBuf {
            self.outer.path().join("site")
        }

        async fn ask(&self, method: Method, path: &str, fields: &[(HeaderName, &str)]) -> Response {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            let request = Request {
                method,
                path: path.to_owned(),
                query: None,
                client_host: None,
                headers,
                body: Upload::None,
                interim: None,
            };
            self.folder.fetch(request).await.unwrap()
        }
    }

    async fn read(response: &mut Response) -> Result<Vec<u8>, OriginError> {
        let mut all = Vec::new();
        while let Some(piece) = response.body.chunk().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    async fn check(site: &Site, path: &str, expect: Option<&str>) {
        let mut response = site.ask(Method::GET, path, &[]).await;
        let body = read(&mut response).await.unwrap();
        match expect {
            Some(text) => {
                assert_eq!(response.status, StatusCode::OK, "{path}");
                assert_eq!(body, text.as_bytes(), "{path}");
            }
            None => {
                assert_eq!(response.status, StatusCode::NOT_FOUND, "{path}");
                assert_eq!(body, b"Not Found\n", "{path}");
            }
        }
    }

    #[tokio::test]
    async fn files_and_indexes_are_found() {
        let site = Site::new();
        check(&site, "/", Some("start")).await;
        check(&site, "/a.css", Some("0123456789")).await;
        check(&site, "/a%20b.txt", Some("space")).await;
        check(&site, "/docs/", Some("docs")).await;
        check(&site, "/docs/empty/", None).await;
        check(&site, "/a.css/", None).await;
        check(&site, "/a.css/b", None).await;
        check(&site, "/none", None).await;
        check(&site, &format!("/{}", "n".repeat(5000)), None).await;
    }

    #[tokio::test]
    async fn nothing_outside_and_nothing_hidden_is_found() {
        let site = Site::new();
        let root = site.root();
        symlink(site.outer.path().join("secret.txt"), root.join("out.txt")).unwrap();
        symlink("../secret.txt", root.join("up.txt")).unwrap();
        symlink(site.outer.path(), root.join("outer")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink(".htaccess", root.join("shown.txt")).unwrap();
        for path in [
            "/../secret.txt",
            "/docs/../../secret.txt",
            "/%2e%2e/secret.txt",
            "/..%2fsecret.txt",
            "/docs/..%2F..%2Fsecret.txt",
            "/%2e%2e%2fsecret.txt",
            "//etc/passwd",
            "/%2Fetc/passwd",
            "/docs//index.html",
            "/a.css%00",
            "/%ff",
            "/%zz",
            "/%",
            "/docs%5Cindex.html",
            "/.htaccess",
            "/%2Ehtaccess",
            "/.git/config",
            "/out.txt",
            "/up.txt",
            "/outer/secret.txt",
            "/outer/site/a.css",
            "/loop",
            "/shown.txt",
        ] {
            // One leads out and in again: what counts is where it ends.
            let expect = (path == "/outer/site/a.css").then_some("0123456789");
            check(&site, path, expect).await;
        }
    }

    #[tokio::test]
    async fn links_that_stay_inside_are_followed() {
        let site = Site::new();
        symlink("a.css", site.root().join("b.css")).unwrap();
        symlink(site.root().join("docs"), site.root().join("manual")).unwrap();
        check(&site, "/b.css", Some("0123456789")).await;
        check(&site, "/manual/", Some("docs")).await;
    }

    #[tokio::test]
    async fn a_pipe_in_the_folder_holds_nobody_up() {
        let site = Site::new();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            site.root().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        check(&site, "/pipe", None).await;
    }

    #[tokio::test]
    async fn a_folder_without_its_slash_is_redirected() {
        let site = Site::new();
        let response = site.ask(Method::GET, "/docs", &[]).await;
        assert_eq!(response.status, StatusCode::MOVED_PERMANENTLY);
        assert_eq!(response.headers[LOCATION], "/docs/");
    }

    #[tokio::test]
    async fn fields_tell_what_it_is() {
        let site = Site::new();
        let mut got = site.ask(Method::GET, "/a.css", &[]).await;
        let kind = media_type::type_of_extension("/a.css").unwrap();
        assert_eq!(got.headers[CONTENT_TYPE], kind);
        assert_eq!(got.content_length, Some(10));
        assert_eq!(read(&mut got).await.unwrap(), b"0123456789");
        let mut head = site.ask(Method::HEAD, "/a.css", &[]).await;
        assert_eq!(head.headers, got.headers);
        assert_eq!(head.content_length, Some(10));
        assert!(read(&mut head).await.unwrap().is_empty());
        let refused = site.ask(Method::PUT, "/a.css", &[]).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers[ALLOW], "GET, HEAD");
    }

    #[tokio::test]
    async fn validators_are_compared() {
        let site = Site::new();
        let first = site.ask(Method::GET, "/a.css", &[]).await;
        let etag = first.headers[ETAG].to_str().unwrap().to_owned();
        let date = first.headers[LAST_MODIFIED].to_str().unwrap().to_owned();
        let weak = format!("\"x\", W/{etag}");
        let old = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (fields, expect) in [
            (vec![(IF_NONE_MATCH, etag.as_str())], 304),
            (vec![(IF_NONE_MATCH, weak.as_str())], 304),
            (vec![(IF_NONE_MATCH, "*")], 304),
            (vec![(IF_NONE_MATCH, "\"x\"")], 200),
            (vec![(IF_MODIFIED_SINCE, date.as_str())], 304),
            (vec![(IF_MODIFIED_SINCE, old)], 200),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], 200),
            (
                vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, date.as_str())],
                200,
            ),
        ] {
            let response = site.ask(Method::GET, "/a.css", &fields).await;
            assert_eq!(response.status.as_u16(), expect, "{fields:?}");
            assert_eq!(response.headers[ETAG], etag.as_str());
        }
        fs::write(site.root().join("a.css"), "9876543210+").unwrap();
        let changed = site
            .ask(Method::GET, "/a.css", &[(IF_NONE_MATCH, &etag)])
            .await;
        assert_eq!(changed.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn one_range_is_served() {
        let site = Site::new();
        let etag = site.ask(Method::GET, "/a.css", &[]).await.headers[ETAG].clone();
        let etag = etag.to_str().unwrap();
        for (range, status, body) in [
            ("bytes=0-3", 206, "0123"),
            ("bytes=8-", 206, "89"),
            ("bytes=8-99", 206, "89"),
            ("bytes=-3", 206, "789"),
            ("bytes=-99", 206, "0123456789"),
            // Near ranges are one.
            ("bytes=0-1,3-4", 206, "01234"),
            ("bytes=5-4", 200, "0123456789"),
            ("bytes=", 200, "0123456789"),
            ("bytes=-", 200, "0123456789"),
            ("lines=1-2", 200, "0123456789"),
            ("bytes=10-", 416, "Range Not Satisfiable\n"),
            ("bytes=-0", 416, "Range Not Satisfiable\n"),
        ] {
            let fields = [(RANGE, range), (IF_RANGE, etag)];
            let mut response = site.ask(Method::GET, "/a.css", &fields).await;
            assert_eq!(response.status.as_u16(), status, "{range}");
            let length = u64::try_from(body.len()).unwrap();
            assert_eq!(response.content_length, Some(length), "{range}");
            assert_eq!(
                read(&mut response).await.unwrap(),
                body.as_bytes(),
                "{range}"
            );
        }
        let fields = [(RANGE, "bytes=2-4")];
        let part = site.ask(Method::GET, "/a.css", &fields).await;
        assert_eq!(part.headers[CONTENT_RANGE], "bytes 2-4/10");
        let fields = [(RANGE, "bytes=2-4"), (IF_RANGE, "\"other\"")];
        let whole = site.ask(Method::GET, "/a.css", &fields).await;
        assert_eq!(whole.status, StatusCode::OK);
    }

    fn large() -> Vec<u8> {
        (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect()
    }

    #[tokio::test]
    async fn a_large_file_comes_in_pieces_whole_or_in_part() {
        let site = Site::new();
        fs::write(site.root().join("large.bin"), large()).unwrap();
        let mut whole = site.ask(Method::GET, "/large.bin", &[]).await;
        assert_eq!(read(&mut whole).await.unwrap(), large());
        let fields = [(RANGE, "bytes=7-700000")];
        let mut part = site.ask(Method::GET, "/large.bin", &fields).await;
        assert_eq!(read(&mut part).await.unwrap(), large()[7..=700_000]);
    }

    #[tokio::test]
    async fn a_file_that_changes_under_the_reader_is_an_error() {
        let site = Site::new();
        let path = site.root().join("large.bin");
        fs::write(&path, large()).unwrap();
        let mut shrunk = site.ask(Method::GET, "/large.bin", &[]).await;
        assert!(shrunk.body.chunk().await.unwrap().is_some());
        fs::write(&path, "short").unwrap();
        assert_eq!(read(&mut shrunk).await.unwrap_err().kind(), "truncated");

        fs::write(&path, large()).unwrap();
        let mut rewritten = site.ask(Method::GET, "/large.bin", &[]).await;
        assert!(rewritten.body.chunk().await.unwrap().is_some());
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(read(&mut rewritten).await.unwrap_err().kind(), "changed");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error_and_not_a_404() {
        let folder = Folder::new("/nonexistent/brim".into());
        let request = Request {
            method: Method::GET,
            path: "/".to_owned(),
            query: None,
            client_host: None,
            headers: HeaderMap::new(),
            body: Upload::None,
            interim: None,
        };
        assert_eq!(folder.fetch(request).await.unwrap_err().kind(), "read");
    }
}
