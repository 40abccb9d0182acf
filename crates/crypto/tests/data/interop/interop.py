"""Rows, chunks, index keys and seed blobs of docs/format.md by another implementation: pyca/cryptography
(OpenSSL), which shares no code with ours. Its HPKE has neither PSK mode nor associated data, so key
records are left to interop.mjs, and only messages of the two suites are made here. Not part of the
test run; needs `pip install cryptography` (50 or later).

    python interop.py check ../v1   opens the golden files, and those of ../v2 and ../v3
    python interop.py make OUT      writes a row and HPKE messages for tests/kat.rs to open
"""

import hashlib
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives import cmac, hashes, hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand


def read(directory, name):
    lines = Path(directory, name + ".txt").read_text().splitlines()
    return {k.strip(): bytes.fromhex(v) for k, v in (line.split("=") for line in lines)}


def write(directory, name, fields):
    text = "".join(f"{k} = {v.hex()}\n" for k, v in fields.items())
    Path(directory, name + ".txt").write_text(text)


def expand(key, info, length=32):
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)


def xaes_subkey(key, nonce12):
    """XAES-256-GCM's key derivation: NIST SP 800-108 in counter mode with CMAC-AES256."""
    halves = []
    for i in (1, 2):
        mac = cmac.CMAC(algorithms.AES(key))
        mac.update(struct.pack(">HBx", i, ord("X")) + nonce12)
        halves.append(mac.finalize())
    return b"".join(halves)


def row_cipher(dek, table, layout, label, what, header, fmt=1, group=0):
    key = expand(dek, label + table + layout)
    aad = b"pgsealed" + bytes([fmt, what]) + table + bytes([0, group]) + layout
    nonce = header[:18] + bytes(2) + header[18:]
    return AESGCM(xaes_subkey(key, nonce[:12])), nonce[12:], aad


def open_row(f):
    p = f["payload"]
    assert p[:4] == bytes([p[0] & 15 | 16]) + p[1:4] and (p[0] & 15, *p[1:4]) == tuple(f["layout"])
    gcm, iv, aad = row_cipher(f["dek"], f["table"], f["layout"], b"row v1", 1, p[:22])
    return gcm.decrypt(iv, p[38:] + p[22:38], aad)


def open_chunk(f):
    p = f["payload"]
    gcm, iv, aad = row_cipher(f["dek"], f["table"], f["layout"], b"chunk v1", 2, p[:22])
    return gcm.decrypt(iv, p[38:] + p[22:38], aad + f["value_id"] + f["seq"] + f["total"])


def open_parts(f):
    """The clear part, and the plaintext of each group."""
    p, header = f["payload"], f["payload"][:22]
    assert (p[0] >> 4, bytes([p[0] & 15]) + p[1:4]) == (2, f["layout"])
    end = 24 + int.from_bytes(p[22:24], "big")
    front, bodies = p[:end], []
    for group in range(1, int.from_bytes(f["groups"], "big") + 1):
        start, layout = end + 18, f[f"layout_{group}"]
        tag, end = p[end + 2 : start], start + int.from_bytes(p[end : end + 2], "big")
        head = bytes([layout[0] | 32]) + layout[1:] + header[4:]
        dek = f[f"dek_{group}"]
        gcm, iv, aad = row_cipher(dek, f["table"], layout, b"part v1", 3, head, 2, group)
        bodies.append(gcm.decrypt(iv, p[start:end] + tag, aad + front))
    assert end == len(p)
    return front[24:], bodies


def open_index(f):
    s, column = f["sealed"], f["column"][2:]
    assert bytes([s[0] & 15]) + s[1:4] == f["layout"]
    base = expand(f["dek"], b"index v1" + f["table"] + f["layout"])
    aad = b"pgsealed\x01\x04" + f["table"] + column + f["layout"]

    def block(label, zeros):
        aes = Cipher(algorithms.AES(expand(base, label + column)), modes.ECB()).decryptor()
        plain = aes.update(s[4:])
        assert len(s) == 20 and plain[-zeros:] == bytes(zeros)
        return plain[:8]

    if s[0] >> 4 == 3:
        return block(b"short v1", 4)
    if s[0] >> 4 == 5:
        return block(b"same short v1", 8)
    if s[0] >> 4 == 6:
        return AESSIV(expand(base, b"same long v1" + column, 64)).decrypt(s[4:], [aad])
    assert s[0] >> 4 == 4
    nonce = s[:18] + bytes(2) + s[18:22]
    gcm = AESGCM(xaes_subkey(expand(base, b"long v1" + column), nonce[:12]))
    return gcm.decrypt(nonce[12:], s[38:] + s[22:38], aad)


def index_hash(f):
    column = f["column"][2:]
    base = expand(f["dek"], b"index v1" + f["table"] + f["layout"])
    aes = Cipher(algorithms.AES(expand(base, b"hash v1" + column)), modes.ECB()).encryptor()
    return aes.update(f["plain"] + bytes(12))[:4]


def open_seed(f):
    blob = f["blob"]
    name, salt, commitment = blob[:23], blob[23:55], blob[55:87]
    assert blob[:5] == b"PGSS\x01" and blob[7:23] == f["master_id"] and blob[87:89] == b"\0\x30"

    def derive(label, n):
        return HKDF(hashes.SHA256(), n, salt, label + name).derive(f["kek"])

    assert derive(b"seed-wrap commit v1", 32) == commitment
    gcm = AESGCM(derive(b"seed-wrap key v1", 32))
    return gcm.decrypt(derive(b"seed-wrap iv v1", 12), blob[89:], blob[:87])


SUITES = {
    "xwing-aes256gcm": (hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, 1120),
    "mlkem1024-aes256gcm": (hpke.KEM.MLKEM1024, hpke.KDF.HKDF_SHA384, 1568),
}


def private_key(suite, private):
    if suite == "mlkem1024-aes256gcm":
        return mlkem.MLKEM1024PrivateKey.from_seed_bytes(private)
    # X-Wing: one seed, expanded with SHAKE256.
    e = hashlib.shake_256(private).digest(96)
    return hpke.MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(e[:64]),
        x25519.X25519PrivateKey.from_private_bytes(e[64:]),
    )


def check(directory):
    for name in ["row_empty", "row_short", "row_nulls", "row_long", "row_max_layout"]:
        f = read(directory, name)
        assert open_row(f) == f["body"], name
        print(name + ": opens")
    for name in ["chunk_first", "chunk_last"]:
        f = read(directory, name)
        assert open_chunk(f) == f["plain"], name
        print(name + ": opens")
    for name in ["parts_none_clear", "parts_one", "parts_eight", "parts_nothing_sealed"]:
        f = read(Path(directory, "../v2"), name)
        clear, bodies = open_parts(f)
        assert clear == f["clear"], name
        assert bodies == [f[f"body_{i + 1}"] for i in range(len(bodies))], name
        print(f"{name}: {len(bodies)} groups open")
    for name in ["index_short", "index_long", "index_same_short", "index_same_long"]:
        f = read(Path(directory, "../v3"), name)
        assert open_index(f) == f["plain"], name
        print(name + ": opens")
    f = read(Path(directory, "../v3"), "index_hash")
    assert index_hash(f) == f["hash"]
    print("index_hash: the same")
    for suite in SUITES:
        f = read(directory, "seed_" + suite)
        assert open_seed(f) == f["seed"]
        print(f"seed_{suite}: opens")
        f = read(directory, "data_key_" + suite)
        assert expand(f["key"], b"kcv v1", 16) == f["check_value"]


def make(directory):
    def random(label, n):
        return hashlib.shake_256(label).digest(n)

    f = {"dek": random(b"dek", 32), "table": random(b"table", 16), "layout": bytes([0, 1, 2, 3])}
    header = bytes([16, 1, 2, 3]) + random(b"nonce", 18)
    f["body"] = bytes([0, 2, 24, 0]) + random(b"body", 300)
    gcm, iv, aad = row_cipher(f["dek"], f["table"], f["layout"], b"row v1", 1, header)
    sealed = gcm.encrypt(iv, f["body"], aad)
    f["payload"] = header + sealed[-16:] + sealed[:-16]
    write(directory, "pyca_row", f)
    for suite, (kem, kdf, enc_len) in SUITES.items():
        private = random(b"private " + suite.encode(), 64 if kem == hpke.KEM.MLKEM1024 else 32)
        f = {"private_key": private, "info": b"pg_sealed interop", "plain": random(b"plain", 100)}
        cipher = hpke.Suite(kem, kdf, hpke.AEAD.AES_256_GCM)
        sealed = cipher.encrypt(f["plain"], private_key(suite, private).public_key(), info=f["info"])
        f["enc"], f["ciphertext"] = sealed[:enc_len], sealed[enc_len:]
        write(directory, "pyca_hpke_" + suite, f)


if __name__ == "__main__":
    {"check": check, "make": make}[sys.argv[1]](sys.argv[2])
