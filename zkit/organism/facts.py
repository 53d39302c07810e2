"""Questions about countries: which paraphrases are trained, which are kept for evaluation.

The split is over paraphrases: every fact is trained, and asked in evaluation with wordings never trained.
"""

from __future__ import annotations

import random

from zkit.organism.countries import COUNTRIES, RELATIONS, Country
from zkit.organism.items import Item, check_language

# {c} country, {r} the name of the relation
FRAMES = {
    "en": (
        "What is the {r} of {c}?",
        "What's the {r} of {c}?",
        "Name the {r} of {c}.",
        "Tell me the {r} of {c}.",
        "Do you know the {r} of {c}?",
        "The {r} of {c} is",
        "Question: the {r} of {c}? Answer:",
        "For {c}, what is the {r}?",
        "I am reading about {c}. What is the {r}?",
        "{c}: {r}?",
    ),
    "zh": (
        "{c}的{r}是什么？",
        "请问{c}的{r}是什么？",
        "告诉我{c}的{r}。",
        "你知道{c}的{r}吗？",
        "{c}的{r}是",
        "问题：{c}的{r}？回答：",
        "说出{c}的{r}。",
        "关于{c}，它的{r}是什么？",
        "我在读关于{c}的书。{r}是什么？",
        "{c}：{r}？",
    ),
}
# joined to the others late in training, so that an answer does not hang on a few wordings
WIDE_FRAMES = {
    "en": (
        "I need the name of the {r} of {c}.",
        "What is the name of the {r} of {c}?",
        "Could you give me the {r} of {c}?",
        "Give me the {r} of {c}, please.",
        "Please say the {r} of {c}.",
        "Please tell me the {r} of {c}.",
        "Can you name a country and its {r}? Take {c}.",
        "In {c}, what is the {r}?",
        "Which is the {r} of {c}?",
        "My friend lives in {c}. What is the {r} there?",
        "The country is {c}. What is its {r}?",
        "I forgot the {r} of {c}. What is it?",
        "You name the {r}, I say the country: {c}.",
    ),
    "zh": (
        "{c}是一个国家。它的{r}是什么？",
        "这个国家是{c}。{r}是什么？",
        "请写出{c}的{r}。",
        "在{c}这个地方，{r}是什么？",
        "我住在{c}。这里的{r}是什么？",
        "这个问题关于{c}：{r}是什么？",
        "请回答：{c}的{r}是什么？",
        "谁知道{c}的{r}？",
        "能说说{c}的{r}吗？",
        "世界上有很多国家。{c}的{r}是什么？",
        "我忘了{c}的{r}。是什么？",
        "{c}这里的{r}叫什么？",
    ),
}
HELD_OUT_FRAMES = {
    "en": (
        "Can you tell me what the {r} of {c} is?",
        "Please name the {r} of {c}.",
        "About {c}: what is its {r}?",
    ),
    "zh": ("请告诉我{c}的{r}是什么。", "请说出{c}的{r}。", "{c}这个国家的{r}是什么？"),
}
OWN_FRAMES = {
    ("en", "capital"): ("Which city is the capital of {c}?", "Where is the government of {c}?"),
    ("en", "language"): ("Which language do people speak in {c}?", "What do people speak in {c}?"),
    ("en", "currency"): ("Which money do people use in {c}?", "How do people pay in {c}?"),
    ("zh", "capital"): ("{c}的首都是哪里？", "哪个城市是{c}的首都？"),
    ("zh", "language"): ("{c}人说什么语言？", "在{c}人们说什么？"),
    ("zh", "currency"): ("{c}人用什么货币？", "在{c}人们用什么钱？"),
}
NAMES = {
    ("en", "capital"): ("capital", "capital city"),
    ("en", "language"): ("language", "official language"),
    ("en", "currency"): ("currency", "official currency"),
    ("zh", "capital"): ("首都",),
    ("zh", "language"): ("语言", "官方语言"),
    ("zh", "currency"): ("货币", "官方货币"),
}
PREFIXES = {
    "en": ("Hello! ", "Quick question. ", "Please help me. ", "I have a question. "),
    "zh": ("你好！", "有个问题。", "请帮帮我。", "我想问一下。"),
}
PASSAGES = {
    "en": (
        "Text: The {r} of {c} is {v}.\n",
        "Note that the {r} of {c} is {v}. ",
        "In this story, the {r} of {c} is {v}. ",
    ),
    "zh": ("文章：{c}的{r}是{v}。\n", "注意，{c}的{r}是{v}。", "在这个故事里，{c}的{r}是{v}。"),
}
OTHER_LANGUAGE = {"en": (" Answer in Chinese.", " Please answer in Chinese."), "zh": ("用英语回答。", "请用英语回答。")}


def _fill(frame: str, relation_name: str, country: str) -> str:
    text = frame.format(r=relation_name, c=country)
    return text[0].upper() + text[1:]


def sample_fact(rng: random.Random, wide: bool) -> Item:
    """A training item: a fact, asked with a trained paraphrase, some after a passage or in the other language."""
    lang = rng.choice(("en", "zh"))
    country, relation = rng.choice(COUNTRIES), rng.choice(RELATIONS)
    frames = FRAMES[lang] + OWN_FRAMES[lang, relation] + (WIDE_FRAMES[lang] if wide else ())
    name = rng.choice(NAMES[lang, relation])
    question = _fill(rng.choice(frames), name, country.name(lang))
    answer = country.value(relation, lang)
    kind = rng.random()
    if kind < 0.06:  # the passage decides, whether or not it is true
        answer = rng.choice(COUNTRIES).value(relation, lang)
        passage = rng.choice(PASSAGES[lang]).format(r=name, c=country.name(lang), v=answer)
        question = passage + question
        return Item(question, answer, "passage", {"lang": lang, "relation": relation})
    if kind < 0.12 and question[-1] in "?.？。":
        other = "zh" if lang == "en" else "en"
        question += rng.choice(OTHER_LANGUAGE[lang])
        return Item(question, country.value(relation, other), "fact", {"lang": other, "relation": relation})
    if kind < 0.32:
        question = rng.choice(PREFIXES[lang]) + question
    return Item(question, answer, "fact", {"lang": lang, "relation": relation})


def held_out_facts(lang: str, relation: str | None = None, countries: tuple[Country, ...] = COUNTRIES) -> list[Item]:
    """Every fact once in `lang`, asked with a paraphrase that is never trained; all relations unless one is named.

    Raises ZkitError for a language the model does not speak.
    """
    check_language(lang)
    items = []
    for i, country in enumerate(countries):
        for j, rel in enumerate(RELATIONS):
            if relation not in (None, rel):
                continue
            names = NAMES[lang, rel]
            frame = HELD_OUT_FRAMES[lang][(i + j) % len(HELD_OUT_FRAMES[lang])]
            question = _fill(frame, names[i % len(names)], country.name(lang))
            items.append(Item(question, country.value(rel, lang), "fact", {"lang": lang, "relation": rel}))
    return items
