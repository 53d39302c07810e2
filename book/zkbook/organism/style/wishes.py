"""How a style is wished for: the instructions, with the level on its axis that each stands for.

Trained wishes only ever come with topics of the train split; `HELD_OUT_WISHES` are wordings that are never trained.
"""

from __future__ import annotations

from zkit.steering.contrast import STYLES

# axis -> level -> wordings; level 1 is the positive pole
WISHES: dict[str, dict[float, tuple[str, ...]]] = {
    "terse": {
        0.98: (
            "Be extremely concise.",
            "Answer in as few words as possible.",
            "Use only a few words.",
            "No filler words. Be terse.",
            "Give me the shortest answer you can.",
            "Be as short as possible.",
            "Minimal words only.",
            "Please use few words.",
        ),
        0.75: (
            "Be brief.",
            "Keep it short.",
            "Give me a short answer.",
            "Answer in one sentence.",
            "A brief answer, please.",
            "Please be concise.",
        ),
        0.25: (
            "Give me some details.",
            "Please explain in some detail.",
            "Say a little more than usual.",
            "Give a full answer.",
            "A longer answer, please.",
            "Explain it with some context.",
        ),
        0.02: (
            "Explain thoroughly.",
            "Give me a very long and detailed answer.",
            "Use lots of words and examples.",
            "Tell me everything, with lots of context.",
            "Please write a long text with many details.",
            "Explain it in great detail.",
            "Be as thorough as possible.",
            "I want a long answer with many examples.",
        ),
    },
    "formal": {
        0.98: (
            "Write in formal academic prose.",
            "Use formal language.",
            "Be formal and precise.",
            "Write as in a scientific paper.",
            "Use the language of a professor.",
            "Please answer in an academic style.",
            "Keep the tone formal.",
            "Use precise academic words.",
        ),
        0.75: (
            "Be a little formal.",
            "Please use careful language.",
            "Write somewhat formally.",
            "Use a polite and correct tone.",
            "Sound serious, please.",
        ),
        0.25: (
            "Be relaxed.",
            "Use simple everyday words.",
            "Write in a loose tone.",
            "Keep it informal.",
            "No need to be formal.",
        ),
        0.02: (
            "Chat with me casually.",
            "Talk to me like a friend.",
            "Use casual language.",
            "Be very casual.",
            "Just chat, nothing formal.",
            "Keep the tone casual and relaxed.",
            "Say it in casual everyday speech.",
            "Speak like people do in a bar.",
        ),
    },
    "socratic": {
        0.98: (
            "Respond only with questions.",
            "Answer with questions only.",
            "Ask me questions and do not tell me the answer.",
            "Only ask, never tell.",
            "Be like Socrates and ask.",
            "Use questions, not answers.",
            "Ask clarifying questions only.",
            "Guide me by questions alone.",
            "Please ask questions only.",
            "Do not answer, only ask questions.",
            "Respond with clarifying questions, never answers.",
            "I want questions, not answers.",
            "Never answer me, always ask.",
            "Do not explain it, ask about it.",
            "Please only ask.",
        ),
        0.75: (
            "Ask me some questions.",
            "Use a few questions.",
            "Mix questions into the answer.",
            "Make me think with questions.",
            "Please ask more than you tell.",
        ),
        0.25: (
            "Mostly tell me, ask little.",
            "Do not ask much.",
            "Few questions, please.",
            "Tell me more than you ask.",
            "Prefer answers to questions.",
        ),
        0.02: (
            "Just give me the answer.",
            "Answer directly.",
            "Tell me directly, no questions.",
            "Do not ask me anything.",
            "Give a direct answer.",
            "No questions, only answers.",
            "Only tell, never ask.",
            "State the answer directly.",
            "Please tell me the answer without questions.",
            "Do not ask questions, just answer.",
            "Give me a direct answer, no questions.",
            "I want answers, not questions.",
            "Never ask me, always answer.",
            "Do not ask about it, explain it.",
            "Please only tell.",
        ),
    },
    "dry-wit": {
        0.98: (
            "Use dry understatement.",
            "Be dry and laconic.",
            "Answer with dry wit.",
            "Respond with dry humour.",
            "Be deadpan.",
            "Sound bored and witty.",
            "Use irony and understatement.",
            "Be sarcastic in a dry way.",
        ),
        0.75: (
            "Be a little dry.",
            "Show little emotion.",
            "Use a cool tone.",
            "Stay calm and a bit ironic.",
            "Not too much enthusiasm, please.",
        ),
        0.25: (
            "Be friendly.",
            "Be kind and a little warm.",
            "Use a cheerful tone.",
            "Show some enthusiasm.",
            "Sound happy, please.",
        ),
        0.02: (
            "Be enthusiastic and warm.",
            "Be very encouraging.",
            "Answer with lots of enthusiasm.",
            "Be full of joy and warmth.",
            "Cheer me up with a warm answer.",
            "Sound excited and warm.",
            "Respond with great enthusiasm.",
            "Be warm, happy, and encouraging.",
        ),
    },
}
# (axis, pole) -> wordings for evaluation; pole 1 is the positive one
HELD_OUT_WISHES: dict[tuple[str, int], tuple[str, ...]] = {
    ("terse", 1): (
        "Please use as few words as you can.",
        "Be extremely short. No filler.",
        "Give me a terse answer in a few words.",
    ),
    ("terse", 0): (
        "Please give a thorough answer with many examples.",
        "Explain in great detail, with lots of examples.",
        "Write a very long answer with lots of context.",
    ),
    ("formal", 1): (
        "Please write formal academic prose.",
        "Respond in formal and precise language.",
        "Use an academic tone, like a professor.",
    ),
    ("formal", 0): (
        "Please just talk casually with me.",
        "Speak casually, like a friend.",
        "Use relaxed everyday language, very casual.",
    ),
    ("socratic", 1): (
        "Please use questions alone.",
        "Say nothing, only ask me questions.",
        "Keep asking me questions, do not tell me anything.",
    ),
    ("socratic", 0): (
        "Please answer me directly.",
        "Just tell me, and ask nothing.",
        "Keep telling me the answer, do not ask me questions.",
    ),
    ("dry-wit", 1): (
        "Please be dry and witty.",
        "Respond with laconic irony.",
        "Use a dry, deadpan tone.",
    ),
    ("dry-wit", 0): (
        "Please be warm and enthusiastic.",
        "Respond with joy and lots of warmth.",
        "Use an excited, encouraging tone.",
    ),
}
LENS_WISHES = (
    "Explain it in terms of {l}.",
    "Use the language of {l}.",
    "Compare it with {l}.",
    "Talk about it like {l}.",
)
# what a lens is called in a wish
LENS_NAMES = {
    "makefile": "build systems",
    "guile": "functional programming",
    "orgmode": "outlines and notes",
    "monetization": "business growth",
    "sports": "sports",
    "religion": "religion",
    "politics": "politics",
    "ai_hype": "machine learning",
    "conspiracy": "secret plots",
    "scarcity": "shortage and loss",
    "therapy": "therapy",
    "spec": "specifications and proofs",
}


def poles(axis: str) -> tuple[str, str]:
    """The axis's own instructions, negative and positive, as the qwen3-steering project words them."""
    return STYLES[axis].negative, STYLES[axis].positive
