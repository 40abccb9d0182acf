"""TPC-H: data by DuckDB's own generator (the standard's dbgen, in its Python package), queries with the standard's
validation parameters as DuckDB has them. Keys are btrees on both sides, as are a few indexes of foreign keys.
"""
import functools
from pathlib import Path

TABLES = [
    "CREATE TABLE region (r_regionkey int, r_name char(25), r_comment varchar(152))",
    "CREATE TABLE nation (n_nationkey int, n_name char(25), n_regionkey int, n_comment varchar(152))",
    "CREATE TABLE part (p_partkey int, p_name varchar(55), p_mfgr char(25), p_brand char(10), p_type varchar(25), p_size int, p_container char(10), p_retailprice numeric(15,2), p_comment varchar(23))",
    "CREATE TABLE supplier (s_suppkey int, s_name char(25), s_address varchar(40), s_nationkey int, s_phone char(15), s_acctbal numeric(15,2), s_comment varchar(101))",
    "CREATE TABLE partsupp (ps_partkey int, ps_suppkey int, ps_availqty int, ps_supplycost numeric(15,2), ps_comment varchar(199))",
    "CREATE TABLE customer (c_custkey int, c_name varchar(25), c_address varchar(40), c_nationkey int, c_phone char(15), c_acctbal numeric(15,2), c_mktsegment char(10), c_comment varchar(117))",
    "CREATE TABLE orders (o_orderkey bigint, o_custkey int, o_orderstatus char(1), o_totalprice numeric(15,2), o_orderdate date, o_orderpriority char(15), o_clerk char(15), o_shippriority int, o_comment varchar(79))",
    "CREATE TABLE lineitem (l_orderkey bigint, l_partkey int, l_suppkey int, l_linenumber int, l_quantity numeric(15,2), l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag char(1), l_linestatus char(1), l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct char(25), l_shipmode char(10), l_comment varchar(44))",
]
NAMES = [t.split()[2] for t in TABLES]
KEYS = ["ALTER TABLE region ADD PRIMARY KEY (r_regionkey)", "ALTER TABLE nation ADD PRIMARY KEY (n_nationkey)", "ALTER TABLE part ADD PRIMARY KEY (p_partkey)",
        "ALTER TABLE supplier ADD PRIMARY KEY (s_suppkey)", "ALTER TABLE partsupp ADD PRIMARY KEY (ps_partkey, ps_suppkey)", "ALTER TABLE customer ADD PRIMARY KEY (c_custkey)",
        "ALTER TABLE orders ADD PRIMARY KEY (o_orderkey)", "ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)",
        "CREATE INDEX ON lineitem (l_partkey, l_suppkey)", "CREATE INDEX ON lineitem (l_shipdate)", "CREATE INDEX ON orders (o_custkey)", "CREATE INDEX ON partsupp (ps_suppkey)"]


@functools.cache
def duck():
    import duckdb   # benches/run brings it
    return duckdb.connect()


def generate(folder, scale):
    """Writes each table into a file; returns the files by table."""
    duck().execute(f"CALL dbgen(sf = {scale})")
    files = {name: Path(folder) / f"{name}.csv" for name in NAMES}
    for name, path in files.items():
        duck().execute(f"COPY {name} TO '{path}' (FORMAT csv, HEADER false)")
        path.chmod(0o644)
    return files


def queries():
    """(number, text) of the 22."""
    return duck().execute("SELECT query_nr, query FROM tpch_queries() ORDER BY query_nr").fetchall()
