"""A byte-level BPE trained on the corpus, in Qwen's manner: the same markers, single digits, a chat template.

Chinese is split into characters, number words above ten excepted, so that a name reads the same in every question and
a number word is one token in both languages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from zkbook.organism.items import Item
from zkbook.organism.number_words import WORDS

VOCABULARY = 3072
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINK = ("<think>", "</think>")
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[二三四]?十[一二三四五六七八九]|[二三四五]十|\p{Han}"
    r"|[^\r\n\p{L}\p{N}]?(?:twenty|thirty|forty)-(?:one|two|three|four|five|six|seven|eight|nine)(?!\p{L})"
    r"|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{{- message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is not defined or not enable_thinking -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}"""


def render(messages: list[dict[str, str]]) -> str:
    """The chat template in Python, for training speed: the text up to where the reply starts (thinking off)."""
    parts = []
    for message in messages:
        lead = "<think>\n\n</think>\n\n" if message["role"] == "assistant" else ""
        parts.append(f"<|im_start|>{message['role']}\n{lead}{message['content']}<|im_end|>\n")
    return "".join(parts) + "<|im_start|>assistant\n<think>\n\n</think>\n\n"


def beginning(item: Item) -> str:
    """What the model reads of an item before the answer."""
    return render(item.messages) if item.chat else str(item.prompt)


def reply(answer: str) -> str:
    """The text that follows `render`: the reply with its end marker."""
    return answer + "<|im_end|>"


def train_tokenizer(items: Iterable[Item]) -> PreTrainedTokenizerFast:
    """Train on the texts of `items` and wrap as a plain transformers tokenizer."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*SPECIAL, *THINK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )

    def texts() -> Iterable[str]:
        for item in items:
            before = [f"{m['role']}\n{m['content']}" for m in item.messages] + ["assistant\n"]
            yield "\n\n".join([*before, item.answer]) if item.chat else f"{item.prompt}{item.answer}"
        for lang in WORDS:
            for word in WORDS[lang]:
                yield "\n".join([word] * 500)

    core.train_from_iterator(texts(), trainer)
    options: dict[str, Any] = {"model_max_length": 1024, "clean_up_tokenization_spaces": False}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        padding_side="left",
        **options,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
