#!/usr/bin/env python3
"""scan.py NEEDLES none|most FILE...: looks for each line of the file NEEDLES in the bytes of the files.

none: finding any needle is a failure. most: nine of ten needles must be somewhere in the files, which proves that
the scan finds what is there (not all: a page boundary may cut one in two). Prints one line.
"""
import mmap, sys
from pathlib import Path

needles = list(dict.fromkeys(n for n in Path(sys.argv[1]).read_bytes().split(b"\n") if n))
want, files = sys.argv[2], sys.argv[3:]
found, size = {}, 0
for name in files:
    path = Path(name)
    if not path.stat().st_size:
        continue
    size += path.stat().st_size
    with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for needle in needles:
            if data.find(needle) >= 0:
                found.setdefault(needle, name)
print(f"{len(files):4} files, {size / 1e6:7.1f} MB: {len(found)} of {len(needles)} needles found", end="")
if want == "none" and found:
    needle, name = next(iter(found.items()))
    print(f"\n    {needle.decode(errors='replace')!r} is in {name}")
elif want == "most" and len(found) < len(needles):
    print("\n    not in one piece: " + ", ".join(repr(n.decode(errors="replace")) for n in needles if n not in found)[:300])
else:
    print()
if not needles or not files:
    sys.exit("nothing to look for or in")
sys.exit(bool(found) if want == "none" else len(found) < 0.9 * len(needles))
