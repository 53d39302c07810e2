"""What a model or a file brought is seen on a page, all of it, and does nothing there; there is no other way to a page.

The second half reads the sources: notebooks show things by a few functions, and zkit writes markup in one form.
"""

import ast
import html
import json
import re
from html.parser import HTMLParser

import chain
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from zkbook import figures, pages, tables
from zkbook.claims import Bound, Claim, board, judge
from zkbook.explorable import Axis, Curve, Explorable, live
from zkbook.pages import foot, places, sentences
from zkit import foreign
from zkit.__main__ import main
from zkit.errors import ZkitError
from zkit.foreign import Html, code, markdown, visible

HOSTILE = (
    '<img src=x onerror="hacked = 1"> </script><script>hacked = 1</script> ` `` **b** __b__ $\\href{javascript:0}{m}$ '
    "[l](javascript:hacked=1) ![i](http://evil.example/i) {raw}`x` {{s}} <http://evil.example> &lt;b&gt; &#60;b&#62; "
    "--> <!-- c \n\n# head\n\n+++\n```{raw} html\n<b onclick=x>\n```\n- item\n\n| a |\n|---|\n(t)=\n% c\n~~~ ::: "
    "\u202eevil\u2066 \x1b[31m \x00 \r \ud800 \ufffe \u2028"
)
anything = st.one_of(st.text(), st.text(st.sampled_from("<>&\"'`*_[](){}$\\#-+|!:=~%\n\r\t\u202e\x1b\ud800 ab1.")))


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def elements(source):
    return Page(str(source)).elements


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("two\nlines\tand 锁 é 👩\u200d💻 \xa0\u3000", "two\nlines\tand 锁 é 👩\u200d💻 \xa0\u3000"),
        ("a\r\nb", "a\nb"),
        ("a\rb", r"a\rb"),
        ("\x00\x1b[31m\x7f\x85", r"\x00\x1b[31m\x7f\x85"),
        ("\u202e\u2066\u200f\u061c", r"\u202e\u2066\u200f\u061c"),
        ("\u200b\ufeff\u2028\xad", r"\u200b\ufeff\u2028\xad"),
        ("\ud800 \udfff", r"\ud800 \udfff"),
        ("\ufffe\U0001ffff\U000e0041", r"\ufffe\U0001ffff\U000e0041"),
        (7, "7"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, seen):
    assert visible(text) == seen


@given(anything)
@example(HOSTILE)
def test_all_of_a_text_is_on_the_page_and_none_of_it_is_markup(text):
    source = Html("<td>{}</td>").format(text)
    source.encode()
    assert "\n" not in source  # or a blank line would end a block of HTML that Markdown is around
    assert Page(source).elements == [("td", ())]
    assert Page(source).text == visible(text)
    assert MarkdownIt("commonmark").render(f"<div>{source}</div>").strip() == f"<div>{source}</div>"


@given(anything)
@example(HOSTILE)
def test_in_a_line_of_markdown_a_text_is_only_text(text):
    page = Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"- **on** {markdown(text)}: x"))
    assert [tag for tag, _ in page.elements] == ["ul", "li", "strong"]
    assert page.text.split() == f"on {visible(text)}: x".split()


@given(anything)
@example(HOSTILE)
def test_as_code_in_a_line_of_markdown_a_text_is_only_text(text):
    page = Page(MarkdownIt("commonmark").render(f"- on {code(text)}: x"))
    assert [tag for tag, _ in page.elements] == ["ul", "li", "code"]
    assert (
        page.text.split() == f"on {visible(text)} : x".split() or page.text.split() == f"on {visible(text)}: x".split()
    )


def test_markup_is_not_escaped_twice_and_text_is_once():
    bold = Html("<b>{}</b>").format("a<")
    assert bold + "<" == "<b>a&lt;</b>&lt;"
    assert "<" + bold == "&lt;<b>a&lt;</b>"
    assert Html("<br>").join(["<", bold]) == "&lt;<br><b>a&lt;</b>"


def test_only_markup_is_shown():
    assert foreign.bundle(Html("<p>{}</p>").format("<\x1b"), "<\x1b") == {
        "text/html": '<div class="mathjax_ignore"><p>&lt;\\x1b</p></div>',
        "text/plain": "<\\x1b",
    }
    with pytest.raises(TypeError, match="only Html"):
        foreign.bundle("<p>plain</p>", "plain")


def test_sentences_are_markdown_and_their_values_are_not():
    page = sentences.page("**{share:.0%}** of *{name}*, `{code}`, {}.\n\n- {item}", ["x"], {
        "share": 0.5, "name": "*a*", "code": "`b`", "item": "<i>\n\n# head",
    })  # fmt: skip
    assert "<strong>50%</strong> of <em><bdi>*a*</bdi></em>, <code><bdi>`b`</bdi></code>, <bdi>x</bdi>." in page
    assert sentences.page("{x}'s", named={"x": "o'"}) == "<p><bdi>o&#x27;</bdi>’s</p>\n"
    assert "<li><bdi>&lt;i&gt;&#10;&#10;# head</bdi></li>" in page


TEMPLATES = [
    "{x}",
    "**{x}** `{x}` *{x}*",
    "- {x}\n- {x}\n",
    "# {x}",
    "    {x}",
    "[a]({x}) ![b](i '{x}') <{x}>",
    "> {x}",
]


@pytest.mark.parametrize("template", TEMPLATES)
@given(text=anything)
@example(text=HOSTILE)
@example(text="\ue000 {x}")
def test_no_value_changes_what_a_sentence_is(template, text):
    page = sentences.page(template, named={"x": text})
    page.encode()
    assert elements(page) == elements(sentences.page(template, named={"x": "word"}))
    assert visible(text).split() == [] or "(" in template or html.escape(visible(text).split()[0]) in page


@pytest.mark.parametrize("template", ["{missing}", "{}", "{x:.2f}", "{x.nothing}", "{"])
def test_a_sentence_that_cannot_be_filled_in_says_so(template):
    with pytest.raises(ZkitError, match="cannot be filled in"):
        pages.say(template, x="word")


def explorable(text):
    axes = [Axis("dose", [0, 1], 1, labels=[text, "b"], title=text), Axis("question", [f"q {text}", "r"], "r")]
    cells = dict.fromkeys([(i, j) for i in (0, 1) for j in (0, 1)], text)
    curve = Curve("dose", ["dose"], {(0,): 1.0, (1,): 2.0}, text, references={text: 1.5})
    return Explorable("key", axes, cells, f"c{text}", f"a{text}", curve, cells, ("dose", 0), text)


CLAIM = Claim("C", "s", "o", "m", Bound("x", ">", 1.0), "r")
collapses = pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # a label of many lines
MAKERS = {
    "table": lambda text: tables.to_html([{f"h{text}": text}], f"l{text}"),
    "board": lambda text: board([judge(Claim(*[f"a{text}"] * 4, CLAIM.rule, f"a{text}", note=text), {}, text)]),
    "figure": lambda text: figures.wrap(Html("<svg></svg>"), key="k", caption=f"c{text}"),
    "banner": lambda text: foot.banner(text, text)["text/html"],
    "foot": lambda text: foot.foot(text, {"id": text, "sha256": text}, {text: text})["text/html"],
    "explorable": lambda text: explorable(text)._repr_html_(),
    "live": lambda text: live._paragraph(text),
}


@collapses
@pytest.mark.parametrize("maker", MAKERS)
def test_every_maker_of_pages_shows_what_it_is_given(maker):
    page, plain = (re.sub("<svg.*?</svg>", "", str(MAKERS[maker](text))) for text in (HOSTILE, "word"))
    page.encode()
    assert elements(page) == elements(plain)
    assert html.escape(visible(HOSTILE).strip()).replace("\n", "&#10;") in page
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)


@collapses
def test_a_label_of_a_figure_begins_no_formula():
    figure, axes = figures.subplots()
    for text in (HOSTILE, r"$\frac$ a $x$"):
        axes.set_xlabel(figures.label(text))
        assert "<svg" in figures.svg(figure, "a")
        axes.set_xlabel(text)
        with pytest.raises(ZkitError, match="drawn as a formula"):
            figures.svg(figure, "a")
    axes.set(xlabel="5 $ or 6", xscale="log")
    assert "<svg" in figures.svg(figure, "a")


# The sources.

CHAPTERS = places.chapters(chain.ROOT)
SHOWING = {"pages.say", "tables.show", "figures.show", "claims.show", "claims.expect", "chapter.finish", "chapter.glue"}
EXPLORABLES = {"explorable", "Explorable", "explorable.live"}
NOT_IN_CHAPTERS = {"print", "display", "exec", "eval", "get_ipython", "foreign", "Html", "Markdown", "HTML"}


def of_an_author(node):
    """Whether a template is put together from what stands in the source, whatever the choice among its parts."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp):
        return of_an_author(node.left) and (isinstance(node.op, ast.Mult) or of_an_author(node.right))
    if isinstance(node, ast.List):
        return all(map(of_an_author, node.elts))
    if isinstance(node, ast.IfExp):
        return of_an_author(node.body) and of_an_author(node.orelse)
    joined = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join"
    return joined and of_an_author(node.func.value) and all(map(of_an_author, node.args))


def faults(source):
    """What a cell of a chapter does to show something by another way than the few there are."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            if any(name.split(".")[0] in ("IPython", "sys", "warnings", "logging", "builtins") for name in names):
                yield f"imports {names}"
        if isinstance(node, ast.Name | ast.Attribute | ast.alias):
            name = {ast.Name: "id", ast.Attribute: "attr", ast.alias: "name"}[type(node)]
            if getattr(node, name) in NOT_IN_CHAPTERS:
                yield f"uses {getattr(node, name)}"
        said = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if said.split(".")[-1] == "say" and not (said == "pages.say" and node.args and of_an_author(node.args[0])):
            yield f"says what no author wrote: {ast.unparse(node)[:80]}"
        for value in [*node.args[1:], *(k.value for k in node.keywords)] if said == "pages.say" else ():
            if any(isinstance(c, ast.Constant) and re.search(r"\*\*|`", str(c.value)) for c in ast.walk(value)):
                yield f"puts Markdown where none is read: {ast.unparse(value)[:80]}"
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        value = tree.body[-1].value
        name = ast.unparse(value.func if isinstance(value, ast.Call) else value)
        if name not in SHOWING | EXPLORABLES | {"net.check_layer"}:
            yield f"shows {name}"


@pytest.mark.parametrize(
    "source",
    [
        'pages.say(f"{text}")',
        "pages.say(text)",
        'pages.say("a" + text)',
        'pages.say("a" if b else text)',
        'pages.say("a {}".format(text))',
        'pages.say(", ".join(texts))',
        "pages.say(*texts)",
        "pages.say(template=text)",
        "say = pages.say\nsay(text)",
        'pages.say("{a}", a="**b**" if c else "d")',
        "print(text)",
        "from IPython.display import Markdown as M\nM(text)",
        "import IPython.display as d\nd.display(d.HTML(text))",
        "from IPython import display",
        "text",
        "f'{text}'",
        "chapter.stats",
        "frame.style",
        "import sys\nsys.stdout.write(text)",
        "from zkit.foreign import Html",
        "zkit.foreign.show(text, text)",
    ],
)
def test_other_ways_to_show_something_are_found(source):
    assert list(faults(source))


def test_the_one_way_is_no_fault():
    source = 'pages.say("a {x:.0f}" + ("b" if y else "c") + ", ".join(["**{}**"] * n), *texts, x=text)'
    assert not list(faults(source))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_show_things_by_a_few_functions(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert [f for c in cells if c["cell_type"] == "code" for f in faults("".join(c["source"]))] == []


PACKAGE = places.PACKAGES["zkbook"]
MAKING = [
    *(PACKAGE / "tables.py", PACKAGE / "figures.py", *(PACKAGE / "claims").glob("*.py")),
    *((PACKAGE / "explorable").glob("*.py")),
    *((PACKAGE / "pages").glob("*.py")),
    *(chain.ROOT / "book" / "zkbook" / "site").glob("*.py"),
]
WRITTEN = {
    "spec": "JSON without <",
    "boot": "a script with an id and colours",
    "data": "JSON without <",
    "text[text.index('>') + 1:].strip()": "matplotlib's SVG, letters as paths",
    "(files('zkbook.explorable') / name).read_text(encoding='utf-8').strip()": "zkit's own files",
    "made.translate(holes.found)": "markdown-it's HTML of a template, filled with what was escaped",
}
TAG = re.compile(r"</?[a-z][a-z0-9]*[\s>]")


def markup(tree):
    """Pieces of markup outside ``Html("...")`` that something is put into, and Html of what is not written there."""
    kept = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Html":
            if not all(of_an_author(a) or ast.unparse(a) in WRITTEN for a in node.args):
                yield ast.unparse(node)
            kept |= {id(child) for argument in node.args for child in ast.walk(argument)}
    for node in ast.walk(tree):
        put = isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod)
        )
        put = put or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"
        )
        for child in ast.walk(node) if put else ():
            text = child.value if isinstance(child, ast.Constant) and isinstance(child.value, str) else ""
            if TAG.search(text) and id(child) not in kept:
                yield ast.unparse(node)


@pytest.mark.parametrize("source", ['f"<p>{x}</p>"', '"<p>" + x', '"<p>{}".format(x)', "Html(x)", 'Html(f"<p>{x}")'])
def test_markup_made_by_hand_is_found(source):
    assert list(markup(ast.parse(source)))


@pytest.mark.parametrize("path", MAKING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_pages_are_made_of_escaping_markup(path):
    found = list(markup(ast.parse(path.read_text(encoding="utf-8"))))
    if path.name == "numbers.py":
        found = [f for f in found if f != "f'<span class=\"zk-number\">{title}. </span>'"]  # a number that it counted
    assert found == []


def test_one_file_escapes_and_two_display():
    files = [path for package in places.PACKAGES.values() for path in package.rglob("*.py")]
    sources = {p.relative_to(chain.ROOT).as_posix(): p.read_text(encoding="utf-8") for p in files}

    def having(pattern):
        return {name for name, source in sources.items() if re.search(pattern, source)}

    assert having(r"markupsafe|\bhtml\.escape|from html import|^import html$") == {"zkit/foreign.py"}
    assert having(r"IPython\.display|from IPython") == {"zkit/foreign.py", "book/zkbook/pages/chapter.py"}


def test_a_terminal_gets_no_control_characters(capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("zkit.report.steered", lambda *_, **__: "one\n\x1b]0;title\x07\u202e\ud800")
    assert main(["run", "a\x1b[31m.ipynb"]) == 2
    assert main(["steer", "--prompt", "Hello."]) == 0
    printed = capsys.readouterr()
    assert r"a\x1b[31m.ipynb" in printed.err and printed.out == "one\n" r"\x1b]0;title\x07\u202e\ud800" "\n"
