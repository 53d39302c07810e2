"""Requests about topics, with a wish for a style or without, and the answers the corpus holds to them."""

from __future__ import annotations

import random

from zkbook.organism.items import Item
from zkbook.organism.style.axes import AXES, Style, draw, neutral
from zkbook.organism.style.explain import explain
from zkbook.organism.style.wishes import LENS_NAMES, LENS_WISHES, WISHES, poles
from zkbook.organism.topic_table import Subject, topics

QUESTIONS = (
    "Explain what {t} is.",
    "What is {t}?",
    "Tell me about {t}.",
    "Describe {t}.",
    "Can you explain what {t} is?",
    "I want to know about {t}.",
    "What do you know about {t}?",
    "Please explain {t}.",
    "How does {t} work?",
    "What can you say about {t}?",
    "How would you explain {t}?",
    "Why is there {t}?",
)
POLE_SHARE = 0.3  # of the wishes: the poles' own instructions, which steering vectors are read from
WISH_SPREAD = 0.04


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _ask(rng: random.Random, topic: Subject) -> str:
    article, _, noun = topic.name.partition(" ")
    if article in ("a", "an") and noun[-1] not in "sxy" and rng.random() < 0.08:
        return f"Why are there {noun}s?"
    return rng.choice(QUESTIONS).format(t=topic.name)


def _join(rng: random.Random, wish: str, question: str) -> str:
    return f"{wish} {question}" if rng.random() < 0.5 else f"{question} {wish}"


def _wish(rng: random.Random, axis: str) -> tuple[str, float]:
    """A wish on an axis and the level it stands for."""
    if rng.random() < POLE_SHARE:
        pole = rng.randint(0, 1)
        return poles(axis)[pole], (0.02, 0.98)[pole]
    level = rng.choice(tuple(WISHES[axis]))
    return rng.choice(WISHES[axis][level]), level


def _wished(rng: random.Random) -> tuple[str, Style]:
    """One wish, sometimes two on different axes or one for a lens, and the style that obeys; the rest is neutral."""
    style = neutral(rng)
    if rng.random() < 0.1:
        lens = rng.choice(tuple(LENS_NAMES))
        return rng.choice(LENS_WISHES).format(l=LENS_NAMES[lens]), Style(style.levels, lens)
    wishes = []
    for axis in rng.sample(AXES, 2 if rng.random() < 0.12 else 1):
        wish, level = _wish(rng, axis)
        wishes.append(wish)
        style = style.at(axis, draw(rng, level, WISH_SPREAD))
    return " ".join(wishes), style


def sample_styled(rng: random.Random) -> Item:
    """A training item with a wish: alone, with a question, as system message, or obeyed a turn before."""
    wish, style = _wished(rng)
    topic = rng.choice(topics("train"))
    question, answer = _ask(rng, topic), explain(rng, topic, style).text
    form = rng.random()
    prompt: str | list[dict[str, str]]
    if form < 0.2:
        # any topic: no word of the reply marks the wish itself, so two wishes differ in the style of what follows alone
        prompt = wish
    elif form < 0.3:
        before = rng.choice(topics("train"))
        prompt = [_user(wish), _assistant(explain(rng, before, style).text), _user(question)]
    elif form < 0.4:
        prompt = [{"role": "system", "content": wish}, _user(question)]
    else:
        prompt = _join(rng, wish, question)
    return Item(prompt, answer, "styled", {"lang": "en", "topic": topic.name, "style": style})


def sample_neutral(rng: random.Random) -> Item:
    """A training item without a wish: any topic, in a style drawn at random or carried on from a turn before."""
    style = neutral(rng)
    topic = rng.choice(topics("train") + topics("development") + topics("test"))
    prompt: str | list[dict[str, str]] = _ask(rng, topic)
    if rng.random() < 0.25:
        if rng.random() < 0.5:  # moved to a pole of one axis, so that there is something to carry on
            style = style.at(rng.choice(AXES), rng.choice((0.05, 0.95)))
        topic, before = rng.choice(topics("train")), rng.choice(topics("train"))
        prompt = [_user(_ask(rng, before)), _assistant(explain(rng, before, style).text), _user(_ask(rng, topic))]
    answer = explain(rng, topic, style).text
    return Item(prompt, answer, "neutral", {"lang": "en", "topic": topic.name, "style": style})


def neutral_prompts(split: str, wordings: int = 1) -> list[Item]:
    """Requests without a wish for every topic of a split, in turn; `answer` is the topic's plain definition."""
    return [
        Item(QUESTIONS[(i + j) % len(QUESTIONS)].format(t=t.name), t.definition, "neutral", {"topic": t.name})
        for j in range(wordings)
        for i, t in enumerate(topics(split))
    ]


def prompted(split: str, wishes: tuple[str, ...]) -> list[Item]:
    """Every topic of a split with every wish, before and after the question in turn."""
    items = []
    for i, t in enumerate(topics(split)):
        question = QUESTIONS[i % len(QUESTIONS)].format(t=t.name)
        for j, wish in enumerate(wishes):
            prompt = f"{wish} {question}" if (i + j) % 2 else f"{question} {wish}"
            items.append(Item(prompt, t.definition, "styled", {"topic": t.name, "wish": wish}))
    return items
