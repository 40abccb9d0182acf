#!/usr/bin/env python3
"""Measures heap and sealed_heap in turns in one database and writes a table.

Every measurement is a pair, heap and sealed_heap one right after the other, the order alternating; one pair more
than asked for is run first and thrown away. The ratio is sealed_heap / heap of the medians (for rates: heap / sealed_heap,
so that above 1 always means slower or larger).
"""
import argparse, os, platform, re, statistics, subprocess, sys, time
from pathlib import Path

BARS = {"count(*)": 1.4, "sum(int)": 3.5, "INSERT … SELECT": 1.8, "two of six columns sealed: sum(plain int)": 1.35}
SIDES = {"heap": "heap", "sealed": "sealed_heap"}   # side: access method; the schemas are bench_heap and bench_sealed

p = argparse.ArgumentParser()
for name in ("host", "work", "out"):
    p.add_argument("--" + name, required=True)
for name in ("rows", "pairs", "seconds"):
    p.add_argument("--" + name, type=int, required=True)
args = p.parse_args()
began = time.time()


def env(side):
    options = f"-c search_path=bench_{side} -c default_table_access_method={SIDES[side]} -c sealed.plaintext_index=allow -c client_min_messages=warning"
    return dict(os.environ, PGHOST=args.host, PGUSER="postgres", PGDATABASE="postgres", PGOPTIONS=options)


def run(cmd, side, **kw):
    done = subprocess.run(cmd, env=env(side), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if done.returncode:
        sys.exit(f"bench: {' '.join(cmd)[:200]}: {done.stderr.strip()}")
    return done.stdout


def sql(side, *commands):
    return run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1"] + [a for c in commands for a in ("-c", c)], side).strip()


def timed(side, command):
    """Milliseconds as psql's \\timing shows them for one command; the connection is not in it."""
    out = run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", "\\timing on", "-c", command], side)
    return float(re.findall(r"^Time: ([\d.]+) ms", out, re.M)[-1])


def pgbench(side, *options):
    out = run(["pgbench", "-n", "-M", "prepared", "-c", "1", "-T", str(args.seconds), *options], side)
    return float(re.search(r"^tps = ([\d.]+)", out, re.M).group(1))


def pairs(name, measure, unit, before=None):
    """measure(side) -> number, `pairs` times each in turns; before(side) is not measured."""
    values = {"heap": [], "sealed": []}
    for n in range(args.pairs + 1):
        for side in list(SIDES) if n % 2 else list(SIDES)[::-1]:
            if before:
                before(side)
            value = measure(side)
            if n:
                values[side].append(value)
    h, s = statistics.median(values["heap"]), statistics.median(values["sealed"])
    ratio = h / s if unit == "tps" else s / h
    spread = [min(values["heap"]), max(values["heap"]), min(values["sealed"]), max(values["sealed"])]
    show = lambda v: f"{v:,.0f}" if v >= 100 else f"{v:,.1f}"
    lines.append((name, f"{show(h)} {unit}", f"{show(s)} {unit}", ratio, f"{show(spread[0])}–{show(spread[1])} / {show(spread[2])}–{show(spread[3])}"))
    bar = BARS.get(name)
    print(f"  {name:<48} {show(h):>10} {show(s):>10} {unit:<4} {ratio:5.2f}x{f'  (bar {bar}x)' if bar else ''}", flush=True)
    if bar and ratio > bar:
        over.append(f"{name}: {ratio:.2f}x, the bar is {bar}x")


def single(name, heap, sealed, unit, digits):
    ratio = sealed / heap if heap else float("nan")
    lines.append((name, f"{heap:,.{digits}f} {unit}", f"{sealed:,.{digits}f} {unit}", ratio, ""))
    print(f"  {name:<48} {heap:>10.{digits}f} {sealed:>10.{digits}f} {unit:<4} {ratio:5.2f}x", flush=True)


lines, over = [], []
rows = args.rows
print(f"  {'':<48} {'heap':>10} {'sealed':>10}      ratio", flush=True)
sql("heap", "CREATE SCHEMA bench_heap", "CREATE SCHEMA bench_sealed",
    "CREATE TABLE source (id int, k int, at timestamptz, amount bigint, name text, hash text)",
    f"""INSERT INTO source SELECT g, (g::bigint * 7919 % 10007)::int, '2024-01-01'::timestamptz + g * interval '1 second',
        g::bigint * 31, 'customer ' || g % 5000, md5(g::text) || md5((-g)::text) FROM generate_series(1, {rows}) g""",
    "VACUUM ANALYZE source")
data = f"{args.work}/source.copy"
sql("heap", f"COPY source TO '{data}'")
for side in SIDES:
    sql(side, "CREATE TABLE t (LIKE bench_heap.source)", "CREATE TABLE c (LIKE bench_heap.source)")

# Writing. Each run starts on an empty table, after a checkpoint.
am = sql("sealed", "SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = 't'::regclass")
if am != "sealed_heap":
    sys.exit(f"bench: bench_sealed.t is a table of {am}")
empty = lambda table: lambda side: sql(side, f"TRUNCATE {table}", "CHECKPOINT")
pairs("INSERT … SELECT", lambda side: timed(side, "INSERT INTO t SELECT * FROM bench_heap.source"), "ms", empty("t"))
pairs("COPY from a file", lambda side: timed(side, f"COPY c FROM '{data}'"), "ms", empty("c"))
size = {side: int(sql(side, "SELECT pg_table_size('t')")) / rows for side in SIDES}
single("bytes on disk per row", size["heap"], size["sealed"], "B", 1)
for side in SIDES:
    sql(side, "DROP TABLE c", "VACUUM (FREEZE, ANALYZE) t")
sql("heap", "CHECKPOINT")

# Reading, warm.
for name, query in (("count(*)", "SELECT count(*) FROM t"),
                    ("sum(int)", "SELECT sum(k) FROM t"),
                    ("GROUP BY int, min(text)", "SELECT k, min(hash) FROM t GROUP BY k"),
                    ("LIKE over text", "SELECT count(*) FROM t WHERE hash LIKE '%abcdef%'"),
                    ("ORDER BY text LIMIT 10", "SELECT hash FROM t ORDER BY hash LIMIT 10")):
    query = query if "ORDER" in query or "count" in query or "sum" in query else f"SELECT count(*), min(min) FROM ({query}) s"
    pairs(name, lambda side: timed(side, query), "ms")

# A table of which only the two texts are sealed: what looks at the others opens nothing.
divided = "two of six columns sealed: "
for side in SIDES:
    sql(side, "CREATE TABLE d (LIKE bench_heap.source)")
sql("sealed", "SECURITY LABEL FOR sealed ON TABLE d IS 'default plain'",
    *(f"SECURITY LABEL FOR sealed ON COLUMN d.{column} IS 'sealed'" for column in ("name", "hash")))
pairs(divided + "INSERT … SELECT", lambda side: timed(side, "INSERT INTO d SELECT * FROM bench_heap.source"), "ms", empty("d"))
for side in SIDES:
    sql(side, "VACUUM (FREEZE, ANALYZE) d")
sql("heap", "CHECKPOINT")
for name, query in (("sum(plain int)", "SELECT sum(k) FROM d"),
                    ("LIKE over sealed text", "SELECT count(*) FROM d WHERE hash LIKE '%abcdef%'")):
    pairs(divided + name, lambda side: timed(side, query), "ms")
for side in SIDES:
    sql(side, "DROP TABLE d")

# One row by its key.
for side in SIDES:
    sql(side, "CREATE INDEX t_id ON t (id)")
script = f"{args.work}/lookup.sql"
Path(script).write_text(f"\\set id random(1, {rows})\nSELECT hash FROM t WHERE id = :id;\n")
pairs("index point lookup", lambda side: pgbench(side, "-f", script), "tps")
for side in SIDES:
    sql(side, "DROP TABLE t")

# pgbench as everybody runs it.
for side in SIDES:
    run(["pgbench", "-i", "-q", "-s", "10", "-F", "90"], side)
sql("heap", "CHECKPOINT")
pairs("pgbench -S", lambda side: pgbench(side, "-S"), "tps")
sql("heap", "SELECT pg_stat_reset()")
pairs("pgbench -N", lambda side: pgbench(side, "-N"), "tps")
hot = {}
for side in SIDES:
    time.sleep(1)
    hot[side] = float(sql(side, f"SELECT round(100.0 * sum(n_tup_hot_upd) / nullif(sum(n_tup_upd), 0), 2) FROM pg_stat_user_tables WHERE schemaname = 'bench_{side}'") or 0)
single("HOT updates in pgbench -N", hot["heap"], hot["sealed"], "%", 1)

# The table.
cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
flags = next((l.split() for l in open("/proc/cpuinfo") if l.startswith("flags")), [])
cpu += f", {os.cpu_count()} cores" + "".join(f", {f}" for f in ("aes", "pclmulqdq", "vaes", "avx512f") if f in flags)
version = sql("heap", "SELECT version()").split(" on ")[0]
extension = sql("heap", "SELECT extversion FROM pg_extension WHERE extname = 'pg_sealed'") or "-"
commit = subprocess.run(["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
major = re.search(r"PostgreSQL (\d+)", version).group(1)
load = os.getloadavg()[2]
text = [f"<!-- bench {major}: begin (written by make bench) -->",
        f"{version}, pg_sealed {extension} ({commit}), {cpu}, Linux {platform.release()}, load {load:.1f} over 15 minutes.",
        f"{rows:,} rows of about 140 bytes; medians of {args.pairs} pairs in turns; one client; warm; shared_buffers 3GB, fsync off, jit off, no parallel workers, no autovacuum.", "",
        "| | heap | sealed_heap | ratio | bar | from–to |", "|---|---|---|---|---|---|"]
for name, heap, sealed, ratio, spread in lines:
    text.append(f"| {name} | {heap} | {sealed} | {ratio:.2f} | {BARS.get(name, '')} | {spread} |")
text.append(f"<!-- bench {major}: end -->")
out = Path(args.out)
old = out.read_text() if out.exists() else "# Performance\n"
block = re.compile(rf"<!-- bench {major}: begin.*?<!-- bench {major}: end -->", re.S)
new = "\n".join(text)
out.parent.mkdir(exist_ok=True)
out.write_text(block.sub(lambda _: new, old) if block.search(old) else old.rstrip("\n") + "\n\n" + new + "\n")
print(f"  {time.time() - began:.0f} s, written to {out}")
for line in over:
    print("  OVER THE BAR: " + line)
sys.exit(bool(over))
