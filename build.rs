//! Has the linker send this library's calls of `CopyErrorData` to `src/pg/errors.rs`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-cdylib=-Wl,--wrap=CopyErrorData");
}
