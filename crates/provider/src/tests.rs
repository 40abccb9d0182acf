use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use proptest::prelude::*;
use sealed_crypto::KernelRng;
use serde_json::json;
use tempfile::TempDir;

use super::*;

const PHRASE: &str = "correct horse battery staple";
const ID: Id = Id([7; 16]);
const SUITE: Suite = Suite::XWingAes256;

/// A data directory and a place for keys beside it.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("directory");
        fs::create_dir(root.path().join("data")).expect("directory");
        Self { root }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, content).expect("written");
        mode(&path, 0o600);
        path
    }

    fn provider(&self, kind: Kind, options: Value) -> Result<Provider<'static>, Error> {
        // The directory's name is leaked so that a test can hold the provider as long as it likes.
        let data_dir = Box::leak(self.at("data").into_boxed_path());
        let env = Env { data_dir, deadline: Duration::from_secs(10), cancelled: &|| false };
        Provider::parse(kind, &options, &env)
    }

    fn file(&self, path: &Path) -> Provider<'static> {
        self.provider(Kind::File, json!({ "path": path })).expect("options")
    }

    /// The cheapest passphrase provider there may be.
    fn passphrase(&self, source: &str, value: Value) -> Provider<'static> {
        let options = json!({ source: value, "memory_kib": 19456, "iterations": 2 });
        self.provider(Kind::Passphrase, options).expect("options")
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn seed() -> MasterSeed {
    MasterSeed::from_fn(|b| b.fill(0x5a))
}

fn wrap(provider: &Provider) -> Result<Vec<u8>, Error> {
    provider.wrap(&mut KernelRng, &ID, SUITE, &seed())
}

fn prepare(provider: &Provider) -> Result<(), Error> {
    provider.prepare(&mut KernelRng)
}

// --- options -----------------------------------------------------------------------------------

#[test]
fn kinds_have_names() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    for name in ["", "File", "vault", "file "] {
        assert_eq!(name.parse::<Kind>(), Err(Error::UnknownKind { name: name.into() }));
    }
}

#[test]
fn wrong_options_are_refused_by_name() {
    let place = Place::new();
    let file = |options| place.provider(Kind::File, options).expect_err("refused");
    assert_eq!(file(json!(null)), Error::NotAnObject);
    assert_eq!(file(json!(["path"])), Error::NotAnObject);
    assert_eq!(file(json!({})), Error::MissingOption { name: "path" });
    assert_eq!(file(json!({"path": 1})), Error::WrongType { name: "path", expected: "a string" });
    assert_eq!(file(json!({"path": "k"})), Error::NotAbsolute { name: "path" });
    assert_eq!(file(json!({"path": ""})), Error::NotAbsolute { name: "path" });
    let wrong = Error::WrongType { name: "allow_in_data_directory", expected: "true or false" };
    assert_eq!(file(json!({"path": "/k", "allow_in_data_directory": "yes"})), wrong);
    let unknown = Error::UnknownOption { name: "Path".into() };
    assert_eq!(file(json!({"path": "/k", "Path": "/k"})), unknown);
    // An option of another kind is as unknown as any.
    let unknown = Error::UnknownOption { name: "iterations".into() };
    assert_eq!(file(json!({"path": "/k", "iterations": 3})), unknown);

    let phrase = |options| place.provider(Kind::Passphrase, options).expect_err("refused");
    assert_eq!(phrase(json!({})), Error::MissingOption { name: "command" });
    let both = Error::Conflict { one: "command", other: "file" };
    assert_eq!(phrase(json!({"command": ["/c"], "file": "/f"})), both);
    let unknown = Error::UnknownOption { name: "passphrase".into() };
    assert_eq!(phrase(json!({"file": "/f", "passphrase": "open sesame"})), unknown);
    assert_eq!(phrase(json!({"file": "f"})), Error::NotAbsolute { name: "file" });
    assert_eq!(phrase(json!({"command": ["cat", "/f"]})), Error::NotAbsolute { name: "command" });
    let wrong = Error::WrongType { name: "command", expected: "a non-empty array of strings" };
    for command in [json!("/bin/cat /f"), json!([]), json!(["/c", 1]), json!(null)] {
        assert_eq!(phrase(json!({ "command": command })), wrong);
    }
    let wrong = Error::WrongType { name: "iterations", expected: "a whole number" };
    for iterations in [json!("3"), json!(2.5), json!(null), json!(true)] {
        assert_eq!(phrase(json!({"file": "/f", "iterations": iterations})), wrong);
    }
    let range = Error::OutOfRange { name: "iterations", min: 2, max: 16 };
    for iterations in [json!(1), json!(17), json!(-3), json!(u64::MAX)] {
        assert_eq!(phrase(json!({"file": "/f", "iterations": iterations})), range);
    }
    let range = Error::OutOfRange { name: "memory_kib", min: 19_456, max: 1_048_576 };
    assert_eq!(phrase(json!({"file": "/f", "memory_kib": 1024})), range);
}

#[test]
fn parsing_touches_nothing() {
    let place = Place::new();
    let path = place.at("no/such/key");
    assert!(place.provider(Kind::File, json!({ "path": path })).is_ok());
    assert!(place.provider(Kind::Passphrase, json!({ "command": ["/no/such"] })).is_ok());
}

// --- kind file ---------------------------------------------------------------------------------

#[test]
fn a_root_key_file_is_made_once() {
    let place = Place::new();
    let path = place.at("root.key");
    let provider = place.file(&path);
    assert_eq!(wrap(&provider), Err(Error::KeyFileGone { path: path.clone() }));
    assert!(!path.exists(), "only prepare makes it");
    prepare(&provider).expect("prepared");
    let meta = fs::metadata(&path).expect("there");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    let content = fs::read(&path).expect("readable");
    prepare(&provider).expect("prepared");
    assert_eq!(fs::read(&path).expect("readable"), content, "an existing key stays");
    let names = fs::read_dir(place.root.path()).expect("listed").count();
    assert_eq!(names, 2, "no draft is left");

    let blob = wrap(&provider).expect("wrapped");
    assert_eq!(provider.unwrap(&ID, SUITE, &blob), Ok(seed()));
    assert_ne!(wrap(&provider).expect("wrapped"), blob, "each wrap has its own salt");
}

#[test]
fn a_lost_key_file_is_not_replaced_on_use() {
    let place = Place::new();
    let path = place.at("root.key");
    let provider = place.file(&path);
    prepare(&provider).expect("prepared");
    let blob = wrap(&provider).expect("wrapped");
    fs::rename(&path, place.at("elsewhere")).expect("moved");
    let gone = Error::KeyFileGone { path: path.clone() };
    assert_eq!(provider.unwrap(&ID, SUITE, &blob), Err(gone));
    // Another key in its place is told apart from damage.
    prepare(&provider).expect("prepared");
    let wrong = Error::WrongKeyFile { path: path.clone() };
    assert_eq!(provider.unwrap(&ID, SUITE, &blob), Err(wrong));
    fs::rename(place.at("elsewhere"), &path).expect("moved back");
    assert_eq!(provider.unwrap(&ID, SUITE, &blob), Ok(seed()));
}

#[test]
fn a_key_beside_the_data_is_refused() {
    let place = Place::new();
    let path = place.at("data/root.key");
    let refused = Error::InDataDirectory { path: path.clone() };
    assert_eq!(prepare(&place.file(&path)), Err(refused.clone()));
    assert!(!path.exists());
    let allowed = json!({ "path": path, "allow_in_data_directory": true });
    prepare(&place.provider(Kind::File, allowed).expect("options")).expect("prepared");
    assert_eq!(wrap(&place.file(&path)), Err(refused));

    // By way of a link to the file, a link to the directory, a detour.
    let link = place.at("link.key");
    symlink(&path, &link).expect("linked");
    assert_eq!(wrap(&place.file(&link)), Err(Error::InDataDirectory { path: link }));
    symlink(place.at("data"), place.at("dir")).expect("linked");
    for detour in ["dir/root.key", "dir/new.key", "dir/../data/root.key"] {
        let path = place.at(detour);
        assert_eq!(prepare(&place.file(&path)), Err(Error::InDataDirectory { path }), "{detour}");
    }
    // A name that only begins like it.
    fs::create_dir(place.at("database")).expect("directory");
    prepare(&place.file(&place.at("database/root.key"))).expect("prepared");
}

#[test]
fn a_file_that_others_can_reach_is_refused() {
    let place = Place::new();
    let path = place.at("root.key");
    let provider = place.file(&path);
    prepare(&provider).expect("prepared");
    let link = place.at("link.key");
    symlink(&path, &link).expect("linked");
    assert!(wrap(&place.file(&link)).is_ok(), "a link to a good file is good");
    for bits in [0o640, 0o604, 0o620, 0o601, 0o777] {
        mode(&path, bits);
        let open = Error::OpenPermissions { path: path.clone(), mode: bits };
        assert_eq!(wrap(&provider), Err(open));
        let open = Error::OpenPermissions { path: link.clone(), mode: bits };
        assert_eq!(wrap(&place.file(&link)), Err(open));
    }
    mode(&path, 0o400);
    assert!(wrap(&provider).is_ok());
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let place = Place::new();
    let path = place.at("root.key");
    let path = if rustix::process::geteuid().is_root() {
        prepare(&place.file(&path)).expect("prepared");
        chown(&path, Some(65534), None).expect("chown");
        path
    } else {
        PathBuf::from("/etc/passwd")
    };
    assert_eq!(wrap(&place.file(&path)), Err(Error::WrongOwner { path: path.clone() }));
    // Also when it is to be made anew.
    assert_eq!(prepare(&place.file(&path)), Err(Error::WrongOwner { path }));
}

#[test]
fn what_is_not_a_key_file_is_refused() {
    let place = Place::new();
    for content in ["", "\n", "secret", "pg-sealed-root-key-v1:", "pg-sealed-root-key-v1:00\n"] {
        let path = place.write("root.key", content);
        let bad = Error::BadKeyFile { path: path.clone() };
        assert_eq!(wrap(&place.file(&path)), Err(bad.clone()));
        assert_eq!(prepare(&place.file(&path)), Err(bad));
        assert_eq!(fs::read_to_string(path).expect("readable"), content, "it stays as it was");
    }
    let huge = place.write("huge.key", &"0".repeat(1 << 20));
    assert_eq!(wrap(&place.file(&huge)), Err(Error::BadKeyFile { path: huge }));
    let directory = place.at("dir");
    fs::create_dir(&directory).expect("directory");
    let not = Error::NotRegularFile { path: directory.clone() };
    assert_eq!(wrap(&place.file(&directory)), Err(not));
    let pipe = place.at("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("pipe");
    assert_eq!(wrap(&place.file(&pipe)), Err(Error::NotRegularFile { path: pipe }));
    let missing = place.at("no/dir/root.key");
    let io =
        |path| Error::Io { action: "open directory of", path, kind: std::io::ErrorKind::NotFound };
    assert_eq!(prepare(&place.file(&missing)), Err(io(missing)));
}

#[test]
fn a_link_that_leads_nowhere_gets_no_key() {
    let place = Place::new();
    let link = place.at("link.key");
    symlink(place.at("data/later.key"), &link).expect("linked");
    assert_eq!(prepare(&place.file(&link)), Err(Error::KeyFileGone { path: link }));
    assert!(!place.at("data/later.key").exists());
}

// --- kind passphrase ---------------------------------------------------------------------------

#[test]
fn a_passphrase_opens_what_it_wrapped() {
    let place = Place::new();
    let file = place.write("phrase", &format!("{PHRASE}\n"));
    let from_file = place.passphrase("file", json!(file));
    prepare(&from_file).expect("answers");
    let blob = wrap(&from_file).expect("wrapped");
    assert_eq!(from_file.unwrap(&ID, SUITE, &blob), Ok(seed()));
    // The blob knows its own parameters, and does not care where the passphrase comes from.
    let command = json!({"command": ["/bin/echo", "-n", PHRASE], "memory_kib": 20000});
    let from_command = place.provider(Kind::Passphrase, command).expect("options");
    prepare(&from_command).expect("answers");
    assert_eq!(from_command.unwrap(&ID, SUITE, &blob), Ok(seed()));
}

#[test]
fn a_wrong_passphrase_is_told_apart_from_damage() {
    let place = Place::new();
    let right = place.passphrase("command", json!(["/bin/echo", PHRASE]));
    let blob = wrap(&right).expect("wrapped");
    let wrong = place.passphrase("command", json!(["/bin/echo", "correct horse battery stable"]));
    assert_eq!(wrong.unwrap(&ID, SUITE, &blob), Err(Error::WrongPassphrase));
    // A short one is refused for wrapping only.
    let short = place.passphrase("command", json!(["/bin/echo", "elevenchars"]));
    let too_short = Error::PassphraseTooShort { min: 12 };
    assert_eq!(prepare(&short), Err(too_short.clone()));
    assert_eq!(wrap(&short), Err(too_short));
    assert_eq!(short.unwrap(&ID, SUITE, &blob), Err(Error::WrongPassphrase));

    let mut tag = blob.clone();
    *tag.last_mut().expect("not empty") ^= 1;
    let damaged = Error::Seed(sealed_crypto::Error::Damaged);
    assert_eq!(right.unwrap(&ID, SUITE, &tag), Err(damaged));
    let other = Error::Seed(sealed_crypto::Error::WrongRecipient);
    assert_eq!(right.unwrap(&Id([8; 16]), SUITE, &blob), Err(other));
}

#[test]
fn every_damaged_byte_is_found() {
    let place = Place::new();
    let file = place.at("root.key");
    let provider = place.file(&file);
    prepare(&provider).expect("prepared");
    let blob = wrap(&provider).expect("wrapped");
    for place in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[place] ^= 0x04;
        assert!(provider.unwrap(&ID, SUITE, &damaged).is_err(), "byte {place}");
    }
    for end in 0..blob.len() {
        assert!(provider.unwrap(&ID, SUITE, &blob[..end]).is_err(), "{end} bytes");
    }
    assert!(provider.unwrap(&ID, SUITE, &[&blob[..], b"0"].concat()).is_err());

    let provider = place.passphrase("command", json!(["/bin/echo", PHRASE]));
    let blob = wrap(&provider).expect("wrapped");
    // Each field once: magic, format, algorithm, memory, iterations, lanes, salt, seed blob.
    for place in [0, 4, 5, 9, 13, 17, 18, 33, 34, 60, 100, 150] {
        let mut damaged = blob.clone();
        damaged[place] ^= 0x04;
        assert!(provider.unwrap(&ID, SUITE, &damaged).is_err(), "byte {place}");
    }
}

#[test]
fn blobs_of_another_kind_are_unknown() {
    let place = Place::new();
    let file = place.file(&place.at("root.key"));
    prepare(&file).expect("prepared");
    let phrase = place.passphrase("command", json!(["/bin/echo", PHRASE]));
    let (by_file, by_phrase) = (wrap(&file).expect("wrapped"), wrap(&phrase).expect("wrapped"));
    assert_eq!(phrase.unwrap(&ID, SUITE, &by_file), Err(Error::UnknownFormat));
    assert_eq!(file.unwrap(&ID, SUITE, &by_phrase), Err(Error::UnknownFormat));
}

#[test]
fn passphrase_files_are_private_too() {
    let place = Place::new();
    let gone = place.at("gone");
    let error = Error::PassphraseFileGone { path: gone.clone() };
    assert_eq!(prepare(&place.passphrase("file", json!(gone))), Err(error));
    let open = place.write("open", PHRASE);
    mode(&open, 0o644);
    let error = Error::OpenPermissions { path: open.clone(), mode: 0o644 };
    assert_eq!(prepare(&place.passphrase("file", json!(open))), Err(error));
    let beside = place.write("data/phrase", PHRASE);
    let error = Error::InDataDirectory { path: beside.clone() };
    assert_eq!(prepare(&place.passphrase("file", json!(beside))), Err(error));
    let long = place.write("long", &"x".repeat(5000));
    let error = Error::PassphraseTooLong { max: 1024 };
    assert_eq!(prepare(&place.passphrase("file", json!(long))), Err(error));
}

#[test]
fn a_command_that_says_too_much_or_nothing() {
    let place = Place::new();
    let command = |script: &str| place.passphrase("command", json!(["/bin/sh", "-c", script]));
    assert_eq!(prepare(&command("true")), Err(Error::PassphraseEmpty));
    let error = Error::CommandOutput { program: "/bin/sh".into(), limit: 1026 };
    assert_eq!(prepare(&command("yes")), Err(error));
    let error = Error::CommandFailed { program: "/bin/sh".into(), status: Some(1) };
    assert_eq!(prepare(&command("echo correct horse battery staple; exit 1")), Err(error));
}

// --- errors ------------------------------------------------------------------------------------

#[test]
fn messages_follow_the_servers_style_and_hold_no_secret() {
    let place = Place::new();
    let key = place.at("root.key");
    prepare(&place.file(&key)).expect("prepared");
    let content = fs::read_to_string(&key).expect("readable");
    mode(&key, 0o640);
    let errors = [
        wrap(&place.file(&key)).expect_err("open"),
        wrap(&place.passphrase("command", json!(["/bin/echo", "sesame"]))).expect_err("short"),
        place.provider(Kind::File, json!({"nonsense": 1})).expect_err("unknown"),
        Error::Cancelled,
        Error::CommandFailed { program: "/bin/sh".into(), status: None },
    ];
    for error in errors {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("sesame") && !text.contains(&content[22..40]), "{text}");
        let message = error.to_string();
        assert!(!message.ends_with('.') && message.starts_with(char::is_lowercase), "{message}");
    }
    let debug = format!("{:?}", place.file(&key));
    assert!(debug.contains("root.key") && !debug.contains(&content[22..40]), "{debug}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z/]{0,12}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just(String::from("path")),
        Just(String::from("command")),
        Just(String::from("file")),
        Just(String::from("memory_kib")),
        Just(String::from("iterations")),
        "[a-z]{0,4}",
    ];
    leaf.prop_recursive(3, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_options_are_accepted_whole_or_refused(options in any_json()) {
        let env = Env {
            data_dir: Path::new("/nowhere"),
            deadline: Duration::from_secs(1),
            cancelled: &|| false,
        };
        for kind in Kind::ALL {
            if Provider::parse(kind, &options, &env).is_ok() {
                // What was accepted has nothing in it that was not looked at.
                let mut more = options.clone();
                more["another"] = Value::Null;
                let unknown = Error::UnknownOption { name: "another".into() };
                prop_assert_eq!(Provider::parse(kind, &more, &env).err(), Some(unknown));
            }
        }
    }
}
