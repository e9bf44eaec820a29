//! Pictures as ImageMagick and Chromium see them. The corpus is that of the room of variants.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use brim::variant::{Effort, ImageConfig, Recipe, recipe, render_here, wish_of};
use image::RgbaImage;

use self::corpus::{Specimen, difference, scene, specimens};

#[expect(
    dead_code,
    clippy::indexing_slicing,
    reason = "made for tests; the hostile ones are for the room's own"
)]
#[path = "../../src/variant/image/testing/corpus/mod.rs"]
mod corpus;

/// Ghostscript's profiles of a press and of a screen, in Debian's `libgs-common`. That of the screen is of version 2, so
/// that littlecms does not stretch blacks.
const PRESS: &str = "/usr/share/color/icc/ghostscript/default_cmyk.icc";
const SCREEN: &str = "/usr/share/color/icc/ghostscript/srgb.icc";

fn recipe_of(query: &str) -> Recipe {
    let config = ImageConfig {
        enabled: true,
        ..ImageConfig::default()
    };
    let (wish, _) = wish_of(&config, "/a.png", Some(query)).unwrap();
    recipe(&config, &wish.unwrap(), true, true)
}

fn made(name: &str, source: &[u8], query: &str) -> Vec<u8> {
    let picture = render_here(&recipe_of(query), Effort::First, source);
    let picture = picture.unwrap_or_else(|error| panic!("{name} with {query}: {error}"));
    picture.bytes.to_vec()
}

/// ImageMagick by whichever name it is installed.
fn magick(args: &[&str]) {
    let is_it = |program: &&str| {
        let said = Command::new(program).arg("-version").output();
        said.is_ok_and(|said| said.stdout.starts_with(b"Version: ImageMagick"))
    };
    let program = ["magick", "convert-im6.q16", "convert"]
        .into_iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("ImageMagick must be installed for this test"));
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
}

fn png(bytes: &[u8]) -> RgbaImage {
    image::load_from_memory(bytes).unwrap().to_rgba8()
}

/// The same resize by ImageMagick, with littlecms where there is a profile.
fn rendering(
    folder: &Path,
    source: &[u8],
    (width, height): (u32, u32),
    has_profile: bool,
) -> RgbaImage {
    let place = |name: &str| folder.join(name).display().to_string();
    let (from, to) = (place("from"), place("to.png"));
    fs::write(&from, source).unwrap();
    let first = format!("{from}[0]");
    let size = format!("{width}x{height}!");
    let colours = if has_profile {
        ["-profile", SCREEN]
    } else {
        ["-colorspace", "sRGB"]
    };
    let written = format!("PNG32:{to}");
    let mut args = vec![first.as_str(), "-auto-orient"];
    args.extend(colours);
    args.extend([
        "-filter", "Lanczos", "-resize", &size, "-depth", "8", &written,
    ]);
    magick(&args);
    png(&fs::read(&to).unwrap())
}

#[track_caller]
fn assert_alike(name: &str, found: &RgbaImage, expect: &RgbaImage) {
    let (colours, alphas) = difference(found, expect);
    assert!(colours < 2.0, "{name}: colours differ by {colours}");
    assert!(alphas < 4.0, "{name}: alpha differs by {alphas}");
}

/// What ImageMagick 6 does not know: AVIF's colours, frames of APNG, codes of colour spaces, Exif in PNG and WebP.
fn is_known(specimen: &Specimen) -> bool {
    let name = &specimen.name;
    let is_turned = name.contains("orientation");
    !name.starts_with("avif")
        && !name.starts_with("png animated")
        && !name.contains("by its code")
        && !(is_turned && (name.starts_with("png") || name.starts_with("webp")))
}

fn has_profile(specimen: &Specimen) -> bool {
    let names = [
        "sRGB",
        "Display P3",
        "Adobe RGB",
        "ProPhoto",
        "gamma",
        "profile",
    ];
    names.iter().any(|name| specimen.name.contains(name))
}

#[test]
fn resized_pictures_look_like_imagemagicks() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for specimen in specimens().iter().filter(|specimen| is_known(specimen)) {
        let (width, height) = specimen.shots[0].seen.dimensions();
        let size = (width.div_ceil(2), height.div_ceil(2));
        let query = format!(
            "format=png&width={}&height={}&fit=fill&anim=0",
            size.0, size.1
        );
        let found = png(&made(&specimen.name, &specimen.bytes, &query));
        let expect = rendering(folder.path(), &specimen.bytes, size, has_profile(specimen));
        assert_alike(&specimen.name, &found, &expect);
        seen += 1;
    }
    assert!(seen >= 60, "{seen}");
}

/// A photograph's worth of pixels, through the profile of a real press, in the ways that JPEG has for ink.
#[test]
fn ink_looks_like_littlecms_says() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let rgb = place("rgb.png");
    scene(640, 480).save(&rgb).unwrap();
    for kind in [
        "-quality 95",
        "-quality 95 -interlace JPEG",
        "-quality 95 -sampling-factor 2x2",
    ] {
        let inked = place("ink.jpg");
        let mut args = vec![rgb.as_str(), "-profile", SCREEN, "-profile", PRESS];
        args.extend(kind.split(' '));
        args.push(&inked);
        magick(&args);
        let source = fs::read(&inked).unwrap();
        for (width, height) in [(640, 480), (320, 240), (60, 45)] {
            let query = format!("format=png&width={width}");
            let found = png(&made(kind, &source, &query));
            let expect = rendering(folder.path(), &source, (width, height), true);
            assert_alike(&format!("{kind} to {width}"), &found, &expect);
        }
    }
}

const PAGE: &str = r"<!doctype html><meta charset=utf-8><body><script>
const pixels = async url => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  return { width: canvas.width, height: canvas.height, data: context.getImageData(0, 0, canvas.width, canvas.height).data };
};
const look = async ([name, from, to]) => {
  const row = document.createElement('p');
  row.dataset.name = name;
  document.body.append(row);
  try {
    const b = await pixels(to);
    row.dataset.size = b.width + 'x' + b.height;
    if (!from) return;
    const a = await pixels(from);
    if (a.width !== b.width || a.height !== b.height) { row.dataset.apart = 'size ' + a.width + 'x' + a.height; return; }
    let sum = 0;
    a.data.forEach((value, n) => sum += Math.abs(value - b.data[n]));
    row.dataset.apart = (sum / a.data.length).toFixed(2);
  } catch (error) { row.dataset.error = String(error); }
};
Promise.all(ROWS.map(look)).then(() => document.body.dataset.done = 'yes');
</script>";

/// Name, source (empty if it is not to be compared) and result, as data that a canvas may read.
struct Row {
    name: String,
    from: String,
    to: String,
}

fn data_url(media_type: &str, bytes: &[u8]) -> String {
    let mut url = format!("data:{media_type},");
    for byte in bytes {
        write!(url, "%{byte:02x}").unwrap();
    }
    url
}

fn in_chromium(rows: &[Row]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let list: Vec<[&str; 3]> = rows
        .iter()
        .map(|row| [&*row.name, &*row.from, &*row.to])
        .collect();
    let list = serde_json::to_string(&list).unwrap();
    let page = folder.path().join("page.html");
    fs::write(&page, PAGE.replacen("ROWS", &list, 1)).unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--force-color-profile=srgb",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--virtual-time-budget=60000",
            "--dump-dom",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .arg(format!("file://{}", page.display()))
        .stderr(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("chromium must be installed for this test ({error})"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("data-done=\"yes\""),
        "the page did not finish"
    );
    said
}

fn attribute<'a>(row: &'a str, name: &str) -> Option<&'a str> {
    let start = row.find(&format!("{name}=\""))? + name.len() + 2;
    row[start..].split('"').next()
}

/// TIFF is not shown, and what an animation shows depends on the moment. Chromium (156) does not turn WebP as its
/// Exif says, and stretches the alpha of AVIF, also of libavif's own, as if it were of limited range.
fn is_shown_alike(specimen: &Specimen) -> bool {
    let name = &specimen.name;
    specimen.media_type != "image/tiff"
        && specimen.shots.len() == 1
        && !name.starts_with("webp orientation")
        && !(name.starts_with("avif") && name.contains("alpha"))
}

/// Every result is decoded, and as PNG it looks to Chromium as its source does: turned, through its profile.
#[test]
fn chromium_shows_results_as_it_shows_their_sources() {
    let mut rows = Vec::new();
    for specimen in specimens() {
        for format in ["png", "jpeg", "webp", "avif", "gif"] {
            let query = format!("format={format}&quality=95");
            let result = made(&specimen.name, &specimen.bytes, &query);
            let is_compared = format == "png" && is_shown_alike(&specimen);
            rows.push(Row {
                name: format!("{} to {format}", specimen.name),
                from: if is_compared {
                    data_url(specimen.media_type, &specimen.bytes)
                } else {
                    String::new()
                },
                to: data_url(&format!("image/{format}"), &result),
            });
        }
    }
    let page = in_chromium(&rows);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for row in page.split("<p ").skip(1) {
        seen += 1;
        let is_right = attribute(row, "data-size").is_some()
            && attribute(row, "data-error").is_none()
            && attribute(row, "data-apart")
                .is_none_or(|apart| apart.parse::<f64>().is_ok_and(|apart| apart < 2.5));
        if !is_right {
            wrong.push(row.split('>').next().unwrap_or_default());
        }
    }
    assert_eq!(seen, rows.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
