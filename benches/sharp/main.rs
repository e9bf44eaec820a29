//! CPU time and bytes against sharp at equal SSIMULACRA2; started by `benches/sharp/run`.
//!
//! sharp takes its defaults (4:2:0; quality 80, for AVIF 50), one thread and no cache. Ours searches the quality
//! whose score is nearest. Both are scored against the source decoded whole and resized by plain Lanczos3. CPU is
//! user and system time of the process, from the file's bytes to the result's, the best of several rounds.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people, which may stop at what is wrong"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use brim::variant::{Effort, ImageConfig, Picture, Recipe, recipe, render_here, wish_of};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use fast_ssim2::{PixelDescriptor, PixelSlice, Ssimulacra2Reference};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const WIDTHS: [u32; 3] = [320, 800, 1600];
/// JPEG and WebP as somebody waits for them; AVIF as it is made behind the first answer.
const OUTPUTS: [(&str, Effort); 4] = [
    ("jpeg", Effort::First),
    ("webp", Effort::First),
    ("avif", Effort::Best),
    ("avif", Effort::First),
];

fn main() {
    let Some(folder) = std::env::var_os("SHARP_FOLDER").map(PathBuf::from) else {
        eprintln!("start benches/sharp/run, which fetches sharp and the pictures");
        return;
    };
    let mut peer = Peer::start();
    let pictures = folder.join("pictures");
    let faded = pictures.join("transparent.png");
    if !faded.exists() {
        peer.ask(&json!({"do": "fade", "file": pictures.join("photo-2mp.jpg"), "to": faded}));
    }
    let versions = peer.ask(&json!({"do": "versions"})).0;
    println!(
        "sharp {}, libvips {}, libaom {}, libwebp {}, mozjpeg {}",
        versions["sharp"], versions["vips"], versions["aom"], versions["webp"], versions["mozjpeg"]
    );
    println!();
    println!(
        "| output | source | width | sharp ms | ours ms | times faster | sharp bytes | ours bytes | ratio | sharp score | our score (quality) |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut names: Vec<_> = fs::read_dir(&pictures)
        .expect("the folder of pictures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    // Formats may be named; cargo adds words of its own.
    let named: Vec<_> = std::env::args().skip(1).collect();
    let is_meant = |format: &str| {
        let are_any = |name: &String| OUTPUTS.iter().any(|(known, _)| known == name);
        !named.iter().any(are_any) || named.iter().any(|name| name == format)
    };
    let mut sums = Vec::new();
    for (format, effort) in OUTPUTS.into_iter().filter(|(format, _)| is_meant(format)) {
        let mut sum = Sum::default();
        for file in &names {
            for width in WIDTHS {
                sum.add(&compare(&mut peer, file, width, format, effort));
            }
        }
        sums.push((format, effort, sum));
    }
    println!();
    println!("| output | times faster: geometric mean (least) | bytes: geometric mean (most) |");
    println!("| --- | --- | --- |");
    for (format, effort, sum) in sums {
        println!(
            "| {format}, {effort:?} | {:.2} ({:.2}) | {:.3} ({:.3}) |",
            (sum.log_speed / sum.count).exp(),
            sum.least_speed,
            (sum.log_bytes / sum.count).exp(),
            sum.most_bytes,
        );
    }
}

struct Row {
    speed: f64,
    bytes: f64,
}

struct Sum {
    count: f64,
    log_speed: f64,
    log_bytes: f64,
    least_speed: f64,
    most_bytes: f64,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            count: 0.0,
            log_speed: 0.0,
            log_bytes: 0.0,
            least_speed: f64::INFINITY,
            most_bytes: 0.0,
        }
    }
}

impl Sum {
    fn add(&mut self, row: &Row) {
        self.count += 1.0;
        self.log_speed += row.speed.ln();
        self.log_bytes += row.bytes.ln();
        self.least_speed = self.least_speed.min(row.speed);
        self.most_bytes = self.most_bytes.max(row.bytes);
    }
}

fn compare(peer: &mut Peer, file: &Path, width: u32, format: &str, effort: Effort) -> Row {
    let times = if format == "avif" { 2 } else { 7 };
    let job = json!({"do": "make", "file": file, "width": width, "format": format, "times": times});
    let (facts, theirs) = peer.ask(&job);
    let their_milliseconds = facts["milliseconds"].as_f64().expect("a time");

    let reference = Scale::of(peer, file, width);
    let their_score = reference.score(peer, &theirs);
    let source = fs::read(file).expect("a picture");
    // The score rises with the quality, but for noise.
    let (mut low, mut high) = (1, 100);
    let mut nearest: Option<(f64, u8)> = None;
    while low <= high {
        let quality = u8::midpoint(low, high);
        let picture = made(&recipe_of(width, format, quality), effort, &source);
        let score = reference.score(peer, &picture.bytes);
        let off = |score: f64| (score - their_score).abs();
        if nearest.is_none_or(|(best, _)| off(score) < off(best)) {
            nearest = Some((score, quality));
        }
        if score < their_score {
            low = quality + 1;
        } else {
            high = quality - 1;
        }
    }
    let (our_score, quality) = nearest.expect("a quality");

    let recipe = recipe_of(width, format, quality);
    let mut our_milliseconds = f64::INFINITY;
    let mut our_bytes = 0;
    for _ in 0..times {
        let before = cpu_milliseconds();
        our_bytes = made(&recipe, effort, &source).bytes.len();
        our_milliseconds = our_milliseconds.min(cpu_milliseconds() - before);
    }
    let row = Row {
        speed: their_milliseconds / our_milliseconds,
        bytes: our_bytes as f64 / theirs.len() as f64,
    };
    let name = file.file_name().expect("a name").to_string_lossy();
    println!(
        "| {format}, {effort:?} | {name} | {width} | {their_milliseconds:.0} | {our_milliseconds:.0} | {:.2} | {} | {our_bytes} | {:.2} | {their_score:.1} | {our_score:.1} ({quality}) |",
        row.speed,
        theirs.len(),
        row.bytes,
    );
    row
}

fn recipe_of(width: u32, format: &str, quality: u8) -> Recipe {
    let config = ImageConfig {
        enabled: true,
        ..ImageConfig::default()
    };
    let query = format!("width={width}&format={format}&quality={quality}");
    let (wish, _) = wish_of(&config, "/a.jpg", Some(&query)).expect("a wish");
    recipe(&config, &wish.expect("a wish"), true, true)
}

fn made(recipe: &Recipe, effort: Effort, source: &[u8]) -> Picture {
    render_here(recipe, effort, source).expect("a picture")
}

fn cpu_milliseconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// What results are measured by.
struct Scale {
    reference: Ssimulacra2Reference,
}

impl Scale {
    fn of(peer: &mut Peer, file: &Path, width: u32) -> Self {
        let (pixels, (full_width, full_height)) = peer.decode(file);
        let height = (f64::from(full_height) * f64::from(width) / f64::from(full_width)).round();
        let source = ImageRef::new(full_width, full_height, &pixels, PixelType::U8x3);
        let mut small = Image::new(width, height as u32, PixelType::U8x3);
        let lanczos = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
        Resizer::new()
            .resize(&source.expect("pixels"), &mut small, &lanczos)
            .expect("resized");
        let reference = Ssimulacra2Reference::new(&slice(small.buffer(), width, height as u32));
        Self {
            reference: reference.expect("a reference"),
        }
    }

    fn score(&self, peer: &mut Peer, file: &[u8]) -> f64 {
        let path = std::env::temp_dir().join(format!("sharp-bench-{}", std::process::id()));
        fs::write(&path, file).expect("a file");
        let (pixels, (width, height)) = peer.decode(&path);
        fs::remove_file(&path).expect("removed");
        let score = self.reference.compare(&slice(&pixels, width, height));
        score.expect("a score")
    }
}

fn slice(pixels: &[u8], width: u32, height: u32) -> PixelSlice<'_> {
    let row = 3 * width as usize;
    let slice = PixelSlice::new(pixels, width, height, row, PixelDescriptor::RGB8_SRGB);
    slice.expect("pixels").erase()
}

/// sharp in its own process.
struct Peer {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Self {
        let mut process = Command::new("node")
            .arg("benches/sharp/peer.js")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        Self {
            input: process.stdin.take().expect("a pipe"),
            output: BufReader::new(process.stdout.take().expect("a pipe")),
            _process: process,
        }
    }

    fn ask(&mut self, job: &Value) -> (Value, Vec<u8>) {
        writeln!(self.input, "{job}").expect("a job");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        let facts: Value = serde_json::from_str(&line).expect("facts");
        let length = facts["length"].as_u64().expect("a length");
        let mut data = vec![0; usize::try_from(length).expect("a length")];
        self.output.read_exact(&mut data).expect("data");
        (facts, data)
    }

    /// Red, green and blue over white, and the size.
    fn decode(&mut self, file: &Path) -> (Vec<u8>, (u32, u32)) {
        let (facts, pixels) = self.ask(&json!({"do": "decode", "file": file}));
        let number =
            |name: &str| u32::try_from(facts[name].as_u64().expect("a number")).expect("a side");
        let pixels = match number("channels") {
            1 => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
            _ => pixels,
        };
        (pixels, (number("width"), number("height")))
    }
}
