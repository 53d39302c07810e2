"""The causal model of a problem, the problem sets and their splits, and what texts answer."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few
from scipy.optimize import linear_sum_assignment

import zkit
from zkbook.experiments import outcomes
from zkbook.organism.problems import parallel_problems
from zkit import patching
from zkit.causal import CausalModel, Problem, Swaps, pairs, swapped
from zkit.phase3 import transport
from zkit.questions import SPLITS, shipped

OTHERS, EMBEDDED = shipped(embedded=False), shipped(embedded=True)


def stepped(a, b, c):
    causal = CausalModel("steps", lambda total, x: total * x[2], lambda n, lang: f"{lang} {n}", lambda x: x[0] + x[1])
    return Problem(causal, (a, b, c), {"en": "", "zh": ""})


def test_a_swap_answers_by_what_was_moved():
    target, source = stepped(1, 2, 3), stepped(4, 5, 6)

    def answer(*variables):
        return swapped(target, source, variables, language="en", source_language="zh")

    assert (target.answer("en"), source.answer("zh")) == ("en 9", "zh 54")
    assert answer("result") == "en 54"
    assert answer("language") == "zh 9"
    assert answer("result", "language") == answer("answer") == answer("operands", "language") == "zh 54"
    assert answer("intermediate") == "en 27"  # (4 + 5) * 3, which belongs to neither


def test_what_no_causal_model_has_is_refused():
    one = Problem(CausalModel("one", lambda _, x: x, lambda n, _: ""), 1, {"en": "", "zh": ""})
    with pytest.raises(zkit.ZkitError, match="has no answer in 'en'"):
        one.answer("en")
    with pytest.raises(zkit.ZkitError, match="no variable 'intermediate'"):
        one.causal.run(1, "en", intermediate=3)
    with pytest.raises(zkit.ZkitError, match=r"no variable \['number'\]"):
        swapped(one, one, ["number"], language="en", source_language="zh")


def of(kind, *splits):
    return OTHERS.problems(*splits, kind=kind)


def test_digits_are_right_and_their_splits_disjoint():
    seen = {}
    for split in SPLITS:
        for problem in of("digits", split):
            a, b = problem.operands
            sign = "+" if problem.category == "sum" else "-"
            assert problem.answer("en") == problem.answer("zh") == str(a + b if sign == "+" else a - b)
            assert all(str(a) in text and str(b) in text for text in problem.prompts.values())
            name = (sign, *sorted((a, b))) if sign == "+" else (sign, a, b)
            assert seen.setdefault(name, split) == split
    assert len(of("digits", "test")) >= 50 and len(seen) == 85  # 30 sums in either order, 55 differences


def test_problems_of_two_steps_are_right_and_their_splits_disjoint():
    seen = {}
    for split in SPLITS:
        for problem in of("two-step", split):
            a, b, c = problem.operands
            assert problem.answer("zh") == str((a + b) * c) and problem.run("en")["intermediate"] == a + b
            assert all(f"({a} + {b})" in text and str(c) in text for text in problem.prompts.values())
            assert seen.setdefault((*sorted((a, b)), c), split) == split
    assert len(seen) == 29


def test_opposites_are_opposite_and_their_splits_disjoint():
    side = {}
    for split in SPLITS:
        found = of("opposites", split)
        answers = {p.answer("en").strip(): p for p in found}
        for problem in found:
            word = problem.prompts["en"].rsplit("The opposite of ", 1)[1].removesuffix(" is")
            assert answers[word].prompts["zh"].endswith(f"{problem.answer('zh')}的反义词是")
            assert side.setdefault(word, split) == split
    assert len(side) == 138  # no word stands in two pairs
    shown = of("opposites", "test")[0].prompts["en"].split("\n")[:-1]
    assert not {word for line in shown for word in line.split()} & side.keys()


def test_pairs_differ_in_their_result():
    for problems in (of("digits", "test"), of("opposites", "test"), EMBEDDED.problems("test", kind="number words")):
        targets, sources = pairs(problems, 3)
        assert len(targets) == 3 * len(problems)
        assert all(t.result != s.result for t, s in zip(targets, sources, strict=True))
        assert len({id(s) for s in sources}) > len(problems) / 4
    with pytest.raises(zkit.ZkitError, match="0 problems have another result"):
        pairs(of("digits", "test")[:1])


def test_the_problems_of_the_embedded_model_have_its_own_answers():
    """What ships is what the corpus gives, with the answers that the corpus gives."""
    shipped_ones = EMBEDDED.problems("development", "test")
    for causal, own in zip(shipped_ones, parallel_problems("test"), strict=True):
        for language in ("en", "zh"):
            item = getattr(own, language)
            assert (causal.answer(language), causal.prompts[language]) == (item.answer, item.prompt)
        assert causal.run("en")["intermediate"] == own.intermediate


def test_answers_of_one_token_are_checked_by_the_tokenizer():
    model = zkit.load()
    words = [
        problem.answer(lang) for problem in EMBEDDED.problems("test", kind="number words") for lang in ("en", "zh")
    ]
    assert len(set(patching.one_token(model, words))) == len(set(words))
    with pytest.raises(zkit.ZkitError, match="'twelve' is 6 tokens"):
        patching.one_token(tiny.shared(), ["a", "twelve"])
    assert patching.is_one_token(model, words) and not patching.is_one_token(tiny.shared(), ["a", "twelve"])


def test_the_twenty_texts_have_ten_kinds_of_answers():
    found = of("text")
    assert len(found) == 20 and len({p.category for p in found}) == 10
    answers = {p.unit: p.answer("en") for p in found}
    assert answers["What is 17 * 6 - 25?"] == str(17 * 6 - 25)
    ones = sum(n.bit_count() == 3 for n in range(1, 2026))
    assert {"1/8", "2, 3", "FF", str(ones)} <= set(answers.values())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("27/216", "1/8", True), ("0.125", "1/8", True), ("2, 3", "3 and 2", True), ("3和2", "2, 3", True),
        ("FF", "0xff", True), ("FF", "FE", False), ("-5", "5", False), ("−5", "-5", True), ("1,234", "1234", True),
        ("2, 3", "2", False), ("1/0", "1/0", True), ("7", None, False), (None, None, False),
        (r"\frac{1}{8}", "1/8", True),
    ],
)  # fmt: skip
def test_the_same_answer(one, other, same):
    assert outcomes.same_answer(one, other) is outcomes.same_answer(other, one) is same


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("17 * 6 = 102, so 77.", "17", "77"), ("The answer is 27/216.", "27", "27/216"), ("", None, None),
        ("Let us see.\nIt is 9.", None, "9"), ("They are 2 and 3.", "2", "2 and 3"), ("In hex: 0xFF", "0", "FF"),
        ("It is -4", "-4", "-4"), ("no number", None, None), (r"x = \frac{1}{2}", "1", "1/2"),
    ],
)  # fmt: skip
def test_two_readers(text, first, last):
    assert (outcomes.read_answer(text, "first"), outcomes.read_answer(text, "last")) == (first, last)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The answer is 7.", "en"), ("答案是 7。", "zh"), ("The 答案 is 七 of them", "mixed"), ("7", "none"),
        (" ", "degenerate"),
        ("yes yes yes yes yes yes", "degenerate"), ("x = 7", "none"), ("答案是 x = 7", "zh"),
    ],
)  # fmt: skip
def test_the_language_of_a_text(text, language):
    assert outcomes.language_of(text) == language


def test_another_reader_is_refused():
    with pytest.raises(zkit.ZkitError, match="unknown way 'middle'"):
        outcomes.read_answer("7", "middle")


@few
@given(st.integers(2, 7), st.integers(2, 7), st.integers(0, 9))
def test_a_plan_has_its_marginals(s, t, seed):
    made = torch.Generator().manual_seed(seed)
    source, target = torch.randn(s, 5, generator=made), torch.randn(t, 5, generator=made)
    found = transport.plan(source, target)
    assert torch.allclose(found.sum(1), torch.full((s,), 1 / s, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(found.sum(0), torch.full((t,), 1 / t, dtype=torch.float64), atol=1e-9)
    if s == t:
        rows, columns = linear_sum_assignment(torch.cdist(source, target).square().numpy())
        assert torch.allclose(transport.barycentric(source, target)[columns], source[rows], atol=1e-5)
    assert torch.allclose(transport.barycentric(target, target), target, atol=1e-5)


def test_transport_of_a_single_token_is_refused():
    for source, target in ((torch.ones(1, 4), torch.ones(3, 4)), (torch.ones(3, 4), torch.ones(1, 4))):
        with pytest.raises(zkit.ZkitError, match="a single token"):
            transport.barycentric(source, target)
    with pytest.raises(zkit.ZkitError, match="of one d"):
        transport.plan(torch.ones(3, 4), torch.ones(3, 5))
    with pytest.raises(zkit.ZkitError, match="not finite"):
        transport.plan(torch.full((3, 4), torch.nan), torch.ones(3, 4))


def test_tokens_are_of_the_script_that_they_are_written_in():
    assert outcomes.tokens_by_script([" seven", "7", "七", "x七", "", "cold"]) == {"en": [0, 5], "zh": [2]}
    with pytest.raises(zkit.ZkitError, match="none of 2 tokens is written in the script of zh"):
        outcomes.tokens_by_script(["a", "1"])


@pytest.mark.parametrize("kind", ["digits", "opposites", "two-step"])
def test_a_unit_is_in_one_split_and_holds_all_that_is_alike(kind):
    split_of_unit = {}
    for split in SPLITS:
        for problem in of(kind, split):
            assert problem.unit
            assert split_of_unit.setdefault(problem.unit, split) == split
    sums = [p for p in of("digits", "test") if p.category == "sum"]
    assert len({p.unit for p in sums}) < len(sums) / 2  # two orders of two wordings


@pytest.mark.parametrize("kind", ["number words", "two-step"])
def test_units_of_number_words_are_in_one_split(kind):
    rows = [row for row in EMBEDDED.rows if getattr(row, "problem", "") == kind]
    splits = {}
    for row in rows:
        assert splits.setdefault(row.unit, row.split) == row.split
    assert {"train", "test"} <= set(splits.values())


def test_pairs_of_problems_without_a_unit_are_refused():
    """All would count as one problem, and an interval over one is a point."""
    with pytest.raises(zkit.ZkitError, match=r"steps \(1, 2, 3\) names no unit"):
        _ = Swaps([stepped(1, 2, 3)], [stepped(4, 5, 6)]).units
