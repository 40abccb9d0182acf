"""Judges the two lanes that `run` made, and explains itself.

    compare.py --work DIR --pg N [--accept] SUITE...   DIR/heap/out/SUITE and DIR/sealed_heap/out/SUITE
    compare.py --table                                  the explanations as a Markdown table (docs/upstream.md)

Both lanes ran the same build, the same settings and the same tests; the table access method is the only
difference. A test counts as passed only if pg_regress says so. One that sealed_heap does not pass is
  * the same as heap, if heap fails too and printed the very same lines (why heap fails is explained as well);
  * explained, if the lines by which its output differs from heap's are exactly those of its file in expected/;
  * unexplained, which fails the run.
An explanation that is not needed fails the run too, so that none outlives its cause.

expected/SUITE/TEST.diff, or TEST.N.diff for major version N alone:

    size: the row is 42 bytes longer, so it does not fit            <- kind: reason, up to the empty line
    (lines of reason may follow)

    @@                                                              <- hunks of diff -U1 from heap's output to
     a line of context                                                 sealed_heap's of the same build
    -heap prints this
    +sealed_heap prints that

A difference of more than 150 lines is kept as its beginning and the SHA-256 of all, where a new one can't hide
either.

expected/SUITE/TEST.heap[.N].diff is the same for a test that the heap lane does not pass: from PostgreSQL's
expected output to heap's. Line numbers are left out, since they move with minor versions. One thing more is
normalised: the bytes of a sealed row that pageinspect shows are new each time (dots, as many), and so are
the OIDs of the extension's objects in opr_sanity. In the suites keys and keys-isolation what is said of each index is left out:
that it has sealed keys, or that it can't.
If `varies:` stands alone in a line of the reason, each hunk may be there or not (a plan that
depends on when autovacuum came by); any other hunk is unexplained all the same.
"""

import argparse
import collections
import hashlib
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
KINDS = {
    "name": "the access method's name is shown",
    "setup": "the extension is in the database, for heap too",
    "size": "a row is 42 bytes longer",
    "order": "the same lines in another order, as the rows lie (checked)",
    "physical": "shows where rows lie, or their bytes",
    "plan": "more pages, so another plan costs least; the answers are the same",
    "refused": "refused by design, by us or by an extension that knows heap only",
    "design": "done in another way by design",
}


def outcomes(log):
    """{test: passed?} of one pg_regress run, as it printed it: `test x ... ok` in 15, `ok 1 - x` since 16."""
    found = {}
    for line in log.read_text(errors="replace").splitlines():
        if m := re.match(r"(not )?ok +\d+ +[-+] +(\S+)", line):
            found[m[2]] = m[1] is None
        elif m := re.match(r"(?:test|    ) +(\S+) +\.\.\. +(ok|FAILED)", line):
            found[m[1]] = m[2] == "ok"
    return found


def without_messages(path):
    """An output of suite keys without what is said of its indexes, beside it."""
    if not path.exists():
        return path
    said = r'^(\w+: )?(NOTICE: +index on sealed table .* is made USING sealed_btree|WARNING: +.* would store values of sealed table .* in plaintext(\nHINT: .*)?)\n'
    text = path.read_text(errors="surrogateescape")
    other = path.with_suffix(".without")
    other.write_text(re.sub(said, "", text, flags=re.M), errors="surrogateescape")
    return other


def hunks(old, new):
    """The differences of two outputs, without line numbers."""
    if "/out/keys" in str(new):
        old, new = (without_messages(path) if "/out/keys" in str(path) else path for path in (old, new))
    done = subprocess.run(["diff", "-U1", "--", old, new], capture_output=True, check=False)
    if done.returncode > 1:
        return [(f"+{done.stderr.decode()}",)]
    found = []
    for line in done.stdout.decode("utf-8", "backslashreplace").split("\n")[2:-1]:
        if line.startswith("+"):
            line = re.sub(r"(?<=\\x)[0-9a-f]{80,}", lambda m: "." * len(m[0]), line)
            if pathlib.Path(new).name.startswith("opr_sanity"):
                line = re.sub(r"\b1[67]\d{3}\b", ".....", line)
        if line.startswith("@@"):
            found.append([])
        else:
            found[-1].append(line)
    return [tuple(h) for h in found]


def lines_of(found):
    return [line for h in found for line in ("@@", *h)]


def digest(found):
    return f"sha256: {hashlib.sha256(chr(10).join(lines_of(found)).encode()).hexdigest()}"


class Explanation:
    def __init__(self, path):
        self.path = path
        head, _, body = path.read_text().partition("\n\n")
        lines = head.split("\n")
        self.varies = "varies:" in lines
        lines = [line for line in lines if line != "varies:"]
        self.kind, _, first = lines[0].partition(": ")
        self.reason = " ".join([first, *lines[1:]]).strip()
        if self.kind not in KINDS or not self.reason:
            raise SystemExit(f"{path}: must begin with one of {', '.join(KINDS)}, a colon and the reason")
        self.hunks = []
        self.digest = None
        for line in body.split("\n")[:-1]:
            if line.startswith("sha256: "):
                self.digest = line
            elif line == "@@":
                self.hunks.append([])
            else:
                self.hunks[-1].append(line)
        self.hunks = [tuple(h) for h in self.hunks]

    @staticmethod
    def order(found, sign):
        return sorted(line[1:] for h in found for line in h if line.startswith(sign))

    def covers(self, found):
        if self.kind == "order" and self.order(found, "-") != self.order(found, "+"):
            return False
        if self.varies:
            return not collections.Counter(found) - collections.Counter(self.hunks)
        if self.digest:
            return self.digest == digest(found)
        return found == self.hunks


class Judge:
    def __init__(self, work, pg, accept):
        self.work, self.pg, self.accept = work, pg, accept
        self.bad = 0

    def complain(self, text):
        print(f"  {text}")
        self.bad += 1

    def files(self, suite):
        """The explanations of a suite for this version: {(test, 'heap' or ''): path}; the version's own win."""
        found = {}
        for path in sorted((HERE / "expected" / suite).glob("*.diff")):
            parts = path.name.split(".")[:-1]
            version = parts.pop() if parts[-1].isdigit() else ""
            lane = parts.pop() if parts[-1] == "heap" else ""
            key = (".".join(parts), lane)
            if version == self.pg or (not version and key not in found):
                found[key] = path
        return found

    def explain(self, suite, test, lane, found, files):
        """Is the difference the one in the file? Says so if not."""
        path = files.pop((test, lane), None)
        if path and Explanation(path).covers(found):
            return True
        if self.accept:
            self.write(suite, test, lane, found, path)
        what = "differs in another way than" if path else "is not explained by"
        name = path or f"expected/{suite}/{test}{lane and '.' + lane}.diff"
        self.complain(f"{test}: {lane or 'sealed_heap'}'s output {what} {pathlib.Path(name).name}")
        known = set(Explanation(path).hunks) if path else set()
        shown = [h for h in found if h not in known] or found
        lines = lines_of(shown)
        for line in lines[:30]:
            print(f"    {line:.200}")
        if len(lines) > 30:
            print(f"    ... and {len(lines) - 30} lines more: {self.keep(suite, name, lines)}")
        return False

    def keep(self, suite, name, lines):
        path = self.work / "differences" / suite / pathlib.Path(name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines))
        return path

    def write(self, suite, test, lane, found, path):
        name = path.name if path else f"{test}{lane and '.' + lane}.{self.pg}.diff"
        target = HERE / "expected" / suite / name
        target.parent.mkdir(parents=True, exist_ok=True)
        head = path.read_text().partition("\n\n")[0] if path else "?: why"
        lines = lines_of(found)
        if len(lines) > 150:
            lines = [*lines_of(found[:1])[:20], digest(found)]
        target.write_text(head + "\n\n" + "".join(line + "\n" for line in lines))

    def result(self, am, suite, test):
        return self.work / am / "out" / suite / "results" / f"{test}.out"

    def expected(self, suite, test):
        """PostgreSQL's own expected output: the variant that heap's output is nearest to, as pg_regress picks it.
        A Perl test has none: all of its lines are explained then."""
        if suite.endswith("-tap"):
            return pathlib.Path("/dev/null")
        folder = pathlib.Path((self.work / "heap" / "out" / suite / "input").read_text().strip()) / "expected"
        variants = [p for p in folder.glob(f"{test}*.out") if re.fullmatch(re.escape(test) + r"(_\d)?", p.stem)]
        return min(variants, key=lambda p: (sum(map(len, hunks(p, self.result("heap", suite, test)))), p.name))

    def suite(self, suite):
        heap, sealed = (outcomes(self.work / am / "out" / suite / "log") for am in ("heap", "sealed_heap"))
        failed = len(heap) - sum(heap.values())
        print(f"{suite}, heap: {len(heap) - failed} passed, {failed} failed")
        if not heap or heap.keys() != sealed.keys():
            self.complain(f"{suite}: the lanes did not run the same tests")
            print((self.work / "sealed_heap" / "out" / suite / "log").read_text()[-2000:])
        files = self.files(suite)
        verdicts = collections.Counter(self.test(suite, test, heap[test], sealed.get(test, True), files) for test in heap)
        for path in files.values():
            if not Explanation(path).varies:
                self.complain(f"{path.relative_to(HERE)}: not needed, since there is no such difference")
        failed = len(sealed) - sum(sealed.values())
        kinds = ", ".join(f"{verdicts[v]} {v}" for v in ("as heap", "explained", "unexplained"))
        print(f"{suite}, sealed_heap: {len(sealed) - failed} passed, {failed} failed{f' ({kinds})' if failed else ''}")

    def test(self, suite, test, heap, sealed, files):
        """Passed, or why it did not."""
        on_heap, on_sealed = (self.result(am, suite, test) for am in ("heap", "sealed_heap"))
        if not heap:
            self.explain(suite, test, "heap", hunks(self.expected(suite, test), on_heap), files)
        if sealed:
            return "passed"
        found = hunks(on_heap, on_sealed)
        if found:
            return "explained" if self.explain(suite, test, "", found, files) else "unexplained"
        if heap and not suite.startswith("keys"):
            self.complain(f"{test}: printed what heap printed, but psql failed")
            return "unexplained"
        return "as heap"


def table():
    rows = collections.defaultdict(list)
    for path in sorted((HERE / "expected").glob("*/*.diff")):
        e = Explanation(path)
        parts = path.name.split(".")[:-1]
        version = parts.pop() if parts[-1].isdigit() else "all"
        lane = "heap too" if parts[-1] == "heap" else ""
        rows[(path.parent.name, parts[0], lane, e.kind, e.reason)].append(version)
    print("| suite | test | PostgreSQL | kind | reason |\n|---|---|---|---|---|")
    for (suite, test, lane, kind, reason), versions in sorted(rows.items()):
        print(f"| {suite} | {test} | {', '.join(versions)} | {kind}{lane and ', ' + lane} | {reason.replace('|', chr(92) + '|')} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--pg")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("suites", nargs="*")
    args = parser.parse_args()
    if args.table:
        return table()
    judge = Judge(args.work, args.pg, args.accept)
    for suite in args.suites:
        judge.suite(suite)
    if judge.bad:
        sys.exit(f"{judge.bad} differences are not explained")


main()
