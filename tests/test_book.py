"""The book's sources: published figures with their sources, a bibliography without loose ends, and computed pages."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import nbformat
import pytest
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from zkbook import figures, shapes
from zkbook.claims import Bound, Claim, Status, judge
from zkbook.claims.conjectures import conjectures, shipped
from zkbook.claims.ledger import Ledger
from zkbook.explorable import Axis, Curve, Explorable
from zkbook.site import gallery, ledger, markup, numbers, scripts, tables, vendor
from zkit.errors import ZkitError
from zkit.foreign import Html, markdown

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"

PUBLISHED = yaml.safe_load((BOOK / "published.yml").read_text(encoding="utf-8"))
CHAPTERS = yaml.safe_load((BOOK / "chapters.yml").read_text(encoding="utf-8"))
PROSE = {path.name: path.read_text(encoding="utf-8") for path in BOOK.glob("*.md")}
BIB = (BOOK / "references.bib").read_text(encoding="utf-8")
ENTRIES = {key: kind for kind, key in re.findall(r"@(\w+)\{(\w+),", BIB)}


# ------------------------------------------------------------------------------------------- published figures


@pytest.mark.parametrize("key", PUBLISHED["figures"])
def test_a_published_figure_has_source_model_unit_and_as_many_values_as_places(key):
    figure = PUBLISHED["figures"][key]
    known = {"topic", "says", "value", "range", "along", "unit", "model", "source", "note", "measured", "not_measured"}
    assert set(figure) <= known
    assert figure["says"] and figure["unit"]
    assert figure["topic"] in PUBLISHED["topics"]
    assert figure["model"] in PUBLISHED["models"]
    assert figure["source"] in PUBLISHED["sources"]
    assert ("range" in figure) != ("value" in figure)
    values = figure.get("range", figure.get("value"))
    if "along" in figure:
        ((_, places),) = figure["along"].items()
        assert len(places) == len(set(places)) == len(values)
    for value in values if isinstance(values, list) else [values]:
        assert isinstance(value, int | float) and not isinstance(value, bool)
    assert len(figure.get("range", [0, 1])) == 2


def test_sources_of_published_figures_are_in_the_bibliography():
    cited = {*PUBLISHED["sources"], *(model["source"] for model in PUBLISHED["models"].values())}
    assert cited <= set(ENTRIES)


def test_published_claims_are_those_of_the_shipped_ledger_with_their_rules():
    rows = "\n".join(tables.claims(BOOK)).split("* - ")[2:]
    assert [row.split("\n")[0] for row in rows][:14] == [f"C-{number}" for number in range(1, 15)]
    assert all(row.startswith("P-") for row in rows[14:])
    assert "- perplexity ratio above 1.5, under 15% change in words\n" in rows[3]
    assert rows[3].endswith("- confirmed *(the evidence printed is 1.29)*\n")
    assert "- none printed\n  - open\n" in rows[13]


@pytest.mark.parametrize(
    ("model", "parameters"), [("qwen3-0.6b", 596_049_920), ("qwen3-1.7b", 1_720_574_976), ("qwen2.5-3b", 3_085_938_688)]
)
def test_parameters_are_counted_right(model, parameters):
    assert shapes.parameters(PUBLISHED["models"][model]) == parameters


def test_gates_are_layers_times_neurons():
    for figure, model in (("gates.count", "qwen3-0.6b"), ("gates.count_1.7b", "qwen3-1.7b")):
        shape = PUBLISHED["models"][model]
        assert PUBLISHED["figures"][figure]["value"] == shape["layers"] * shape["d_ffn"]


def test_the_shape_of_a_configuration_is_counted_like_transformers_counts_it():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=True,
    )
    counted = sum(p.numel() for p in Qwen3ForCausalLM(config).parameters())
    assert shapes.parameters(shapes.from_config(config.to_dict())) == counted


# ------------------------------------------------------------------------------------------------ bibliography


def test_every_entry_is_annotated_once_and_every_citation_exists():
    annotated = re.findall(r"^\{cite:t\}`(\w+)`$", PROSE["bibliography.md"], flags=re.MULTILINE)
    assert sorted(annotated) == sorted(ENTRIES)
    for name, text in PROSE.items():
        cited = {key for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in group.split(",")}
        assert cited <= set(ENTRIES), name


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_can_be_found(key):
    body = BIB.split("{" + key + ",")[1].split("\n@")[0]
    assert "title = " in body and "author = " in body
    assert any(
        part in body for part in ("eprint = ", "url = ", "journal = ", "publisher = ", "booktitle = ", "note = ")
    )


# ----------------------------------------------------------------------------------------------------- prose


def test_every_prose_page_is_in_the_table_of_contents():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert [name for name in PROSE if f"book/{name.removesuffix('.md')}" not in toc] == []


def test_every_chapter_is_in_the_index_and_in_the_table_of_contents():
    planned = [chapter["notebook"] for chapter in CHAPTERS["chapters"]]
    assert len(planned) == len(set(planned))
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert notebook.stem in planned
        assert f"book/executed/{notebook.stem}" in toc
    assert {chapter["question"] for chapter in CHAPTERS["chapters"]} == set(CHAPTERS["questions"])


@pytest.mark.parametrize("page", ["introduction.md", "chapters.md", "published.md", "ledger.md", "gallery.md"])
def test_no_result_is_typed_into_these_pages(page):
    assert re.findall(r"\d+\.\d+|\d+ ?%", PROSE[page].replace("95%", "")) == []


def test_every_status_is_explained_where_the_reader_looks():
    explained = re.findall(r"^\| ([a-z ]+) \|", PROSE["reading.md"], flags=re.MULTILINE)
    assert set(get_args(Status)) <= set(explained)


# --------------------------------------------------------------------------------------------- computed pages


@pytest.fixture
def book(tmp_path):
    for name in ("chapters.yml", "published.yml"):
        (tmp_path / name).write_text((BOOK / name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "executed" / "results").mkdir(parents=True)
    return tmp_path


def leave_results(book, profile="embedded", value=0.3, model="embedded"):
    claim = Claim("E-1", "Steering shortens.", "this book", "embedded", Bound("ratio", "<", 0.5), "below one half")
    stats = {"ratio": {"value": value, "ci": [value - 0.1, value + 0.1], "n": 30, "unit": "ratio"}}
    record = {"schema": 1, "parameters": {"profile": profile}, "model": {"id": model, "sha256": "0"}, "stats": stats}
    record["claims"] = [judge(claim, stats, model).to_dict()]
    (book / "executed" / "00_embedded_model.ipynb").write_text("{}")
    (book / "executed" / "results" / "00_embedded_model.json").write_text(json.dumps(record))


def test_without_results_every_chapter_is_in_preparation_and_nothing_is_claimed(book):
    index, answers = "\n".join(tables.chapters(book)), "\n".join(tables.answers(book))
    assert index.count(tables.PREPARING) == len(CHAPTERS["chapters"])
    assert answers.count(tables.PREPARING) == len(CHAPTERS["questions"])
    assert not any(status in answers for status in ("confirmed", "refuted", "holds", "fails"))


@pytest.mark.parametrize(
    ("value", "model", "status"),
    [
        (0.3, "embedded", "confirmed"),
        (0.7, "embedded", "refuted"),
        (0.45, "embedded", "open"),
        (0.3, "Qwen/Qwen3-0.6B", "analogue holds"),
    ],
)
def test_verdicts_are_those_of_the_results(book, value, model, status):
    leave_results(book, value=value, model=model)
    index, answers = "\n".join(tables.chapters(book)), "\n".join(tables.answers(book))
    assert markdown(f"{status}: E-1") in index
    assert "{doc}`00 The embedded model </book/executed/00_embedded_model>`" in index
    assert f"- **{status.capitalize()}** on" in answers
    assert f"{markdown('Steering shortens.')} ({markdown('E-1')})" in answers
    assert index.count(tables.PREPARING) == len(CHAPTERS["chapters"]) - 1


def test_a_smoke_run_gives_no_verdict(book):
    leave_results(book, profile="smoke")
    for lines in (tables.chapters(book), tables.answers(book)):
        assert tables.SMOKE in "\n".join(lines)
        assert "confirmed" not in "\n".join(lines)


def test_published_tables_show_every_figure_and_series(book):
    lines = "\n".join("\n".join(tables.published(book, topic)) for topic in PUBLISHED["topics"])
    for figure in PUBLISHED["figures"].values():
        assert figure["says"] in lines
    assert "86,016" in lines
    assert "15: **487.5**" in lines
    assert "0.126 to 0.957" in lines
    with pytest.raises(KeyError, match="astrology"):
        tables.published(book, "astrology")


# ------------------------------------------------------------------------------------------------- the ledger


def leave_verdicts(book, notebook, model, *found, profile="embedded"):
    """Results of a chapter that judged each claim on statistics {name: value}."""
    verdicts = []
    for claim, values in found:
        stats = {name: {"value": value, "ci": [value - 0.1, value + 0.1], "n": 30} for name, value in values.items()}
        verdicts.append(judge(claim, stats, model).to_dict())
    record = {"schema": 1, "parameters": {"profile": profile}, "claims": verdicts}
    (book / "executed" / f"{notebook}.ipynb").write_text("{}")
    (book / "executed" / "results" / f"{notebook}.json").write_text(json.dumps(record))


def row(book, part, id):
    """The row of one claim on the page."""
    [line] = ledger.part(book, part)
    [found] = [row for row in line.split("<tr>") if f'<strong id="claim-{id.lower()}">{id}</strong>' in row]
    return found


def counted(book):
    lines = "\n".join(ledger.part(book, "counts"))
    return {status: (int(here), published) for status, here, published in
            re.findall(r"^\* - ([a-z ]+)\n  - (\d+)\n  -(.*)$", lines, flags=re.MULTILINE)}  # fmt: skip


def test_before_any_run_the_ledger_holds_every_conjecture_and_judges_none(book):
    assert "open</strong>: not judged<br>published: confirmed <em>(the evidence printed" in row(
        book, "published", "C-4"
    )
    assert 'Refined: <a href="#claim-c-4r">' in row(book, "published", "C-4")
    assert "published rule: over 50% fewer words" in row(book, "published", "C-2")
    assert "Refines C-4" in row(book, "own", "C-4r")
    shown = {
        part: set(re.findall(r'<strong id="[^"]+">([^<]+)', ledger.part(book, part)[0]))
        for part in ("published", "own")
    }
    judged_by = {"published": lambda claim: claim.published is not None, "own": lambda claim: claim.published is None}
    with_rule = [record.claim for record in shipped() if isinstance(record.claim, Claim)]
    assert shown == {part: {claim.id for claim in with_rule if of(claim)} for part, of in judged_by.items()}
    silent = "\n".join(ledger.part(book, "silent"))
    assert "- **C-15, C-16," in silent and "**C-27, H-SV-1**" in silent and "C-14" not in silent
    judged = len(list(shipped())) - 16
    counts = counted(book)
    published = Counter(record.claim.published for record in shipped())
    assert (published["confirmed"], published["refuted"]) >= (6, 7) and counts["no rule"] == (16, "")
    for status, n in (("open", judged), ("confirmed", 0), ("refuted", 0)):
        assert counts[status] == (n, f" {published[status]}")
    with pytest.raises(KeyError, match="astrology"):
        ledger.part(book, "astrology")


def test_the_ledger_shows_an_analogue_beside_the_open_claim_and_links_its_chapter(book):
    [claim] = conjectures("C-1")
    leave_verdicts(book, "05_layers", "embedded", (claim, {"topic_cosine_early": 0.3}))
    found = row(book, "published", "C-1")
    assert "<strong>open</strong>: not judged<br><strong>analogue holds</strong> on the embedded model" in found
    assert "0.3 [0.2, 0.4], n = 30; &lt; 0.5 holds" in found.replace("<wbr>", "")
    assert '<a href="executed/05_layers.html">05 Steering: layers</a>' in found
    assert counted(book)["analogue holds"][0] == 1


def test_the_ledger_holds_the_claims_of_all_chapters(book):
    claim = Claim("own-1", "It <b>shortens</b>.", "this book", "embedded", Bound("ratio", "<", 0.5), "below one half")
    leave_verdicts(book, "00_embedded_model", "embedded", (claim, {"ratio": 0.3}))
    [ours] = conjectures("C-4r")
    leave_verdicts(book, "05_layers", "embedded", (ours, {"perplexity_end_over_middle": 0.5}))
    assert "<strong>confirmed</strong>" in row(book, "own", "own-1") and "<details>" not in row(book, "own", "own-1")
    assert "&lt;b&gt;shortens" in row(book, "own", "own-1")
    assert "<em>refutation</em>, on the embedded model" in row(book, "own", "C-4r")
    counts = counted(book)
    assert (counts["confirmed"][0], counts["refuted"][0]) == (1, 1)
    (book / "executed" / "05_layers.ipynb").unlink()
    assert "in 05 Steering: layers." in row(book, "own", "C-4r")


def test_the_ledger_says_of_every_rule_when_it_came(book):
    rows = re.findall(r"<tr>.*?</tr>", ledger.part(book, "own")[0], re.S)
    said = {re.search('id="claim-([^"]+)"', row)[1]: row for row in rows if 'id="claim-' in row}
    assert "as it is since 2026-11-21, after first results: a line in place" not in said["s-3"]
    assert "<em>fixed before the run</em>" in said["s-3"] and "fixed before the run" not in said["s-4"]
    assert "<em>as it is since 2026-11-21, after first results: restated" in said["s-4"]


def test_a_smoke_run_is_named_in_the_ledger(book):
    assert tables.SMOKE not in "\n".join(ledger.part(book, "counts"))
    leave_verdicts(book, "05_layers", "embedded", profile="smoke")
    assert tables.SMOKE in "\n".join(ledger.part(book, "counts"))


def test_a_chapter_that_bends_a_rule_of_the_ledger_is_refused(book):
    bent = Claim("C-1", "Drifts.", "this book", "embedded", Bound("topic_cosine_early", "<", 0.9), "below 0.9")
    leave_verdicts(book, "05_layers", "embedded", (bent, {"topic_cosine_early": 0.7}))
    with pytest.raises(ZkitError, match="C-1 was judged by another rule"):
        ledger.part(book, "published")


def test_the_site_holds_the_ledger_of_the_page(book, tmp_path):
    [claim] = conjectures("C-1")
    leave_verdicts(book, "05_layers", "embedded", (claim, {"topic_cosine_early": 0.3}))
    source = tmp_path / "source"
    source.mkdir()
    (source / "book").symlink_to(book)
    site = SimpleNamespace(srcdir=str(source), outdir=str(tmp_path / "html"), builder=SimpleNamespace(format="html"))
    ledger.write(site, ValueError("the build failed"))
    assert not (tmp_path / "html").exists()
    ledger.write(site, None)
    found = Ledger.read(tmp_path / "html" / ledger.FILE)
    assert found == ledger.gather(book) and found["C-1"].analogues == {"embedded": "analogue holds"}
    assert f'href="../{ledger.FILE}"' in PROSE["ledger.md"]


# ------------------------------------------------------------------------------------------------ the gallery


def explorable(key, text="Short."):
    axes = [Axis("dose", [0, 1], 1)]
    curve = Curve("dose", ["dose"], {(0,): 1.0, (1,): 2.0}, f"words of {key}")
    texts = {(0,): "A long answer.", (1,): text}
    return Explorable(key=key, axes=axes, text=texts, curve=curve, caption="Words.", alt="They grow.")._repr_html_()


def leave_figures(book, notebook, *shown):
    """An executed chapter with these outputs."""
    outputs = [nbformat.v4.new_output("display_data", {"text/html": html}) for html in shown]
    cell = nbformat.v4.new_code_cell("show()", outputs=outputs, execution_count=1)
    cells = [nbformat.v4.new_markdown_cell("# A chapter"), cell]
    metadata = {"language_info": {"name": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), book / "executed" / f"{notebook}.ipynb")


@pytest.fixture
def tiny_site(book, tmp_path_factory, monkeypatch):
    """A site of a gallery and two chapters (three are staged), and a function that builds it and returns a page."""
    monkeypatch.setattr(vendor, "vendor", lambda folder: None)
    plain, other = (figures.wrap(Html("<svg></svg>"), key=key, caption="Still.") for key in ("plain", "other"))
    leave_figures(book, "00_embedded_model", other, explorable("dose"))
    leave_figures(book, "01_gates_apply", other.replace("fig-other", "fig-only"))
    leave_figures(book, "05_layers", plain, explorable("layers"))
    made = tmp_path_factory.mktemp("site")
    root = made / "source"
    shutil.copytree(book, root / "book")
    (root / "book" / "gallery.md").write_text("# Gallery\n\n```{zk-gallery} plain absent\n```\n\n{ref}`fig-dose`\n")
    (root / "index.md").write_text("# A site\n\n```{toctree}\n:glob:\n\nbook/*\nbook/executed/*\n```\n")
    options = {
        "extensions": ["myst_nb", "zkbook.site"],
        "nb_execution_mode": "off",
        "html_theme": "basic",
        "nitpicky": True,
    }

    def build(page="book/gallery"):
        warnings = io.StringIO()
        with patch_docutils(), docutils_namespace():
            app = Sphinx(root, None, made / "html", made / "trees", "html", options, status=None, warning=warnings)
            app.build()
        assert warnings.getvalue() == ""
        return (made / "html" / f"{page}.html").read_text(encoding="utf-8")

    return root / "book", build


def test_the_gallery_shows_explorables_and_chosen_figures_under_ids_of_its_own(tiny_site):
    _, build = tiny_site
    page = build()
    assert re.findall(r'<figure class="([^"]+)" id="([^"]+)"', page) == [
        ("zk-figure zk-explorable", "gallery-dose"),
        ("zk-figure", "gallery-plain"),
        ("zk-figure zk-explorable", "gallery-layers"),
    ]
    plan = {chapter["notebook"]: chapter for chapter in CHAPTERS["chapters"]}
    headings = re.findall(r"<h2>([^<]+)<", page)
    assert headings == [f"{name[:2]} {plan[name]['title']}" for name in ("00_embedded_model", "05_layers")]
    assert plan["05_layers"]["asks"] in page and plan["01_gates_apply"]["asks"] not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and not any(id.startswith("fig-") for id in ids)
    assert "vendor/plotly.min.js" in page


def test_labels_and_numbers_stay_with_the_chapters(tiny_site):
    _, build = tiny_site
    page = build()
    links = re.findall(r'href="([^"]+#fig-[^"]+)"><span class="std std-ref">(Figure \d+)</span>', page)
    assert links == [
        ("executed/00_embedded_model.html#fig-dose", "Figure 2"),
        ("executed/05_layers.html#fig-plain", "Figure 1"),
        ("executed/05_layers.html#fig-layers", "Figure 2"),
        ("executed/00_embedded_model.html#fig-dose", "Figure 2"),
    ]
    assert page.count('<span class="zk-number"></span>') == 3
    assert 'id="fig-dose"' in build("book/executed/00_embedded_model")


def test_the_gallery_follows_the_chapters(tiny_site):
    book, build = tiny_site
    page = build()
    assert "Shorter yet." not in page and tables.SMOKE not in page
    leave_figures(book, "00_embedded_model", explorable("dose", "Shorter yet."))
    results = {"parameters": {"profile": "smoke"}, "claims": []}
    (book / "executed" / "results" / "05_layers.json").write_text(json.dumps(results))
    page = build()
    assert "Shorter yet." in page and page.count(tables.SMOKE) == 1
    (book / "gallery.md").write_text("# Gallery\n\n```{zk-gallery}\n```\n")
    for chapter in ("00_embedded_model", "05_layers"):
        (book / "executed" / f"{chapter}.ipynb").unlink()
    page = build()
    assert gallery.NOTHING in page and "<figure" not in page and "plotly" not in page


def test_a_key_of_two_chapters_is_refused(tiny_site):
    book, build = tiny_site
    leave_figures(book, "01_gates_apply", explorable("dose"))
    with pytest.raises(AssertionError, match="two chapters have a figure dose"):
        build()


def test_the_gallery_asks_for_figures_that_a_chapter_makes():
    asked = re.findall(r"^```\{zk-gallery\} (.+)$", PROSE["gallery.md"], flags=re.MULTILINE)
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert asked and all(f'key=\\"{key}\\"' in sources for key in asked[0].split())


# ------------------------------------------------------------------------------------------ scripts and figures


def script(filename=None, body=None):
    return SimpleNamespace(filename=filename, attributes={"body": body} if body else {})


def test_a_page_gets_no_script_twice_and_none_of_thebe():
    kept = scripts.without_repeats(
        [
            script(body="const THEBE_JS_URL = 'https://unpkg.com/thebe'"),
            script("sphinx-thebe.js"),
            script("a.js"),
            script(body="let x = 1"),
            script(body="let x = 1"),
            script("a.js"),
            script("b.js"),
        ]
    )
    assert [s.filename or s.attributes["body"] for s in kept] == ["a.js", "let x = 1", "b.js"]


def test_figures_are_numbered_in_the_order_of_the_page_and_can_be_referred_to():
    page = nodes.document(SimpleNamespace(), SimpleNamespace())
    for key in ("norms", "dose"):
        source = f'<figure class="zk-figure x" id="fig-{key}"><figcaption><span class="zk-number"></span>C</figcaption>'
        page += nodes.raw("", source, format="html")
        page += nodes.paragraph("", "Text.")
    domain = SimpleNamespace(labels={}, anonlabels={})
    app = SimpleNamespace(env=SimpleNamespace(get_domain=lambda name: domain, docname="page"))
    numbers.number(app, page)
    written = [raw.astext() for raw in page.findall(nodes.raw)]
    assert ["Figure 1. </span>C" in written[0], "Figure 2. </span>C" in written[1]] == [True, True]
    assert domain.labels["fig-dose"] == ("page", "fig-dose", "Figure 2")


def test_bibliography_entries_are_items_of_their_list():
    context = {"body": '<div role="list"><div class="citation" role="doc-biblioentry"></div></div>'}
    markup.mend(None, "page", "page.html", context, None)
    assert context["body"] == '<div role="list"><div class="citation" role="listitem"></div></div>'


def test_vendored_scripts_are_whole_and_left_alone_when_unchanged(tmp_path):
    vendor.vendor(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    names = {str(path.relative_to(tmp_path)) for path in files}
    assert {"plotly.min.js", "mathjax/tex-mml-chtml.js"} <= names
    assert any(name.endswith(".woff") for name in names)
    vendor.vendor(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    (tmp_path / "plotly.min.js").write_text("cut short")
    vendor.vendor(tmp_path)
    assert (tmp_path / "plotly.min.js").stat().st_size > 1_000_000


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    def missing(name):
        raise vendor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(vendor.importlib.metadata, "distribution", missing)
    with pytest.raises(SystemExit, match=r"sphinx-mathjax-offline is not installed.*requirements\.txt"):
        vendor.vendor(tmp_path)
