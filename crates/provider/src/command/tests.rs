use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::*;

const LIMIT: usize = 100;

fn env(deadline_ms: u64, cancelled: &dyn Fn() -> bool) -> Env<'_> {
    let deadline = Duration::from_millis(deadline_ms);
    Env { data_dir: Path::new("/nowhere"), deadline, cancelled }
}

fn shell(script: &str, env: &Env) -> Result<Vec<u8>, Error> {
    let words = ["/bin/sh", "-c", script].map(String::from);
    run(&words, LIMIT, env).map(|output| output.to_vec())
}

const PROGRAM: &str = "/bin/sh";

#[test]
fn output_comes_back_whole() {
    let env = env(5000, &|| false);
    assert_eq!(shell("printf abc", &env).expect("output"), b"abc");
    assert_eq!(shell("printf a; sleep 0.2; printf b", &env).expect("output"), b"ab");
    assert_eq!(shell("exec >&-; sleep 0.1", &env).expect("output"), b"");
    let full = "printf '%0100d' 7";
    assert_eq!(shell(full, &env).expect("output").len(), LIMIT);
}

#[test]
fn no_shell_and_no_input() {
    let env = env(5000, &|| false);
    let words = ["/bin/echo", "$HOME;", "`id`"].map(String::from);
    assert_eq!(&run(&words, LIMIT, &env).expect("output")[..], b"$HOME; `id`\n");
    assert_eq!(shell("cat", &env).expect("output"), b"");
}

#[test]
fn failures_say_which() {
    let env = env(5000, &|| false);
    let program = || String::from(PROGRAM);
    let failed = Error::CommandFailed { program: program(), status: Some(3) };
    assert_eq!(shell("echo secret; exit 3", &env), Err(failed));
    let failed = Error::CommandFailed { program: program(), status: None };
    assert_eq!(shell("kill -9 $$", &env), Err(failed));
    let words = ["/no/such/program".to_owned()];
    let kind = ErrorKind::NotFound;
    let program = words[0].clone();
    assert_eq!(run(&words, LIMIT, &env), Err(Error::CommandStart { program, kind }));
}

#[test]
fn too_much_output_ends_it() {
    let env = env(5000, &|| false);
    let too_much = Err(Error::CommandOutput { program: PROGRAM.into(), limit: LIMIT });
    assert_eq!(shell("printf '%0101d' 7", &env), too_much);
    let begin = Instant::now();
    assert_eq!(shell("yes", &env), too_much);
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_hanging_program_is_killed_with_its_children() {
    let dir = tempfile::tempdir().expect("directory");
    let pids = dir.path().join("pids");
    let script = format!("sleep 1000 & echo $$ $! >{}; echo secret; wait", pids.display());
    let deadline = Duration::from_millis(400);
    let begin = Instant::now();
    let result = shell(&script, &env(400, &|| false));
    assert_eq!(result, Err(Error::CommandTimedOut { program: PROGRAM.into(), deadline }));
    assert!(begin.elapsed() >= deadline && begin.elapsed() < Duration::from_secs(3));
    let pids = fs::read_to_string(pids).expect("it wrote them");
    assert_eq!(pids.split_whitespace().count(), 2);
    for pid in pids.split_whitespace() {
        // The grandchild is collected by init, a moment later.
        let there = || Path::new("/proc").join(pid).join("exe").read_link().is_ok();
        let patience = Instant::now();
        while there() && patience.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(NAP);
        }
        assert!(!there(), "process {pid} lives on");
    }
}

#[test]
fn cancelling_kills_it() {
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 4
    };
    let begin = Instant::now();
    assert_eq!(shell("sleep 1000", &env(60_000, &cancelled)), Err(Error::Cancelled));
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(shell("sleep 1000", &env(60_000, &|| true)), Err(Error::Cancelled));
}

#[test]
fn a_panicking_question_kills_it_too() {
    let dir = tempfile::tempdir().expect("directory");
    let pid = dir.path().join("pid");
    let script = format!("echo $$ >{}; exec sleep 1000", pid.display());
    // As PostgreSQL's own check for interrupts does, once the program runs.
    let cancelled = || if pid.exists() { panic!("interrupted") } else { false };
    let env = env(60_000, &cancelled);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shell(&script, &env)));
    assert!(result.is_err());
    let pid = fs::read_to_string(pid).expect("it wrote it");
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn a_child_left_behind_does_not_hold_us() {
    let begin = Instant::now();
    let env = env(5000, &|| false);
    assert_eq!(shell("sleep 3 & printf abc", &env).expect("output"), b"abc");
    assert!(begin.elapsed() < Duration::from_secs(2));
}
