"""Prompts that come in pieces: chunked prefill, assisted decoding, a second turn on one cache. Right, or refused.

Each split the prompt over forward passes in a way of its own; what was taken for the prompt once was the first of them.
"""

from dataclasses import dataclass, replace

import pytest
import reference
import tiny
import torch
from reference import Addition

import zkit
from zkit.edits import add
from zkit.positions import prompt_width

PROMPTS = ["Hi", "Explain what a mutex is.", "Why are there tides"]
NEW = 5
OPTIONS = {"max_new_tokens": NEW, "do_sample": False}
SELECTORS = reference.selectors(60)[1::2]  # with the first token: where pieces begin in the padding it tells most
KINDS = {where.kind for where in SELECTORS}


def additions(model, where):
    return [Addition(1, reference.random_vector(model, 1, 6.0), where)]


def generated(model, batch, several, declared=True, **options):
    """New tokens of each row, by a call of transformers that a user might write."""
    width = batch["input_ids"].shape[1]
    with zkit.edit(model, [add("resid_post", a.layer, a.delta, a.where.chosen) for a in several]):
        if not declared:
            return model.hf.generate(**batch, **OPTIONS, **options)[:, width:].tolist()
        with prompt_width(model.decoder, width):
            return model.hf.generate(**batch, **OPTIONS, **options)[:, width:].tolist()


def expected(model, rows, several):
    return [reference.greedy(model, ids, NEW, several) for ids in rows]


def cut(found, want):
    """Rows that ended early are padded by transformers."""
    return [row[: row.index(tiny.END) + 1] if tiny.END in row else row for row in (found, want)]


def assert_same(found, want):
    for one, two in zip(found, want, strict=True):
        one, two = cut(one, two)
        assert one == two


def assert_refused_unless_places_do(model, batch, where, want, **options):
    if where.kind in ("all", "span"):
        assert_same(generated(model, batch, additions(model, where), declared=False, **options), want)
        return
    with pytest.raises(zkit.ZkitError, match=f"'{where.kind}' need to know where the prompt ends"):
        generated(model, batch, additions(model, where), declared=False, **options)


@pytest.mark.parametrize("where", SELECTORS, ids=lambda w: w.name)
def test_chunked_prefill(where):
    """Chunks that begin in the padding of one row and in the middle of another."""
    model = tiny.shared()
    batch, rows = model.tokenize(PROMPTS), reference.rows(model, PROMPTS)
    several = additions(model, where)
    want = expected(model, rows, several)
    assert_same(generated(model, batch, several, prefill_chunk_size=7), want)
    assert_refused_unless_places_do(model, batch, where, want, prefill_chunk_size=7)


@pytest.mark.parametrize("where", SELECTORS, ids=lambda w: w.name)
def test_assisted_decoding(where):
    """Its first pass holds the prompt and the first guesses, in the last columns; the helper is another model."""
    model, helper = tiny.shared(), tiny.shared(seed=1).hf
    batch, rows = model.tokenize(PROMPTS[2:]), reference.rows(model, PROMPTS[2:])
    several = additions(model, where)
    want = expected(model, rows, several)
    for options in ({"assistant_model": helper}, {"prompt_lookup_num_tokens": 3}):
        assert_same(generated(model, batch, several, **options), want)
        assert_refused_unless_places_do(model, batch, where, want, **options)


@dataclass(frozen=True)
class After:
    """A selector's positions from ``start`` on: those before were computed without it."""

    where: reference.Selector
    start: int

    def places(self, prompt, total):
        return {i for i in self.where.places(prompt, total) if i >= self.start}


@pytest.mark.parametrize("where", SELECTORS, ids=lambda w: w.name)
def test_a_second_turn_on_one_cache(where):
    model = tiny.shared()
    [first] = reference.rows(model, PROMPTS[2:])
    one = model.hf.generate(input_ids=torch.tensor([first]), **OPTIONS, return_dict_in_generate=True)
    done = one.past_key_values.get_seq_length()
    row = one.sequences[0].tolist() + model.tokenizer("<|im_end|>\nAnd why two a day?")["input_ids"]
    ids = torch.tensor([row])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    several = additions(model, where)
    want = expected(model, [row], [replace(several[0], where=After(where, done))])

    def turn(declared):
        cache = model.hf(input_ids=ids[:, :done], use_cache=True).past_key_values
        return lambda: generated(model, batch, several, declared, past_key_values=cache)

    assert_same(turn(True)(), want)
    if where.kind in ("all", "span"):
        assert_same(turn(False)(), want)
    else:
        with pytest.raises(zkit.ZkitError, match=f"'{where.kind}' need to know where the prompt ends"):
            turn(False)()


def test_the_selectors_above_really_differ():
    model = tiny.shared()
    rows = reference.rows(model, PROMPTS[2:])
    assert {"all", "prompt", "generated", "last", "span", "inner"} == KINDS
    assert len({tuple(expected(model, rows, additions(model, where))[0]) for where in SELECTORS}) >= 6


def test_the_librarys_own_calls_declare_it():
    """Generation, scoring and recording, whatever the selector."""
    model = tiny.shared()
    for where in SELECTORS:
        one = [add("resid_post", 1, reference.random_vector(model, 1), where.chosen)]
        with zkit.edit(model, one):
            model.generate(PROMPTS, 2)
            zkit.generation.log_probs(model, PROMPTS, ["a", "b", "c"])
            zkit.record(model, PROMPTS, layers=[2])


def test_a_static_cache_is_refused():
    model = tiny.shared()
    batch = model.tokenize(PROMPTS)
    several = additions(model, reference.selector("all"))
    with pytest.raises(zkit.ZkitError, match="a static or compiled cache makes one"):
        generated(model, batch, several, cache_implementation="static")
