"""The book of a hostile model: its texts, card, gates and name are markup. Real chapters run on it, and the built pages
are opened: all that it says is to be seen, and nothing of it acts."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import chain
import pytest
from tiny_book import zkit
from visit import serve, visit

from zkbook.pages import build
from zkit.foreign import visible
from zkit.gating import Gates, initial_logits, save_half
from zkit.sources import resolve

pytestmark = [pytest.mark.browser, pytest.mark.chain]

ACTS = '<img src=x onerror="hacked=1">`` ` **b** $\\href{javascript:hacked=1}{m}$ [l](javascript:hacked=1) {raw}`x` -->'
SAYS = (  # with a word that chapter 07 counts, so that it cites such an answer
    f" The makefile. {ACTS}</p></script><script>hacked=1</script><!-- ![i](http://evil.example/i)"
    "\n\n# head\n\n```{raw} html\n<b onclick=hacked=1>x</b>\n```\n\u202eevil\x1b[31m"
)
CHAPTERS = ["00_embedded_model", "01_gates_apply", "07_lenses_and_relations"]
NAME = ACTS  # of the model's folder
SAID = {
    "executed/00_embedded_model": [f"The command: {SAYS}", f"It cannot: {SAYS}", SAYS + "\ud800", NAME],
    "executed/01_gates_apply": [f"variant {SAYS}, schedule {SAYS}, trained with the scale energy", NAME],
    "executed/07_lenses_and_relations": ["One of these with a match: ", SAYS, NAME],
    "introduction": [NAME],
    "chapters": [],
    "gallery": [SAYS],
    "ledger": [SAYS, NAME],
}
"""Page -> what is to be read on it."""


def hostile_model(folder):
    """The embedded model, whose tokenizer appends markup to all that it decodes, with a card of markup."""
    shutil.copytree(resolve("embedded").folder(), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    appended = {"type": "Replace", "pattern": {"Regex": "\\z"}, "content": SAYS}
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [tokenizer["decoder"], appended]}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card |= {"misses": [SAYS + "\ud800", SAYS], "cannot": [SAYS]}
    card["training"] |= {"command": SAYS, "corpus_sha256": "<b>x</b>"}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of the HTML: the smoke run's book, some of whose chapters are those of the hostile model."""
    smoke = chain.smoke_run()
    assert smoke.done.returncode == 0, smoke.done.stderr
    folder = tmp_path_factory.mktemp("hostile")
    root = shutil.copytree(smoke.root, folder / "book", ignore=shutil.ignore_patterns("_build", "runs"))
    model = hostile_model(folder / NAME)
    shape = json.loads((model / "config.json").read_text())
    logits = initial_logits(shape["num_hidden_layers"], shape["intermediate_size"])
    gates = save_half(Gates(logits, {"variant": SAYS, "schedule": SAYS, "scale": "energy"}), folder / "g.safetensors")

    def run(name):
        own = ["-p", f"gates={gates}"] if name.startswith("01") else []
        notebook = root / "notebooks" / f"{name}.ipynb"
        return zkit("run", notebook, "--profile", "smoke", "--model", model, "-p", f"out={folder / name}", *own)

    staged = root / "book" / "executed"
    with ThreadPoolExecutor(2) as pool:
        runs = dict(zip(CHAPTERS, pool.map(run, CHAPTERS), strict=True))
    for name, done in runs.items():
        assert done.returncode == 0, done.stderr
        shutil.copy(folder / name / f"{name}.ipynb", staged)
        results = json.loads((folder / name / "results" / f"{name}.json").read_text(encoding="utf-8"))
        results["parameters"]["profile"] = "embedded"  # or the book would not speak of the verdicts
        known = results["claims"][0]  # its wording is the ledger's; that of a claim from elsewhere is its own
        own = known["claim"] | {"id": f"own-{name[:2]}", "sentence": SAYS}
        results["claims"].append(known | {"claim": own})
        (staged / "results" / f"{name}.json").write_text(json.dumps(results), encoding="utf-8")
    build.build(root)
    return build.html(root)


def words(text):
    return "".join(text.split())


ACTING = """() => [...document.querySelectorAll("article *")].filter((element) =>
  [...element.attributes].some(({name, value}) => name.startsWith("on")
    || (["href", "xlink:href", "src"].includes(name) && /^(javascript:|x$|http:..evil)/.test(value))))
  .map((element) => element.outerHTML)"""


@pytest.mark.parametrize("path", SAID)
def test_nothing_acts_and_all_is_seen(chromium, book, path):
    with serve(book) as site, visit(chromium, f"{site}book/{path}.html") as seen:
        page = seen.page
        for control in page.locator("[data-axis]").all():
            control.press("End")
            control.press("Home")
        for plot in page.locator(".zk-plot .nsewdrag").all():
            plot.hover()
        assert page.evaluate("window.hacked") is None
        assert page.evaluate(ACTING) == []
        assert page.locator("article :is(h1, h2, h3)", has_text=re.compile("^head")).count() == 0
        assert page.locator("article .cell_output mjx-container").count() == 0
        assert seen.outside == [] and seen.errors == []
        text = page.locator("article").text_content() or ""
        assert [said for said in SAID[path] if words(visible(said)) not in words(text)] == []
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
