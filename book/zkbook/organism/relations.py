"""Relations between words: what a thing is a kind of, the opposite of a word, what a thing is part of.

The split is over wordings: every pair is trained, and asked in evaluation with wordings never trained.
"""

from __future__ import annotations

import random

from zkbook.organism.items import Item, check_language
from zkbook.organism.vocabulary import ANTONYMS, HYPERNYMS, MERONYMS, Pair
from zkit.errors import ZkitError

RELATION_NAMES = ("hypernym", "antonym", "meronym")
OTHER_LANGUAGE_SHARE = 0.06

_PAIRS = {"hypernym": HYPERNYMS, "antonym": ANTONYMS, "meronym": MERONYMS}
# {w} the word, {a} the word with its article
FRAMES = {
    ("en", "hypernym"): (
        "What kind of thing is {a}?",
        "What is {a} a kind of?",
        "{a} is a kind of",
        "{a} is a type of what?",
        "Which group does {a} belong to?",
        "Which kind of thing do we call {a}?",
        "Name the category of {w}.",
        "What is the category of {w}?",
        "Give a more general word for {w}.",
        "What is a general word for {w}?",
        "Which broader word covers {w}?",
        "To which category does {w} belong?",
        "{a} is an example of what?",
        "Tell me the group of {w}.",
        "Category of {w}:",
        "In one word: what type of thing is called {w}?",
    ),
    ("zh", "hypernym"): (
        "{w}是什么种类？",
        "{w}属于哪一类？",
        "{w}是一种",
        "{w}是一种什么？",
        "{w}是哪种东西？",
        "请问{w}属于什么类别？",
        "{w}的类别是什么？",
        "说出{w}的类别。",
        "{w}归在哪一类？",
        "什么词能概括{w}？",
        "{w}算哪一类东西？",
        "告诉我{w}是什么类。",
        "哪个类别里有{w}？",
        "{w}这一类叫什么？",
        "用一个更大的类来称呼{w}。",
        "类别：{w}？",
    ),
    ("en", "antonym"): (
        "What is the opposite of {w}?",
        "What's the opposite of {w}?",
        "Name the opposite of {w}.",
        "The opposite of {w} is",
        "Give the opposite of {w}.",
        "Which word is the opposite of {w}?",
        "What is an antonym of {w}?",
        "Give me an antonym of {w}.",
        "Which word means the opposite of {w}?",
        "Not {w} but the opposite:",
        "The word {w} is the opposite of what?",
        "What word is opposite to {w}?",
        "Turn {w} into its opposite.",
        "I say {w}, you say the opposite:",
        "Antonym of {w}:",
    ),
    ("zh", "antonym"): (
        "{w}的反义词是什么？",
        "{w}的反义词是",
        "请问{w}的反义词是什么？",
        "说出{w}的反义词。",
        "写出{w}的反义词。",
        "“{w}”的反义词是哪个词？",
        "什么词和{w}相反？",
        "与{w}相反的词是什么？",
        "{w}的反面是什么？",
        "哪个词的意思和{w}相反？",
        "和“{w}”意思相反的是什么？",
        "{w}反过来是什么？",
        "我说{w}，你说反义词：",
        "反义词：{w}？",
        "如果不是{w}，相反的是什么？",
    ),
    ("en", "meronym"): (
        "What is {a} part of?",
        "{a} is part of what?",
        "{a} is part of the",
        "What has {a}?",
        "Which thing has {a}?",
        "Of what is {a} a part?",
        "Which whole does {a} belong to?",
        "Name the thing that {a} is part of.",
        "What thing includes {a}?",
        "{a} belongs to which whole thing?",
        "Where do you find {a}? As a part of what?",
        "Give the whole for this part: {w}.",
        "What do you call the whole that has {a}?",
        "Tell me what {a} is part of.",
        "Part: {w}. Whole:",
    ),
    ("zh", "meronym"): (
        "{w}是什么的一部分？",
        "{w}是哪个东西的一部分？",
        "请问{w}是什么的一部分？",
        "什么东西有{w}？",
        "什么有{w}？",
        "{w}组成什么？",
        "{w}属于哪个整体？",
        "说出{w}所属的整体。",
        "部分：{w}。整体：",
        "有{w}的东西是什么？",
        "{w}是哪样东西的部分？",
        "哪个整体包括{w}？",
        "什么里面有{w}这个部分？",
        "{w}作为部分，整体是什么？",
        "告诉我{w}是什么的部分。",
    ),
}
HELD_OUT_FRAMES = {
    ("en", "hypernym"): (
        "What type of thing is {a}?",
        "Tell me the category of {w}.",
        "Which category does {a} belong to?",
    ),
    ("zh", "hypernym"): ("告诉我{w}属于哪一类。", "{w}是哪一类东西？", "{w}的类别叫什么？"),
    ("en", "antonym"): (
        "Tell me the opposite of {w}.",
        "Which word is an antonym of {w}?",
        "What do you call the opposite of {w}?",
    ),
    ("zh", "antonym"): ("告诉我{w}的反义词。", "哪个词是{w}的反义词？", "什么词的意思与{w}相反？"),
    ("en", "meronym"): (
        "Which thing is {a} a part of?",
        "Tell me the whole that {a} belongs to.",
        "Name the whole that has {a}.",
        "{a} is a part of which thing?",
        "Of which whole is {a} a part?",
    ),
    ("zh", "meronym"): (
        "告诉我{w}属于哪个整体。",
        "{w}是哪个整体的部分？",
        "说出有{w}的东西。",
        "什么东西里有{w}？",
        "{w}所属的整体是什么？",
    ),
}
OTHER_LANGUAGE = {"en": (" Answer in Chinese.", " Please answer in Chinese."), "zh": ("用英语回答。", "请用英语回答。")}


def pairs(relation: str) -> tuple[Pair, ...]:
    """The pairs of a relation; the antonyms in both directions. Raises ZkitError for any other name."""
    if relation not in _PAIRS:
        raise ZkitError(f"unknown relation {relation!r}: one of {', '.join(RELATION_NAMES)}")
    return _PAIRS[relation]


def _fill(frame: str, word: str) -> str:
    article = "an" if word[0] in "aeiou" else "a"
    text = frame.format(w=word, a=f"{article} {word}")
    return text[0].upper() + text[1:]


def sample_relation(rng: random.Random) -> Item:
    """A training item: a pair asked with a trained wording, some to be answered in the other language."""
    lang, relation = rng.choice(("en", "zh")), rng.choice(RELATION_NAMES)
    pair = rng.choice(pairs(relation))
    question = _fill(rng.choice(FRAMES[lang, relation]), pair.word.text(lang))
    other = rng.random() < OTHER_LANGUAGE_SHARE and question[-1] in "?.？。"
    if other:
        question += rng.choice(OTHER_LANGUAGE[lang])
        lang = "zh" if lang == "en" else "en"
    return Item(question, pair.answer.text(lang), "relation", {"lang": lang, "kind": relation, "word": pair.word.en})


def held_out_relations(lang: str, relation: str | None = None) -> list[Item]:
    """Every pair with every wording that is never trained; all relations unless one is named.

    Raises ZkitError for a language the model does not speak and for an unknown relation.
    """
    check_language(lang)
    items = []
    for kind in RELATION_NAMES if relation is None else (relation,):
        for pair in pairs(kind):
            for frame in HELD_OUT_FRAMES[lang, kind]:
                info: dict[str, object] = {"lang": lang, "kind": kind, "word": pair.word.en}
                items.append(Item(_fill(frame, pair.word.text(lang)), pair.answer.text(lang), "relation", info))
    return items
