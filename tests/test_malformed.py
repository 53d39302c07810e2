"""Files from elsewhere that are damaged, foreign or hostile: each ends at once in one ZkitError that names the file.

Tables of kinds, grouped by format. Every table has good files beside the bad ones, so that a reader which refuses all
of them fails too. What cannot be written as a table of contents (pipes, permissions) stands at the end.
"""

import io
import json
import os
import pickle
import re
import resource
import signal
import struct
import zipfile
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors

from zkbook.claims.ledger import Ledger
from zkbook.organism.checkpoint import Checkpoint
from zkit.errors import ZkitError
from zkit.gating import Gates, initial_logits, load, read_jsonl, save
from zkit.gating.training import Progress, Step
from zkit.reading import shown
from zkit.steering import SteeringVector, read_gguf, write_gguf
from zkit.steering.topic_lenses import Lens, count, read_lenses

SECONDS, MEMORY = 5, 200 * 2**20
"""What a refusal may take, in seconds and bytes."""
DEEP = 1_000


@contextmanager
def bounded():
    """Fail if the block takes more than SECONDS, or the process grows by more than MEMORY."""

    def hangs(*_):
        pytest.fail(f"still reading after {SECONDS} s")

    before, old = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY


def refused(read, path, message):
    with bounded(), pytest.raises(ZkitError, match=f"(?s){message}") as error:
        read(path)
    assert path.name in str(error.value), "the message does not name the file"
    str(error.value).encode()  # can be printed
    assert len(str(error.value)) < 1000


def cases(table):
    return pytest.mark.parametrize("kind", table)


def put(path, contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return path


# ------------------------------------------------------------------------------------- texts, one JSON object a line

LINE = '{"prompt": "Capital?", "text": "Paris.", "entity": "Paris"}'
TEXTS = {
    "plain": LINE,
    "with the mark of UTF-8": b"\xef\xbb\xbf" + LINE.encode(),
    "UTF-16 with its mark": LINE.encode("utf-16"),
    "UTF-16 of the other order": b"\xfe\xff" + LINE.encode("utf-16-be"),
    "UTF-32 with its mark": LINE.encode("utf-32"),
    "lines of Windows": LINE + "\r\n\r\n" + LINE + "\r\n",
    "a conversation": '{"prompt": [{"role": "user", "content": "Hi"}], "text": "Paris.", "entity": ["Paris"]}',
    "more fields": '{"text": "Paris.", "id": 3, "source": null}',
    "an escaped pair of surrogates": '{"text": "\\ud83d\\ude00 Paris."}',
}
OBJECT = 'line 1 .*a line is an object with a "text" that is not empty'
BAD_TEXTS = {
    "nothing": ("", "has no texts"),
    "empty lines": ("\n\n \n", "has no texts"),
    "half a line": (LINE[:20], "line 1 .*is not JSON"),
    "the third line": (f"{LINE}\n\n{{", "line 3 .*is not JSON"),
    "two objects on a line": (LINE + LINE, "line 1 .*is not JSON"),
    "one array of all": (f"[{LINE}]", OBJECT),
    "a text alone": ('"Paris."', OBJECT),
    "a number alone": ("3", OBJECT),
    "null": ("null", OBJECT),
    "no text": ('{"prompt": "Capital?"}', "lacks 'text'"),
    "an empty text": ('{"text": ""}', OBJECT),
    "a text that is a number": ('{"text": 3}', "text: should be a valid string, got 3"),
    "a text that is null": ('{"text": null}', "text: should be a valid string"),
    "a text that is a list": ('{"text": ["Paris."]}', "text: should be a valid string"),
    "a prompt that is a number": ('{"prompt": 3, "text": "x"}', '"prompt" is a string or a list of messages'),
    "a prompt that is null": ('{"prompt": null, "text": "x"}', '"prompt" is a string or a list of messages'),
    "a prompt that is true": ('{"prompt": true, "text": "x"}', '"prompt" is a string or a list of messages'),
    "a prompt that is an object": ('{"prompt": {"role": "user"}, "text": "x"}', '"prompt" is a string or a list'),
    "a prompt that is a list of texts": ('{"prompt": ["a"], "text": "x"}', '"prompt" is a string or a list'),
    "an empty conversation": ('{"prompt": [], "text": "x"}', "line 1 .*messages with texts as role and content"),
    "a message without content": ('{"prompt": [{"role": "user"}], "text": "x"}', "line 1 .*role and content"),
    "a message whose content is null": ('{"prompt": [{"role": "user", "content": null}], "text": "x"}', "content"),
    "an entity that is a number": ('{"text": "5", "entity": 5}', '"entity" is a string or a list of strings'),
    "an entity that is null": ('{"text": "x", "entity": null}', '"entity" is a string or a list of strings'),
    "an entity in a list that is null": ('{"text": "x", "entity": ["x", null]}', '"entity" is a string or a list'),
    "an empty entity": ('{"text": "x", "entity": ""}', "line 1 .*entity '' does not occur"),
    "an entity that is not there": ('{"text": "x", "entity": "y"}', "line 1 .*entity 'y' does not occur"),
    "a field that stands twice": ('{"text": "x", "text": "y"}', "line 1 .*'text' stands twice"),
    "NaN": ('{"text": "x", "weight": NaN}', "line 1 .*weight is nan"),
    "Infinity": ('{"text": "x", "weight": -Infinity}', "line 1 .*weight is -inf"),
    "a number above all floats": ('{"text": "x", "weight": 1e999}', "line 1 .*weight is inf"),
    "an integer of 5,000 digits": (f'{{"text": "x", "weight": {"9" * 5000}}}', "line 1 .*is not JSON"),
    "an integer of 400 digits": (f'{{"text": "x", "weight": {"9" * 400}}}', "weight is an integer of 1329 bits"),
    "half a character": ('{"text": "\\ud800"}', "line 1 .*text holds half a character"),
    "half a character in a name": ('{"text": "x", "\\udfff": 1}', "holds half a character"),
    "half a character in raw bytes": (b'{"text": "\xed\xa0\x80"}', "is no UTF-8"),
    "nested a thousand deep": (f'{{"text": "x", "more": {"[" * DEEP}{"]" * DEEP}}}', "line 1 .*nests deeper than 64"),
    "nested without end": ('{"text":' * 200_000, "line 1 .*nests deeper"),
    "Latin-1": ('{"text": "Zürich"}'.encode("latin-1"), "byte 11 is no UTF-8.*save it in UTF-8"),
    "UTF-16 without its mark": (LINE.encode("utf-16-le"), "holds NUL"),
    "half a UTF-16": (LINE.encode("utf-16")[:-1], "is no UTF-16-LE"),
    "binary": (bytes(range(256)) * 4, "is no UTF-8"),
    "a gzip file": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "cannot be read as text"),
    "a CSV file": ("prompt,text\nCapital?,Paris.\n", "line 1 .*is not JSON"),
    "a Python literal": ("{'text': 'x'}", "line 1 .*is not JSON"),
}  # fmt: skip


@cases(TEXTS)
def test_texts_are_read(tmp_path, kind):
    assert "Paris." in read_jsonl(put(tmp_path / "texts.jsonl", TEXTS[kind]))[0].text


@cases(BAD_TEXTS)
def test_bad_texts(tmp_path, kind):
    contents, message = BAD_TEXTS[kind]
    refused(read_jsonl, put(tmp_path / "texts.jsonl", contents), message)


# ----------------------------------------------------------------------------------------------------- lenses in YAML

LENSES = {
    "words": "sea: {about: the sea, words: [ship(s), tide]}",
    "a pattern": "sea: {pattern: '(?i)ships?'}",
    "a word that looks like a date": "sea: {words: [2024-13-45, ship]}",
    "a name that YAML takes for false": "no: {words: [ship]}\nsea: {words: [ship]}",
    "an alias of a list": "wood: {words: &all [ship, oak]}\nsea: {words: *all}",
    "UTF-16": "sea: {words: [ship]}".encode("utf-16"),
    "nested repeats that end": "sea: {pattern: '(?:s+h+)+ip'}",
}
LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
BAD_LENSES = {
    "nothing": ("", "holds no lenses"),
    "a comment": ("# sea", "holds no lenses"),
    "a text": ("sea", "holds no lenses"),
    "a number": ("3", "holds no lenses"),
    "a list": ("[sea]", "holds no lenses"),
    "an empty mapping": ("{}", "holds no lenses"),
    "a lens that is null": ("sea:", "lens 'sea' .*needs words or a pattern"),
    "a lens that is a text": ("sea: ship", "lens 'sea' .*needs words or a pattern"),
    "a lens that is a list": ("sea: [ship]", "lens 'sea' .*needs words or a pattern"),
    "words that are a number": ("sea: {words: 3}", "words of lens 'sea' must be a list of texts"),
    "words that are a text": ("sea: {words: ship}", "words of lens 'sea' must be a list of texts"),
    "words that are true": ("sea: {words: yes}", "words of lens 'sea' must be a list of texts"),
    "words that are a mapping": ("sea: {words: {ship: 1}}", "words of lens 'sea' must be a list of texts"),
    "words that are null": ("sea: {words: }", "lens 'sea' has an empty vocabulary"),
    "no words": ("sea: {words: []}", "lens 'sea' has an empty vocabulary"),
    "a word that is a number": ("sea: {words: [3]}", "must be a list of texts"),
    "a word that is yes": ("sea: {words: [yes]}", "must be a list of texts; put 'yes'"),
    "a word that is null": ("sea: {words: [~]}", "must be a list of texts"),
    "a word that is a list": ("sea: {words: [[ship]]}", "must be a list of texts"),
    "a pattern that is a number": ("sea: {pattern: 3}", "its pattern must be a regular expression"),
    "a pattern that is a list": ("sea: {pattern: [a]}", "its pattern must be a regular expression"),
    "a pattern that is no expression": ("sea: {pattern: '('}", "lens 'sea' is no regular expression"),
    "a repeat of a repeat": ("sea: {pattern: 'a**'}", "lens 'sea' is no regular expression"),
    "a pattern of many brackets": (f"sea: {{pattern: '{'(' * 4000}a{')' * 4000}'}}", "is no regular expression"),
    "a pattern of a megabyte": (f"sea: {{pattern: '{'a' * 10_001}'}}", "pattern of lens 'sea' has 10,001 characters"),
    "a pattern that matches nothing": ("sea: {pattern: 'a*'}", "matches the empty text"),
    "about a list": ("sea: {about: [], words: [ship]}", "about must be a text"),
    "about a number": ("sea: {about: 3, words: [ship]}", "about must be a text, got 3"),
    "about null": ("sea: {about: , words: [ship]}", "about must be a text"),
    "an unknown field": ("sea: {words: [ship], plural: true}", "unknown field 'plural'"),
    "a lens that stands twice": ("sea: {words: [a]}\nsea: {words: [b]}", "'sea' stands twice"),
    "a field that stands twice": ("sea: {words: [a], words: [b]}", "'words' stands twice"),
    "a list for a name": ("? [sea]\n: {words: [a]}", "a key that is no text"),
    "an empty name": ("'': {words: [a]}", "a lens needs a name"),
    "a billion laughs": (LAUGHS, "more than 100,000 entries, its aliases unfolded"),
    "a billion laughs of mappings": ("a: &a {x: 1}\n" + "".join(f"{c}: &{c} {{p: *{p}, q: *{p}}}\n" for p, c in
                                     zip("abcdefghijklmnopqr", "bcdefghijklmnopqrs", strict=True)), "100,000 entries"),
    "an alias of itself": ("sea: &sea [*sea]", r"alias \*sea, which stands for nothing"),
    "an alias of nothing": ("sea: *wood", r"alias \*wood, which stands for nothing"),
    "an alias of a long text": ("a: &a " + "ü" * 400_000 + "\nb: [" + "*a, " * 49_000 + "]", "100,000 entries"),
    "merged with a list": ("sea: {<<: [a]}", "has << before something else"),
    "a Python object": ("sea: !!python/object/apply:os.getcwd []", "has the tag"),
    "a tag": ("sea: !mine {words: [a]}", "has the tag !mine"),
    "a binary word": ("sea: {words: [!!binary aGk=]}", "has the tag"),
    "two documents": ("sea: {words: [a]}\n---\nwood: {words: [b]}", "several documents"),
    "open brackets": ("sea: {words: [a", "is not YAML"),
    "a tab for a space": ("sea:\n\twords: [a]", "is not YAML"),
    "nested a thousand deep": ("sea: " + "[" * DEEP + "]" * DEEP, "nests deeper than 64"),
    "nested by indents": ("".join(" " * i + "a:\n" for i in range(DEEP)), "nests deeper than 64"),
    "nested by aliases": ("a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 99)), "nests"),
    "an endless number": (f"sea: {{about: {'9' * 5000}, words: [a]}}", "number of 5000 characters"),
    "a number of 400 digits": (f"sea: {{about: {'9' * 400}, words: [a]}}", "integer of 1329 bits"),
    "a number above all floats": ("sea: {about: 1e999, words: [a]}", "about is inf"),
    "half a character": ('sea: {words: ["\\ud800"]}', "is not YAML"),
    "a bell": ("sea: {words: [\a]}", "is not YAML"),
    "Latin-1": ("sea: {words: [Flüsse]}".encode("latin-1"), "is no UTF-8"),
    "binary": (b"\0\1\2\3", "holds NUL"),
    "more than a megabyte": ("#" * (2**20 + 1), "more than the 1,048,576 that are read"),
}  # fmt: skip
SLOW = {"letters": r"(a|aa)+$", "words": r"(\w|\w\w)*\d", "spaces": r"( |  )+$", "back": r"(a|aa)+\1$"}


@cases(LENSES)
def test_lenses_are_read(tmp_path, kind):
    assert count("ship 3 oak", read_lenses(put(tmp_path / "own.yml", LENSES[kind]))["sea"])[0] >= 1


@cases(BAD_LENSES)
def test_bad_lenses(tmp_path, kind):
    contents, message = BAD_LENSES[kind]
    refused(read_lenses, put(tmp_path / "own.yml", contents), message)


@cases(SLOW)
def test_a_pattern_that_backtracks_for_ever_is_stopped(tmp_path, kind, monkeypatch):
    monkeypatch.setitem(count.__globals__, "SECONDS", 0.1)
    [lens] = read_lenses(put(tmp_path / "own.yml", f"slow: {{pattern: '{SLOW[kind]}'}}")).values()
    assert count("one two", lens) == (0, 2)  # where it ends it may be used
    for slow in (lens, Lens("slow", re.compile(SLOW[kind]))):
        with bounded(), pytest.raises(ZkitError, match=r"lens 'slow' takes more than 0\.1 s for a text of 60"):
            count((" " if kind == "spaces" else "a") * 59 + "!", slow)


def test_a_pattern_of_re_means_the_same():
    text = "Ship\nSHIP ship\x1f sh ip\x1c中文"
    for pattern in (r"\S", r"(?i)ship", r"^ship", r"(?m)^ship", r"s.?h", r"\bship\b", r"[\s]+", r"\w+"):
        for flags in (0, re.I, re.M, re.S, re.A, re.I | re.S):
            compiled = re.compile(pattern, flags)
            assert count(text, Lens("x", compiled))[0] == len(compiled.findall(text)), (pattern, flags)


def test_words_are_found_in_linear_time_however_they_are_spaced():
    many = Lens.of_words("many", ["a" + " " * 40 + "b", "c d e f(s)"])
    with bounded():
        assert count("a" + " " * 50_000 + "b and c  d\ne fs", many)[0] == 2
        assert count("a" + " " * 50_000, many)[0] == 0


# ----------------------------------------------------------------------------------------------- ledgers, YAML and JSON

RECORD = """
records:
  - {id: A-1, sentence: It does., source: us, model: embedded, says: a is positive, RULE, history: [EVENT]}
"""
RULE, EVENT = 'rule: {statistic: a, op: ">", bound: 0}', "{kind: conjecture, source: us, says: Perhaps.}"
FINDING = {"statistic": "a", "op": ">", "bound": 0, "value": 1.0, "ci": None, "n": 3, "unit": None, "holds": True,
           "note": ""}  # fmt: skip


def ledger(rule=RULE, event=EVENT):
    return RECORD.replace("RULE", rule).replace("EVENT", event)


def judged(**changes):
    finding = json.dumps({**FINDING, **changes})
    return ledger(
        event=f"{{kind: evidence, source: us, says: x, model: m, run: r, status: open, findings: [{finding}]}}"
    )


def bound(value):
    return ledger(f'rule: {{statistic: a, op: ">", bound: {value}}}')


LEDGERS = {"plain": ledger(), "judged": judged(), "a decimal": bound("5e-1"), "negative": bound("-3")}
BAD_LEDGERS = {
    "nothing": ("", "needs the key 'records'"),
    "a list": ("[]", "needs the key 'records'"),
    "records that are null": ("records:", "needs the key 'records'"),
    "a record that is a long list": ("records: [[" + "x, " * 90_000 + "]]", "a record of the ledger is a mapping"),
    "a finding of an interval the wrong way round": (judged(ci=[1.0, 0.0]), "A-1: not a finding.*the lower end first"),
    "a finding of a negative count": (judged(n=-1), "A-1: not a finding.*n: should be greater"),
    "a finding whose value is true": (judged(value=True), "A-1: not a finding.*value: should be a valid number"),
    "50,000 brackets": ("[" * 50_000, "nests deeper than 64"),
    "a record that is null": ("records: [~]", "a record of the ledger is a mapping"),
    "an id that is a number": ("records: [{id: 3}]", "a record of the ledger is a mapping with an 'id'"),
    "a bound that is true": (bound("true"), "A-1: not a rule"),
    "a bound that is a text": (bound("'0'"), "A-1: not a rule"),
    "a bound that is null": (bound("null"), "A-1: not a rule"),
    "a bound that is a list": (bound("[0]"), "A-1: not a rule"),
    "a bound that is infinite": (bound(".inf"), "A-1: not a rule"),
    "a bound that is no number": (bound(".nan"), "A-1: not a rule"),
    "a bound of 10^400": (bound("1" + "0" * 399), "bound is an integer of 1326 bits"),
    "a bound above all floats": (bound("1e400"), "bound is inf"),
    "an operator that is a number": (ledger("rule: {statistic: a, op: 3, bound: 0}"), "A-1: a rule compares with"),
    "an operator that is a list": (ledger("rule: {statistic: a, op: [1], bound: 0}"), "A-1: a rule compares with"),
    "a statistic that is a number": (ledger("rule: {statistic: 3, op: <, bound: 0}"), "A-1: not a rule"),
    "a rule that is a text": (ledger("rule: a > 0"), "A-1: not a rule"),
    "a rule of no rules": (ledger("rule: {all: []}"), "A-1: .*need at least one rule"),
    "rules nested a thousand deep": (ledger("rule: " + "{all: [" * DEEP + "]}" * DEEP), "nests deeper than 64"),
    "a finding that is null": (ledger(event=EVENT.replace("Perhaps.", "x, findings: [~]")), "not a finding"),
    "a finding without a value": (judged(value="x"), "A-1: not a finding.*value: should be a valid number"),
    "a finding of half an interval": (judged(ci=[0.0]), "A-1: not a finding.*ci: List should have at least 2"),
    "a finding that may hold": (judged(holds="maybe"), "A-1: not a finding.*holds: should be a valid boolean"),
    "a finding with n of words": (judged(n="many"), "A-1: not a finding.*n: should be a valid integer"),
    "a finding with more": (judged(more=1), "A-1: not a finding.*unknown field 'more'"),
    "successors that are numbers": (ledger().replace("history", "successors: [3], history"), "give ids in quotes"),
    "a billion laughs": (LAUGHS, "100,000 entries"),
    "a source that is a number": (ledger().replace("source: us", "source: 3", 1), "A-1: 'source' must be a text"),
}  # fmt: skip


@cases(LEDGERS)
def test_ledgers_are_read(tmp_path, kind):
    found = Ledger.load(put(tmp_path / "ledger.yml", LEDGERS[kind]))
    found.save(tmp_path / "ledger.json")
    assert Ledger.read(tmp_path / "ledger.json") == found


@cases(BAD_LEDGERS)
def test_bad_ledgers(tmp_path, kind):
    contents, message = BAD_LEDGERS[kind]
    refused(Ledger.load, put(tmp_path / "ledger.yml", contents), message)


BAD_JSON = {
    "nothing": ("", "is not JSON"),
    "YAML": ("records: []", "is not JSON"),
    "a list": ("[]", "no ledger of schema 1"),
    "no schema": ('{"records": []}', "no ledger of schema 1"),
    "a schema that is true": ('{"schema": true, "records": []}', "no ledger of schema 1"),
    "records that are text": ('{"schema": 1, "records": "all"}', "needs the key 'records'"),
    "NaN": ('{"schema": 1, "records": [NaN]}', "records.0 is nan"),
    "nested a thousand deep": ('{"schema": 1, "records": ' + "[" * DEEP + "]" * DEEP + "}", "nests deeper than 64"),
    "nested without end": ("[" * 1_000_000, "nests deeper"),
    "a key that stands twice": ('{"schema": 1, "records": [], "records": []}', "'records' stands twice"),
    "half a character": ('{"schema": 1, "records": ["\\ud800"]}', "records.0 holds half a character"),
    "UTF-16 without its mark": ('{"schema": 1}'.encode("utf-16-le"), "holds NUL"),
}  # fmt: skip


@cases(BAD_JSON)
def test_bad_ledgers_in_json(tmp_path, kind):
    contents, message = BAD_JSON[kind]
    refused(Ledger.read, put(tmp_path / "ledger.json", contents), message)


# ------------------------------------------------------------------------------------------- gates, torch.save's files

KEY = "model.layers.{}.mlp.lambda_logits"
LOGITS = initial_logits(3, 4, 1.0, 0)


def saved(state, **options):
    stream = io.BytesIO()
    torch.save(state, stream, **options)
    return stream.getvalue()


def layers(*rows, names=None):
    names = range(len(rows)) if names is None else names
    return {KEY.format(name): row for name, row in zip(names, rows, strict=True)}


def one(row):
    return layers(LOGITS[0], row)


def repacked(whole, change=lambda name, data: data, packing=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(stream, "w", packing) as new:
        for name in old.namelist():
            if (data := change(name, old.read(name))) is not None:
                new.writestr(name, data)
    return stream.getvalue()


def pickled(code):
    """A file of torch.save with another pickle in it."""
    return repacked(saved(layers(*LOGITS)), lambda name, data: code if name.endswith("data.pkl") else data)


def claiming(size):
    """A file of torch.save whose directory says that its first record has so many bytes."""
    whole = bytearray(WHOLE)
    start = whole.index(b"PK\x01\x02")
    whole[start + 20 : start + 28] = struct.pack("<II", size, size)
    return bytes(whole)


TRAP = "ZKIT_TEST_CODE"


class Code:
    """Unpickling it would run code."""

    def __reduce__(self):
        return exec, (f"import os; os.environ[{TRAP!r}] = 'ran'",)


# a tuple of two of a tuple of two ...: fifty levels, as the key of a dict
BOMB = b"\x80\x02}(K\x00\x85q\x00" + b"".join(b"h%c\x86q%c" % (i, i + 1) for i in range(50)) + b"K\x01u."
WHOLE = saved(layers(*LOGITS))
STATES = {
    "a vector for each layer": WHOLE,
    "one tensor": saved(LOGITS),
    "one tensor with a name": saved({"lambda_logits": LOGITS}),
    "bfloat16": saved(layers(*LOGITS.bfloat16())),
    "float64": saved(layers(*LOGITS.double())),
    "parameters": saved({KEY.format(i): torch.nn.Parameter(row) for i, row in enumerate(LOGITS)}),
    "rows of one storage": saved(layers(*LOGITS.T.contiguous().T)),
    "beside other weights": saved({**layers(*LOGITS), "model.embed_tokens.weight": torch.zeros(3, 2)}),
}
BAD_STATES = {
    # not dense floating numbers
    "text": (one("high"), "holds a str under"),
    "a list": (one([0.5]), "holds a list under"),
    "a number": (one(0.5), "holds a float under"),
    "null": (one(None), "holds a NoneType under"),
    "a dict": (one({"logits": LOGITS[0]}), "holds a dict under"),
    "sparse": (one(LOGITS[1].to_sparse()), "is a sparse, nested or quantised tensor"),
    "sparse, in one": ({"logits": LOGITS.to_sparse()}, "is a sparse, nested or quantised tensor"),
    "complex": (one(LOGITS[1] + 0j), "has the type complex64; save it as float32"),
    "integers": (one(torch.ones(4, dtype=torch.int64)), "has the type int64"),
    "bytes": (one(torch.ones(4, dtype=torch.uint8)), "has the type uint8"),
    "true and false": (one(LOGITS[1] > 0), "has the type bool"),
    "eight bits": (one(LOGITS[1].to(torch.float8_e4m3fn)), "has the type float8_e4m3fn"),
    "on no device": (one(torch.empty(4, device="meta")), "is on the device 'meta'"),
    "on no device, and large": (one(torch.empty(10**12, device="meta")), "claims 1,000,000,000,000 numbers"),
    # not gates
    "an empty dict": ({}, "keys begin with nothing"),
    "a list of tensors": (list(LOGITS), "holds a list; a state dict"),
    "a whole text": ("gates", "holds a str; a state dict"),
    "a whole number": (3, "holds a int; a state dict"),
    "nothing at all": (None, "holds a NoneType; a state dict"),
    "keys that are numbers": (dict(enumerate(LOGITS)), "has no keys like .*begin with 0, 1, 2"),
    "keys that are half characters": ({"\ud800": LOGITS, "b": LOGITS}, r"begin with '\\ud800'"),
    "the weights of a model": ({"model.norm.weight": LOGITS[0], "lm_head.weight": LOGITS}, "has no keys like"),
    "three axes": ({"logits": LOGITS[None]}, "has no keys like"),
    "three axes, bare": (LOGITS[None], r"must be \[n_layers, d_mlp\]; these have the shape \(1, 3, 4\)"),
    "one number, bare": (torch.tensor(1.0), r"must be \[n_layers, d_mlp\]"),
    "no gates, bare": (torch.zeros(0, 4), r"must be \[n_layers, d_mlp\]"),
    "nested a hundred deep": (eval("[" * 80 + "0" + "]" * 80), "nests deeper than 64"),
    # layers
    "layer 10^18": (layers(*LOGITS[:2], names=[0, 10**18]), "names the layer '1000000000000000000'"),
    "layer 10^5000": (layers(*LOGITS[:2], names=[0, "9" * 5000]), "names the layer '9999"),
    "layer 9,999": (layers(*LOGITS[:2], names=[0, 9_999]), "layers 1, 2, 3, 4, 5, 6, 7, 8, 9 and 9,989 more"),
    "layer -1": (layers(*LOGITS[:2], names=[0, -1]), "names the layer '-1'"),
    "layer 03": (layers(*LOGITS[:2], names=[0, "01"]), "names the layer '01'"),
    "layers 1 and 01": (layers(*LOGITS, names=[0, 1, "01"]), "names the layer '01'"),
    "layer 1 in Arabic": (layers(*LOGITS[:2], names=[0, "١"]), "names the layer '١'"),
    "layer one": (layers(*LOGITS[:2], names=[0, "one"]), "names the layer 'one'"),
    "no layer 0": (layers(*LOGITS[:2], names=[1, 2]), "lacks the gates of layers 0; copy"),
    "both spellings": (layers(*LOGITS) | {f"module.{KEY.format(1)}": LOGITS[1]}, "two entries for layer 1"),
    "different widths": (one(LOGITS[1, :3]), "different shapes"),
    "no width": (layers(torch.zeros(0), torch.zeros(0)), r"must be \[n_layers, d_mlp\]"),
    # values
    "NaN": (one(torch.tensor([0, 0, float("nan"), 0])), "not finite, the first at layer 1, neuron 2"),
    "infinite": (one(torch.tensor([0, 0, 0, -float("inf")])), "not finite, the first at layer 1, neuron 3"),
    "above float32": (one(torch.tensor([0, 0, 0, 1e300], dtype=torch.float64)), "not finite"),
    # in a row
    "in a row": (LOGITS.flatten(), r"12 gates in a row; .*load\(path, n_layers=model.n_layers\)"),
    "in a row with a name": ({"lambda_logits": LOGITS.flatten()}, "12 gates in a row"),
    # sizes
    "one number spread over 10^12": (one(torch.zeros(1).expand(10**12)), "claims 1,000,000,000,000 numbers"),
    "one number spread, bare": (torch.zeros(1, 1).expand(10**6, 10**6), "claims 1,000,000,000,000 numbers"),
}  # fmt: skip
BAD_ARCHIVES = {
    "nothing": (b"", "cannot be read"),
    "text": ("gates", "cannot be read"),
    "a page of HTML": ("<!DOCTYPE html><html>404</html>", "cannot be read"),
    "a pointer of git-lfs": ("version https://git-lfs.github.com/spec/v1\n", "cannot be read"),
    "the first half": (WHOLE[: len(WHOLE) // 2], "cannot be read"),
    "the last half": (WHOLE[len(WHOLE) // 2 :], "cannot be read"),
    "before PyTorch 1.6": (saved(layers(*LOGITS), _use_new_zipfile_serialization=False), "since PyTorch 1.6"),
    "a plain pickle": (pickle.dumps({"a": [1]}), "since PyTorch 1.6"),
    "an archive of texts": (repacked(WHOLE, lambda name, data: b"hi"), r"damaged, or holds pickled|cannot be read"),
    "no pickle": (repacked(WHOLE, lambda name, data: None if name.endswith(".pkl") else data), "cannot be read"),
    "no numbers": (repacked(WHOLE, lambda name, data: None if "/data/" in name else data), "cannot be read"),
    "fewer numbers": (repacked(WHOLE, lambda name, data: data[:4] if "/data/" in name else data), "cannot be read"),
    "packed": (repacked(saved(layers(torch.zeros(10**7))), packing=zipfile.ZIP_DEFLATED), "records are packed"),
    "a record of a gigabyte": (claiming(10**9), "claim more than its"),
    "an object": (saved({"a": Code()}), "pickled objects besides tensors"),
    "a module": (saved(torch.nn.Linear(2, 2)), "pickled objects besides tensors"),
    "an array": (saved({"a": np.zeros(3)}), "pickled objects besides tensors"),
    "a pickle of nothing": (pickled(b""), "cannot be read|is damaged"),
    "a pickle cut off": (pickled(b"\x80\x02}"), "cannot be read|is damaged"),
    "a pickle of a text of 4 GB": (pickled(b"\x80\x02X\xff\xff\xff\x7fabc."), "cannot be read|is damaged"),
    "a key of 2^50 parts": (pickled(BOMB), "shares tuples"),
    "a list that holds itself": (pickled(b"\x80\x02]q\x00h\x00a."), "holds a list; a state dict"),
    "a tensor beyond its storage": (pickled(b"".join((
        b"\x80\x02X\x01\x00\x00\x00wq\x00ctorch._utils\n_rebuild_tensor_v2\nq\x01((X\x07\x00\x00\x00storageq\x02",
        b"ctorch\nFloatStorage\nq\x03X\x01\x00\x00\x000q\x04X\x03\x00\x00\x00cpuq\x05K\x0ctQK\x00",
        b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR."))), "cannot be read"),
    "a storage of 10^12": (pickled(b"".join((
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x01((X\x07\x00\x00\x00storageq\x02",
        b"ctorch\nFloatStorage\nq\x03X\x01\x00\x00\x000q\x04X\x03\x00\x00\x00cpuq\x05\x8a\x06\x00\x00\x00\x00\x00\x01tQK\x00",
        b"K\x0c\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR."))), "cannot be read"),
}  # fmt: skip


@cases(STATES)
def test_state_dicts_are_read(tmp_path, kind):
    assert torch.allclose(load(put(tmp_path / "gates.pt", STATES[kind])).logits, LOGITS, atol=1e-2)


@cases(BAD_STATES)
def test_bad_state_dicts(tmp_path, kind):
    state, message = BAD_STATES[kind]
    refused(load, put(tmp_path / "gates.pt", saved(state)), message)


@cases(BAD_ARCHIVES)
def test_bad_archives(tmp_path, kind):
    contents, message = BAD_ARCHIVES[kind]
    refused(load, put(tmp_path / "gates.pt", contents), message)
    assert TRAP not in os.environ


def test_gates_in_a_row_are_cut_into_layers(tmp_path):
    for state in (LOGITS.flatten(), {"lambda_logits": LOGITS.flatten()}):
        path = put(tmp_path / "gates" / "lambda_logits.pt", saved(state))
        assert torch.equal(load(path, n_layers=3).logits, LOGITS)
        refused(lambda path: load(path, n_layers=5), path, "12 gates in a row, which are not 5 equal layers")
        refused(lambda path: load(path, n_layers=0), path, "12 gates in a row, which are not 0 equal layers")
    put(tmp_path / "gates" / "gate_stats.json", '{"total_gates": 12, "n_layers": 3}')
    assert torch.equal(load(tmp_path / "gates").logits, LOGITS)
    refused(lambda path: load(path, n_layers=5), put(tmp_path / "two.pt", WHOLE), "gates of 3 layers, not of 5")


# ------------------------------------------------------------------------------------------------- gates, safetensors

FORMAT = {"format": "zkit-gates-1"}
NOTE = {**FORMAT, "note": '{"scale": "mean"}'}


def noted(note):
    return safetensors({"logits": LOGITS}, {**FORMAT, "note": note})


def header(claims, data=b""):
    text = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return struct.pack("<Q", len(text)) + text + data


def claim(shape, end, dtype="F32"):
    return {"logits": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


SAFE = {
    "ours": safetensors({"logits": LOGITS}, NOTE),
    "half": safetensors({"logits": LOGITS.half()}, NOTE),
    "a vector for each layer": safetensors(layers(*(row.clone() for row in LOGITS))),
    "one tensor": safetensors({"anything": LOGITS}),
    "by hand": header(claim([3, 4], 48), LOGITS.numpy().tobytes()),
}
BAD_SAFE = {
    "nothing": (b"", "is not a safetensors file"),
    "text": ("hello " * 100, "is not a safetensors file"),
    "a state dict": (WHOLE, "is not a safetensors file"),
    "cut off": (SAFE["ours"][:-4], "is not a safetensors file"),
    "more at the end": (SAFE["ours"] + b"\0" * 8, "is not a safetensors file"),
    "a header of 2^63 bytes": (struct.pack("<Q", 2**63) + b"{}", "is not a safetensors file"),
    "a header that is a list": (header(b"[]"), "is not a safetensors file"),
    "a header nested a thousand deep": (header(b'{"a":' * DEEP), "is not a safetensors file"),
    "a claim of 10^12 numbers": (header(claim([10**6, 10**6], 48), b"\0" * 48), "is not a safetensors file"),
    "a claim of 10^12 bytes": (header(claim([10**6, 250_000], 10**12), b"\0" * 48), "is not a safetensors file"),
    "a shape beyond 64 bits": (header(claim([2**40, 2**40], 48), b"\0" * 48), "is not a safetensors file"),
    "a negative shape": (header(claim([-3, -4], 48), b"\0" * 48), "is not a safetensors file"),
    "an unknown type": (header(claim([3, 4], 48, "F33"), b"\0" * 48), "is not a safetensors file"),
    "integers": (safetensors({"logits": LOGITS.int()}, NOTE), "'logits' has the type I32; save it as float32"),
    "complex": (safetensors({"logits": LOGITS + 0j}, NOTE), "'logits' has the type C64"),
    "eight bits": (safetensors({"logits": LOGITS.to(torch.float8_e4m3fn)}, NOTE), "'logits' has the type F8_E4M3"),
    "no tensors": (safetensors({}), "keys begin with nothing"),
    "without logits": (safetensors({"lambda": LOGITS}, NOTE), "should hold the tensor 'logits' and a note"),
    "more than logits": (safetensors({"logits": LOGITS, "x": LOGITS.clone()}, NOTE), "should hold the tensor 'logits'"),
    "without a note": (safetensors({"logits": LOGITS}, FORMAT), "should hold the tensor 'logits' and a note"),
    "a note that is empty": (noted(""), "the note of .* is not JSON"),
    "a note that is text": (noted("mine"), "the note of .* is not JSON"),
    "a note that is a list": (noted("[]"), "the note of .* should hold one JSON object; it holds a list"),
    "a note that is null": (noted("null"), "the note of .* should hold one JSON object; it holds a NoneType"),
    "a note that is a number": (noted("3"), "the note of .* should hold one JSON object"),
    "a note nested a thousand deep": (noted('{"a": ' * DEEP + "1" + "}" * DEEP), "the note of .* nests deeper than 64"),
    "a note of NaN": (noted('{"loss": NaN}'), "the note of .* loss is nan"),
    "a note of half a character": (noted('{"a": "\\ud800"}'), "the note of .* a holds half a character"),
    "a note whose key stands twice": (noted('{"a": 1, "a": 2}'), "the note of .* 'a' stands twice"),
    "a scale that is a number": (noted('{"scale": 3}'), "scale: should be a valid string, got 3"),
    "a hash that is a list": (noted('{"model_sha256": []}'), "model_sha256: should be a valid string"),
    "a recipe that is text": (noted('{"recipe": "mine"}'), "recipe should hold one JSON object; it holds a str"),
    "another format of ours": (safetensors({"logits": LOGITS}, {"format": "zkit-gates-9"}), "is a zkit-gates-9 file"),
    "a steering vector": (safetensors({"layer.1": LOGITS[0]}, {"format": "zkit-steering-vector-1"}), "is a zkit-steer"),
    "NaN": (safetensors({"logits": LOGITS / 0 * 0}, NOTE), "not finite"),
    "layer 10^18": (safetensors(layers(LOGITS[0].clone(), names=[10**18])), "names the layer '1000000000000000000'"),
    "in a row": (safetensors({"logits": LOGITS.flatten()}, NOTE), "12 gates in a row"),
}  # fmt: skip


@cases(SAFE)
def test_safetensors_are_read(tmp_path, kind):
    assert torch.allclose(load(put(tmp_path / "gates.safetensors", SAFE[kind])).logits, LOGITS, atol=1e-2)


@cases(BAD_SAFE)
def test_bad_safetensors(tmp_path, kind):
    contents, message = BAD_SAFE[kind]
    refused(load, put(tmp_path / "gates.safetensors", contents), message)


# -------------------------------------------------------------------------- gates, what else their folder holds

INDICES, STATISTICS, THRESHOLDS = "neuron_indices.json", "gate_stats.json", "selected_thresholds.txt"
BESIDE = {
    "no indices": (INDICES, "{}"),
    "some indices": (INDICES, '{"0": [1, 3], "2": []}'),
    "statistics of others": (STATISTICS, '{"total_gates": 12, "mean": 0.5, "who": "them"}'),
    "statistics of few": (STATISTICS, "{}"),
    "thresholds": (THRESHOLDS, "0.45, .5,5.5e-1\n"),
    "thresholds with a mark": (THRESHOLDS, b"\xef\xbb\xbf0.5"),
}
BAD_BESIDE = {
    "indices that are binary": (INDICES, b"\x80\x02}q\x00.", "is no UTF-8"),
    "indices that are a list": (INDICES, "[[1], [2]]", "one JSON object; it holds a list"),
    "indices that are null": (INDICES, "null", "one JSON object; it holds a NoneType"),
    "indices of words": (INDICES, '{"0": ["one"]}', "0.0: should be a valid integer, got 'one'"),
    "indices in words": (INDICES, '{"zero": [1]}', "names the layer 'zero'"),
    "indices of numbers as text": (INDICES, '{"0": ["1"]}', "should be a valid integer, got '1'"),
    "indices of null": (INDICES, '{"0": [null]}', "should be a valid integer, got None"),
    "indices that are decimal": (INDICES, '{"0": [1.0]}', "should be a valid integer, got 1.0"),
    "indices that are true": (INDICES, '{"0": [true]}', "should be a valid integer, got True"),
    "indices that are NaN": (INDICES, '{"0": [NaN]}', "0.0 is nan"),
    "indices of a layer that is a number": (INDICES, '{"0": 3}', "should be a valid list, got 3"),
    "indices of a layer that is null": (INDICES, '{"0": null}', "should be a valid list, got None"),
    "indices of a layer that is not there": (INDICES, '{"3": [1]}', "layer 3 that the gates do not have"),
    "indices of layer 10^18": (INDICES, f'{{"{10**18}": [1]}}', "names the layer '1000000000000000000'"),
    "indices of layers 1 and 01": (INDICES, '{"1": [1], "01": [2]}', "names the layer '01'"),
    "indices of a layer twice": (INDICES, '{"1": [1], "1": [2]}', "'1' stands twice"),
    "indices that are negative": (INDICES, '{"0": [-1]}', "layer 0 that the gates do not have"),
    "indices that are too large": (INDICES, '{"0": [4]}', "layer 0 that the gates do not have"),
    "an index twice": (INDICES, '{"0": [1, 1]}', "a neuron of layer 0 twice"),
    "statistics that are binary": (STATISTICS, bytes(range(128, 256)), "is no UTF-8"),
    "statistics that are a list": (STATISTICS, "[12]", "one JSON object; it holds a list"),
    "statistics that are cut off": (STATISTICS, '{"total_gates": 12', "is not JSON"),
    "gates that are a word": (STATISTICS, '{"total_gates": "all"}', "total_gates: should be a valid integer"),
    "gates that are a text": (STATISTICS, '{"total_gates": "12"}', "total_gates: should be a valid integer"),
    "gates that are a list": (STATISTICS, '{"total_gates": [12]}', "total_gates: should be a valid integer"),
    "gates that are decimal": (STATISTICS, '{"total_gates": 12.5}', "total_gates: should be a valid integer"),
    "gates that are true": (STATISTICS, '{"total_gates": true}', "total_gates: should be a valid integer"),
    "gates that are NaN": (STATISTICS, '{"total_gates": NaN}', "total_gates is nan"),
    "gates that are infinite": (STATISTICS, '{"total_gates": Infinity}', "total_gates is inf"),
    "gates of 10^400": (STATISTICS, f'{{"total_gates": 1{"0" * 400}}}', "total_gates is an integer of 1329 bits"),
    "another number of gates": (STATISTICS, '{"total_gates": 86016}', "speaks of 86,016 gates"),
    "another number of layers": (STATISTICS, '{"n_layers": 28}', "gates of 3 layers, not of 28"),
    "another width": (STATISTICS, '{"d_mlp": 3072}', "speaks of 3,072 gates in a layer"),
    "no layers": (STATISTICS, '{"n_layers": 0}', "n_layers: should be greater than 0"),
    "a mean that is NaN": (STATISTICS, '{"mean": NaN}', "mean is nan"),
    "thresholds that are empty": (THRESHOLDS, "", "separated by commas: ''"),
    "thresholds of words": (THRESHOLDS, "half", "separated by commas: 'half'"),
    "thresholds that are null": (THRESHOLDS, "null", "separated by commas: 'null'"),
    "thresholds that are NaN": (THRESHOLDS, "0.5,nan", "separated by commas"),
    "thresholds that are infinite": (THRESHOLDS, "0.5,inf", "separated by commas"),
    "thresholds in JSON": (THRESHOLDS, "[0.5]", "separated by commas"),
    "thresholds with a decimal comma": (THRESHOLDS, "0,5", "lists 0.0, which is no gate"),
    "thresholds in per cent": (THRESHOLDS, "0.5,50", "lists 50.0, which is no gate"),
    "thresholds below zero": (THRESHOLDS, "-0.5", "lists -0.5, which is no gate"),
    "thresholds of Python": (THRESHOLDS, "0_1.5", "separated by commas"),
    "thresholds that are binary": (THRESHOLDS, b"\x00\x01\x02", "holds NUL"),
    "thresholds in Latin-1": (THRESHOLDS, "½".encode("latin-1"), "is no UTF-8"),
    "a state dict that differs": ("lambda_logits.pt", saved(LOGITS + 1), "hold different gates"),
    "a state dict that is damaged": ("lambda_logits.pt", WHOLE[:100], "cannot be read"),
}  # fmt: skip


def gates_folder(folder, name, contents):
    put(folder / "gates.safetensors", SAFE["ours"])
    return put(folder / name, contents)


@cases(BESIDE)
def test_what_a_folder_says_is_read(tmp_path, kind):
    assert torch.equal(load(gates_folder(tmp_path, *BESIDE[kind]).parent).logits, LOGITS)


@cases(BAD_BESIDE)
def test_bad_files_in_a_folder(tmp_path, kind):
    name, contents, message = BAD_BESIDE[kind]
    path = gates_folder(tmp_path / "gates", name, contents)
    refused(lambda path: load(path.parent), path if "n_layers\": 28" not in str(contents) else path.with_name("gates"),
            message)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- steering vectors

STEERING = {"format": "zkit-steering-vector-1"}


def vector(tensors=None, note='{"model": "m"}', **changes):
    tensors = {"layer.3": torch.ones(4)} if tensors is None else tensors
    return safetensors(tensors, {**STEERING, **({} if note is None else {"note": note}), **changes})


VECTORS = {"one layer": vector(), "no note": vector(note="{}"), "half": vector({"layer.3": torch.ones(4).half()})}
BAD_VECTORS = {
    "foreign names": (vector({"weight": torch.ones(4)}), "has a tensor 'weight'"),
    "a foreign name beside": (vector({"layer.3": torch.ones(4), "bias": torch.ones(4)}), "has a tensor 'bias'"),
    "a layer in words": (vector({"layer.three": torch.ones(4)}), "names the layer 'three'"),
    "layer 03": (vector({"layer.03": torch.ones(4)}), "names the layer '03'"),
    "layers 3 and 03": (vector({"layer.3": torch.ones(4), "layer.03": torch.ones(4)}), "names the layer '03'"),
    "layer -1": (vector({"layer.-1": torch.ones(4)}), "names the layer '-1'"),
    "layer 10^18": (vector({f"layer.{10**18}": torch.ones(4)}), "names the layer '1000000000000000000'"),
    "layer 10,000": (vector({"layer.10000": torch.ones(4)}), "names the layer '10000'; layers are .* below 10,000"),
    "layer 3.5": (vector({"layer.3.5": torch.ones(4)}), "names the layer '3.5'"),
    "no layer": (vector({}), "at least one layer"),
    "two widths": (vector({"layer.1": torch.ones(4), "layer.2": torch.ones(5)}), "same width"),
    "a matrix": (vector({"layer.1": torch.ones(4, 4)}), "one finite vector"),
    "a number": (vector({"layer.1": torch.tensor(1.0)}), "one finite vector"),
    "integers": (vector({"layer.1": torch.ones(4).int()}), "'layer.1' has the type I32"),
    "complex": (vector({"layer.1": torch.ones(4) + 0j}), "'layer.1' has the type C64"),
    "NaN": (vector({"layer.1": torch.full((4,), float("nan"))}), "one finite vector"),
    "infinite": (vector({"layer.1": torch.full((4,), float("inf"))}), "one finite vector"),
    "no metadata": (safetensors({"layer.1": torch.ones(4)}), "is not a steering vector of zkit"),
    "gates": (SAFE["ours"], "is not a steering vector of zkit"),
    "no note": (vector(note=None), "the note of .* is not JSON"),
    "a note that is a list": (vector(note="[]"), "should hold one JSON object; it holds a list"),
    "a note that is null": (vector(note="null"), "should hold one JSON object"),
    "a note of numbers": (vector(note='{"pairs": 3}'), "pairs: should be a valid string, got 3"),
    "a note nested a thousand deep": (vector(note='{"a": ' * DEEP + "1" + "}" * DEEP), "nests deeper than 64"),
    "a claim of 10^12 numbers": (header({"layer.1": claim([10**12], 16)["logits"]}, b"\0" * 16), "not a safetensors"),
    "text": ("hello", "is not a safetensors file"),
}  # fmt: skip


@cases(VECTORS)
def test_vectors_are_read(tmp_path, kind):
    assert SteeringVector.load(put(tmp_path / "v.safetensors", VECTORS[kind])).layers == [3]


@cases(BAD_VECTORS)
def test_bad_vectors(tmp_path, kind):
    contents, message = BAD_VECTORS[kind]
    refused(SteeringVector.load, put(tmp_path / "v.safetensors", contents), message)


def test_what_could_not_be_read_is_not_written(tmp_path):
    for note in ({"pairs": 3}, {"a": "\ud800"}, {3: "a"}):
        v = SteeringVector({1: torch.ones(4)}, note)
        for write_to in (v.save, partial(write_gguf, v)):
            with pytest.raises(ZkitError, match="the vector's note"):
                write_to(tmp_path / "v")
    for note in ({"scale": 3}, {"loss": float("nan")}, {"a": "\ud800"}):
        with pytest.raises(ZkitError, match="the gates' note"):
            save(Gates(LOGITS, note), tmp_path / "gates")
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------------------------------- control vectors, GGUF

TEXT, ARRAY, UINT8 = 8, 9, 0


def string(text):
    return struct.pack("<Q", len(text)) + text


def gguf(fields=(), tensors=(), data=b"", counts=None):
    """A file of these (key, type, value) and (name, shape, type, offset), or with other counts of them."""
    n_tensors, n_fields = counts or (len(tensors), len(fields))
    out = b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_fields)
    for key, kind, value in fields:
        out += string(key) + struct.pack("<I", kind) + value
    for name, shape, kind, offset in tensors:
        out += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    return out + b"\0" * (-len(out) % 32) + data


CONTROL = (b"general.architecture", TEXT, string(b"controlvector"))
ONES, DIRECTION = np.ones(4, np.float32).tobytes().ljust(32, b"\0"), (b"direction.3", [4], 0, 0)
HINTS = (b"controlvector.model_hint", ARRAY, struct.pack("<IQ", UINT8, 0))
CONTROLS = {
    "by hand": gguf([CONTROL], [DIRECTION], ONES),
    "a hint that is an array": gguf([CONTROL, HINTS], [DIRECTION], ONES),
}


def with_note(note):
    return gguf([CONTROL, (b"zkit.note", TEXT, string(note))], [DIRECTION], ONES)


BAD_CONTROLS = {
    "nothing": (b"", "is not a whole GGUF file"),
    "text": ("hello " * 9, "is not a whole GGUF file"),
    "the name alone": (b"GGUF", "is not a whole GGUF file"),
    "version 99": (b"GGUF" + struct.pack("<IQQ", 99, 0, 0), "is not a whole GGUF file"),
    "10^18 fields": (gguf([CONTROL], [DIRECTION], ONES, (1, 10**18)), "is not a whole GGUF file"),
    "10^18 tensors": (gguf([CONTROL], [DIRECTION], ONES, (10**18, 1)), "is not a whole GGUF file"),
    "an array of 10^18": (gguf([CONTROL, (b"a", ARRAY, struct.pack("<IQ", UINT8, 10**18))]), "not a whole GGUF file"),
    "a million numbers": (gguf([CONTROL, (b"a", ARRAY, struct.pack("<IQ", UINT8, 10**6) + bytes(10**6))]), "metadata"),
    "arrays nested a thousand deep": (gguf([CONTROL, (b"a", ARRAY, struct.pack("<IQ", ARRAY, 1) * 3000)]), "whole"),
    "a text of 10^18": (gguf([(b"general.architecture", TEXT, struct.pack("<Q", 10**18))]), "not a whole GGUF file"),
    "a field of no type": (gguf([(b"a", 77, b"")]), "is not a whole GGUF file"),
    "a field twice": (gguf([CONTROL, CONTROL]), "is not a whole GGUF file"),
    "a key that is no text": (gguf([(b"\xff\xfe", TEXT, string(b"x"))]), "is not a whole GGUF file"),
    "an architecture that is no text": (gguf([(CONTROL[0], TEXT, string(b"\xff"))]), "is not a whole GGUF file"),
    "a claim of 10^12 numbers": (gguf([CONTROL], [(b"direction.3", [10**12], 0, 0)], ONES), "not a whole GGUF file"),
    "a claim beyond 64 bits": (gguf([CONTROL], [(b"direction.3", [2**32, 2**32], 0, 0)], ONES), "not a whole GGUF"),
    "beyond the end": (gguf([CONTROL], [(b"direction.3", [4], 0, 2**50)], ONES), "is not a whole GGUF file"),
    "a tensor of no type": (gguf([CONTROL], [(b"direction.3", [4], 999, 0)], ONES), "is not a whole GGUF file"),
    "a direction twice": (gguf([CONTROL], [DIRECTION, DIRECTION], ONES), "is not a whole GGUF file"),
    "integers": (gguf([CONTROL], [(b"direction.3", [4], 26, 0)], ONES), "direction.3 as I32"),
    "direction 10^18": (gguf([CONTROL], [(b"direction.%d" % 10**18, [4], 0, 0)], ONES), "names the layer '1000000"),
    "a note of text": (with_note(b"mine"), "the zkit.note is not JSON"),
    "a note that is null": (with_note(b"null"), "the zkit.note should hold one JSON object"),
    "a note of numbers": (with_note(b'{"pairs": 3}'), "pairs: should be a valid string"),
    "a note of NaN": (with_note(b'{"pairs": NaN}'), "pairs is nan"),
    "a note nested a thousand deep": (with_note(b'{"a": ' * DEEP + b"1" + b"}" * DEEP), "nests deeper than 64"),
}  # fmt: skip


@cases(CONTROLS)
def test_control_vectors_are_read(tmp_path, kind):
    found = read_gguf(put(tmp_path / "v.gguf", CONTROLS[kind]))
    assert torch.equal(found.vectors[3], torch.ones(4))


@cases(BAD_CONTROLS)
def test_bad_control_vectors(tmp_path, kind):
    contents, message = BAD_CONTROLS[kind]
    refused(read_gguf, put(tmp_path / "v.gguf", contents), message)


# --------------------------------------------------------------------------------------------- checkpoints of training

IDENTITY = {"recipe": {"seed": 0, "scale": "mean"}, "model_sha256": "abc", "texts_sha256": "def"}
ROW = Step(1, *[0.5] * 8)
MOMENTS = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3, 4), "exp_avg_sq": torch.zeros(3, 4)}


def progress(**changes):
    return {"identity": IDENTITY, "logits": LOGITS, "moments": MOMENTS, "log": [vars(ROW)], **changes}


def changed(**changes):
    return {"moments": {**MOMENTS, **changes}}


BAD_PROGRESS = {
    "gates": (layers(*LOGITS), "is no checkpoint of a training run"),
    "a list": ([1], "is no checkpoint of a training run"),
    "a tensor": (LOGITS, "is no checkpoint of a training run"),
    "no log": ({k: v for k, v in progress().items() if k != "log"}, "is no checkpoint of a training run"),
    "more": (progress(more=1), "is no checkpoint of a training run"),
    "an identity that is text": (progress(identity="mine"), "identity should hold one JSON object"),
    "no identity": (progress(identity={}), "another run: its recipe differs"),
    "other texts": (progress(identity={**IDENTITY, "texts_sha256": "x"}), "another run: its texts_sha256 differs"),
    "logits of another shape": (progress(logits=LOGITS.T), r"logits should be a finite tensor of shape \(3, 4\)"),
    "logits that are NaN": (progress(logits=LOGITS / 0 * 0), "logits should be a finite tensor"),
    "logits that are integers": (progress(logits=LOGITS.int()), "logits has the type int32"),
    "logits that are a list": (progress(logits=LOGITS.tolist()), "logits should be a finite tensor"),
    "moments that are a list": (progress(moments=[]), "moments should hold one JSON object"),
    "moments of something else": (progress(**changed(more=LOGITS)), "has besides 'moments.more'"),
    "moments of another shape": (progress(**changed(exp_avg=LOGITS[:2])), "moments.exp_avg should be a finite tensor"),
    "moments that are infinite": (progress(**changed(exp_avg_sq=LOGITS / 0)), "moments.exp_avg_sq should be a finite"),
    "moments after another step": (progress(**changed(step=torch.tensor(2.0))), "a log of 1 steps"),
    "no moments": (progress(moments={}), "a log of 1 steps"),
    "a log that is text": (progress(log="long"), "log: should be a valid list"),
    "a log of numbers": (progress(log=[1]), "log: 0 should hold one JSON object"),
    "a log of words": (progress(log=[{**vars(ROW), "loss": "low"}]), "log: 0.loss: should be a valid number"),
    "a log of NaN": (progress(log=[{**vars(ROW), "loss": float("nan")}]), "log: 0.loss is nan"),
    "a log without its loss": (progress(log=[{"step": 1}]), "log.0 should be step 1 with"),
    "a log of step 2": (progress(log=[{**vars(ROW), "step": 2}]), "log.0 should be step 1"),
    "more steps than the run has": (progress(log=[{**vars(ROW), "step": i + 1} for i in range(6)],
                                             **changed(step=torch.tensor(6.0))), "a log of 6 steps"),
    "code": ({"identity": Code()}, "pickled objects besides tensors"),
}  # fmt: skip


def test_progress_is_read(tmp_path):
    for moments, log in ((MOMENTS, [ROW]), ({}, [])):
        Progress(IDENTITY, LOGITS, moments, log).save(tmp_path)
        found = Progress.load(tmp_path, IDENTITY, (3, 4), 5)
        assert torch.equal(found.logits, LOGITS) and found.log == log and found.moments.keys() == moments.keys()


@cases(BAD_PROGRESS)
def test_bad_progress(tmp_path, kind):
    state, message = BAD_PROGRESS[kind]
    path = put(tmp_path / "checkpoint.pt", saved(state))
    refused(lambda path: Progress.load(path.parent, IDENTITY, (3, 4), 5), path, message)


WEIGHTS = {"a": torch.ones(2, 3), "b": torch.ones(2)}
ADAM = {f"{i}.{kind}": torch.tensor(1.0) if kind == "step" else torch.zeros_like(weight)
        for i, weight in enumerate(WEIGHTS.values()) for kind in ("step", "exp_avg", "exp_avg_sq")}  # fmt: skip
TRAINING = {"recipe": {"steps": 5}, "corpus": "abc", "step": 1, "seconds": 2.5, "curve": [0.5], "model": WEIGHTS,
            "moments": ADAM}  # fmt: skip
BAD_TRAINING = {
    "nothing": (b"", "cannot be read"),
    "text": ("half a checkpoint", "cannot be read"),
    "the first half": (saved(TRAINING)[:900], "cannot be read"),
    "code": ({**TRAINING, "recipe": Code()}, "pickled objects besides tensors"),
    "a list": ([1], "is no checkpoint of a training run"),
    "weights alone": (WEIGHTS, "is no checkpoint of a training run"),
    "that of gates": (progress(), "is no checkpoint of a training run"),
    "no recipe": ({**TRAINING, "recipe": None}, "recipe should hold one JSON object"),
    "another recipe": ({**TRAINING, "recipe": {"steps": 6}}, "belongs to another recipe"),
    "another corpus": ({**TRAINING, "corpus": "x"}, "the corpus was edited after"),
    "a corpus that is a number": ({**TRAINING, "corpus": 3}, "corpus: should be a valid string"),
    "a step of words": ({**TRAINING, "step": "one"}, "step: should be a valid integer"),
    "a step that is true": ({**TRAINING, "step": True}, "step: should be a valid integer"),
    "a step below zero": ({**TRAINING, "step": -1}, "step: should be greater"),
    "more steps than losses": ({**TRAINING, "step": 3}, "1 losses for 3 steps"),
    "more steps than the recipe has": ({**TRAINING, "step": 6, "curve": [0.5] * 6}, "6 losses for 6 steps"),
    "a loss that is NaN": ({**TRAINING, "curve": [float("nan")]}, "curve: 0: should be a finite number"),
    "losses of words": ({**TRAINING, "curve": ["low"] * 10**5}, "curve: 0: should be a valid number"),
    "no time": ({**TRAINING, "seconds": None}, "seconds: should be a valid number"),
    "weights that are a list": ({**TRAINING, "model": [1]}, "model should hold one JSON object"),
    "a weight that is missing": ({**TRAINING, "model": {"a": WEIGHTS["a"]}}, "lacks 'model.b'"),
    "a weight too many": ({**TRAINING, "model": {**WEIGHTS, "c": torch.ones(1)}}, "has besides 'model.c'"),
    "a weight of another shape": ({**TRAINING, "model": {**WEIGHTS, "b": torch.ones(3)}}, r"model.b .*\(2,\)"),
    "a weight that is NaN": ({**TRAINING, "model": {**WEIGHTS, "b": torch.ones(2) / 0 * 0}}, "model.b should be a fin"),
    "no moments": ({**TRAINING, "moments": {}}, "lacks 'moments.0.step'"),
    "moments that are infinite": ({**TRAINING, "moments": {**ADAM, "1.exp_avg": torch.ones(2) / 0}}, "moments.1.exp_"),
}  # fmt: skip


def resume(path):
    model = torch.nn.ParameterDict(WEIGHTS)
    found = Checkpoint.load(path, {"steps": 5}, "abc")
    found.into(model, torch.optim.AdamW(model.parameters()), path)
    return model


def test_training_is_read(tmp_path):
    model = resume(put(tmp_path / "checkpoint.pt", saved(TRAINING)))
    assert all(torch.equal(model[name], WEIGHTS[name]) for name in WEIGHTS)


@cases(BAD_TRAINING)
def test_bad_training(tmp_path, kind):
    state, message = BAD_TRAINING[kind]
    refused(resume, put(tmp_path / "checkpoint.pt", state if isinstance(state, bytes | str) else saved(state)), message)


# ------------------------------------------------------------------------------------------------------------- messages


def test_no_message_is_longer_than_a_screen_or_cannot_be_printed():
    said = str(ZkitError(f"file.json {'x' * 10**6}\ud800; mend it"))
    assert len(said) <= 1000 and said.startswith("file.json x") and said.endswith("x\\ud800; mend it")
    assert str(ZkitError("\ud800" * 1000)).encode()
    deep = []
    for _ in range(60):
        deep = [deep, deep]  # 2^60 lists, if it is written out
    with bounded():
        assert len(shown(deep)) < 200 and len(shown({"a" * 10**6: "b" * 10**6})) < 200


def test_what_is_wrong_a_million_times_is_said_once(tmp_path):
    """pydantic would keep a record of each."""
    save(Gates(LOGITS), tmp_path / "gates")
    rows = tmp_path / "gates" / "neuron_indices.json"
    rows.write_text(json.dumps({"0": [0.5] * 500_000}))
    refused(lambda path: load(path.parent), rows, "0.0: should be a valid integer")
    rows.write_text(json.dumps(dict.fromkeys(map(str, range(200_000)), 1)))
    refused(lambda path: load(path.parent), rows, "has 200,000 names; give it at most 100,000")
    many = [{"id": f"{i}", "source": "a", "model": "m", "reason": "r", "successors": [f"{i}"]} for i in range(20_000)]
    path = put(tmp_path / "ledger.json", json.dumps({"schema": 1, "records": many}))
    with bounded():
        assert len(Ledger.read(path).records) == 20_000


# ---------------------------------------------------------------------------------------------------------------- paths

READERS = {
    "texts": read_jsonl, "lenses": read_lenses, "ledger": Ledger.load, "ledger in JSON": Ledger.read, "gates": load,
    "vector": SteeringVector.load, "control vector": read_gguf,
}  # fmt: skip


@cases(READERS)
def test_what_is_no_file_is_no_file(tmp_path, kind, monkeypatch):
    read = READERS[kind]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "loop", "folder", "missing", "n" * 300):
        refused(read, tmp_path / name, "there (is|are) no|cannot be read|holds neither")
    for path in (None, 3, True, ["a"], b"a", "", "\0", "a\0b", "\ud800"):
        with bounded(), pytest.raises(ZkitError):
            read(path)
    path = put(tmp_path / "file.safetensors", "x")
    with path.open("r+b") as file:
        file.truncate(2**31)  # a file of zeros that takes no room
    refused(read, path, "more than the [0-9,]+ that are read")
