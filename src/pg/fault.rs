//! Places where a build for tests (feature `faults`) can be made to fail; nothing in every other build.
//!
//! The test writes `pg_sealed.fault` into the data directory: a place, how many times it is to be passed first, and
//! what happens there then, once: `kill`, `error`, or `wait` until `pg_sealed.go` is there, in which there may be
//! `kill` or `error` for after that. While there is a file `pg_sealed.places`, every place that is passed is added
//! to it.

/// A place between two steps.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn place(_name: &str) {}

/// The same with a name that is made for it.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn place_of(_name: impl FnOnce() -> String) {}

/// The same with a name that is made for it.
#[cfg(feature = "faults")]
pub fn place_of(name: impl FnOnce() -> String) {
    place(&name());
}

/// A place between two steps.
#[cfg(feature = "faults")]
pub fn place(name: &str) {
    use std::io::Write;
    if let Ok(mut places) = std::fs::OpenOptions::new().append(true).open("pg_sealed.places") {
        let _ = writeln!(places, "{name}");
    }
    let Ok(fault) = std::fs::read_to_string("pg_sealed.fault") else { return };
    let mut words = fault.split_whitespace();
    let (Some(at), Some(passes), Some(what)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    if at != name {
        return;
    }
    let left: u32 = passes.parse().unwrap_or(0);
    if left > 0 {
        let _ = std::fs::write("pg_sealed.fault", format!("{at} {} {what}", left - 1));
        return;
    }
    let _ = std::fs::remove_file("pg_sealed.fault");
    if what != "wait" {
        return happen(name, what);
    }
    let what = loop {
        pgrx::check_for_interrupts!();
        if let Ok(what) = std::fs::read_to_string("pg_sealed.go") {
            break what;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let _ = std::fs::remove_file("pg_sealed.go");
    happen(name, &what);
}

#[cfg(feature = "faults")]
fn happen(name: &str, what: &str) {
    match what {
        "kill" => {
            // SAFETY: ends this process, at once.
            unsafe { libc::raise(libc::SIGKILL) };
        }
        "error" => pgrx::error!("fault at {name}"),
        _ => {}
    }
}
