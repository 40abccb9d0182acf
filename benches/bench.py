#!/usr/bin/env python3
"""Measures heap and sealed_heap in turns in one database and writes a table.

Every measurement is a pair, heap and sealed_heap one right after the other, the order alternating; one pair more
than asked for is run first and thrown away. What is short is measured more often, up to MORE times as many pairs: on a
machine whose speed comes and goes a pair's own ratio says little. The ratio is the median of the pairs' own ratios, sealed_heap / heap (for
rates heap / sealed_heap, so that above 1 always means slower or larger), with the interval that holds the median of all
runs there could be with at least 95 % confidence, by order statistics (7 pairs: from the least to the greatest).
"""
import argparse, math, os, platform, re, statistics, subprocess, sys, time
from pathlib import Path

import plot, tpch

BARS = {"count(*)": 1.25, "sum(int)": 1.8, "GROUP BY int, min(text)": 1.45, "INSERT … SELECT": 1.25, "COPY from a file": 1.25,
        "two of six columns sealed: sum(plain int)": 1.35, "pgbench -S": 1.05, "pgbench -S, 4 clients": 1.05, "pgbench -N": 1.05,
        "pgbench -N, 4 clients": 1.05, "pgbench TPC-B": 1.05, "pgbench TPC-B, 4 clients": 1.05, "index look-up, int8": 1.08, "index look-up, text": 1.08,
        "index build, int8": 1.7, "index build, text": 1.7, "index size, int8": 2.2, "index size, text": 2.2,
        "index range of 10 %, int8": 1.4, "index range of 10 %, text": 1.4, "TPC-H, geometric mean": 1.35}
SIDES = {"heap": "heap", "sealed": "sealed_heap"}   # side: access method; the schemas are bench_heap and bench_sealed
MORE = 4   # times as many pairs at most, as long as they take no more than two runs of pgbench
PARTS = ("rows", "columns", "indexes", "pgbench", "tpch")

p = argparse.ArgumentParser()
for name in ("host", "work", "out"):
    p.add_argument("--" + name, required=True)
for name in ("rows", "pairs", "seconds"):
    p.add_argument("--" + name, type=int, required=True)
p.add_argument("--scale", type=float, default=0.5, help="scale factor of TPC-H")
p.add_argument("--only", choices=PARTS, help="one part; the table is printed, not written")
args = p.parse_args()
began = time.time()


def env(side, **more):
    options = f"-c search_path=bench_{side},public -c default_table_access_method={SIDES[side]} -c sealed.plaintext_index=allow -c client_min_messages=warning"
    options += "".join(f" -c {name}={value}" for name, value in more.items())
    return dict(os.environ, PGHOST=args.host, PGUSER="postgres", PGDATABASE="postgres", PGOPTIONS=options)


def run(cmd, side, settings={}):
    done = subprocess.run(cmd, env=env(side, **settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench: {' '.join(cmd)[:200]}: {done.stderr.strip()}")
    return done.stdout


def sql(side, *commands):
    return run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1"] + [a for c in commands for a in ("-c", c)], side).strip()


def timed(side, command, **settings):
    """Milliseconds as psql's \\timing shows them for one command; the connection is not in it."""
    out = run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", "\\timing on", "-c", command], side, settings)
    return float(re.findall(r"^Time: ([\d.]+) ms", out, re.M)[-1])


def pgbench(side, *options, clients=1, **settings):
    out = run(["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(args.seconds), *options], side, settings)
    return float(re.search(r"^tps = ([\d.]+)", out, re.M).group(1))


def interval(ratios):
    """The order statistics that hold the median with at least 95 % confidence; the extremes where there are too few."""
    n, ratios = len(ratios), sorted(ratios)
    outside = lambda k: 2 * sum(math.comb(n, i) for i in range(k)) / 2**n   # k left out at either end
    k = max((k for k in range(1, n // 2 + 1) if outside(k) <= 0.05), default=1)
    return ratios[k - 1], ratios[n - k]


def pairs(name, measure, unit, before=None):
    """measure(side) -> number, `pairs` times each in turns, or more; before(side) is not measured."""
    values = {"heap": [], "sealed": []}
    start = time.time()
    for n in range(MORE * args.pairs + 1):
        if n > args.pairs and time.time() - start > 2 * args.seconds:
            break
        for side in list(SIDES) if n % 2 else list(SIDES)[::-1]:
            if before:
                before(side)
            value = measure(side)
            if n:
                values[side].append(value)
    h, s = statistics.median(values["heap"]), statistics.median(values["sealed"])
    ratios = [a / b if unit == "tps" else b / a for a, b in zip(values["heap"], values["sealed"])]
    show = lambda v: f"{v:,.0f}" if v >= 100 else f"{v:,.1f}"
    report(name, f"{show(h)} {unit}", f"{show(s)} {unit}", statistics.median(ratios), "{:.2f}–{:.2f}".format(*interval(ratios)))
    return statistics.median(ratios)


def single(name, heap, sealed, unit, digits):
    report(name, f"{heap:,.{digits}f} {unit}", f"{sealed:,.{digits}f} {unit}", sealed / heap if heap else float("nan"), "")


def report(name, heap, sealed, ratio, spread):
    lines.append((name, heap, sealed, ratio, spread))
    bar = BARS.get(name)
    print(f"  {name:<48} {heap:>14} {sealed:>14} {ratio:5.2f}x {spread:<10}{f' (bar {bar}x)' if bar else ''}", flush=True)
    if bar and ratio > bar:
        over.append(f"{name}: {ratio:.2f}x, the bar is {bar}x")


def wanted(part):
    return args.only in (None, part)


lines, over = [], []
rows = args.rows
print(f"  {'':<48} {'heap':>14} {'sealed':>14} ratio", flush=True)
sql("heap", "CREATE SCHEMA bench_heap", "CREATE SCHEMA bench_sealed",
    "CREATE TABLE source (id int, k int, at timestamptz, amount bigint, name text, hash text)",
    f"""INSERT INTO source SELECT g, (g::bigint * 7919 % 10007)::int, '2024-01-01'::timestamptz + g * interval '1 second',
        g::bigint * 31, 'customer ' || g % 5000, md5(g::text) || md5((-g)::text) FROM generate_series(1, {rows}) g""",
    "VACUUM ANALYZE source")
data = f"{args.work}/source.copy"
sql("heap", f"COPY source TO '{data}'")

empty = lambda table: lambda side: sql(side, f"TRUNCATE {table}", "CHECKPOINT")


def of_rows():
    """Whole rows: writing, each run on an empty table after a checkpoint; reading, warm."""
    for side in SIDES:
        sql(side, "CREATE TABLE t (LIKE bench_heap.source)", "CREATE TABLE c (LIKE bench_heap.source)")
    am = sql("sealed", "SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = 't'::regclass")
    if am != "sealed_heap":
        sys.exit(f"bench: bench_sealed.t is a table of {am}")
    pairs("INSERT … SELECT", lambda side: timed(side, "INSERT INTO t SELECT * FROM bench_heap.source"), "ms", empty("t"))
    pairs("COPY from a file", lambda side: timed(side, f"COPY c FROM '{data}'"), "ms", empty("c"))
    size = {side: int(sql(side, "SELECT pg_table_size('t')")) / rows for side in SIDES}
    single("bytes on disk per row", size["heap"], size["sealed"], "B", 1)
    for side in SIDES:
        sql(side, "DROP TABLE c", "VACUUM (FREEZE, ANALYZE) t")
    sql("heap", "CHECKPOINT")

    for name, query in (("count(*)", "SELECT count(*) FROM t"),
                        ("sum(int)", "SELECT sum(k) FROM t"),
                        ("GROUP BY int, min(text)", "SELECT k, min(hash) FROM t GROUP BY k"),
                        ("LIKE over text", "SELECT count(*) FROM t WHERE hash LIKE '%abcdef%'"),
                        ("ORDER BY text LIMIT 10", "SELECT hash FROM t ORDER BY hash LIMIT 10")):
        query = query if "ORDER" in query or "count" in query or "sum" in query else f"SELECT count(*), min(min) FROM ({query}) s"
        pairs(name, lambda side: timed(side, query), "ms")
    for side in SIDES:
        sql(side, "DROP TABLE t")


def of_columns():
    """A table of which only the two texts are sealed: what looks at the others opens nothing."""
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


def of_indexes():
    """btree and sealed_btree of values of eight bytes and of 24."""
    for side in SIDES:
        sql(side, "CREATE TABLE i (id bigint, v text, filler text)",
            f"INSERT INTO i SELECT id::bigint * 2654435761 % 4294967296, left(hash, 24), name FROM bench_heap.source WHERE id <= {rows} / 2",
            "VACUUM (FREEZE, ANALYZE) i")
    of = {"heap": "btree", "sealed": "sealed_btree"}
    for kind, column, key, low, high in (("int8", "id", "(:id::bigint * 2654435761 % 4294967296)", "1000000000", "1429496729"),
                                         ("text", "v", "left(md5(:id::text), 24)", "'5'", "'6999'")):
        build = lambda side: timed(side, f"CREATE INDEX i_{column} ON i USING {of[side]} ({column})")
        pairs(f"index build, {kind}", build, "ms", lambda side: sql(side, f"DROP INDEX IF EXISTS i_{column}", "CHECKPOINT"))
        size = {side: int(sql(side, f"SELECT pg_relation_size('i_{column}')")) / (rows / 2) for side in SIDES}
        single(f"index size, {kind}", size["heap"], size["sealed"], "B a row", 1)
        script = f"{args.work}/{kind}.sql"
        Path(script).write_text(f"\\set id random(1, {rows // 2})\nSELECT filler FROM i WHERE {column} = {key};\n")
        # There are no statistics of sealed columns: the same plan for both.
        pairs(f"index look-up, {kind}", lambda side: pgbench(side, "-f", script, enable_seqscan="off", enable_bitmapscan="off"), "tps")
        ranged = f"SELECT count(filler) FROM i WHERE {column} BETWEEN {low} AND {high}"
        pairs(f"index range of 10 %, {kind}", lambda side: timed(side, ranged, enable_seqscan="off"), "ms")
    for side in SIDES:
        sql(side, "DROP TABLE i")


def of_pgbench():
    """pgbench as everybody runs it."""
    for side in SIDES:
        run(["pgbench", "-i", "-q", "-s", "10", "-F", "90"], side)
    sql("heap", "CHECKPOINT")
    sql("heap", "SELECT pg_stat_reset()")
    for name, options in (("-S", ("-S",)), ("-N", ("-N",)), ("TPC-B", ())):
        for clients in (1, 4):
            more = "" if clients == 1 else f", {clients} clients"
            pairs(f"pgbench {name}{more}", lambda side: pgbench(side, *options, clients=clients), "tps")
    hot = {}
    for side in SIDES:
        time.sleep(1)
        hot[side] = float(sql(side, f"SELECT round(100.0 * sum(n_tup_hot_upd) / nullif(sum(n_tup_upd), 0), 2) FROM pg_stat_user_tables WHERE schemaname = 'bench_{side}'") or 0)
    single("HOT updates in pgbench", hot["heap"], hot["sealed"], "%", 1)


def of_tpch():
    """All queries of TPC-H; the answers are compared."""
    tables = tpch.generate(args.work, args.scale)
    for side in SIDES:
        sql(side, *tpch.TABLES, "SET sealed.plaintext_statistics = on", *(f"COPY {table} FROM '{path}' (FORMAT csv)" for table, path in tables.items()), *tpch.KEYS, "VACUUM (FREEZE, ANALYZE)")
    sql("heap", "CHECKPOINT")
    ratios = []
    for number, query in tpch.queries():
        answers = {side: sql(side, query) for side in SIDES}
        if answers["heap"] != answers["sealed"]:
            sys.exit(f"bench: TPC-H {number}: the answers differ")
        ratios.append(pairs(f"TPC-H {number}", lambda side: timed(side, query), "ms"))
    report("TPC-H, geometric mean", "", "", math.exp(statistics.fmean(map(math.log, ratios))), "{:.2f}–{:.2f}".format(min(ratios), max(ratios)))
    for side in SIDES:
        sql(side, *(f"DROP TABLE {table} CASCADE" for table in tables))


for part in PARTS:
    if wanted(part):
        globals()[f"of_{part}"]()

for line in over:
    print("  OVER THE BAR: " + line)
if args.only:
    sys.exit(bool(over))

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
        f"{rows:,} rows of about 140 bytes; medians of {args.pairs} to {MORE * args.pairs} pairs in turns; one client; warm; shared_buffers 3GB, fsync off, jit off, no parallel workers, no autovacuum.", "",
        "| | heap | sealed_heap | ratio | 95 % | bar |", "|---|---|---|---|---|---|"]
for name, heap, sealed, ratio, spread in lines:
    text.append(f"| {name} | {heap} | {sealed} | {ratio:.2f} | {spread} | {BARS.get(name, '')} |")
text.append(f"<!-- bench {major}: end -->")
out = Path(args.out)
old = out.read_text() if out.exists() else "# Performance\n"
block = re.compile(rf"<!-- bench {major}: begin.*?<!-- bench {major}: end -->", re.S)
new = "\n".join(text)
out.parent.mkdir(exist_ok=True)
out.write_text(block.sub(lambda _: new, old) if block.search(old) else old.rstrip("\n") + "\n\n" + new + "\n")
out.with_suffix(".svg").write_text(plot.draw(plot.read(out.read_text())))
print(f"  {time.time() - began:.0f} s, written to {out}")
sys.exit(bool(over))
