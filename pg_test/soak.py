#!/usr/bin/env python3
"""The work of pg_test/soak: clients with journals outside the database, a killer, a checker.

Each client owns rows by client number, drives psql through a pipe and writes a journal line "begin N" before it
sends transaction N, and "done N" after the server acknowledged it; both are flushed to disk. A transaction inserts,
updates (in and out of TOAST) and deletes rows of its own and of a shared table, and stores N in the client's row of
`progress`. After a crash the checker reads each journal: the client's state must be exactly that after its last
acknowledged transaction, or after the one that was under way (its COMMIT may or may not have been written). The state
is compared row by row as checksums of the plaintext that the journal's generator makes again.
"""
import argparse, hashlib, os, random, re, signal, subprocess, sys, threading, time
from pathlib import Path

p = argparse.ArgumentParser()
p.add_argument("--dir", required=True)
p.add_argument("--bindir", required=True)
p.add_argument("--seconds", type=float, required=True)
p.add_argument("--cycles", type=int, default=0)
p.add_argument("--clients", type=int, default=4)
args = p.parse_args()
DATA, JOURNALS = args.dir + "/data", Path(args.dir) / "journal"
ENV = dict(os.environ, PGHOST=args.dir, PGUSER="postgres", PGDATABASE="postgres", PGAPPNAME="soak")
PSQL = [args.bindir + "/psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1"]


def noise(seed, n):
    out = []
    while n > 0:
        out.append(hashlib.md5(f"{seed}:{len(out)}".encode()).hexdigest()[:n])
        n -= 32
    return "".join(out)


def steps(client, number):
    """What transaction `number` of `client` does: a list of (kind, key, value). The same every time it is asked."""
    rng = random.Random(f"{client}/{number}")
    todo = []
    for _ in range(rng.randint(1, 6)):
        kind = rng.choices(["put", "drop", "bulk"], [10, 3, 1])[0]
        if kind == "put":
            size = rng.choice([0, 5, 60, 300, 2010, 2040, 5000, 20000])
            todo.append(("put", rng.randint(1, 400), None if size == 0 else noise(f"{client}/{number}/{len(todo)}", size)))
        elif kind == "drop":
            todo.append(("drop", rng.randint(1, 400), None))
        else:
            first = rng.randint(1, 380)
            todo += [("put", k, noise(f"{client}/{number}/{k}", 40)) for k in range(first, first + 20)]
    return todo, rng.random() < 0.08, rng.random() < 0.3   # and: is it rolled back, does it use a savepoint


def statements(client, number):
    todo, rollback, savepoint = steps(client, number)
    out = ["BEGIN;"]
    if savepoint:
        out.append(f"SAVEPOINT s; INSERT INTO t VALUES ({client}, 100000 + {number}, 'never'); UPDATE t SET v = 'never' WHERE client = {client} AND k < 50; ROLLBACK TO s;")
    for kind, key, value in todo:
        if kind == "drop":
            out.append(f"DELETE FROM t WHERE client = {client} AND k = {key};")
        else:
            v = "NULL" if value is None else f"'{value}'"
            out.append(f"INSERT INTO t VALUES ({client}, {key}, {v}) ON CONFLICT (client, k) DO UPDATE SET v = excluded.v;")
    out.append(f"UPDATE progress SET n = {number} WHERE client = {client};")
    out.append(f"UPDATE bank SET balance = balance + 1 WHERE id = {number % 5}; UPDATE bank SET balance = balance - 1 WHERE id = {5 + number % 5};")
    out.append("ROLLBACK;" if rollback else "COMMIT;")
    return "\n".join(out) + f"\n\\echo acked {number}\n"


class Client(threading.Thread):
    """Sends one transaction after the other until its connection breaks."""

    def __init__(self, number, start):
        super().__init__(daemon=True)
        self.number, self.next, self.problem = number, start, None

    def run(self):
        proc = subprocess.Popen(PSQL, env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        journal = os.open(JOURNALS / f"{self.number}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            while True:
                os.write(journal, f"begin {self.next}\n".encode())
                os.fsync(journal)
                proc.stdin.write(statements(self.number, self.next))
                proc.stdin.flush()
                line = proc.stdout.readline()
                if line.strip() != f"acked {self.next}":
                    break
                os.write(journal, f"done {self.next}\n".encode())
                os.fsync(journal)
                self.next += 1
        except (BrokenPipeError, OSError):
            pass
        try:
            proc.stdin.close()
        except OSError:
            pass
        errors = proc.stderr.read()
        proc.wait()
        os.close(journal)
        lost = re.compile(r"server closed the connection|terminating connection|connection to server|could not receive|SSL|no connection|shutting down|in recovery|starting up|crash of another server process|DETAIL:|HINT:|This probably means|before or while processing|abnormally|and exit, because|You should be able|memory\.$|repeat your command|command\.$", re.I)
        rest = [l for l in errors.splitlines() if l.strip() and not lost.search(l)]
        if rest:
            self.problem = f"client {self.number}: " + rest[0]


def sql(command, tries=1):
    for n in range(tries):
        done = subprocess.run(PSQL + ["-c", command], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            return done.stdout.rstrip("\n")
        if n + 1 < tries:
            time.sleep(0.1)
    raise RuntimeError(f"{command[:80]}: {done.stderr.strip()}")


def apply(rows, client, number):
    """The rows after transaction `number`, if it committed."""
    rows = dict(rows)
    for kind, key, value in steps(client, number)[0]:
        if kind == "drop":
            rows.pop(key, None)
        else:
            rows[key] = value
    return rows


def summary(rows):
    text = "|".join(f"{k}:{'-' if v is None else hashlib.md5(v.encode()).hexdigest()}" for k, v in sorted(rows.items()))
    return f"{len(rows)} {hashlib.md5(text.encode()).hexdigest() if rows else ''}"


class Truth:
    """What a client's journal says of its rows."""

    def __init__(self):
        self.rows, self.committed, self.read, self.settled = {}, 0, 0, 0

    def settle(self, client, stored, found, cycle):
        """Takes the journal's new lines and compares; returns the number of the client's next transaction."""
        path = JOURNALS / f"{client}"
        lines = path.read_text().splitlines() if path.exists() else []
        open_one = None
        for line in lines[self.read:]:
            word, number = line.split()[0], int(line.split()[1])
            if word == "begin":
                open_one = number
            else:
                open_one = None
                self.settled += 1
                if not steps(client, number)[1]:
                    self.rows, self.committed = apply(self.rows, client, number), number
        self.read = len(lines)
        if open_one is not None and stored == open_one:
            # its COMMIT was written, the acknowledgement did not arrive
            self.rows, self.committed = apply(self.rows, client, open_one), open_one
        where = f"soak: cycle {cycle}, client {client}"
        if stored != self.committed:
            sys.exit(f"{where}: the last acknowledged COMMIT is {self.committed} (under way: {open_one}), the table has {stored}")
        want = summary(self.rows)
        if want != found:
            sys.exit(f"{where}: after transaction {self.committed} its rows should be {want}, they are {found}")
        return (int(lines[-1].split()[1]) if lines else 0) + 1


def check(truths, cycle):
    """Compares every client's rows with its journal; returns where each goes on."""
    found, goes_on = {}, {}
    out = sql("SELECT client, count(*) || ' ' || md5(string_agg(k || ':' || coalesce(md5(v), '-'), '|' ORDER BY k)) FROM t GROUP BY client", tries=300)
    for line in out.splitlines():
        client, text = line.split("|", 1)
        found[int(client)] = text
    stored = dict(tuple(map(int, l.split("|"))) for l in sql("SELECT client, n FROM progress").splitlines())
    if set(found) - set(truths) or set(stored) != set(truths):
        sys.exit(f"soak: cycle {cycle}: rows of other clients than {set(truths)}: {set(found)} {set(stored)}")
    for client, truth in truths.items():
        goes_on[client] = truth.settle(client, stored[client], found.get(client, "0 "), cycle)
    balance = sql("SELECT sum(balance) FROM bank")
    if balance != "0":
        sys.exit(f"soak: cycle {cycle}: the bank's balance is {balance}")
    for table in ("t", "bank", "progress"):
        damaged = sql(f"SELECT * FROM sealed.verify('{table}') LIMIT 3")
        if damaged:
            sys.exit(f"soak: cycle {cycle}: sealed.verify of {table}: {damaged}")
    return goes_on


def postmaster():
    return int(Path(DATA + "/postmaster.pid").read_text().split()[0])


def start():
    for _ in range(100):
        done = subprocess.run([args.bindir + "/pg_ctl", "-D", DATA, "-l", args.dir + "/log", "-w", "-t", "120", "start"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode == 0:
            return
        time.sleep(0.2)
    sys.exit("soak: the server does not start: " + done.stdout + "".join(open(args.dir + "/log").readlines()[-20:]))


sql("""CREATE EXTENSION amcheck; CREATE EXTENSION pageinspect;
CREATE TABLE t (client int, k int, v text, PRIMARY KEY (client, k)) USING sealed_heap; ALTER TABLE t ALTER v SET STORAGE external;
CREATE TABLE progress (client int PRIMARY KEY, n int) USING sealed_heap WITH (fillfactor = 50);
CREATE TABLE bank (id int PRIMARY KEY, balance bigint) USING sealed_heap;
INSERT INTO bank SELECT g, 0 FROM generate_series(0, 9) g;
CREATE TABLE churn (id bigint, v text) USING sealed_heap;""")
for c in range(args.clients):
    sql(f"INSERT INTO progress VALUES ({c}, 0)")
truths, goes_on = {c: Truth() for c in range(args.clients)}, {c: 1 for c in range(args.clients)}
cycle, began, total, seeds = 0, time.time(), 0, random.Random(4711)
while time.time() - began < args.seconds and (not args.cycles or cycle < args.cycles):
    cycle += 1
    clients = [Client(c, goes_on[c]) for c in range(args.clients)]
    for c in clients:
        c.start()
    # beside the clients: rewrites, rotations, VACUUM, ANALYZE, COPY-like bulk loads, any of which the kill may hit
    side = subprocess.Popen([args.bindir + "/psql", "-X", "-q", "-At"], env=ENV, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    extra = seeds.choice(["VACUUM t; VACUUM (FREEZE) bank; ANALYZE t;", "VACUUM FULL bank;", "SELECT sealed.rotate_data_key('t');", "SELECT sealed.rotate_master_key();",
                          "REINDEX TABLE t;", "INSERT INTO churn SELECT g, repeat('c', 500) FROM generate_series(1, 20000) g; TRUNCATE churn;", "CLUSTER t USING t_pkey;", "CHECKPOINT;", "VACUUM FULL t;"])
    try:
        side.stdin.write("SELECT pg_sleep(0.2);\n" + extra + "\n")
        side.stdin.close()
    except OSError:
        pass
    time.sleep(seeds.uniform(0.8, 3.0) if not args.cycles else seeds.uniform(0.5, 1.5))
    victims = [] if cycle % 3 else sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'soak' AND pid <> pg_backend_pid()").split()
    how, dying = "server", []
    if victims:
        try:
            os.kill(int(seeds.choice(victims)), signal.SIGKILL)
            how = "backend"
        except ProcessLookupError:
            pass
    if how == "server":
        # the postmaster and all of its children at once, as a power cut would
        pid = postmaster()
        dying = [pid] + [int(c) for c in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], stdout=subprocess.PIPE, text=True).stdout.split()]
        for victim in dying:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
    for c in clients:
        c.join(60)
        if c.is_alive():
            sys.exit(f"soak: client {c.number} hangs")
        if c.problem:
            sys.exit("soak: " + c.problem)
    side.wait()
    if how == "server":
        # leftovers of the old server would keep its shared memory
        for _ in range(200):
            if subprocess.run(["ps", "-o", "pid=", "-p", ",".join(map(str, dying))], stdout=subprocess.PIPE, text=True).stdout.strip() == "":
                break
            time.sleep(0.05)
        start()
    goes_on = check(truths, cycle)
    total = sum(t.settled for t in truths.values())
    if cycle % 10 == 0 or args.cycles:
        print(f"  cycle {cycle:4} ({how} killed, {extra.split(';')[0][:34]}): {total} transactions compared, {time.time() - began:.0f} s", flush=True)
# at the end: indexes, nonces, and no plaintext in the files
sql("SELECT bt_index_check(oid, true) FROM pg_class WHERE relname IN ('t_pkey', 'bank_pkey', 'progress_pkey')")
double = sql("""SELECT count(*) - count(DISTINCT h) FROM (SELECT substr(t_data, 1, 22) AS h FROM generate_series(0, pg_relation_size('t') / 8192 - 1) b,
  LATERAL heap_page_items(get_raw_page('t', b::int)) WHERE t_data IS NOT NULL) s""")
if double != "0":
    sys.exit(f"soak: {double} nonces are used twice")
print(f"soak: {cycle} crashes, {total} acknowledged transactions compared, nothing lost, {time.time() - began:.0f} s")
