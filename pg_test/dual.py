#!/usr/bin/env python3
"""Runs each regress/dual/*.sql once on heap, once on sealed_heap, and once on sealed_heap with columns of each table in clear,
under the table's key and under two column keys (regress/divide.sql), and wants the same output.

Heap is the oracle, so these scripts need no expected files. To keep a broken script from passing (all
runs failing alike), each says on a line "-- errors: N" how many errors it means to raise. After the sealed run the
tables it left behind are checked: some of them are sealed, sealed.verify finds nothing wrong in any of them, and
every btree index over them holds exactly the rows (amcheck, heapallindexed).
"""
import argparse, difflib, os, re, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECK = (HERE / "regress" / "after_dual.sql").read_text()
DIVIDE = (HERE / "regress" / "divide.sql").read_text()


def psql(args, db, sql=None, file=None, options="", **kw):
    env = dict(os.environ, PGHOST=args.host, PGUSER=args.user, PGOPTIONS=options, PGTZ="UTC", PGDATESTYLE="ISO, YMD",
               PGCLIENTENCODING="UTF8", SEALED_TMP=args.tmp)
    cmd = [args.bindir + "/psql", "-X", "-d", db]
    if file:
        cmd += ["-a", "-q", "-f", file]
    else:
        cmd += ["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql] if "\\" not in sql else ["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
    return subprocess.run(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          input=None if file or "\\" not in sql else sql, **kw)


def run_one(args, path, am, divided=False):
    db = "dual_" + ("divided" if divided else am.replace("sealed_heap", "sealed")) + "_" + path.stem
    psql(args, "postgres", f'DROP DATABASE IF EXISTS "{db}"')
    made = psql(args, "postgres", f'CREATE DATABASE "{db}" TEMPLATE "{args.template}"')
    if made.returncode:
        return db, "cannot create the database: " + made.stdout
    if divided:
        made = psql(args, db, DIVIDE)
        if made.returncode:
            return db, "cannot have columns divided: " + made.stdout
    options = f"-c default_table_access_method={am} -c sealed.plaintext_index=allow -c client_min_messages=notice"
    try:
        out = psql(args, db, file=str(path), options=options, timeout=args.timeout).stdout
    except subprocess.TimeoutExpired as e:
        out = (e.stdout or b"").decode(errors="replace") + f"\nTIMEOUT after {args.timeout} s\n"
    # psql prints its own position before messages; database names and oids of TOAST tables differ between the two runs
    out = out.replace(db, "DB").replace(f"psql:{path}:", "psql:")
    return db, re.sub(r"pg_toast_\d+", "pg_toast_N", out)


def main():
    p = argparse.ArgumentParser()
    for name in ("host", "user", "bindir", "template", "tmp", "out"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--timeout", type=int, default=int(os.environ.get("DUAL_TIMEOUT", "180")))
    p.add_argument("--heap-only", action="store_true", help="show that the scripts themselves are right")
    p.add_argument("names", nargs="*")
    args = p.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    files = sorted((HERE / "regress" / "dual").glob("*.sql"))
    if args.names:
        files = [f for f in files if f.stem in args.names]
    for path in files:
        begun = time.time()
        problems = []
        want = int(re.search(r"^-- errors: (\d+)", path.read_text(), re.M).group(1))
        hdb, heap = run_one(args, path, "heap")
        (out / f"{path.stem}.heap").write_text(heap)
        seen = len(re.findall(r"ERROR:  ", heap))
        if seen != want or "TIMEOUT" in heap:
            problems.append(f"the heap run has {seen} errors, the script means {want}")
        dbs = [hdb]
        # (a script says so where rows' sizes and order are what it is about)
        modes = [False] if re.search(r"^-- not divided", path.read_text(), re.M) else [False, True]
        for divided in [] if args.heap_only else modes:
            kind = "divided" if divided else "sealed"
            db, sealed = run_one(args, path, "sealed_heap", divided)
            dbs.append(db)
            (out / f"{path.stem}.{kind}").write_text(sealed)
            if sealed != heap:
                diff = list(difflib.unified_diff(heap.splitlines(), sealed.splitlines(), "heap", kind, lineterm="", n=3))
                name = out / f"{path.stem}.{kind}.diff"
                name.write_text("\n".join(diff) + "\n")
                problems.append(f"{kind}: sealed_heap answers otherwise than heap ({len(diff)} lines of diff: {name})")
            after = psql(args, db, CHECK)
            (out / f"{path.stem}.{kind}.after").write_text(after.stdout)
            if after.returncode or "ok" not in after.stdout.splitlines()[-1:]:
                problems.append(f"{kind}: check of the tables left behind: " + after.stdout.strip()[-400:])
        took = time.time() - begun
        print(f"{'not ok' if problems else 'ok    '}  dual/{path.stem:<24} {took:6.1f} s", flush=True)
        for line in problems:
            print("        " + line.replace("\n", "\n        "), flush=True)
        if problems:
            failed += 1
        for db in dbs:
            if not problems:
                psql(args, "postgres", f'DROP DATABASE IF EXISTS "{db}"')
    print(f"dual: {len(files) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
