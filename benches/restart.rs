//! How long the program takes from its start to its first hit from a full disk tier:
//!
//! ```text
//! cargo bench --bench restart -- --gib 20 --folder /a/folder/with/room [--object-kib 32] [--keep]
//! ```
//!
//! It fills the tier in process, then starts the program five times, with an empty page cache where it may empty it, and
//! five times with a warm one, and asks for objects that were written last, first and in between. Without arguments it
//! does so with 256 MiB.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench has nobody to tell but its reader"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use brim::store::{Config, DiskConfig, MemoryConfig, Placement, Store};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STARTS: usize = 5;

struct Plan {
    mib: u64,
    object_bytes: usize,
    folder: PathBuf,
    keep: bool,
    own: Option<tempfile::TempDir>,
}

impl Plan {
    fn read() -> Self {
        let mut plan = Self {
            mib: 256,
            object_bytes: 32 << 10,
            folder: PathBuf::new(),
            keep: false,
            own: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value");
            match word.as_str() {
                "--gib" => plan.mib = 1024 * value().parse::<u64>().expect("a number"),
                "--mib" => plan.mib = value().parse().expect("a number"),
                "--object-kib" => {
                    plan.object_bytes = 1024 * value().parse::<usize>().expect("a number");
                }
                "--folder" => plan.folder = value().into(),
                "--keep" => plan.keep = true,
                // What `cargo bench` adds.
                _ => {}
            }
        }
        if plan.folder.as_os_str().is_empty() {
            let own = tempfile::tempdir().expect("a folder");
            plan.folder = own.path().to_owned();
            plan.own = Some(own);
        }
        plan
    }

    fn disk_bytes(&self) -> u64 {
        self.mib << 20
    }
}

fn main() {
    let plan = Plan::read();
    let var = plan.folder.join("var");
    let kept = fs::read_to_string(plan.folder.join("objects"))
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let objects = match kept {
        Some(objects) => objects,
        None => fill(&plan, &var),
    };
    configure(&plan);
    for (name, cold) in [("cold page cache", true), ("warm page cache", false)] {
        let mut times: Vec<Times> = (0..STARTS)
            .map(|_| {
                if cold && !drop_page_cache() {
                    println!("(the page cache could not be emptied)");
                }
                start(&plan, objects)
            })
            .collect();
        for times in &times {
            println!("  {times:?}");
        }
        times.sort_by_key(|times| times.first_hit);
        println!(
            "{name}: first hit after {:?} (median of {STARTS}; slowest {:?})",
            times[STARTS / 2].first_hit,
            times[STARTS - 1].first_hit
        );
    }
    if !plan.keep && plan.own.is_none() {
        fs::remove_dir_all(&plan.folder).unwrap();
    }
}

fn path(number: u64) -> String {
    format!("/assets/{number}.bin")
}

/// Objects of the size and up to a half more, as many as the tier holds. How many.
fn fill(plan: &Plan, var: &Path) -> u64 {
    let runtime = Runtime::new().unwrap();
    let config = Config {
        memory: MemoryConfig {
            size_bytes: 16 << 20,
            ..MemoryConfig::default()
        },
        disks: vec![DiskConfig::new(var.join("cache"), plan.disk_bytes())],
        state: var.to_owned(),
        max_clocks: 2_000_000,
    };
    fs::create_dir_all(var).unwrap();
    let began = Instant::now();
    let store = runtime
        .block_on(Store::open(&config, runtime.handle().clone()))
        .unwrap();
    let site = store.site("demo");
    let (mut bytes, mut number, mut refused) = (0_u64, 0_u64, 0_u64);
    while bytes < plan.disk_bytes() {
        let extra = usize::try_from(number % 8).unwrap() * plan.object_bytes / 16;
        let body = support::body(number, plan.object_bytes + extra);
        let length = body.len() as u64;
        let (key, entry) = support::object(&store, &path(number), u128::from(number), body);
        let kept = runtime.block_on(site.insert(key, entry, Placement::DiskPreferred));
        if !kept.disk {
            refused += 1;
        }
        bytes += length;
        number += 1;
    }
    let settled = runtime.block_on(store.settle(Duration::from_secs(600)));
    runtime.block_on(store.close(Duration::from_secs(60)));
    println!(
        "filled with {number} objects, {} MiB, in {:?} ({refused} refused, settled {settled})",
        bytes >> 20,
        began.elapsed()
    );
    fs::write(plan.folder.join("objects"), number.to_string()).unwrap();
    number
}

fn configure(plan: &Plan) {
    let config = plan.folder.join("config");
    fs::create_dir_all(config.join("sites")).unwrap();
    let node = format!(
        "[node]\nid = \"edge\"\nsites = \"sites\"\nstate = \"../var\"\n\
         [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n\
         [cache.memory]\nsize = \"256MiB\"\n\
         [[cache.disk]]\npath = \"../var/cache\"\nsize = \"{}MiB\"\n\
         [log]\nlevel = \"error\"\n[log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n",
        plan.mib
    );
    fs::write(config.join("edge.toml"), node).unwrap();
    // Nobody listens there: an answer can only come from the tier.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let site =
        format!("name = \"site\"\nhosts = [\"localhost\"]\n[origin]\nurl = \"http://{nobody}\"\n");
    fs::write(config.join("sites/site.toml"), site).unwrap();
}

#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
struct Times {
    /// It says that it listens.
    up: Duration,
    first_hit: Duration,
    /// Of a sample over all of the tier, once the first was hit.
    found: String,
}

fn start(plan: &Plan, objects: u64) -> Times {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_brim"))
        .args(["serve", "--config"])
        .arg(plan.folder.join("config"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let address = listener(&mut child);
    let up = began.elapsed();
    // From the newest to the oldest: what was written first may have been evicted.
    let sample: Vec<u64> = (0..64).map(|n| objects - 1 - n * (objects / 64)).collect();
    let deadline = began + Duration::from_secs(120);
    let first_hit = loop {
        if sample.iter().take(8).any(|number| is_hit(address, *number)) {
            break began.elapsed();
        }
        assert!(Instant::now() < deadline, "no hit in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    };
    // Until no more is found: recovery may go on behind the first hits.
    let count = || sample.iter().filter(|n| is_hit(address, **n)).count();
    let (mut found, mut all_after) = (count(), began.elapsed());
    while found < sample.len() && began.elapsed() < all_after + Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(50));
        let now = count();
        if now > found {
            (found, all_after) = (now, began.elapsed());
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    Times {
        up,
        first_hit,
        found: format!("{found} of {} after {all_after:?}", sample.len()),
    }
}

fn listener(child: &mut Child) -> SocketAddr {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.trim_start().starts_with("listener"))
        .unwrap();
    // The rest is read, too, so that the program never waits for its reader.
    std::thread::spawn(move || lines.for_each(drop));
    let text = line.rsplit("http://").next().unwrap();
    text.trim().parse().unwrap()
}

fn is_hit(address: SocketAddr, number: u64) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        path(number)
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(0);
    let is_hit = String::from_utf8_lossy(&answer[..head]).contains("; hit");
    if is_hit {
        let body = &answer[head + 4..];
        assert!(
            support::body(number, body.len()) == body,
            "object {number} came with other bytes"
        );
    }
    is_hit
}

/// Only root may.
fn drop_page_cache() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
