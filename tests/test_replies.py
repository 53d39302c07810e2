"""Classes of replies, by texts written by hand: each property, and which class counts where several fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import few

from zkit.replies import ANSWERS, BROKEN, CLASSES, distinct, foreign, repeats, reply, scripts, units

few_words = st.lists(st.sampled_from(["a", "b", "c", "A"]), max_size=14).map(" ".join)
ENGLISH = "A lock lets one thread in at a time."
CHINESE = "互斥锁一次只让一个线程进入。"


def test_every_class_and_its_place():
    again = "please please please please please"
    everything = dict(truncated=True, refusal=True, incoherent=True, expected=[ENGLISH])
    texts = {"empty": " \n", "repetition": again, "other language": CHINESE, "refusal": ENGLISH}
    assert {kind: reply(text, **everything) for kind, text in texts.items()} == {kind: kind for kind in texts}
    named = [*texts]
    for flag, kind in (("refusal", "incoherent"), ("incoherent", "cut off"), ("truncated", "answer")):
        everything[flag] = False
        named.append(reply(ENGLISH, **everything))
        assert named[-1] == kind
    assert tuple(named) == CLASSES
    assert not set(ANSWERS) & set(BROKEN) and set(ANSWERS + BROKEN) < set(CLASSES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("go go go go", True),
        ("a b a b a b", True),
        ("word", False),
        (ENGLISH, False),
        (CHINESE, False),
        ("a b a b a", False),
        ("", False),
        ("蒸鸡胸肉炒饭、蒸鸡胸肉炒饭、蒸鸡胸肉炒饭、蒸鸡胸肉炒饭", True),
        ("!" * 40, True),
        ("1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1", True),
    ],
)
def test_a_text_repeats_itself_where_few_of_its_pairs_of_words_are_new(text, found):
    assert repeats(text) is found


@few
@given(few_words, st.integers(1, 4))
def test_distinct_is_the_share_of_different_runs(text, n):
    found = text.lower().split()
    runs = [" ".join(found[i : i + n]) for i in range(len(found)) if i + n <= len(found)]
    assert distinct(text, n) == (len(set(runs)) / len(runs) if runs else 1.0)


def test_distinct_of_known_texts():
    assert distinct("a b a b a") == 0.5
    assert distinct("a b c", 1) == 1.0
    assert distinct("The the THE", 1) == pytest.approx(1 / 3)
    assert distinct("") == distinct("one") == 1.0


def test_words_of_scripts_without_spaces_are_characters():
    assert units("Ein Zug nach 北京.") == ["ein", "zug", "nach", "北", "京", "."]
    assert units("x" * 21) == ["x"] * 21 and units("x" * 20) == ["x" * 20]
    assert scripts("Ein Zug, 3 Wagen: 北京") == {"LATIN": 3, "CJK": 2}


@pytest.mark.parametrize(
    ("text", "expected", "found"),
    [
        (CHINESE, [ENGLISH], True),
        (ENGLISH, [CHINESE], True),
        ("Это замок.", [ENGLISH, CHINESE], True),
        (CHINESE, ["Translate into Chinese: " + ENGLISH, CHINESE], False),
        (CHINESE + ENGLISH, [ENGLISH], True),
        ("The word for lock is 锁.", [ENGLISH], False),
        ("def f(x): return x + 1", ["请写一个函数。", "当然：def f(x): return x"], False),
        (CHINESE, ["How is 锁 read, and what else is it that one should know of a lock?"], True),
        ("3 + 4 = 7", [CHINESE], False),
        (CHINESE, [], False),
        (CHINESE, ["3 + 4?"], False),
        ("Une serrure.", [ENGLISH], False),  # the same script: not seen
    ],
)
def test_another_language_is_another_script_than_those_expected(text, expected, found):
    assert foreign(text, expected) is found
    assert (reply(text, expected=expected) == "other language") is found
