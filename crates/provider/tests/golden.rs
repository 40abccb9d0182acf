//! Golden files: blobs of format v1, which every later version must open. New files may be added; an
//! existing one is never edited or written again.
//!
//! A file has one `name = text` a line; blobs and seeds in hexadecimal, the rest as it is.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use sealed_crypto::{Id, KernelRng, MasterSeed, Suite};
use sealed_provider::{Env, Kind, Provider};
use serde_json::json;

const ID: Id = Id([0xa1; 16]);
const PHRASE: &str = "correct horse bättery staple";
const ROOT_KEY: &str =
    "pg-sealed-root-key-v1:808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";

fn seed() -> MasterSeed {
    MasterSeed::from_fn(|b| (0x40..).zip(b).for_each(|(n, b)| *b = n))
}

/// Calls `with` on a provider whose secret stands in a file of its own.
fn provider<R>(kind: Kind, secret: &str, with: impl FnOnce(&Provider) -> R) -> R {
    let dir = tempfile::tempdir().expect("directory");
    let (data_dir, file) = (dir.path().join("data"), dir.path().join("secret"));
    fs::create_dir(&data_dir).expect("directory");
    fs::write(&file, format!("{secret}\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    let options = match kind {
        Kind::File => json!({ "path": file }),
        Kind::Passphrase => json!({ "file": file, "memory_kib": 20000, "iterations": 4 }),
    };
    let env = Env { data_dir: &data_dir, deadline: Duration::from_secs(10), cancelled: &|| false };
    with(&Provider::parse(kind, &options, &env).expect("options"))
}

fn path(kind: Kind) -> String {
    format!("{}/tests/data/v1/{kind}.txt", env!("CARGO_MANIFEST_DIR"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ascii"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

#[test]
fn blobs_v1() {
    for kind in Kind::ALL {
        let text = fs::read_to_string(path(kind)).expect("golden file");
        let fields: HashMap<_, _> = text.lines().filter_map(|l| l.split_once(" = ")).collect();
        let suite: Suite = fields["suite"].parse().expect("suite");
        assert_eq!(hex(&ID.0), fields["master_id"]);
        let blob = unhex(fields["blob"]);
        let opened = provider(kind, fields["secret"], |p| p.unwrap(&ID, suite, &blob));
        assert_eq!(hex(opened.expect("it opens").expose()), fields["seed"], "{kind}");
    }
}

#[test]
#[ignore = "writes the golden files that are not there"]
fn generate() {
    for (kind, secret) in [(Kind::File, ROOT_KEY), (Kind::Passphrase, PHRASE)] {
        let path = path(kind);
        if Path::new(&path).exists() {
            continue;
        }
        let suite = Suite::XWingAes256;
        let blob = provider(kind, secret, |p| p.wrap(&mut KernelRng, &ID, suite, &seed()));
        let (blob, seed) = (hex(&blob.expect("wrapped")), hex(seed().expose()));
        let (id, suite) = (hex(&ID.0), suite.name());
        let text = format!(
            "secret = {secret}\nmaster_id = {id}\nsuite = {suite}\nblob = {blob}\nseed = {seed}\n"
        );
        fs::write(path, text).expect("written");
    }
}
