//! The program under test: started on one folder again and again, and ended in one way or the other.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// From exec to the lines that say where it listens.
const START_DEADLINE: Duration = Duration::from_secs(60);
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);
const LINES_KEPT: usize = 60;

/// What the program has said on standard error, over all its lives.
#[derive(Debug, Default)]
pub(crate) struct Said {
    lines: Mutex<VecDeque<String>>,
    pub(crate) panics: AtomicU64,
}

impl Said {
    fn hear(&self, line: String) {
        if line.contains("panicked at") {
            self.panics.fetch_add(1, SeqCst);
        }
        let mut lines = self.lines.lock();
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(crate) fn last(&self) -> String {
        let lines = self.lines.lock();
        lines.iter().map(|line| format!("    {line}\n")).collect()
    }
}

pub(crate) struct Program {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    /// Starts it and reads from its first lines where it listens.
    pub(crate) fn start(program: &Path, config: &Path, said: &Arc<Said>) -> Result<Self, String> {
        let mut child = Self::spawn(program, config, said);
        let stdout = child.stdout.take().expect("piped");
        let (lines, inbox) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Further lines are read, so that it never waits for a reader, and dropped.
                drop(lines.send(line));
            }
        });
        let deadline = Instant::now() + START_DEADLINE;
        let address = |word: &str| loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = inbox
                .recv_timeout(left)
                .map_err(|error| format!("the program did not start: {error}"))?;
            if line.trim_start().starts_with(word) {
                let text = line.rsplit("http://").next().unwrap_or_default().trim();
                return text
                    .parse::<SocketAddr>()
                    .map_err(|error| format!("{line}: {error}"));
            }
        };
        let addresses = address("listener").and_then(|http| Ok((http, address("admin")?)));
        match addresses {
            Ok((http, admin)) => Ok(Self { child, http, admin }),
            Err(error) => {
                child.kill().ok();
                let status = child.wait();
                Err(format!("{error}; it ended with {status:?}"))
            }
        }
    }

    /// Starts it without waiting for anything.
    pub(crate) fn spawn(program: &Path, config: &Path, said: &Arc<Said>) -> Child {
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let stderr = child.stderr.take().expect("piped");
        let said = Arc::clone(said);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stderr);
            let mut line = Vec::new();
            loop {
                line.clear();
                match reader.by_ref().take(1 << 16).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => said.hear(String::from_utf8_lossy(&line).trim_end().to_owned()),
                }
            }
        });
        child
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL: no line of its own runs any more.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// SIGTERM; whether it ended by itself in time.
    pub(crate) fn drain(mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
        let deadline = Instant::now() + DRAIN_DEADLINE;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// However a life ends, nothing is left that holds the folders.
impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended before.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Writes the configuration: one site, a memory tier much smaller than what is asked for, and a disk tier.
pub(crate) fn configure(folder: &Path, origin: SocketAddr, disk_mib: usize) {
    let config = folder.join("config");
    fs::create_dir_all(config.join("sites")).expect("a folder");
    let node = format!(
        "[node]\nid = \"edge\"\nsites = \"sites\"\nstate = \"../var\"\nworkers = 2\n\
         [[listener]]\nname = \"http\"\nbind = [\"127.0.0.1:0\"]\nprotocols = [\"h1\"]\ntls = false\n\
         [cache.memory]\nsize = \"8MiB\"\nmax_object = \"1MiB\"\n\
         [[cache.disk]]\npath = \"../var/cache\"\nsize = \"{disk_mib}MiB\"\n\
         [purge]\nmax_clocks = 1000\n\
         [log]\nlevel = \"warn,brim::store=info\"\n[log.access]\nenabled = false\n[admin]\nbind = \"127.0.0.1:0\"\n"
    );
    let site = format!(
        "name = \"site\"\nhosts = [\"localhost\"]\nmethods = [\"GET\", \"HEAD\", \"POST\"]\n\
         max_request_body = \"1KiB\"\n[origin]\nurl = \"http://{origin}\"\n"
    );
    fs::write(config.join("edge.toml"), node).expect("a file");
    fs::write(config.join("sites/site.toml"), site).expect("a file");
}
