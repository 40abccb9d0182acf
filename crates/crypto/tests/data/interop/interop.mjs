// The key records of docs/format.md by another implementation: hpke-js, noble and age-encryption,
// none of which shares code with ours. Not part of the test run; needs Node 20 and
//   npm install @hpke/core @hpke/hybridkem-x-wing @hpke/ml-kem @noble/hashes @noble/post-quantum age-encryption
//
//   node interop.mjs check ../v1   opens every golden key record
//   node interop.mjs make OUT      writes records and an age file for tests/kat.rs to open
import { Aes256Gcm, CipherSuite, HkdfSha256, HkdfSha384 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";
import { MlKem1024 } from "@hpke/ml-kem";
import { expand, hkdf } from "@noble/hashes/hkdf.js";
import { sha256, sha384 } from "@noble/hashes/sha2.js";
import { shake256 } from "@noble/hashes/sha3.js";
import { XWing as RawXWing } from "@noble/post-quantum/hybrid.js";
import { ml_kem1024 } from "@noble/post-quantum/ml-kem.js";
import * as age from "age-encryption";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const bytes = (x) => (typeof x === "string" ? new TextEncoder().encode(x) : Uint8Array.from(x));
const cat = (...parts) => Uint8Array.from(Buffer.concat(parts.map(bytes)));
const hex = (b) => Buffer.from(b).toString("hex");
const unhex = (h) => Uint8Array.from(Buffer.from(h, "hex"));
const be = (n, len) => unhex(BigInt(n).toString(16).padStart(2 * len, "0"));
const random = (label, len) => bytes(createHash("shake256", { outputLength: len }).update(label).digest());

const suites = [
  { name: "xwing-aes256gcm", id: 1, hpke: [0x647a, 1, 2], hash: sha256, kem: XWing, kdf: HkdfSha256, enc: 1120, sk: 32, raw: RawXWing },
  { name: "mlkem1024-aes256gcm", id: 2, hpke: [0x42, 2, 2], hash: sha384, kem: MlKem1024, kdf: HkdfSha384, enc: 1568, sk: 64, raw: ml_kem1024 },
];
const cipher = (s) => new CipherSuite({ kem: new s.kem(), kdf: new s.kdf(), aead: new Aes256Gcm() });
const ids = (s) => cat(...s.hpke.map((id) => be(id, 2)));
const info = (s, purpose) => cat("pg_sealed key wrap v1", [purpose], ids(s));

function master(s, seed) {
  const derive = (label, len) => hkdf(s.hash, seed, undefined, cat(label, be(s.id, 2)), len);
  // DeriveKeyPair of draft-ietf-hpke-pq: SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", Nsk)
  const label = cat(be(13, 2), "DeriveKeyPair", be(s.sk, 2));
  const ikm = cat(derive("kem v1", 64), "HPKE-v1", "KEM", be(s.hpke[0], 2), label);
  const sk = shake256(ikm, { dkLen: s.sk });
  return { sk, psk: derive("dek-wrap psk v1", 48), checkValue: derive("kcv v1", 16) };
}

async function open(s, f, sk, psk) {
  const r = f.record;
  const header = r.subarray(0, 89);
  const enc = r.subarray(91, 91 + s.enc);
  const ct = r.subarray(93 + s.enc);
  const lengths = hex(r.subarray(89, 91)) === hex(be(s.enc, 2)) && hex(r.subarray(91 + s.enc, 93 + s.enc)) === hex(be(ct.length, 2));
  if (!lengths) throw new Error("lengths");
  const recipientKey = await cipher(s).kem.deserializePrivateKey(sk);
  const ctx = await cipher(s).createRecipientContext({ recipientKey, enc, info: info(s, header[12]), psk });
  return new Uint8Array(await ctx.open(ct, header));
}

async function check(dir) {
  const read = (name) => {
    const lines = readFileSync(`${dir}/${name}.txt`, "utf8").trim().split("\n");
    return Object.fromEntries(lines.map((l) => l.split(" = ")).map(([k, v]) => [k, unhex(v ?? "")]));
  };
  const same = (a, b, what) => {
    if (hex(a) !== hex(b)) throw new Error(`${what} differs`);
  };
  for (const s of suites) {
    for (const name of ["data_key", "app_key"]) {
      const f = read(`${name}_${s.name}`);
      const m = master(s, f.master_seed);
      same(m.checkValue, f.master_check_value, "master check value");
      same(await open(s, f, m.sk, { id: f.master_id, key: m.psk }), f.key, "key");
      if (name === "data_key") same(expand(sha256, f.key, bytes("kcv v1"), 16), f.check_value, "check value");
      console.log(`${name}_${s.name}: opens`);
    }
    const f = read(`recipient_${s.name}`);
    same(await open(s, f, f.private_key, undefined), f.key, "key");
    console.log(`recipient_${s.name}: opens`);
  }
}

async function make(dir) {
  const write = (name, fields) => {
    const lines = Object.entries(fields).map(([k, v]) => `${k} = ${hex(v)}\n`);
    writeFileSync(`${dir}/${name}.txt`, lines.join(""));
  };
  for (const s of suites) {
    const seed = random(`seed ${s.name}`, 32);
    const key = random(`key ${s.name}`, 32);
    const id = random(`master ${s.name}`, 16);
    const m = master(s, seed);
    const kem = cipher(s).kem;
    const pk = s.raw.keygen(m.sk).publicKey;
    const checkValue = expand(sha256, key, bytes("kcv v1"), 16);
    const header = cat("PGSK", [1], ids(s), [1, 1], id, random("key id", 16), be(9, 4), random("table", 16), be(850000000000001, 8), checkValue);
    const ctx = await cipher(s).createSenderContext({
      recipientPublicKey: await kem.deserializePublicKey(pk),
      info: info(s, 1),
      psk: { id, key: m.psk },
    });
    const ct = new Uint8Array(await ctx.seal(key, header));
    const record = cat(header, be(s.enc, 2), new Uint8Array(ctx.enc), be(ct.length, 2), ct);
    write(`hpke_js_${s.name}`, { master_seed: seed, master_id: id, public_key: pk, key, record });
  }
  const identity = await age.generateHybridIdentity();
  const e = new age.Encrypter();
  e.addRecipient(await age.identityToRecipient(identity));
  write("age_mlkem768x25519", {
    identity: bytes(identity),
    recipient: bytes(await age.identityToRecipient(identity)),
    file: await e.encrypt("sealed"),
  });
}

const [, , what, dir] = process.argv;
await { check, make }[what](dir);
