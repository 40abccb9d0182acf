//! `sealed-recover`: see `sealed-recover help` and docs/operations.md, "The restore drill".
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use sealed_recover::{
    Error, MasterPublic, RecoveryKey, describe, records, rewrap, show_fingerprint, to_hex,
};

const HELP: &str = "\
sealed-recover: the offline half of pg_sealed's escrow

  sealed-recover generate KEYFILE [SUITE]
      makes a recovery key (SUITE: xwing-aes256gcm or mlkem1024-aes256gcm), writes the private half to a new
      file of mode 0600 and prints the public half for sealed.add_recipient(name, public_key, suite)
  sealed-recover public KEYFILE
      prints the public half again
  sealed-recover unwrap KEYFILE < RECORDS
      opens each record and says which key it holds; prints no key
  sealed-recover rewrap KEYFILE MASTERFILE FINGERPRINT < RECORDS > IMPORT
      wraps each data key to a master key (MASTERFILE: the line of sealed.master_public_key()), whose
      fingerprint the server has shown
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "sealed-recover: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["generate", file] => generate(file, "xwing-aes256gcm"),
        ["generate", _, "x25519-aes256gcm"] => Err(Error::Text(
            "x25519-aes256gcm is for systems that know nothing else, and open to a quantum computer; if \
             that is meant: sealed-recover generate KEYFILE x25519-aes256gcm legacy",
        )),
        ["generate", file, suite @ "x25519-aes256gcm", "legacy"] => generate(file, suite),
        ["generate", file, suite] => generate(file, suite),
        ["public", file] => show(&RecoveryKey::read(Path::new(file))?),
        ["unwrap", file] => {
            let key = RecoveryKey::read(Path::new(file))?;
            each_record(|record| {
                key.open(record)?;
                describe(record)
            })
        }
        ["rewrap", file, master, fingerprint] => {
            let key = RecoveryKey::read(Path::new(file))?;
            let text = std::fs::read_to_string(master)
                .map_err(|error| Error::Io(master.to_owned(), error))?;
            let to = MasterPublic::parse(&text, fingerprint)?;
            // As COPY reads bytea.
            each_record(|record| Ok(format!("\\\\x{}", to_hex(&rewrap(&key, &to, record)?))))
        }
        ["help" | "--help" | "-h"] => out(HELP),
        _ => Err(Error::Text("wrong arguments; sealed-recover help lists the commands")),
    }
}

fn generate(file: &str, suite: &str) -> Result<(), Error> {
    let suite = suite.parse().map_err(|_| Error::Text("unknown suite"))?;
    let key = RecoveryKey::generate(suite);
    key.write(Path::new(file))?;
    show(&key)
}

fn show(key: &RecoveryKey) -> Result<(), Error> {
    let public = key.public_key()?;
    let _ = writeln!(
        std::io::stderr(),
        "suite {}, fingerprint {}",
        key.suite(),
        show_fingerprint(&public)
    );
    out(&format!("\\x{}\n", to_hex(&public)))
}

fn each_record(mut f: impl FnMut(&[u8]) -> Result<String, Error>) -> Result<(), Error> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::Io("standard input".to_owned(), error))?;
    let mut done = 0_usize;
    for record in records(&text) {
        let (line, record) = record?;
        let answer = f(&record).map_err(|error| match error {
            Error::Crypto(error) => Error::Record { line, error },
            other => other,
        })?;
        out(&format!("{answer}\n"))?;
        done += 1;
    }
    let _ = writeln!(std::io::stderr(), "{done} records");
    Ok(())
}

fn out(text: &str) -> Result<(), Error> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Error::Io("standard output".to_owned(), error))
}
