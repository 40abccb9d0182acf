#!/usr/bin/env python3
"""differential.py: random tables, indexes and queries, on heap with btree and hash and on sealed_heap with
sealed_btree and sealed_hash.

Both databases get the same statements, byte for byte, and must give the same answers, rows in the same order
wherever the query says one. Meanwhile others insert, update and delete rows that the queries leave out, and VACUUM.
A run with the same seed and number of queries is the same run."""

import argparse
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

# Values of a type as SQL writes them: few, so that they are equal often, and the odd ones.
TYPES = {
    "int2": [str(n) for n in (-32768, -1, 0, 1, 2, 3, 7, 100, 32767)],
    "int4": [str(n) for n in (-2147483648, -5, 0, 1, 2, 3, 10, 99, 100000, 2147483647)],
    "int8": [str(n) for n in (-9223372036854775808, -5, 0, 1, 2, 3, 10, 99, 4294967296, 9223372036854775807)],
    "oid": ["0", "1", "2", "3000000000", "4294967295"],
    "float4": ["'-Infinity'", "-1.5", "0", "'-0'", "1e-3", "2.5", "1e30", "'Infinity'", "'NaN'"],
    "float8": ["'-Infinity'", "-1.5", "0", "'-0'", "1e-300", "2.5", "1e300", "'Infinity'", "'NaN'"],
    "numeric": ["-1e30", "-1.5", "0", "0.00", "1.5", "1.50", "1.500", "99999999999999999999", "'NaN'", "1e-20"],
    "money": ["'-5.00'", "'0'", "'1.25'", "'100000'"],
    "bool": ["true", "false"],
    "text": ["''", "'a'", "'A'", "'b'", "'ab'", "'abc'", "'abcdefg'", "'abcdefgh'", "'a longer text of some kind'", "'ä'", "'Z'", "'a b'", "'%'", "'x' || repeat('y', 700)", "repeat('z', 3000)"],
    'text COLLATE "C"': ["''", "'a'", "'A'", "'b'", "'ab'", "'abc'", "'ä'", "'Z'", "'abd'", "'abcdefghijkl'"],
    "text COLLATE nocase": ["''", "'a'", "'A'", "'b'", "'B'", "'aB'", "'Ab'", "'ä'", "'Ä'"],
    "varchar(20)": ["''", "'a'", "'a '", "'ab'", "'Abc'", "'twenty characters ok'"],
    "bpchar(6)": ["''", "'a'", "'a  '", "'ab'", "'abcdef'"],
    '"char"': ["'a'", "'b'", "'A'", "''"],
    "name": ["''", "'a'", "'Ab'", "'a_name_of_more_than_sixteen'"],
    "bytea": ["''", "'\\x00'", "'\\x0001'", "'\\xff'", "'\\x00010203040506070809'"],
    "date": ["'-infinity'", "'2000-01-01'", "'2000-01-02'", "'1999-12-31'", "'infinity'"],
    "time": ["'00:00'", "'12:34:56.789'", "'24:00'"],
    "timetz": ["'00:00+00'", "'01:00+01'", "'12:34:56-05'"],
    "timestamp": ["'-infinity'", "'2000-01-01 00:00'", "'2000-01-02'", "'infinity'"],
    "timestamptz": ["'-infinity'", "'2000-01-01 00:00+00'", "'2000-01-02+01'", "'infinity'"],
    "interval": ["'0'", "'1 month'", "'30 days'", "'720 hours'", "'-1 day'", "'1 year'"],
    "uuid": [f"'{n * 8}-0000-4000-8000-000000000000'" for n in "01af"],
    "inet": ["'10.0.0.1'", "'10.0.0.0/8'", "'10.0.0.1/24'", "'::1'"],
    "macaddr": ["'00:00:00:00:00:01'", "'ff:ff:ff:ff:ff:ff'"],
    "macaddr8": ["'00:00:00:00:00:00:00:01'", "'ff:ff:ff:ff:ff:ff:ff:fe'"],
    "bit(5)": ["'00000'", "'00001'", "'11111'"],
    "varbit": ["''", "'0'", "'00'", "'1'", "'0101010101'"],
    "int4[]": ["'{}'", "'{1}'", "'{1,2}'", "'{1,NULL}'", "'{2}'", "'{{1},{2}}'"],
    "text[]": ["'{}'", "'{a}'", "'{a,b}'", "'{A}'", "'{NULL}'"],
    "int4range": ["'empty'", "'[1,2)'", "'[1,)'", "'(,5)'", "'[1,10)'"],
    "int4multirange": ["'{}'", "'{[1,2)}'", "'{[1,2),[5,6)}'"],
    "mood": ["'sad'", "'ok'", "'happy'"],
    "pair": ["'(1,a)'", "'(1,b)'", "'(,a)'", "'(2,)'"],
    "jsonb": ["'1'", "'\"a\"'", "'{}'", "'[1, 2]'", "'{\"a\": 1}'", "'null'"],
    "tsvector": ["''", "'a'", "'a b'", "'b:1'"],
    "pg_lsn": ["'0/0'", "'0/1'", "'FF/FF'"],
    "tid": ["'(0,1)'", "'(0,2)'", "'(1,1)'"],
    "citext": ["''", "'a'", "'A'", "'b'", "'Some Text'", "'some text'"],
}
# Types that are compared with one another without a cast.
FAMILIES = [["int2", "int4", "int8"], ["float4", "float8"], ["date", "timestamp", "timestamptz"]]
NO_HASH = ("money", "bit(5)", "varbit", "tsvector")
PATTERNS = {"text": "text_pattern_ops", "varchar(20)": "varchar_pattern_ops", "bpchar(6)": "bpchar_pattern_ops"}


class Random(random.Random):
    def some(self, items, least, most):
        items = list(items)
        return self.sample(items, min(len(items), self.randint(least, most)))


def base(kind):
    return kind.split(" COLLATE")[0]


def collation(kind):
    return " COLLATE" + kind.split(" COLLATE")[1] if " COLLATE" in kind else ""


class Table:
    def __init__(self, rng, number, kinds):
        self.rng, self.name = rng, f"t{number}"
        self.columns = {f"c{i}": kind for i, kind in enumerate(rng.some(kinds, 3, 7))}
        self.next_id = 1
        self.indexes = []
        # Columns of those that have the id, by which rows of others are left out.
        self.covering = []
        self.descending = set()

    def value(self, kind, null=0.08):
        if self.rng.random() < null:
            return "NULL"
        return f"{self.rng.choice(TYPES[kind])}::{base(kind)}"

    def create(self):
        columns = "".join(f", {name} {kind}" for name, kind in self.columns.items())
        yield f"CREATE TABLE {self.name} (id int8 NOT NULL, noise bool NOT NULL DEFAULT false{columns});"
        if self.rng.random() < 0.5:
            yield from self.insert(self.rng.randint(0, 400))
        for _ in range(self.rng.randint(2, 5)):
            yield self.index()
        if self.rng.random() < 0.5:
            yield f"ALTER TABLE {self.name} ADD PRIMARY KEY (id);"
        yield from self.insert(self.rng.randint(50, 400))

    def index(self):
        rng = self.rng
        if self.indexes and rng.random() < 0.15:
            hashed = [name for name, kind in list(self.columns.items()) + [("id", "int8")] if kind not in NO_HASH]
            return f"CREATE INDEX ON {self.name} USING :hash ({rng.choice(hashed)});"
        keys = []
        for name in rng.some(list(self.columns) + ["id"], 1, 3):
            kind = self.columns.get(name, "int8")
            key = name
            if kind in PATTERNS and rng.random() < 0.2:
                key += " " + PATTERNS[kind]
            elif base(kind) == "text" and rng.random() < 0.2:
                key += ' COLLATE "C"'
            key += rng.choice(["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"])
            keys.append(key)
        self.indexes.append([key.split()[0] for key in keys])
        self.descending |= {key.split()[0] for key in keys if "DESC" in key}
        include = rng.some(self.columns, 1, 2) if rng.random() < 0.2 else []
        if "id" not in self.indexes[-1] and rng.random() < 0.3:
            include.append("id")
        if "id" in self.indexes[-1] + include:
            self.covering.append(self.indexes[-1] + include)
        options = rng.choice(["", "", " WITH (fillfactor = 50)", " :deterministic"])
        return (
            f"CREATE INDEX ON {self.name} ({', '.join(keys)})"
            + (f" INCLUDE ({', '.join(include)})" if include else "")
            + options
            + ";"
        )

    def insert(self, count):
        while count > 0:
            rows = []
            for _ in range(min(count, 50)):
                values = "".join(", " + self.value(kind) for kind in self.columns.values())
                rows.append(f"({self.next_id}{values})")
                self.next_id += 1
            names = "".join(", " + name for name in self.columns)
            yield f"INSERT INTO {self.name} (id{names}) VALUES {', '.join(rows)};"
            count -= len(rows)

    def condition(self, alias="", among=None):
        rng = self.rng
        first = [index[0] for index in self.indexes]
        name = rng.choice(among or list(self.columns) + ["id"] + first)
        kind = self.columns.get(name, "int8")
        column = alias + name
        if rng.random() < 0.1:
            return f"{column} IS {rng.choice(['NULL', 'NOT NULL'])}"
        if kind == "int8" and name == "id":
            value = lambda: str(rng.randint(0, self.next_id))
        else:
            other = next((f for f in FAMILIES if kind in f), [kind])
            other = rng.choice(other) if rng.random() < 0.3 else kind
            value = lambda: self.value(other, 0.02)
        what = rng.random()
        if what < 0.35:
            return f"{column} = {value()}"
        if what < 0.6:
            return f"{column} {rng.choice(['<', '<=', '>', '>='])} {value()}"
        if what < 0.72:
            return f"{column} BETWEEN {value()} AND {value()}"
        if what < 0.84:
            return f"{column} IN ({', '.join(value() for _ in range(rng.randint(1, 4)))})"
        if what < 0.88:
            return f"{column} = ANY (ARRAY[{', '.join(value() for _ in range(rng.randint(1, 3)))}])"
        if what < 0.93 and base(kind) in ("text", "varchar(20)") and "nocase" not in kind:
            return f"{column} LIKE '{rng.choice(['a', 'ab', 'x', 'A', ''])}%'"
        # Not of a column that an index has in descending order: 18.6 with assertions ends there, in its own btree
        # (nbtpreprocesskeys.c:811, _bt_fix_scankey_strategy).
        pair = rng.choice([n for n in among or self.columns if n != "id"] or ["id"])
        if {name, pair} & self.descending or name == pair:
            return f"{column} = {value()}"
        return f"({column}, {alias}{pair}) {rng.choice(['<', '>', '<=', '>='])} ({value()}, {self.value(self.columns[pair])})"

    def where(self, alias=""):
        conditions = [self.condition(alias) for _ in range(self.rng.choice([0, 1, 1, 1, 2, 2, 3]))]
        return " AND ".join(conditions + [f"NOT {alias}noise"])

    def order(self):
        keys = [name + self.rng.choice(["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]) for name in self.rng.choice(self.indexes)]
        return ", ".join(keys + ["id"])


def query(rng, tables):
    t = rng.choice(tables)
    what = rng.random()
    columns = ", ".join(["id"] + rng.some(t.columns, 0, 3))
    if what < 0.3:
        return f"SELECT {columns} FROM {t.name} WHERE {t.where()} ORDER BY id;"
    if what < 0.5:
        limit = f" LIMIT {rng.randint(1, 20)}" if rng.random() < 0.6 else ""
        return f"SELECT {columns} FROM {t.name} WHERE {t.where()} ORDER BY {t.order()}{limit};"
    if what < 0.56 and t.covering:
        names = list(dict.fromkeys(rng.choice(t.covering)))
        conditions = [t.condition(among=names) for _ in range(rng.choice([0, 1, 1, 2, 2, 3]))] + ["id > 0"]
        rng.shuffle(names)
        return f"SELECT {', '.join(names)} FROM {t.name} WHERE {' AND '.join(conditions)} ORDER BY {', '.join(names)};"
    if what < 0.65:
        return f"SELECT count(*), min(id), max(id) FROM {t.name} WHERE {t.where()};"
    if what < 0.72:
        name = rng.choice([index[0] for index in t.indexes])
        if t.columns.get(name, "int8") in ("int2", "int4", "int8", "text", "date", "timestamptz"):
            return f"SELECT min({name}), max({name}) FROM {t.name} WHERE NOT noise;"
    if what < 0.78:
        name = rng.choice(t.indexes)[0]
        kind = t.columns.get(name, "int8")
        if "nocase" not in kind and kind not in ("numeric", "citext", "interval", "float4", "float8", "timetz", "bpchar(6)", "varchar(20)"):
            return f"SELECT DISTINCT {name} FROM {t.name} WHERE {t.where()} ORDER BY {name};"
    if what < 0.9:
        u = rng.choice(tables)
        family = next((f for f in FAMILIES + [[k] for k in TYPES] for k in t.columns.values() if k in f), None)
        pairs = [
            (a, b)
            for a, ka in list(t.columns.items()) + [("id", "int8")]
            for b, kb in list(u.columns.items()) + [("id", "int8")]
            if ka == kb or any(ka in f and kb in f for f in FAMILIES)
        ]
        if pairs and family:
            a, b = rng.choice(pairs)
            return (
                f"SELECT count(*), sum(a.id), sum(b.id) FROM {t.name} a JOIN {u.name} b ON a.{a} = b.{b}"
                f" WHERE {t.where('a.')} AND {u.where('b.')};"
            )
    # A cursor goes forward and back.
    order = t.order()
    return (
        f"BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM {t.name} WHERE {t.where()} ORDER BY {order};"
        " FETCH 5 FROM c; FETCH BACKWARD 3 FROM c; FETCH 4 FROM c; FETCH LAST FROM c; FETCH BACKWARD 2 FROM c; COMMIT;"
    )


def change(rng, tables):
    t = rng.choice(tables)
    what = rng.random()
    if what < 0.4:
        return list(t.insert(rng.randint(1, 30)))
    if what < 0.75:
        name = rng.choice(list(t.columns))
        return [f"UPDATE {t.name} SET {name} = {t.value(t.columns[name])} WHERE {t.where()} AND id % {rng.randint(2, 9)} = 0;"]
    if what < 0.9:
        return [f"DELETE FROM {t.name} WHERE {t.where()} AND id % {rng.randint(2, 9)} = 0;"]
    if what < 0.94:
        return [f"BEGIN; UPDATE {t.name} SET {rng.choice(list(t.columns))} = NULL; DELETE FROM {t.name} WHERE id < 50; ROLLBACK;"]
    return [rng.choice([f"VACUUM {t.name};", f"REINDEX TABLE {t.name};", f"REINDEX TABLE CONCURRENTLY {t.name};", t.index(), f"ANALYZE {t.name};"])]


PLANS = ["enable_seqscan", "enable_sort", "enable_bitmapscan", "enable_indexscan", "enable_hashjoin", "enable_mergejoin", "enable_nestloop", "enable_incremental_sort"]


def script(rng, queries, kinds):
    """The statements of one round: tables, and so many queries on them with changes in between."""
    yield "SET client_min_messages = error; DROP SCHEMA IF EXISTS r CASCADE; CREATE SCHEMA r; SET search_path = r, public;"
    tables = [Table(rng, n, kinds) for n in range(rng.randint(1, 3))]
    for table in tables:
        yield from table.create()
    for n in range(queries):
        if n % 10 == 0:
            yield "RESET ALL; SET search_path = r, public; SET client_min_messages = error;"
            yield "SET default_table_access_method = :am;"
            if rng.random() < 0.8:
                yield "".join(f"SET {plan} = off; " for plan in rng.some(PLANS, 1, 4))
        if rng.random() < 0.1:
            yield from change(rng, tables)
        yield query(rng, tables)


class Noise(threading.Thread):
    """Rows that no query looks at come, change and go."""

    def __init__(self, psql, seed):
        super().__init__(daemon=True)
        self.psql, self.rng, self.stop, self.done, self.failed = psql, Random(seed), False, 0, []

    def run(self):
        while not self.stop:
            n = self.rng.randint(0, 2)
            statements = [
                f"INSERT INTO r.t{n} SELECT (json_populate_record(t, json_build_object('noise', true, 'id', -(random() * 1e15)::int8))).* FROM r.t{n} t WHERE NOT noise LIMIT 40;",
                f"UPDATE r.t{n} SET id = -(random() * 1e15)::int8 WHERE noise AND id % 3 = 0;",
                f"DELETE FROM r.t{n} WHERE noise AND id % 2 = 0;",
                f"VACUUM r.t{n};",
            ]
            done = subprocess.run(self.psql + ["-q", "-c", self.rng.choice(statements)], capture_output=True, text=True)
            self.done += 1
            error = done.stderr.strip()
            # Tables come and go with the rounds, and their rows too; and a primary key may have the id already.
            if error and not any(says in error for says in ("does not exist", "duplicate key", "deadlock detected", "is being used", "could not open relation", "concurrently", "wide", "exceeds")):
                self.failed.append(error)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--host", required=True)
    options.add_argument("--bindir", required=True)
    options.add_argument("--template", required=True, help="a database with the extension and a master key")
    options.add_argument("--out", required=True)
    options.add_argument("--queries", type=int, default=20000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--round", type=int, default=400, help="queries between two sets of tables")
    options.add_argument("--noise", type=int, default=1, help="writers beside it, in each database")
    at = options.parse_args()
    psql = [f"{at.bindir}/psql", "-X", "-h", at.host, "-U", "postgres"]
    sides = {"plain": "heap", "sealed": "sealed_heap"}
    out = Path(at.out)
    out.mkdir(parents=True, exist_ok=True)
    for side in sides:
        commands = [f"DROP DATABASE IF EXISTS diff_{side}", f"CREATE DATABASE diff_{side} TEMPLATE {at.template}"]
        subprocess.run(psql + ["-q", "-d", "postgres"] + [x for c in commands for x in ("-c", c)], check=True)
        setup = """
            CREATE EXTENSION IF NOT EXISTS citext;
            SELECT count(*) > 0 AS adopted FROM sealed.adopt_types();
            CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
            CREATE TYPE pair AS (a int4, b text);
            CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            CREATE SCHEMA r;
            -- Primary keys before 18 are in plaintext, and the same goes on.
            ALTER DATABASE diff_%s SET sealed.plaintext_index = warning;
        """ % side
        subprocess.run(psql + ["-q", "-d", f"diff_{side}", "-v", "ON_ERROR_STOP=1", "-c", setup], check=True, stdout=subprocess.DEVNULL)
    kinds = list(TYPES)
    rng = Random(at.seed)
    asked, different, errors = 0, 0, 0
    noises = [Noise(psql + ["-d", f"diff_{side}"], at.seed) for side in sides for _ in range(at.noise)]
    for noise in noises:
        noise.start()
    number = 0
    while asked < at.queries:
        number += 1
        statements = list(script(rng, min(at.round, at.queries - asked), kinds))
        running = {}
        for side, am in sides.items():
            lines = [f"\\set am {am}", f"\\set hash {'sealed_hash' if side == 'sealed' else 'hash'}", f"\\set deterministic '{'WITH (sealing = deterministic)' if side == 'sealed' else ''}'", f"SET default_table_access_method = {am};", "\\set VERBOSITY terse"]
            for n, statement in enumerate(statements):
                lines += [f"\\echo #{n}", statement]
            path = out / f"round{number}.{side}.sql"
            path.write_text("\n".join(lines) + "\n")
            # Messages come where they belong, and name no access method.
            command = psql + ["-q", "-A", "-t", "-d", f"diff_{side}", "-f", str(path)]
            running[side] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        answers = {side: process.communicate()[0].replace(f"round{number}.{side}.sql", "sql") for side, process in running.items()}
        parts = {side: dict(p.split("\n", 1) for p in answer.split("#")[1:] if p.split("\n", 1)[0].isdigit() and "\n" in p) for side, answer in answers.items()}
        for n, statement in enumerate(statements):
            a, b = (parts[side].get(str(n)) for side in sides)
            if a is not None and "ERROR" in a:
                errors += 1
            if a != b:
                different += 1
                if different <= 20:
                    print(f"seed {at.seed}, round {number}, statement {n}: {statement[:600]}\n  plain:  {str(a)[:300]!r}\n  sealed: {str(b)[:300]!r}", flush=True)
        asked += sum(1 for s in statements if s.startswith(("SELECT", "BEGIN; DECLARE")))
        if not different:
            for side in sides:
                (out / f"round{number}.{side}.sql").unlink()
    for noise in noises:
        noise.stop = True
    for noise in noises:
        noise.join()
    failed = [error for noise in noises for error in noise.failed]
    for error in failed[:10]:
        print(f"beside it: {error}")
    sealed = "SELECT count(*), count(*) FILTER (WHERE a.amname IN ('sealed_btree', 'sealed_hash')) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relkind = 'i' AND c.relnamespace = 'r'::regnamespace"
    counts = subprocess.run(psql + ["-A", "-t", "-d", "diff_sealed", "-c", sealed], capture_output=True, text=True).stdout.strip()
    print(f"{asked} queries, seed {at.seed}: {different} differ; {errors} were errors, the same on both sides; "
          f"{sum(n.done for n in noises)} statements beside them, {len(failed)} failed; indexes of the last round (all|sealed): {counts}")
    return different or failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
