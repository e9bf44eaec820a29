//! A disk tier that dies under load, with the program itself: nobody's request fails, the metric and the log name it, and
//! it is used again soon after it can be.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::client::{Client, Failure};
use crate::support::content::Content;
use crate::support::program::{BYTES, Program};

/// From the repair on.
const USED_AGAIN_WITHIN: Duration = Duration::from_secs(30);
/// From the fault on.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
const RESOURCES: u64 = 100;
const CLIENTS: u64 = 3;

async fn start(prepare: impl FnOnce(&Path)) -> Program {
    // The memory tier holds a small part of what is asked for.
    let node = "[cache.memory]\nsize = \"1MiB\"\nmax_object = \"1MiB\"\n\
        [[cache.disk]]\npath = \"../disk/cache\"\nsize = \"128MiB\"\n";
    Program::start(node, |folder| {
        fs::create_dir(folder.join("disk")).unwrap();
        prepare(&folder.join("disk/cache"));
    })
    .await
}

fn disk(program: &Program) -> PathBuf {
    program.folder.path().join("disk/cache")
}

async fn until_up_is(program: &Program, up: f64, within: Duration, what: &str) {
    let began = Instant::now();
    while (program.metric("brim_store_up{tier=\"disk\"}").await - up).abs() > 0.1 {
        assert!(
            began.elapsed() < within,
            "{what}: not after {within:?}; it said {}",
            program.said.lock()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Until hits from the disk are served.
async fn until_hit(program: &Program, within: Duration) {
    let series = "brim_store_hits_total{tier=\"disk\"}";
    let (began, before) = (Instant::now(), program.metric(series).await);
    while program.metric(series).await < before + 50.0 {
        assert!(
            began.elapsed() < within,
            "no hit from the disk after {within:?}; it said {}",
            program.said.lock()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
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
    let program = start(|_| {}).await;
    until_up_is(&program, 1.0, NOTICED_WITHIN, "the first opening").await;
    let load = Load::on(&program);
    until_hit(&program, NOTICED_WITHIN).await;
    fault(&disk(&program));
    until_up_is(&program, 0.0, NOTICED_WITHIN, "the fault").await;
    assert!(
        program.said.lock().contains("the disk tier is not in use"),
        "{}",
        program.said.lock()
    );
    repair(&disk(&program));
    until_up_is(&program, 1.0, USED_AGAIN_WITHIN, "the recovery").await;
    until_hit(&program, USED_AGAIN_WITHIN).await;
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
    let program = start(|disk| fs::write(disk, "not a folder").unwrap()).await;
    let load = Load::on(&program);
    until_up_is(&program, 0.0, NOTICED_WITHIN, "the fault").await;
    assert!(program.said.lock().contains("the disk tier is not in use"));
    fs::remove_file(disk(&program)).unwrap();
    until_up_is(&program, 1.0, USED_AGAIN_WITHIN, "the recovery").await;
    until_hit(&program, USED_AGAIN_WITHIN).await;
    load.end().await;
}
