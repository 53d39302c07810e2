"""Questions from a file: what is read is what was written, what ships is the corpus's, and mistakes name their line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zkit
from zkbook.organism.frozen import problem_rows, task_rows, topic_rows, write_questions
from zkbook.organism.unlearning import gate_tasks
from zkit.questions import FOLDER, Questions, compute, read, shipped
from zkit.tasks import Question, Task, plain

SUM = {"problem": "one digit", "unit": "3 4", "prompts": {"en": "3 + 4 =", "zh": "计算 3 + 4"}}
COMPUTED = SUM | {"operands": [3, 4], "steps": ["a + b"]}
STEPPED = SUM | {"problem": "steps", "operands": [2, 3, 4], "steps": ["a + b", "s * c"]}
WORD = SUM | {"problem": "words", "answers": {"en": " cold", "zh": "冷"}}
NUMBERS = {"numbers": {"en": ["zero", "one", "two", "three"], "zh": ["零", "一", "二", "三"]}}
ASKED = {"task": "sums", "prompt": "3 + 4 =", "answers": ["7"]}
TOPIC = {"topic": "a window", "prompt": "Describe a window."}


@pytest.fixture
def file(tmp_path):
    def written(*rows):
        path = tmp_path / "mine.jsonl"
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")
        return path

    return written


def test_what_is_written_is_read(file):
    rows = (
        ASKED | {"memory": ["8"], "about": "3 4"},
        ASKED | {"split": "development", "chat": False},
        TOPIC | {"text": "A hole.", "points": [{"axis": "terse", "offset": 2, "low": ["wide"], "high": ["hole"]}]},
        COMPUTED, STEPPED, WORD,
    )  # fmt: skip
    found = read(file(*rows))
    assert found.tasks("test") == {"sums": Task("sums", (Question("3 + 4 =", ("7",), ("8",), "3 4"),), exact=False)}
    assert found.tasks("development", exact=True)["sums"] == Task("sums", (Question("3 + 4 =", ("7",)),), chat=False)
    [topic] = found.topics()
    assert (topic.name, topic.prompt, topic.text) == ("a window", "Describe a window.", "A hole.")
    assert [(p.axis, p.offset, p.low, p.high) for p in topic.points] == [("terse", 2, ("wide",), ("hole",))]
    one, two, word = found.problems()
    assert (one.answer("en"), one.answer("zh"), one.one_step, one.unit) == ("7", "7", True, "3 4")
    assert (two.answer("en"), two.run("zh")["intermediate"], two.one_step) == ("20", 5, False)
    assert two.causal.run(two.operands, "en", intermediate=7)["result"] == 28
    assert (word.answer("en"), word.answer("zh")) == (" cold", "冷")
    assert word.causal.run(word.operands, "zh", result=word.result)["answer"] == "冷"
    assert found.kinds() == ["one digit", "steps", "words"] and found.problems(kind="words")[0].kind == "words"


def test_words_of_numbers_answer_what_is_computed(file):
    found = read(file(NUMBERS, SUM | {"operands": [1, 2], "steps": ["a + b"]}, COMPUTED))
    small, large = found.problems()
    assert (small.answer("en"), small.answer("zh"), small.result) == ("three", "三", 3)
    with pytest.raises(zkit.ZkitError, match="no answer in 'en'"):  # there is no word for seven
        large.answer("en")


def test_what_a_file_lacks_ships(file):
    mine = read(file(ASKED)).before(shipped(embedded=True))
    assert list(mine.tasks()) == ["sums"] and len(mine.tasks()["sums"].questions) == 1
    assert mine.topics() == shipped(embedded=True).topics()
    assert [p.prompts for p in mine.problems()] == [p.prompts for p in shipped(embedded=True).problems()]
    own = read(file(COMPUTED)).before(shipped(embedded=True))  # and with it no words of numbers from elsewhere
    assert [p.answer("en") for p in own.problems()] == ["7"] and not own.numbers()


BAD = [
    ([{"question": "?"}], "line 1 of .* an object without any of task, topic, problem, numbers"),
    ([ASKED, ASKED | {"answers": []}], "line 2 of .*answers"),
    ([ASKED | {"split": "dev"}], "split: should be 'train', 'development' or 'test', got 'dev'"),
    ([ASKED | {"anwser": "7"}], "unknown field 'anwser'"),
    ([ASKED | {"prompt": [{"role": "user"}]}], "a prompt is a string, or a list of messages"),
    ([ASKED, ASKED | {"chat": False}], "line 2 .*'sums' has questions with and without the template"),
    ([TOPIC | {"points": [{"axis": "terse", "offset": 1, "low": ["a"], "high": ["b"]}]}], "beyond the text"),
    ([SUM], "'3 4' needs either its answers or the steps"),
    ([WORD | {"steps": ["a"]}], "'3 4' needs either its answers or the steps"),
    ([SUM | {"operands": [3], "steps": ["a / 2"]}], "'a / 2' is no sum, difference or product of a and whole"),
    ([SUM | {"operands": [3], "steps": ["a + d"]}], "'a \\+ d' is no sum"),
    ([SUM | {"operands": [3], "steps": ["__import__('os')"]}], "is no sum"),
    ([SUM | {"operands": [3], "steps": ["a + True"]}], "is no sum"),
    ([SUM | {"operands": [3], "steps": ["a +"]}], "'a \\+' cannot be read"),
    ([], "has no questions"),
]


@pytest.mark.parametrize(("rows", "says"), BAD)
def test_a_mistake_names_its_line_and_its_remedy(file, rows, says):
    with pytest.raises(zkit.ZkitError, match=says):
        read(file(*rows))


def test_what_is_asked_for_must_be_there(file, tmp_path):
    found = read(file(ASKED))
    with pytest.raises(zkit.ZkitError, match=r"no questions of 'facts' in the split 'test', only of sums; add lines"):
        found.tasks("test", "sums", "facts")
    with pytest.raises(zkit.ZkitError, match="no questions of 'any task' in the split 'train'"):
        found.tasks("train")
    with pytest.raises(zkit.ZkitError, match="has no topics in the split 'test'; add lines"):
        found.topics()
    with pytest.raises(zkit.ZkitError, match="has no problems in any split"):
        found.problems()
    with pytest.raises(zkit.ZkitError, match="no problems of the kind 'sums', only none"):
        found.problems(kind="sums")
    with pytest.raises(zkit.ZkitError, match="unknown split 'dev'"):
        found.topics("dev")
    with pytest.raises(zkit.ZkitError, match=r"no file of questions at .*gone.jsonl; give a JSONL file"):
        read(tmp_path / "gone.jsonl")


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_steps_are_arithmetic(a, b, c):
    values = {"a": a, "b": b, "c": c}
    assert compute("(a + b) * c - 2", values) == (a + b) * c - 2
    assert compute("a - b * c", values) == a - b * c


def test_a_deep_step_is_refused():
    with pytest.raises(zkit.ZkitError, match="the step"):
        compute("(" * 500 + "a" + ")" * 500, {"a": 1})


def test_the_shipped_files_are_those_of_the_corpus(tmp_path):
    made = write_questions(tmp_path)
    assert [path.read_bytes() for path in made] == [(FOLDER / path.name).read_bytes() for path in made]
    assert all(len(list(rows())) for rows in (task_rows, topic_rows, problem_rows))


@pytest.mark.parametrize("split", ["development", "test"])
def test_shipped_tasks_are_asked_in_plain_text_as_the_corpus_does(split):
    own = shipped(embedded=True).tasks(split, exact=True)
    assert list(own.values()) == gate_tasks(split)
    for task, other in zip(own.values(), gate_tasks(split, chat=False), strict=True):
        told = plain(task)
        assert not told.chat and [q.prompt for q in told.questions] == [q.prompt for q in other.questions]
        assert [q.answers for q in told.questions] == [q.answers for q in other.questions]


def test_a_conversation_has_no_plain_form():
    talk = Task("t", (Question([{"role": "user", "content": "3 + 4 ="}], ("7",)),))
    with pytest.raises(zkit.ZkitError, match="a conversation of 1 messages has no plain form"):
        plain(talk)
    assert plain(Task("t", (Question("Question: 3 + 4 =", ("7",)),))).questions == ()  # it would be said twice


def test_both_sets_have_problems_of_every_kind_that_the_chapters_need():
    for found in (shipped(embedded=True), shipped(embedded=False)):
        assert isinstance(found, Questions) and {p.one_step for p in found.problems("train")} == {True, False}
        assert {len(found.tasks(split)) > 5 for split in ("development", "test")} == {True}
