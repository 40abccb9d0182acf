#!/usr/bin/env python3
"""compare.py HOST DATABASE TITLE: runs the queries of queries.sql in the schemas plain and sealed_demo."""
import hashlib, os, re, subprocess, sys, time
from pathlib import Path

host, database, title = sys.argv[1:4]
parts = re.split(r"^-- name: (.*)$", (Path(__file__).parent / "queries.sql").read_text(), flags=re.M)[1:]
different = 0


def run(schema, query):
    env = dict(os.environ, PGOPTIONS=f"-c search_path={schema}")
    begun = time.time()
    done = subprocess.run(["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-h", host, "-U", "postgres", "-d", database, "-c", query],
                          env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        print(f"    {schema}: {done.stderr.decode(errors='replace').strip()}")
        return None, 0, 0.0
    return hashlib.md5(done.stdout).hexdigest(), done.stdout.count(b"\n"), (time.time() - begun) * 1000


print(f"  {title:<34} {'rows':>6} {'heap':>9} {'sealed':>9}   md5 of the answer")
for name, query in zip(parts[::2], parts[1::2]):
    plain, rows, ms_plain = run("plain", query)
    sealed, _, ms_sealed = run("sealed_demo", query)
    good = plain is not None and plain == sealed
    different += not good
    print(f"  {name:<34} {rows:>6} {ms_plain:>6.0f} ms {ms_sealed:>6.0f} ms   {(plain or '-')[:16]} {'same' if good else 'DIFFERENT: ' + str(sealed)}", flush=True)
sys.exit(different > 0)
