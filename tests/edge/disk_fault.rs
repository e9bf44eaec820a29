//! A disk tier that dies under load, with the program itself: nobody's request fails, the metric and the log name it, and
//! it is used again soon after it can be.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::client::{Client, Failure};
use crate::support::content::Content;
use crate::support::edge::write_site;
use crate::support::origin::Origin;
use crate::support::reply::Reply;

/// From the repair on.
const USED_AGAIN_WITHIN: Duration = Duration::from_secs(30);
/// From the fault on.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
const RESOURCES: u64 = 100;
const BYTES: u64 = 40_000;
const CLIENTS: u64 = 3;

struct Program {
    child: Child,
    http: SocketAddr,
    admin: SocketAddr,
    said: Arc<Mutex<String>>,
    origin: Origin,
    folder: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Program {
    /// `prepare` may spoil the place of the tier before the start.
    async fn start(prepare: impl FnOnce(&Path)) -> Self {
        let origin = Origin::start().await;
        origin.on_any(|request| {
            let number: u64 = request.path()[1..].parse().unwrap();
            Reply::ok(Content::pattern(number, BYTES)).cache_control("max-age=600")
        });
        let folder = tempfile::tempdir().unwrap();
        write_site(folder.path(), "site", &origin.url(), "");
        // The memory tier holds a small part of what is asked for.
        let text = "[node]\nid = \"edge\"\nsites = \"sites\"\nstate = \"../var\"\n\
            [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n\
            [cache.memory]\nsize = \"1MiB\"\nmax_object = \"1MiB\"\n\
            [[cache.disk]]\npath = \"../disk/cache\"\nsize = \"128MiB\"\n\
            [log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n";
        fs::write(folder.path().join("config/edge.toml"), text).unwrap();
        fs::create_dir(folder.path().join("disk")).unwrap();
        prepare(&folder.path().join("disk/cache"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_brim"))
            .args(["serve", "--config"])
            .arg(folder.path().join("config"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let hearing = Arc::clone(&said);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut said = hearing.lock();
                said.push_str(&line);
                said.push('\n');
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |word: &str| -> SocketAddr {
            let line = lines
                .by_ref()
                .map(Result::unwrap)
                .find(|line| line.trim_start().starts_with(word))
                .unwrap();
            let text = line.rsplit("http://").next().unwrap();
            text.trim().parse().unwrap()
        };
        let (http, admin) = (address("listener"), address("admin"));
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            http,
            admin,
            said,
            origin,
            folder,
        }
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk/cache")
    }

    async fn metric(&self, series: &str) -> f64 {
        let text = Client::plain(self.admin).get("/metrics").await;
        let text = text.unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("{series} in {text}"))
            .trim()
            .parse()
            .unwrap()
    }

    async fn until_up_is(&self, up: f64, within: Duration, what: &str) {
        let began = Instant::now();
        while (self.metric("brim_store_up{tier=\"disk\"}").await - up).abs() > 0.1 {
            assert!(
                began.elapsed() < within,
                "{what}: not after {within:?}; it said {}",
                self.said.lock()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until hits from the disk are served.
    async fn until_hit(&self, within: Duration) {
        let series = "brim_store_hits_total{tier=\"disk\"}";
        let (began, before) = (Instant::now(), self.metric(series).await);
        while self.metric(series).await < before + 50.0 {
            assert!(
                began.elapsed() < within,
                "no hit from the disk after {within:?}; it said {}",
                self.said.lock()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Clients that ask without a pause, and what they had to complain about.
struct Load {
    goes_on: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(program: &Program) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let answers = Arc::new(AtomicUsize::new(0));
        let bodies: Arc<Vec<Bytes>> = Arc::new(
            (0..RESOURCES)
                .map(|number| Content::pattern(number, BYTES).to_bytes())
                .collect(),
        );
        let clients = (0..CLIENTS).map(|first| {
            let client = Client::plain(program.http);
            let (goes_on, answers, bodies) = (
                Arc::clone(&goes_on),
                Arc::clone(&answers),
                Arc::clone(&bodies),
            );
            tokio::spawn(async move {
                let mut wrong = Vec::new();
                let mut connection = client.connect().await.unwrap();
                for turn in first * 31.. {
                    if !goes_on.load(SeqCst) {
                        break;
                    }
                    let number = turn % RESOURCES;
                    match connection.get(&format!("/{number}"), &[]).await {
                        Ok(answer) => {
                            let right = bodies[usize::try_from(number).unwrap()] == answer.body;
                            if answer.status.as_u16() != 200 || !right {
                                wrong.push(format!("/{number}: {} {right}", answer.status));
                            }
                            answers.fetch_add(1, SeqCst);
                        }
                        Err(Failure::NoAnswer(why)) | Err(Failure::Broken { why, .. }) => {
                            wrong.push(format!("/{number}: {why}"));
                            connection = client.connect().await.unwrap();
                        }
                    }
                }
                wrong
            })
        });
        Self {
            clients: clients.collect(),
            goes_on,
            answers,
        }
    }

    async fn end(self) {
        self.goes_on.store(false, SeqCst);
        for client in self.clients {
            let wrong = client.await.unwrap();
            assert!(
                wrong.is_empty(),
                "{} failed: {:?}",
                wrong.len(),
                wrong.first()
            );
        }
        assert!(self.answers.load(SeqCst) > 500);
    }
}

/// Does something to the tier of a program under load, and undoes it.
async fn survives(
    fault: impl FnOnce(&Path) + Send + 'static,
    repair: impl FnOnce(&Path) + Send + 'static,
) {
    let program = Program::start(|_| {}).await;
    program
        .until_up_is(1.0, NOTICED_WITHIN, "the first opening")
        .await;
    let load = Load::on(&program);
    program.until_hit(NOTICED_WITHIN).await;
    fault(&program.disk());
    program.until_up_is(0.0, NOTICED_WITHIN, "the fault").await;
    assert!(
        program.said.lock().contains("the disk tier is not in use"),
        "{}",
        program.said.lock()
    );
    repair(&program.disk());
    program
        .until_up_is(1.0, USED_AGAIN_WITHIN, "the recovery")
        .await;
    program.until_hit(USED_AGAIN_WITHIN).await;
    load.end().await;
    assert!(program.origin.count() >= usize::try_from(RESOURCES).unwrap());
}

fn data_files(disk: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(disk.join("data")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    files
        .filter(|file| fs::metadata(file).unwrap().len() >= 1 << 20)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_tier_whose_folder_is_removed_under_load_fails_nobody_and_comes_back() {
    survives(|disk| fs::remove_dir_all(disk).unwrap(), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_tier_whose_files_are_cut_under_load_fails_nobody_and_comes_back() {
    survives(
        |disk| {
            for file in data_files(disk) {
                fs::File::options()
                    .write(true)
                    .open(file)
                    .unwrap()
                    .set_len(0)
                    .unwrap();
            }
        },
        |_| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_tier_whose_place_is_taken_under_load_fails_nobody_and_comes_back() {
    survives(
        |disk| {
            fs::rename(disk, disk.with_extension("away")).unwrap();
            fs::write(disk, "not a folder").unwrap();
        },
        |disk| {
            fs::remove_file(disk).unwrap();
            fs::rename(disk.with_extension("away"), disk).unwrap();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_tier_that_cannot_be_used_at_the_start_is_taken_up_later() {
    let program = Program::start(|disk| fs::write(disk, "not a folder").unwrap()).await;
    let load = Load::on(&program);
    program.until_up_is(0.0, NOTICED_WITHIN, "the fault").await;
    assert!(program.said.lock().contains("the disk tier is not in use"));
    fs::remove_file(program.disk()).unwrap();
    program
        .until_up_is(1.0, USED_AGAIN_WITHIN, "the recovery")
        .await;
    program.until_hit(USED_AGAIN_WITHIN).await;
    load.end().await;
}
