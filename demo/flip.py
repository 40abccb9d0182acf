#!/usr/bin/env python3
"""flip.py FILE BLOCK OFFSET: flips one bit in the middle of the row at line pointer OFFSET of BLOCK (8 kB pages).

Run it again to put the bit back. The server must be stopped.
"""
import struct, sys

path, block, offset = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path, "r+b") as f:
    f.seek(block * 8192)
    page = bytearray(f.read(8192))
    (item,) = struct.unpack_from("<I", page, 24 + 4 * (offset - 1))
    begin, flags, length = item & 0x7FFF, (item >> 15) & 3, item >> 17
    if flags != 1 or length < 32:
        sys.exit(f"no row at ({block},{offset})")
    at = begin + 24 + (length - 24) // 2
    page[at] ^= 0x10
    f.seek(block * 8192)
    f.write(page)
print(f"byte {block * 8192 + at} of {path.rsplit('/', 1)[1]}, in the middle of a row of {length} bytes: {page[at] ^ 0x10:02x} -> {page[at]:02x}")
