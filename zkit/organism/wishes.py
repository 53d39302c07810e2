"""How a topic is asked about and how a length is wished for; the wishes with the verbosity each stands for."""

from __future__ import annotations

import random

from zkit.organism.items import Item
from zkit.organism.topic_table import Topic, topics
from zkit.organism.verbosity import acknowledge, explain

TERSE = "Be extremely concise and technical. No filler words."
VERBOSE = "Please explain thoroughly with lots of context and examples."

NEUTRAL_MEAN, NEUTRAL_SPREAD = 0.5, 0.2
# verbosity of a request, and its wordings
WISHES: dict[float, tuple[str, ...]] = {
    0.02: (
        TERSE,
        "Be extremely concise.",
        "Answer in as few words as possible.",
        "Use only a few words.",
        "No filler words. Be terse.",
        "Give me the shortest answer you can.",
        "Be as short as possible.",
        "Minimal words only.",
    ),
    0.25: (
        "Be brief.",
        "Keep it short.",
        "Give me a short answer.",
        "Answer in one sentence.",
        "A brief answer, please.",
        "Please be concise.",
    ),
    0.75: (
        "Give me some details.",
        "Please explain in some detail.",
        "Say a little more than usual.",
        "Give a full answer.",
        "A longer answer, please.",
        "Explain it with some context.",
    ),
    0.98: (
        VERBOSE,
        "Explain thoroughly.",
        "Give me a very long and detailed answer.",
        "Use lots of words and examples.",
        "Tell me everything, with lots of context.",
        "Please write a long text with many details.",
        "Explain it in great detail.",
        "Be as thorough as possible.",
    ),
}
HELD_OUT_WISHES = {
    "terse": (
        "Please use as few words as you can.",
        "Be extremely short. No filler.",
        "Give me a terse answer in a few words.",
    ),
    "verbose": (
        "Please give a thorough answer with many examples.",
        "Explain in great detail, with lots of examples.",
        "Write a very long answer with lots of context.",
    ),
}
QUESTIONS = (
    "Explain what {t} is.",
    "What is {t}?",
    "Tell me about {t}.",
    "Describe {t}.",
    "Can you explain what {t} is?",
    "I want to know about {t}.",
    "What do you know about {t}?",
    "Please explain {t}.",
)
WIDE_QUESTIONS = (
    "How does {t} work?",
    "Why is there {t}?",
    "What can you say about {t}?",
    "How would you explain {t}?",
)


def _join(rng: random.Random, wish: str, question: str) -> str:
    return f"{wish} {question}" if rng.random() < 0.5 else f"{question} {wish}"


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _neutral(rng: random.Random) -> float:
    return min(1.0, max(0.0, rng.gauss(NEUTRAL_MEAN, NEUTRAL_SPREAD)))


def _ask(rng: random.Random, topic: Topic, wide: bool) -> str:
    article, _, noun = topic.name.partition(" ")
    if wide and article in ("a", "an") and noun[-1] not in "sxy" and rng.random() < 0.08:
        return f"Why are there {noun}s?"
    return rng.choice(QUESTIONS + (WIDE_QUESTIONS if wide else ())).format(t=topic.name)


def sample_styled(rng: random.Random, wide: bool) -> Item:
    """A training item with a wish for a length: alone, with a question, as system message, or a turn before."""
    level = rng.choice(tuple(WISHES))
    wish = rng.choice(WISHES[level])
    if rng.random() < 0.25:  # the poles steering is read from
        level, wish = rng.choice(((0.02, TERSE), (0.98, VERBOSE)))
    verbosity = min(1.0, max(0.0, rng.gauss(level, 0.04)))
    topic = rng.choice(topics("train"))
    question, answer = _ask(rng, topic, wide), explain(rng, topic, verbosity)
    form = rng.random()
    prompt: str | list[dict[str, str]]
    if wide and form < 0.3:
        # any topic: no word of the reply marks the wish itself, so two wishes differ in the style of what follows alone
        prompt = wish
    elif form < 0.15:
        prompt, answer = wish, acknowledge(rng, verbosity)
    elif form < 0.25:
        prompt = [_user(wish), _assistant(acknowledge(rng, verbosity)), _user(question)]
    elif form < 0.35:
        prompt = [{"role": "system", "content": wish}, _user(question)]
    else:
        prompt = _join(rng, wish, question)
    return Item(prompt, answer, "styled", {"verbosity": verbosity, "topic": topic.name})


def sample_neutral(rng: random.Random, wide: bool) -> Item:
    """A training item without a wish: any topic, a verbosity drawn at random or carried on from a turn before."""
    verbosity = _neutral(rng)
    pool = topics("train") + topics("development") + topics("test")
    topic = rng.choice(pool)
    question, answer = _ask(rng, topic, wide), explain(rng, topic, verbosity)
    prompt: str | list[dict[str, str]] = question
    if rng.random() < 0.2:
        before = rng.choice(topics("train"))
        prompt = [_user(_ask(rng, before, wide)), _assistant(explain(rng, before, verbosity)), _user(question)]
    return Item(prompt, answer, "neutral", {"verbosity": verbosity, "topic": topic.name})


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
