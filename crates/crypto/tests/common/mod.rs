//! Shared by the test programs: a deterministic generator, hex, fixed keys.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use sealed_crypto::rand_core::{TryCryptoRng, TryRng};
use sealed_crypto::{
    Dek, Id, LayoutId, LayoutKey, MasterKey, MasterSeed, Nonce, NonceBlock, SaltState, Suite,
};
use shake::Shake256;
use shake::digest::{ExtendableOutput, Update, XofReader};

/// SHAKE256 of a label, read on and on. For tests only.
pub struct Fixed(<Shake256 as ExtendableOutput>::Reader);

impl Fixed {
    pub fn new(label: &str) -> Self {
        let mut shake = Shake256::default();
        shake.update(label.as_bytes());
        Fixed(shake.finalize_xof())
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut b = [0; N];
        self.0.read(&mut b);
        b
    }

    pub fn vec(&mut self, len: usize) -> Vec<u8> {
        let mut b = vec![0; len];
        self.0.read(&mut b);
        b
    }
}

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        self.0.read(dst);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

/// 32 bytes: `fill`, `fill + 1`, …
pub fn secret(fill: u8) -> Dek {
    Dek::from_fn(|b| {
        for (i, b) in b.iter_mut().enumerate() {
            *b = fill.wrapping_add(i as u8);
        }
    })
}

/// The keys of layout `layout` of table `table` under the data key `dek`.
pub fn layout_key(dek: u8, table: u8, layout: u32) -> LayoutKey {
    let layout = LayoutId::new(layout).expect("layout id");
    LayoutKey::derive(&secret(dek), &Id([table; 16]), layout)
}

/// A master key with the id and the seed 0x40, 0x41, …
pub fn master(suite: Suite) -> MasterKey {
    let seed: MasterSeed = secret(0x40);
    MasterKey::derive(Id([0xa1; 16]), suite, &seed).expect("derive")
}

/// One nonce, made the only way there is.
pub fn nonce(rng: &mut Fixed) -> Nonce {
    let reserved = SaltState::default().reserve(1, 0, || rng.bytes());
    NonceBlock::new(reserved, rng.bytes()).take().expect("nonce")
}

pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).expect("hex digit") as u8).collect();
    assert_eq!(digits.len() % 2, 0, "whole bytes");
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

/// A file of `name = hex` lines.
#[derive(Default)]
pub struct File(BTreeMap<String, Vec<u8>>);

impl File {
    pub fn put(&mut self, name: &str, value: &[u8]) {
        self.0.insert(name.into(), value.into());
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.0.get(name).unwrap_or_else(|| panic!("no field {name}")).clone()
    }

    pub fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().expect("length")
    }

    pub fn u32(&self, name: &str) -> u32 {
        u32::from_be_bytes(self.array(name))
    }

    pub fn save(&self, folder: &str, name: &str) {
        let path = data(&format!("{folder}/{name}.txt"));
        assert!(!path.exists(), "{} is there and is never written again", path.display());
        let mut text = String::new();
        for (name, value) in &self.0 {
            writeln!(text, "{name} = {}", hex(value)).expect("write to a string");
        }
        fs::write(path, text).expect("write");
    }

    pub fn read(folder: &str, name: &str) -> File {
        let path = data(&format!("{folder}/{name}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let field = |line: &str| {
            let (name, value) = line.split_once('=').expect("name = hex");
            (name.trim().to_string(), unhex(value.trim()))
        };
        File(text.lines().map(field).collect())
    }
}
