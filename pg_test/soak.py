#!/usr/bin/env python3
"""The work of pg_test/soak: clients with journals outside the database, a killer, a checker.

Each client owns rows of `t` by its number, a table x<client> and tables d_<client>_<N>. It drives psql through a pipe
and writes a journal line "begin N" before it sends transaction N, "prepared N" after the server acknowledged PREPARE
TRANSACTION (in one of eight), and "done N" after it acknowledged the end; each is flushed to disk first. After a crash
the checker reads each journal: what is stored must be exactly the state after the client's last acknowledged
transaction, or after the one that was under way (its COMMIT may or may not have been written); a transaction that was
acknowledged as prepared must be there, to be committed or rolled back now. States are compared row by row, as checksums
of the plaintext that the journal's generator makes again, through sequential scans and through the index.

Before the first crash the checker is proved: --self-test breaks the tables in ways it must notice.
"""
import argparse, collections, hashlib, os, random, re, signal, subprocess, sys, threading, time
from pathlib import Path

p = argparse.ArgumentParser()
p.add_argument("--dir", required=True)
p.add_argument("--bindir", required=True)
p.add_argument("--seconds", type=float, default=0, help="0: no limit")
p.add_argument("--cycles", type=int, default=0, help="0: no limit")
p.add_argument("--clients", type=int, default=4)
p.add_argument("--seed", type=int, default=4711)
p.add_argument("--self-test", action="store_true", help="only prove the checker")
args = p.parse_args()
DATA, JOURNALS, LOG = args.dir + "/data", Path(args.dir) / "journal", args.dir + "/log"
ENV = dict(os.environ, PGHOST=args.dir, PGUSER="postgres", PGDATABASE="postgres", PGAPPNAME="soak", PGOPTIONS="-c client_min_messages=warning")
PSQL = [args.bindir + "/psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1"]


class Wrong(Exception):
    """The database does not hold what it acknowledged."""


# What a transaction does. Everything below is a function of client and number alone, so that the checker can make a
# transaction's effect again long after it was sent.

def noise(seed, n):
    out = []
    while n > 0:
        out.append(hashlib.md5(f"{seed}:{len(out)}".encode()).hexdigest()[:n])
        n -= 32
    return "".join(out)


SIZES = [0, 5, 60, 300, 1960, 2010, 2040, 5000, 20000]
KINDS = {"put": 10, "hot": 5, "move": 4, "drop": 3, "copy": 2, "own": 4, "truncate": 1, "alter": 0.6, "create": 0.8}
REWRITES = [
    "ALTER TABLE {x} ALTER k TYPE bigint; ALTER TABLE {x} ALTER k TYPE int",
    "ALTER TABLE {x} ADD COLUMN extra text DEFAULT clock_timestamp()::text; ALTER TABLE {x} DROP COLUMN extra",
    "ALTER TABLE {x} ADD COLUMN extra text NOT NULL DEFAULT 'kept'; UPDATE {x} SET extra = extra || '!' WHERE k < 9; ALTER TABLE {x} DROP COLUMN extra",
    "ALTER TABLE {x} SET ACCESS METHOD heap; ALTER TABLE {x} SET ACCESS METHOD sealed_heap",
    "ALTER TABLE {x} ADD COLUMN extra int; UPDATE {x} SET extra = k; ALTER TABLE {x} DROP COLUMN extra",
    "CLUSTER {x} USING {x}_pkey",
]


class Plan:
    """What transaction `number` of `client` does; `steps` are (kind, key, number, text)."""

    def __init__(self, client, number):
        rng = random.Random(f"{client}/{number}")
        self.client, self.number, self.steps = client, number, []
        for i in range(rng.randint(1, 6)):
            kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
            size = rng.choice(SIZES)
            value = noise(f"{client}/{number}/{i}", size) if size else None
            key = rng.randint(1, 300)
            if kind == "own":
                # half of it compresses, so that both kinds of large values are stored
                value = (value or "")[:30] * 400 if size > 60 and i % 2 else value
                key %= 40
            self.steps.append((kind, key, rng.randint(1, 1000), value))
        self.rollback = rng.random() < 0.08
        self.savepoint = rng.choice(["", "", "rolled back", "released", "nested"])
        self.prepare = rng.random() < 0.125
        # what the checker does with it if it finds it prepared
        self.commit_found = rng.random() < 0.7
        self.gid = f"soak_{client}_{number}"

    def creates(self):
        return any(s[0] == "create" for s in self.steps)

    def copied(self, key):
        return [(1000 + self.number % 50 * 20 + i, key + i, noise(f"{self.client}/{self.number}/{i}", 40 if i else 3000)) for i in range(20)]

    def created(self):
        return [(i, noise(f"d/{self.client}/{self.number}/{i}", 10 + 700 * i)) for i in range(6)]

    def dropped(self):
        """The d tables that are too old now. The range is wider than needed: transactions that would drop them may roll back."""
        return [n for n in range(max(1, self.number - 150), self.number - 12) if plan(self.client, n).creates()]

    def apply(self, state):
        """The state after the transaction, if it commits."""
        t, x, d = dict(state[0]), dict(state[1]), set(state[2])
        for kind, key, n, value in self.steps:
            if kind == "put":
                t[key] = (t[key][0] if key in t else n, value)
            elif kind == "hot" and key in t:
                t[key] = (t[key][0], value)
            elif kind == "move" and key in t:
                t[key] = (n, t[key][1])
            elif kind == "drop":
                t.pop(key, None)
            elif kind == "copy":
                t = {k: row for k, row in t.items() if k < 1000}
                t.update({k: (m, v) for k, m, v in self.copied(n)})
            elif kind == "own":
                x[key] = value
            elif kind == "truncate":
                x = {key: value}
            elif kind == "create":
                d = (d - set(self.dropped())) | {self.number}
        return t, x, d

    def sql(self):
        c, x, out, tables = self.client, f"x{self.client}", ["BEGIN;"], 0
        quoted = lambda v: "NULL" if v is None else f"'{v}'"
        never = f"INSERT INTO t VALUES ({c}, 100000 + {self.number}, 1, repeat('never', 900)); UPDATE t SET v = 'never' WHERE client = {c} AND k < 50; DELETE FROM t WHERE client = {c} AND k > 250;"
        if self.savepoint == "rolled back":
            out.append(f"SAVEPOINT s; {never} ROLLBACK TO s;")
        elif self.savepoint == "nested":
            out.append(f"SAVEPOINT s; UPDATE t SET n = n + 1 WHERE client = {c} AND k < 20; SAVEPOINT u; {never} RELEASE u; ROLLBACK TO s; RELEASE s;")
        for kind, key, n, value in self.steps:
            if self.savepoint == "released":
                out.append("SAVEPOINT r;")
            where = f"WHERE client = {c} AND k = {key};"
            if kind == "put":
                out.append(f"INSERT INTO t (client, k, n, v) VALUES ({c}, {key}, {n}, {quoted(value)}) ON CONFLICT (client, k) DO UPDATE SET v = excluded.v;")
            elif kind == "hot":
                out.append(f"UPDATE t SET v = {quoted(value)} {where}")
            elif kind == "move":
                out.append(f"UPDATE t SET n = {n} {where}")
            elif kind == "drop":
                out.append(f"DELETE FROM t {where}")
            elif kind == "copy":
                out.append(f"DELETE FROM t WHERE client = {c} AND k >= 1000;\nCOPY t (client, k, n, v) FROM stdin;")
                out += [f"{c}\t{k}\t{m}\t{v}" for k, m, v in self.copied(n)] + ["\\."]
            elif kind == "own":
                out.append(f"INSERT INTO {x} (k, v) VALUES ({key}, {quoted(value)}) ON CONFLICT (k) DO UPDATE SET v = excluded.v;")
            elif kind == "truncate":
                out.append(f"TRUNCATE {x}; INSERT INTO {x} (k, v) VALUES ({key}, {quoted(value)});")
            elif kind == "alter":
                out.append(REWRITES[n % len(REWRITES)].format(x=x) + ";")
            elif kind == "create" and not tables:
                tables = 1
                out += [f"DROP TABLE IF EXISTS d_{c}_{m};" for m in self.dropped()]
                out.append(f"CREATE TABLE d_{c}_{self.number} (k int, v text) USING sealed_heap;")
                out.append(f"INSERT INTO d_{c}_{self.number} VALUES " + ", ".join(f"({k}, '{v}')" for k, v in self.created()) + ";")
            if self.savepoint == "released":
                out.append("RELEASE r;")
        out.append(f"UPDATE progress SET n = {self.number} WHERE client = {c};")
        if not self.prepare:
            # (not where it may stay prepared: the other clients would wait for it)
            a = self.number % 5
            out.append(f"UPDATE bank SET balance = balance + 1 WHERE id = {a}; UPDATE bank SET balance = balance - 1 WHERE id = {5 + a};")
            out.append("ROLLBACK;" if self.rollback else "COMMIT;")
        else:
            out.append(f"PREPARE TRANSACTION '{self.gid}';")
        return "\n".join(out) + "\n"

    def finish(self):
        return f"{'ROLLBACK' if self.rollback else 'COMMIT'} PREPARED '{self.gid}';\n"


PLANS = {}


def plan(client, number):
    known = PLANS.get((client, number))
    if known is None:
        if len(PLANS) > 5000:
            PLANS.clear()
        known = PLANS[(client, number)] = Plan(client, number)
    return known


# What a lost connection looks like to psql; any other complaint is a finding.
LOST = re.compile(r"server closed the connection|terminating connection|connection to server|could not receive|no connection|shutting down|"
                  r"in recovery|starting up|not yet accepting", re.I)


def complaints(text):
    return [line for line in text.splitlines() if re.search(r"\b(ERROR|FATAL|PANIC|WARNING|error):", line) and not LOST.search(line)]


class Client(threading.Thread):
    """Sends one transaction after the other until its connection breaks."""

    def __init__(self, number, start):
        super().__init__(daemon=True)
        self.number, self.next, self.problem, self.stop = number, start, None, False

    def run(self):
        proc = subprocess.Popen(PSQL, env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        journal = os.open(JOURNALS / f"{self.number}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

        def note(word):
            os.write(journal, f"{word} {self.next}\n".encode())
            os.fsync(journal)

        def ask(sql, word):
            proc.stdin.write(f"{sql}\\echo {word} {self.next}\n")
            proc.stdin.flush()
            return proc.stdout.readline().strip() == f"{word} {self.next}"

        try:
            while not self.stop:
                todo = plan(self.number, self.next)
                note("begin")
                if todo.prepare:
                    if not ask(todo.sql(), "prepared"):
                        break
                    note("prepared")
                    if not ask(todo.finish(), "acked"):
                        break
                elif not ask(todo.sql(), "acked"):
                    break
                note("done")
                self.next += 1
        except (BrokenPipeError, OSError):
            pass
        try:
            proc.stdin.close()
        except OSError:
            pass
        rest = complaints(proc.stderr.read())
        proc.wait()
        os.close(journal)
        if rest:
            self.problem = f"client {self.number}, transaction {self.next}: {rest[0]}"


class Session:
    """One psql for the checker's questions."""

    def __init__(self, tries=1):
        for n in range(tries):
            self.proc = subprocess.Popen(PSQL, env=dict(ENV, PGAPPNAME="checker", PGOPTIONS=ENV["PGOPTIONS"] + " -c lock_timeout=60s"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                self.ask("SELECT 1")
                return
            except RuntimeError as e:
                if n + 1 == tries or complaints(str(e)):
                    raise
                time.sleep(0.1)

    def ask(self, sql):
        out = []
        try:
            self.proc.stdin.write(sql + ";\n\\echo --answered--\n")
            self.proc.stdin.flush()
            for line in self.proc.stdout:
                if line == "--answered--\n":
                    return "".join(out).rstrip("\n")
                out.append(line)
        except BrokenPipeError:
            pass
        error = self.proc.stderr.read().strip()
        self.proc.wait()
        raise RuntimeError(error)

    def rows(self, sql):
        return [line.split("|") for line in self.ask(sql).splitlines()]

    def close(self):
        self.proc.stdin.close()
        self.proc.wait()


def digest(parts):
    text = "|".join(parts)
    return f"{len(parts)} {hashlib.md5(text.encode()).hexdigest() if parts else ''}"


def md5(value):
    return "-" if value is None else hashlib.md5(value.encode()).hexdigest()


def expected(client, state):
    """Checksums of a state, as `STORED` makes them of the tables."""
    t, x, d = state
    out = {"t": digest([f"{k}:{n}:{md5(v)}" for k, (n, v) in sorted(t.items())]), "x": digest([f"{k}:{md5(v)}" for k, v in sorted(x.items())])}
    for number in d:
        out[f"d_{client}_{number}"] = digest([f"{k}:{md5(v)}" for k, v in plan(client, number).created()])
    return out


CHECKSUM = "count(*) || ' ' || coalesce(md5(string_agg(k || ':' || {n} coalesce(md5(v), '-'), '|' ORDER BY k)), '')"
STORED = "SELECT client, 't', " + CHECKSUM.format(n="n || ':' ||") + " FROM t WHERE client IN ({all}) GROUP BY client"
SETUP = """CREATE EXTENSION amcheck; CREATE EXTENSION pageinspect;
CREATE TABLE t (client int, k int, n int, v text, PRIMARY KEY (client, k)) USING sealed_heap WITH (fillfactor = 80);
ALTER TABLE t ALTER v SET STORAGE external; CREATE INDEX t_n ON t (n);
CREATE TABLE progress (client int PRIMARY KEY, n int) USING sealed_heap WITH (fillfactor = 50);
CREATE TABLE bank (id int PRIMARY KEY, balance bigint) USING sealed_heap;
INSERT INTO bank SELECT g, 0 FROM generate_series(0, 9) g;
CREATE TABLE churn (id bigint, v text) USING sealed_heap;
CREATE VIEW held AS SELECT relation FROM pg_locks WHERE locktype = 'relation' AND pid IS NULL AND mode = 'AccessExclusiveLock';
CREATE FUNCTION own_tables() RETURNS TABLE (client text, name text, checksum text) LANGUAGE plpgsql AS $$
DECLARE r regclass; BEGIN
  FOR r IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relname ~ '^(d_|x[0-9])' LOOP
    client := substring(r::text from '^[dx]_?([0-9]+)'); name := CASE WHEN r::text LIKE 'x%' THEN 'x' ELSE r::text END; checksum := 'held';
    IF r NOT IN (SELECT relation FROM held) THEN EXECUTE 'SELECT """ + CHECKSUM.format(n="").replace("'", "''") + """ FROM ' || r INTO checksum; END IF;
    RETURN NEXT;
  END LOOP; END $$;
CREATE FUNCTION damaged() RETURNS TABLE (tab text, finding text) LANGUAGE plpgsql AS $$
DECLARE r regclass; BEGIN
  FOR r IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relam = (SELECT oid FROM pg_am WHERE amname = 'sealed_heap') AND oid NOT IN (SELECT relation FROM held) LOOP
    RETURN QUERY EXECUTE 'SELECT $1, v::text FROM sealed.verify($2) v LIMIT 3' USING r::text, r;
  END LOOP; END $$"""


class Truth:
    """What a client's journal says of its rows."""

    def __init__(self, client):
        self.client, self.state, self.committed, self.read, self.settled, self.last, self.open = client, ({}, {}, frozenset()), 0, 0, 0, 0, None
        self.did = collections.Counter()

    def commit(self, number):
        todo = plan(self.client, number)
        self.state, self.committed = todo.apply(self.state), number
        self.did.update([s[0] for s in todo.steps] + (["savepoint"] if todo.savepoint else []) + (["prepared"] if todo.prepare else []))

    def take_journal(self):
        """Takes the journal's new lines. What is under way stays in `open` as (number, was it acknowledged as prepared)."""
        path = JOURNALS / f"{self.client}"
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines[self.read:]:
            word, number = line.split()[0], int(line.split()[1])
            if word == "begin":
                self.open, self.last = (number, False), number
            elif word == "prepared":
                self.open = (number, True)
            else:
                self.open = None
                self.settled += 1
                if not plan(self.client, number).rollback:
                    self.commit(number)
        self.read = len(lines)

    def settle(self, stored, prepared):
        """Compares with the number that the table has and with what is prepared; returns the gid to finish, or None."""
        number, acknowledged = self.open or (None, False)
        gid = plan(self.client, number).gid if number else None
        if prepared - {gid}:
            raise Wrong(f"client {self.client}: {prepared - {gid}} should not be prepared any more")
        if prepared:
            if not plan(self.client, number).prepare:
                raise Wrong(f"client {self.client}: {gid} was never to be prepared")
        elif number:
            todo = plan(self.client, number)
            if stored == number and (acknowledged or not todo.prepare) and not todo.rollback:
                self.commit(number)   # its COMMIT was written, the acknowledgement did not arrive
            elif acknowledged and not todo.rollback:
                raise Wrong(f"client {self.client}: {gid} was acknowledged as prepared and is gone")
            self.open = None
        if stored != self.committed:
            raise Wrong(f"client {self.client}: the last acknowledged COMMIT is {self.committed} (under way: {number}), the table has {stored}")
        return gid if prepared else None


def differences(session, truth):
    """For the message: the first rows of a client that are not as they should be."""
    found = {int(k): (int(n), h) for k, n, h in session.rows(f"SELECT k, n, coalesce(md5(v), '-') FROM t WHERE client = {truth.client}")}
    want = {k: (n, md5(v)) for k, (n, v) in truth.state[0].items()}
    return "; ".join(f"t.k {k}: should be {want.get(k)}, is {found.get(k)}" for k in sorted(set(found) | set(want)) if found.get(k) != want.get(k))[:1000]


def compare(session, truths, pending):
    """Every client's rows, by sequential scan and by index, the d and x tables, the bank, indexes, keys, sealed.verify."""
    stored = "; ".join(f"SET enable_seqscan = {s}; SET enable_indexscan = {i}; SET enable_bitmapscan = {i}; " + STORED.format(all=",".join(map(str, truths)))
                       for s, i in (("on", "off"), ("off", "on")))
    by_scan = session.rows(stored)
    own = session.rows("RESET ALL; SELECT * FROM own_tables()")
    for truth in truths.values():
        want = expected(truth.client, truth.state)
        for t in [text for c, _, text in by_scan if int(c) == truth.client] or ["0 "] * 2:
            if t != want["t"]:
                raise Wrong(f"client {truth.client}: after transaction {truth.committed} t should be {want['t']}, is {t}: {differences(session, truth)}")
        found = {name: text for c, name, text in own if int(c) == truth.client}
        for name in sorted((set(found) | set(want)) - {"t"}):
            if found.get(name) == "held" and truth.client in pending:
                continue   # its prepared transaction has locked the table
            if found.get(name) != want.get(name):
                raise Wrong(f"client {truth.client}: after transaction {truth.committed} {name} should be {want.get(name)}, is {found.get(name)}")
    strangers = session.ask(f"SELECT DISTINCT client FROM t WHERE client NOT IN ({','.join(map(str, truths))})")
    if strangers or {int(c) for c, _, _ in own} - set(truths):
        raise Wrong(f"rows or tables of clients that are not there: {strangers}")
    for question, answer, what in (
        ("SELECT sum(balance) FROM bank", "0", "the bank's balance"),
        ("SELECT * FROM damaged()", "", "sealed.verify"),
        ("SELECT string_agg(d.id::text, ' ') FROM sealed.data_key d WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.relation)", "", "data keys of no table"),
        ("SELECT string_agg(bt_index_check(x.indexrelid, true)::text, '') FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid WHERE indisvalid AND c.oid NOT IN (SELECT relation FROM held) AND (c.relname IN ('t', 'bank', 'progress') OR c.relname ~ '^x[0-9]')", "", "amcheck"),
    ):
        found = session.ask(question)
        if found != answer:
            raise Wrong(f"{what}: {found}")


def check(session, truths, rng=None):
    """The whole check; with `rng` it also finishes what is prepared, or leaves some. Returns the clients that must wait."""
    for truth in truths.values():
        truth.take_journal()
    stored = {int(c): int(n) for c, n in session.rows("SELECT client, n FROM progress")}
    if set(stored) != set(truths):
        raise Wrong(f"rows of progress: {stored}")
    gids = collections.defaultdict(set)
    for (gid,) in session.rows("SELECT gid FROM pg_prepared_xacts"):
        gids[int(gid.split("_")[1])].add(gid)
    found = {c: gid for c, t in truths.items() if (gid := t.settle(stored[c], gids[c]))}
    compare(session, truths, set(found))
    waiting = set()
    for c, gid in found.items():
        truth, todo = truths[c], plan(c, truths[c].open[0])
        if rng is None or rng.random() < 0.25:
            truth.open = (todo.number, True)
            waiting.add(c)
            continue
        session.ask(f"{'COMMIT' if todo.commit_found else 'ROLLBACK'} PREPARED '{gid}'")
        if todo.commit_found:
            truth.commit(todo.number)
        truth.open = None
    if set(found) - waiting:
        compare(session, truths, waiting)
    return waiting


def self_test(session, truths):
    """Every defect that a server could make must be reported: each is made in a transaction that is rolled back."""
    check(session, truths)
    c = max(truths, key=lambda c: len(truths[c].state[2]))
    t, x, d = truths[c].state
    here, gone = min(t), min(set(range(1, 300)) - set(t))
    table = f"d_{c}_{min(d)}"
    next_one = truths[c].last + 1
    defects = {
        "a row is lost": f"DELETE FROM t WHERE client = {c} AND k = {here}",
        "a row is back": f"INSERT INTO t VALUES ({c}, {gone}, 1, 'back')",
        "a row is there twice": f"DROP INDEX t_n; ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t SELECT * FROM t WHERE client = {c} AND k = {here}",
        "a value changed": f"UPDATE t SET v = coalesce(v, '') || ' ' WHERE client = {c} AND k = {here}",
        "a value became NULL": f"UPDATE t SET v = NULL WHERE client = {c} AND k = (SELECT min(k) FROM t WHERE client = {c} AND v IS NOT NULL)",
        "a number changed": f"UPDATE t SET n = n + 1 WHERE client = {c} AND k = {here}",
        "another client's row": f"UPDATE t SET client = 99 WHERE client = {c} AND k = {here}",
        "a row of x is lost": f"DELETE FROM x{c} WHERE k = {min(x)}",
        "TRUNCATE came back": f"TRUNCATE x{c}",
        "a table is lost": f"DROP TABLE {table}",
        "a table is empty": f"DELETE FROM {table}",
        "a dropped table is back": f"CREATE TABLE d_{c}_0 (k int, v text) USING sealed_heap",
        "a transaction is lost": f"UPDATE progress SET n = n - 1 WHERE client = {c}",
        "a transaction that was never sent": f"UPDATE progress SET n = {next_one} WHERE client = {c}",
        "the bank": "UPDATE bank SET balance = balance + 1 WHERE id = 3",
        "a key of no table": "INSERT INTO sealed.data_key SELECT gen_random_uuid(), 1, version, suite, table_id, state, created_at FROM sealed.data_key LIMIT 1",
    }
    missed = []

    def must_be_wrong(name):
        try:
            check(session, truths)
        except Wrong:
            return
        missed.append(name)

    for name, sql in defects.items():
        session.ask(f"BEGIN; {sql}")
        must_be_wrong(name)
        session.ask("ROLLBACK")
    # prepared transactions, which cannot be made inside one
    number = next(n for n in range(next_one, next_one + 1000) if plan(c, n).prepare and not plan(c, n).rollback)
    journal, before = JOURNALS / f"{c}", (JOURNALS / f"{c}").read_text()
    session.ask(f"BEGIN; UPDATE bank SET balance = balance WHERE id = 1; PREPARE TRANSACTION '{plan(c, number).gid}'")
    must_be_wrong("a prepared transaction nobody asked for")
    journal.write_text(before + f"begin {number}\nprepared {number}\n")
    check(session, truths)   # now it is right
    session.ask(f"ROLLBACK PREPARED '{plan(c, number).gid}'")
    must_be_wrong("a prepared transaction is lost")
    journal.write_text(before)
    truths[c].open, truths[c].read, truths[c].last = None, len(before.splitlines()), next_one - 1
    check(session, truths)
    if missed:
        sys.exit("soak: the checker did not notice: " + "; ".join(missed))
    print(f"soak: self-test: {len(defects) + 2} of {len(defects) + 2} defects reported", flush=True)


def postmaster():
    return int(Path(DATA + "/postmaster.pid").read_text().split()[0])


def children(pid):
    return [int(c) for c in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], stdout=subprocess.PIPE, text=True).stdout.split()]


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def dies(pid):
    """kill -9 of one process of the server; whether the postmaster has seen it die of that."""
    at = os.path.getsize(LOG)
    kill([pid])
    for wait in range(400):
        with open(LOG, errors="replace") as f:
            f.seek(at)
            if f"(PID {pid}) was terminated by signal 9" in f.read():
                return True
        if wait > 40 and not Path(f"/proc/{pid}").exists():
            return False
        time.sleep(0.025)
    return False


def gone(pids):
    """Waits: what is left of the old server keeps its shared memory, and no new one may start."""
    for _ in range(2400):
        if not any(Path(f"/proc/{p}/stat").exists() and Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z" for p in pids):
            return
        time.sleep(0.025)
    sys.exit("soak: processes of the old server do not end")


def start(rng, wait=True):
    # wal_level = minimal: tables made in a transaction go to disk without WAL
    options = "-c wal_level=minimal -c max_wal_senders=0" if rng.random() < 0.4 else "-c wal_level=replica"
    for _ in range(100):
        done = subprocess.run([args.bindir + "/pg_ctl", "-D", DATA, "-l", LOG, "-w" if wait else "-W", "-t", "300", "-o", options, "start"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode == 0:
            return
        time.sleep(0.2)
    sys.exit("soak: the server does not start: " + done.stdout + "".join(open(LOG).readlines()[-20:]))


class ServerLog:
    """The new lines of the log; a crash that is not ours is a finding."""

    def __init__(self):
        self.at = 0

    def look(self, postmaster_gone):
        with open(LOG, errors="replace") as f:
            f.seek(self.at)
            text = f.read()
            self.at = f.tell()
        for bad in re.finditer(r"^.*(TRAP:|PANIC:|FailedAssertion|terminated by signal (?!9\b)|stack smashing|memory allocation of|panicked at).*$", text, re.M):
            # 18 with assertions: a backend that waits for its I/O sees that the postmaster is gone and ends there, without a
            # word (WL_EXIT_ON_PM_DEATH); that end aborts its transaction, waits for I/O once more, and ends inside itself.
            ends_in_its_end = all(f in text[bad.end():bad.end() + 6000] for f in ("(pgstat_report_stat+", "(proc_exit+", "(WaitLatch+"))
            if not ("IsTransactionOrTransactionBlock" in bad.group(0) and '"pgstat.c"' in bad.group(0) and postmaster_gone and ends_in_its_end):
                raise Wrong("the server's log: " + text[max(0, bad.start() - 500):bad.end() + 3000])


# Not REINDEX TABLE CONCURRENTLY t: writers of TOAST values beside it now and then fail with "no valid index found for
# toast relation", on heap as well (18.6).
# Beside the clients: any of which the kill may hit. Those of the second list wait for no prepared transaction.
SIDE = [
    "VACUUM FULL bank", "VACUUM FULL t", "CLUSTER t USING t_pkey", "REINDEX TABLE t", "REINDEX INDEX CONCURRENTLY t_pkey; REINDEX TABLE CONCURRENTLY bank",
    "CREATE INDEX CONCURRENTLY t_side ON t (n, k); DROP INDEX t_side", "CREATE INDEX t_side ON t (md5(v)); DROP INDEX t_side",
    "ALTER TABLE t ALTER n TYPE bigint; ALTER TABLE t ALTER n TYPE int", "ALTER TABLE t ADD COLUMN e text DEFAULT clock_timestamp()::text; ALTER TABLE t DROP COLUMN e", "ALTER TABLE t ADD COLUMN e text NOT NULL DEFAULT 'kept'; UPDATE t SET e = e || n WHERE k < 30; ALTER TABLE t DROP COLUMN e",
    "ALTER TABLE bank SET ACCESS METHOD heap; ALTER TABLE bank SET ACCESS METHOD sealed_heap", "SELECT sealed.rotate_master_key()",
    "SELECT sealed.rotate_data_key('t'); VACUUM FULL t", "SELECT sealed.rotate_data_key('bank'); SELECT sealed.rotate_master_key()",
]
SIDE_ALWAYS = [
    "VACUUM t; VACUUM (FREEZE) bank; ANALYZE t", "CHECKPOINT", "SELECT sealed.rotate_data_key('t')",
    "INSERT INTO churn SELECT g, repeat('c', 500) FROM generate_series(1, 20000) g; TRUNCATE churn",
    "INSERT INTO churn SELECT g, (SELECT string_agg(md5(g || ':' || i), '') FROM generate_series(1, 300) i) FROM generate_series(1, 300) g; VACUUM churn; DELETE FROM churn; VACUUM churn",
    "DROP TABLE churn; CREATE TABLE churn (id bigint, v text) USING sealed_heap; INSERT INTO churn VALUES (1, 'first')",
    "CREATE TABLE side USING sealed_heap AS SELECT * FROM t; DROP TABLE side", "SELECT pg_switch_wal(); CHECKPOINT",
]
CLEAN = "DROP TABLE IF EXISTS side; DROP INDEX IF EXISTS t_side; ALTER TABLE t DROP COLUMN IF EXISTS e; CREATE TABLE IF NOT EXISTS churn (id bigint, v text) USING sealed_heap"


def clean(session):
    """Removes what a killed side command left by design (invalid indexes, half of a pair of commands)."""
    session.ask(CLEAN)
    for (index,) in session.rows("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid AND indexrelid::regclass::text ~ '_ccnew|_ccold'"):
        session.ask(f"DROP INDEX {index}")


def nonces(session):
    for (table,) in session.rows("SELECT 't' UNION SELECT 'bank' UNION SELECT 'progress'"):
        double = session.ask(f"""SELECT count(*) - count(DISTINCT h) FROM (SELECT substr(t_data, 1, 22) AS h FROM generate_series(0, pg_relation_size('{table}') / 8192 - 1) b,
          LATERAL heap_page_items(get_raw_page('{table}', b::int)) WHERE t_data IS NOT NULL) s""")
        if double != "0":
            raise Wrong(f"{double} nonces are used twice in {table}")


def strike(rng, kills, how=None):
    """kill -9 of something; returns what, and of which processes the end is to be awaited."""
    pid = postmaster()
    names = dict(l.split(None, 1) for l in subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], stdout=subprocess.PIPE, text=True).stdout.splitlines() if len(l.split(None, 1)) == 2)
    how = how or rng.choice(["all", "all", "postmaster", "client", "client", "side", "checkpointer", "autovacuum", "walwriter", "recovery"])
    one = lambda pattern: rng.choice(hits) if (hits := [int(p) for p, a in names.items() if re.search(pattern, a)]) else None
    # (psql's connection of the side session says what it does in its title; so do the clients)
    patterns = {"client": r"postgres postgres \[local\] (INSERT|UPDATE|DELETE|COPY|COMMIT|PREPARE|idle|BEGIN|TRUNCATE|CREATE|ALTER|SAVEPOINT|RELEASE|DROP)",
                "side": r"postgres postgres \[local\] (VACUUM|CLUSTER|REINDEX|CREATE|ALTER|SELECT|DROP|CHECKPOINT|ANALYZE|INSERT)",
                "checkpointer": "checkpointer", "autovacuum": "autovacuum worker", "walwriter": "walwriter"}
    victim = one(patterns[how]) if how in patterns else None
    if how in patterns and victim is None:
        how = "all"
    if victim is not None and dies(victim):
        kills[how] += 1
        return how, None
    if victim is not None:
        how = "all"   # it had ended by itself before the signal came
    kills[how] += 1
    dying = [pid] + children(pid)
    # the postmaster alone: its children notice and end by themselves
    kill([pid] if how == "postmaster" else dying)
    return how, dying


def run(session, truths, rng):
    log, kills, waiting, cycle, began = ServerLog(), collections.Counter(), set(), 0, time.time()
    while (not args.seconds or time.time() - began < args.seconds) and (not args.cycles or cycle < args.cycles):
        cycle += 1
        clients = [Client(c, truths[c].last + 1) for c in truths if c not in waiting]
        for c in clients:
            c.start()
        extra = rng.choice(SIDE_ALWAYS if waiting else SIDE + SIDE_ALWAYS)
        side = subprocess.Popen([args.bindir + "/psql", "-X", "-q", "-At"], env=ENV, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            side.stdin.write("SELECT pg_sleep(0.1);\n" + extra.replace("; ", ";\n") + ";\n")
            side.stdin.close()
        except OSError:
            pass
        time.sleep(rng.uniform(0.15, 1.2))
        how, dying = strike(rng, kills)
        for c in clients:
            for _ in range(8):
                at = c.next
                c.join(15)
                if c.is_alive() and c.next != at and not dying:
                    # the victim had ended by itself just then, and nobody noticed
                    how, dying = strike(rng, kills, "all")
            if c.is_alive():
                raise Wrong(f"cycle {cycle} ({how} killed, {extra}): client {c.number} hangs in transaction {c.next}")
            if c.problem:
                raise Wrong(f"cycle {cycle} ({how} killed, {extra}): {c.problem}")
        rest = complaints(side.stderr.read())
        side.wait()
        if rest:
            raise Wrong(f"cycle {cycle} ({how} killed, {extra}): {rest[0]}")
        if dying:
            gone(dying)
            if how == "recovery":
                # and once more, somewhere in the recovery
                start(rng, wait=False)
                time.sleep(rng.uniform(0, 0.4))
                again = [postmaster()] + children(postmaster()) if os.path.exists(DATA + "/postmaster.pid") else []
                kill(again)
                gone(again)
            start(rng)
        session = Session(tries=3000)
        waiting = check(session, truths, rng)
        if not waiting:
            clean(session)
        log.look(bool(dying))
        if cycle % 25 == 0:
            nonces(session)
        session.close()
        total = sum(t.settled for t in truths.values())
        if cycle % 10 == 0 or 0 < args.cycles <= 50:
            print(f"  cycle {cycle:4} ({how} killed, {extra.split(';')[0][:34]}): {total} transactions compared, {time.time() - began:.0f} s", flush=True)
    session = Session(tries=100)
    nonces(session)
    did = sum((t.did for t in truths.values()), collections.Counter())
    print("soak: killed: " + ", ".join(f"{n} {k}" for k, n in kills.most_common()))
    print("soak: committed: " + ", ".join(f"{n} {k}" for k, n in did.most_common()))
    print(f"soak: {cycle} crashes, {total} acknowledged transactions compared, nothing lost, {time.time() - began:.0f} s")


def main():
    rng = random.Random(args.seed)
    session = Session(tries=100)
    session.ask(SETUP)
    for c in range(args.clients):
        session.ask(f"INSERT INTO progress VALUES ({c}, 0); CREATE TABLE x{c} (k int PRIMARY KEY, v text) USING sealed_heap")
    truths = {c: Truth(c) for c in range(args.clients)}
    # a little data without a crash, for the self-test: until somebody has made a table and has rows of his own
    clients = [Client(c, 1) for c in truths]
    for c in clients:
        c.start()
    for c in clients:
        while c.is_alive() and c.next < 40:
            time.sleep(0.02)
        c.stop = True
    for c in clients:
        c.join(60)
        if c.problem:
            sys.exit("soak: " + c.problem)
    try:
        self_test(session, truths)
        session.close()
        if not args.self_test:
            run(session, truths, rng)
    except (Wrong, RuntimeError) as e:
        sys.exit(f"soak: {e}")


main()
