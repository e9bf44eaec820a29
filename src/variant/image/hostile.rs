//! Files that were damaged, or made to do damage: each ends soon, in a picture or an error, within the memory
//! that was announced.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

use super::super::config::ImageWorkers;
use super::colour::to_srgb;
use super::decode::{Demand, open};
use super::error::ImageError;
use super::metadata::{Keep, strip};
use super::sniff::{SourceFormat, sniff};
use super::testing::corpus::{hostile, specimens};

/// For one file; the decoders are optimised in every build.
const SECONDS_MAX: Duration = Duration::from_secs(5);
/// What may be held besides what was announced: a profile that is packed in a PNG, twice while it grows; or what a
/// partition of lossy WebP says of its length, in 24 bits.
const UNANNOUNCED_BYTES: u64 = 18 << 20;

/// What became of many files.
#[derive(Default)]
struct Tally {
    pictures: usize,
    errors: usize,
    panics: BTreeMap<String, usize>,
    slowest: (Duration, String),
}

impl Tally {
    fn files(&self) -> usize {
        self.pictures + self.errors + self.panics.values().sum::<usize>()
    }
}

thread_local! {
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers where this thread panics instead of printing it.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_ours = PANICKED_AT.with_borrow_mut(|place| {
                let is_ours = place.is_some();
                if let (Some(place), Some(location)) = (place, info.location()) {
                    *place = format!("{}:{}", location.file(), location.line());
                }
                is_ours
            });
            if !is_ours {
                before(info);
            }
        }));
    });
}

#[expect(clippy::disallowed_methods, reason = "real time is what is judged")]
fn judge(name: &str, bytes: &[u8], tally: &mut Tally) {
    for demand in [(1, true), (8, false)] {
        let demand = Demand {
            reduction: demand.0,
            all_frames: demand.1,
        };
        let begun = Instant::now();
        PANICKED_AT.set(Some(String::new()));
        let mut outcome = None;
        let mut announced = 0;
        let memory = allocation_counter::measure(|| {
            let found = catch_unwind(AssertUnwindSafe(|| attempt(bytes, demand, &mut announced)));
            outcome = Some(found);
        });
        let place = PANICKED_AT.take().unwrap_or_default();
        match outcome {
            Some(Ok(Ok(()))) => tally.pictures += 1,
            Some(Ok(Err(_))) => tally.errors += 1,
            Some(Err(_)) | None => *tally.panics.entry(place).or_default() += 1,
        }
        let took = begun.elapsed();
        assert!(took < SECONDS_MAX, "{name} took {took:?}");
        if took > tally.slowest.0 {
            tally.slowest = (took, name.to_owned());
        }
        let most = announced * 2 + UNANNOUNCED_BYTES + bytes.len() as u64 * 2;
        assert!(
            memory.bytes_max <= most,
            "{name} took {} bytes, {announced} were announced",
            memory.bytes_max
        );
    }
    // Never a panic, nor a file that grows.
    for format in [
        SourceFormat::Jpeg,
        SourceFormat::Png,
        SourceFormat::Webp,
        SourceFormat::Gif,
    ] {
        if let Some(stripped) = strip(bytes, format, Keep::All) {
            assert!(stripped.len() <= bytes.len() + 200, "{name}");
        }
    }
}

fn attempt(bytes: &[u8], demand: Demand, announced: &mut u64) -> Result<(), ImageError> {
    let limits = ImageWorkers::default();
    let sniffed = sniff(bytes, None)?;
    let opened = open(bytes, &sniffed, &limits)?;
    *announced = opened.decoding_bytes(demand);
    if *announced > limits.memory_bytes {
        return Err(ImageError::TooLarge {
            what: "what decoding would take",
        });
    }
    let decoded = opened.decode(demand, &|| Ok(()))?;
    let profile = decoded.profile.as_deref();
    let _kept = decoded.metadata.kept(Keep::All);
    if let (Some(profile), Some(first)) = (profile, decoded.film.first()) {
        // Profiles are as hostile as pictures. Three copies of a frame at most.
        *announced += first.pixels.len() as u64 * 3 + profile.len() as u64 * 8;
        to_srgb(first.clone(), Some(profile))?;
    }
    Ok(())
}

/// The same numbers on every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).unwrap()
    }
}

/// Cut, bits turned over, bytes set to their ends, a stretch doubled or missing.
fn damaged(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match chance.below(6) {
        0 => bytes.truncate(chance.below(bytes.len())),
        1 => {
            let (start, length) = (chance.below(bytes.len()), chance.below(16));
            let end = (start + length).min(bytes.len());
            bytes.drain(start..end);
        }
        2 => {
            let (start, length) = (chance.below(bytes.len()), chance.below(16));
            let end = (start + length).min(bytes.len());
            let again = bytes[start..end].to_vec();
            bytes.splice(start..start, again);
        }
        // Headers are where the numbers are.
        3 | 4 => {
            for _ in 0..=chance.below(4) {
                let place = chance.below(bytes.len().min(400));
                bytes[place] = [0, 1, 0x7f, 0x80, 0xff][chance.below(5)];
            }
        }
        _ => {
            for _ in 0..=chance.below(8) {
                let place = chance.below(bytes.len());
                bytes[place] ^= 1 << chance.below(8);
            }
        }
    }
    bytes
}

#[test]
fn damaged_files_end_in_a_picture_or_an_error() {
    watch_panics();
    let mut tally = Tally::default();
    let mut chance = Chance(0x6272_696d);
    let specimens = specimens();
    let each = 5200_usize.div_ceil(specimens.len());
    for specimen in &specimens {
        for n in 0..each {
            let bytes = damaged(&specimen.bytes, &mut chance);
            judge(
                &format!("{}, damaged {n}", specimen.name),
                &bytes,
                &mut tally,
            );
        }
    }
    assert!(tally.files() >= 2 * 5000);
    assert!(tally.pictures > 1000 && tally.errors > 1000);
    assert_known(&tally);
}

#[test]
fn files_made_to_do_damage_end_soon() {
    watch_panics();
    let mut tally = Tally::default();
    for (name, bytes) in hostile::files() {
        judge(&name, &bytes, &mut tally);
    }
    assert_known(&tally);
}

#[test]
fn bytes_of_another_type_are_left_alone() {
    for specimen in specimens() {
        for declared in [
            SourceFormat::Jpeg,
            SourceFormat::Png,
            SourceFormat::Avif,
            SourceFormat::Bmp,
        ] {
            let is_it = SourceFormat::of_bytes(&specimen.bytes) == Some(declared);
            let found = sniff(&specimen.bytes, Some(declared));
            assert_eq!(
                found == Err(ImageError::TypeMismatch),
                !is_it,
                "{}",
                specimen.name
            );
        }
    }
}

/// Panics are caught at the edge of a job, but each is a bug of somebody's.
#[track_caller]
fn assert_known(tally: &Tally) {
    assert!(tally.panics.is_empty(), "{:#?}", tally.panics);
}
