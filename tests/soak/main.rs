//! The program under load, killed at random points and started again on what it left, for as long as one likes:
//!
//! ```text
//! cargo test --release --test soak -- --rounds 200 --minutes 20 [--seed N] [--folder PATH] [--program PATH] [--fault NAME]
//! ```
//!
//! With `--fault flipclocks`, for example, that befalls the files after every life. Without arguments it is a part of `cargo test`, some rounds and seconds long. It ends with what it has counted, and
//! fails when anything was wrong: bytes that are not the resource's, an answer from before an acknowledged purge, a
//! 5xx while the origin is healthy, an answer that ends early and does not say so.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and this one tells how far it is"
)]

mod chance;
mod faults;
mod judge;
mod load;
mod origin;
mod program;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use self::chance::Chance;
use self::faults::Fault;
use self::load::{Life, Tally};
use self::program::{Program, Said, configure};
use self::world::World;

const BROWSERS: u64 = 6;
const VERIFIERS: usize = 4;

struct Arguments {
    rounds: usize,
    time: Duration,
    seed: u64,
    folder: Option<PathBuf>,
    program: PathBuf,
    fault: Option<Fault>,
}

impl Arguments {
    /// `None` when `cargo test` was asked for something else.
    fn read() -> Option<Self> {
        let mut arguments = Self {
            rounds: 4,
            time: Duration::from_secs(8),
            seed: 1,
            folder: None,
            program: env!("CARGO_BIN_EXE_brim").into(),
            fault: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number = || {
                let text = words.next().unwrap_or_default();
                text.parse::<u64>()
                    .expect("--rounds, --minutes and --seed take a number")
            };
            match word.as_str() {
                "--rounds" => arguments.rounds = usize::try_from(number()).expect("a number"),
                "--minutes" => arguments.time = Duration::from_secs(60 * number()),
                "--seed" => arguments.seed = number(),
                "--folder" => arguments.folder = words.next().map(PathBuf::from),
                "--program" => arguments.program = words.next().expect("a path").into(),
                "--fault" => {
                    let name = words.next().unwrap_or_default();
                    arguments.fault = Some(Fault::named(&name).expect("the name of a fault"));
                }
                "--list" => {
                    println!("soak: test");
                    return None;
                }
                // Flags of the usual harness, such as --nocapture.
                flag if flag.starts_with('-') => {}
                filter => {
                    if !"soak".contains(filter) {
                        return None;
                    }
                }
            }
        }
        Some(arguments)
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read() else {
        return ExitCode::SUCCESS;
    };
    judge::is_of_use(&World::new());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let own = tempfile::tempdir().expect("a folder");
    let folder = arguments
        .folder
        .clone()
        .unwrap_or_else(|| own.path().to_owned());
    let soak = Soak {
        world: Arc::new(World::new()),
        tally: Arc::default(),
        said: Arc::default(),
        folder,
        program: arguments.program.clone(),
        runtime,
    };
    soak.run(&arguments)
}

struct Soak {
    world: Arc<World>,
    tally: Arc<Tally>,
    said: Arc<Said>,
    folder: PathBuf,
    program: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Soak {
    fn run(&self, arguments: &Arguments) -> ExitCode {
        let mut chance = Chance::new(arguments.seed);
        let origin = self
            .runtime
            .block_on(origin::start(Arc::clone(&self.world)));
        let began = Instant::now();
        let mut disk_mib = 160;
        let (mut kills, mut drains, mut failures) = (0, 0, Vec::new());
        for round in 0..arguments.rounds {
            if round > 0 && chance.percent(4) {
                disk_mib = [128, 160, 256][chance.below(3)];
                self.tally
                    .happened(format!("before round {round}: {disk_mib} MiB"));
            }
            configure(&self.folder, origin, disk_mib);
            let left = arguments.time.saturating_sub(began.elapsed());
            let each = left / u32::try_from(arguments.rounds - round).expect("a count");
            let seed = chance.next();
            match self.live(round, each, seed, &mut chance) {
                Ok(End::Killed) => kills += 1,
                Ok(End::Drained) => drains += 1,
                Err(error) => failures.push(format!("round {round}: {error}")),
            }
            let fault = arguments
                .fault
                .or_else(|| Fault::of_round(round, &mut chance));
            if let Some(fault) = fault {
                self.tally
                    .happened(format!("after round {round}: {fault:?}"));
                fault.strike(&self.folder.join("var"), &mut chance);
            }
            if round % 10 == 9 {
                println!("{}", self.progress(round + 1, began.elapsed()));
            }
            if failures.len() > 3 {
                break;
            }
        }
        // Once more: what the last round has left is looked at, too.
        configure(&self.folder, origin, disk_mib);
        if let Err(error) = self.live(arguments.rounds, Duration::ZERO, chance.next(), &mut chance)
        {
            failures.push(format!("last look: {error}"));
        }
        println!(
            "{}\n{kills} killed, {drains} drained",
            self.progress(arguments.rounds, began.elapsed())
        );
        self.verdict(&failures)
    }

    /// One life: start, verify, load, end.
    fn live(
        &self,
        round: usize,
        time: Duration,
        seed: u64,
        chance: &mut Chance,
    ) -> Result<End, String> {
        let began = Instant::now();
        let config = self.folder.join("config");
        if round > 2 && !time.is_zero() && chance.percent(8) {
            // Not even a start is left in peace.
            let mut child = Program::spawn(&self.program, &config, &self.said);
            std::thread::sleep(chance.between(Duration::ZERO, Duration::from_millis(300)));
            child.kill().ok();
            child.wait().ok();
        }
        let mut program = Program::start(&self.program, &config, &self.said)?;
        let life = Life {
            world: Arc::clone(&self.world),
            tally: Arc::clone(&self.tally),
            http: program.http,
            admin: program.admin,
            token: token(&self.folder)?.into(),
            round,
            alive: Arc::new(AtomicBool::new(true)),
        };
        if round > 2 && chance.percent(10) {
            // Killed while what was recovered is being read.
            let verifying = self.runtime.spawn({
                let life = life.clone();
                async move { life.verify(VERIFIERS, seed).await }
            });
            std::thread::sleep(chance.between(Duration::ZERO, Duration::from_millis(200)));
            life.alive.store(false, SeqCst);
            program.kill();
            verifying.abort();
            return Ok(End::Killed);
        }
        // What could not be read has been counted.
        self.runtime.block_on(life.verify(VERIFIERS, seed));
        let tasks = self.begin(&life, seed);
        let least = Duration::from_millis(100);
        let left = time.saturating_sub(began.elapsed()).max(least);
        std::thread::sleep(chance.between(left / 2, left + left / 2));
        if !program.is_running() {
            return Err("the program has ended by itself".to_owned());
        }
        life.alive.store(false, SeqCst);
        let end = if chance.percent(10) {
            if !program.drain() {
                return Err("no end after SIGTERM".to_owned());
            }
            End::Drained
        } else {
            program.kill();
            End::Killed
        };
        self.runtime.block_on(async {
            for task in tasks {
                task.await.expect("a client does not panic");
            }
        });
        Ok(end)
    }

    fn begin(&self, life: &Life, seed: u64) -> Vec<tokio::task::JoinHandle<()>> {
        let mut tasks: Vec<_> = (0..BROWSERS)
            .map(|client| self.runtime.spawn(life.clone().browse(seed ^ client)))
            .collect();
        tasks.push(self.runtime.spawn(life.clone().operate(seed ^ 1000)));
        tasks.push(self.runtime.spawn(life.clone().operate(seed ^ 1001)));
        tasks.push(self.runtime.spawn(life.clone().post(seed ^ 2000)));
        tasks
    }

    fn progress(&self, rounds: usize, time: Duration) -> String {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(SeqCst);
        let tally = &self.tally;
        format!(
            "{rounds} rounds in {} s: {} objects verified ({} hits), {} recovered; {} purges acknowledged, {} verified after a \
             restart; {} invalidations by POST; {} large answers cut off with an error",
            time.as_secs(),
            count(&tally.verified),
            count(&tally.hits),
            count(&tally.recovered),
            count(&tally.acknowledged),
            count(&tally.purges_verified),
            count(&tally.invalidations),
            count(&tally.cut_midway),
        )
    }

    fn verdict(&self, failures: &[String]) -> ExitCode {
        let tally = &self.tally;
        let mut counts = tally.wrongs();
        for (name, counter) in [
            ("cut off with an error while up", &tally.cut),
            ("unanswered while up", &tally.unanswered),
            ("purges refused", &tally.purges_refused),
            ("panics", &self.said.panics),
        ] {
            counts.push((name, counter.load(SeqCst)));
        }
        counts.push(("lives that failed", failures.len() as u64));
        let text: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!("wrong: {}", text.join(", "));
        if counts.iter().all(|(_, count)| *count == 0) && tally.recovered.load(SeqCst) > 0 {
            return ExitCode::SUCCESS;
        }
        for text in tally.findings().iter().chain(failures) {
            println!("  {text}");
        }
        println!("  what happened: {}", tally.events().join(", "));
        println!("  the program's last words:\n{}", self.said.last());
        ExitCode::FAILURE
    }
}

enum End {
    Killed,
    Drained,
}

fn token(folder: &Path) -> Result<String, String> {
    let path = folder.join("var/admin.token");
    std::fs::read_to_string(&path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| format!("{}: {error}", path.display()))
}
