//! Builds the library that is preloaded into nodes: their disk and their clock.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let library = out.join("libtorture_shim.so");
    let sources = ["shim/disk.c", "shim/clock.c"];
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&library)
        .args(sources)
        .args(["-ldl", "-lpthread"])
        .status();
    assert!(matches!(&built, Ok(status) if status.success()), "cc builds the shim: {built:?}");
    println!("cargo::rustc-env=TORTURE_SHIM={}", library.display());
    println!("cargo::rerun-if-changed=shim");
}
