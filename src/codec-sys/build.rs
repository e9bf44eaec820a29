//! Builds libaom from the archive in `vendor/`, and the little C that stands between it and Rust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PREFIX: &str = "BRIM_LIBAOM_PREFIX";
const ARCHIVE: &str = "vendor/libaom-3.14.1.tar.xz";

fn main() {
    for file in ["build.rs", "c/still.c", ARCHIVE] {
        println!("cargo:rerun-if-changed={file}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let installed = library(&out);
    cc::Build::new()
        .file("c/still.c")
        .include(installed.join("include"))
        .opt_level(2)
        .warnings(true)
        .extra_warnings(true)
        .compile("brim_still");
    // After the object that calls it.
    println!(
        "cargo:rustc-link-search=native={}",
        installed.join("lib").display()
    );
    println!("cargo:rustc-link-lib=static=aom");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system != "macos") {
        println!("cargo:rustc-link-lib=m");
    }
}

/// Where the library and its headers are afterwards.
fn library(out: &Path) -> PathBuf {
    // One that is built already (`lib/libaom.a`, `include/aom`), of this version or a later one.
    println!("cargo:rerun-if-env-changed={PREFIX}");
    if let Some(prefix) = env::var_os(PREFIX) {
        return PathBuf::from(prefix);
    }
    let source = out.join("libaom");
    if !source.join("CMakeLists.txt").exists() {
        unpack(&source);
    }
    let mut build = cmake::Config::new(&source);
    // An encoder without optimisation takes seconds for a thumbnail, so tests get the fast one too.
    build.profile("Release");
    for (name, value) in [
        ("BUILD_SHARED_LIBS", "0"),
        ("CMAKE_INSTALL_LIBDIR", "lib"),
        ("ENABLE_DOCS", "0"),
        ("ENABLE_EXAMPLES", "0"),
        ("ENABLE_TESTDATA", "0"),
        ("ENABLE_TESTS", "0"),
        ("ENABLE_TOOLS", "0"),
        // What decodes untrusted bytes is not even linked.
        ("CONFIG_AV1_DECODER", "0"),
        ("CONFIG_LIBYUV", "0"),
        ("CONFIG_WEBM_IO", "0"),
    ] {
        build.define(name, value);
    }
    build.build()
}

/// By CMake, which is needed anyway and unpacks xz by itself.
fn unpack(source: &Path) {
    fs::create_dir_all(source).expect("a directory for the sources of libaom");
    let archive = env::current_dir().expect("a directory").join(ARCHIVE);
    let status = Command::new(env::var_os("CMAKE").unwrap_or_else(|| "cmake".into()))
        .args(["-E", "tar", "xf"])
        .arg(&archive)
        .current_dir(source)
        .status()
        .expect("cmake must be installed to build with `native-codecs`");
    assert!(status.success(), "{} does not unpack", archive.display());
}
