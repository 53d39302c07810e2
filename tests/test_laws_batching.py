"""Law 3: batched = one by one, left-padded = unpadded, cached = uncached, eager = sdpa, for every position selector.

The reference (reference.py) computes every row by itself over the whole sequence, with a hook of its own that adds at
positions counted one by one.
"""

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import NEAR, TOLERANCE, Addition, few

import zkit
from zkit import edits, generation
from zkit.positions import prompt_width

# Random selectors often choose no token, and every block says so.
pytestmark = pytest.mark.filterwarnings("ignore:.* chose no token in any forward pass:UserWarning")

PROMPTS = ["Hi", "Explain what a mutex is.", "Why are there tides"]
NEW = 6
FAMILIES = [(family, None) for family in tiny.CONFIGS] + list(tiny.SLIDING.items())


def applied(additions):
    return [edits.add("resid_post", a.layer, a.delta, a.where.chosen) for a in additions]


def plain_generate(model, prompts, additions, n=NEW):
    """What a user's own call of transformers gives inside the context: tokens up to the end, and their logits."""
    batch = model.tokenize(prompts)
    with zkit.edit(model, applied(additions)), prompt_width(model.decoder, batch["input_ids"].shape[1]):
        out = model.hf.generate(
            **batch, max_new_tokens=n, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
    tokens = [row.tolist() for row in out.sequences[:, batch["input_ids"].shape[1] :]]
    cut = [row[: row.index(tiny.END) + 1] if tiny.END in row else row for row in tokens]
    return cut, torch.stack(out.logits, 1)


class Ties:
    """Predictions whose two best logits lie within NEAR of each other: there alone tokens may differ."""

    def __init__(self):
        self.predictions = self.near = 0

    def seen(self, near):
        self.predictions += len(near)
        self.near += int(near.sum())

    def assert_rare(self):
        assert self.predictions > 100
        assert self.near <= 0.03 * self.predictions, f"{self.near} near ties among {self.predictions}"


def agree(model, prompts, additions, tokens, logits, ties):
    """The tokens and logits found are those of the reference, row by row. Returns which rows had a near tie."""
    excused = []
    for ids, found, scores in zip(reference.rows(model, prompts), tokens, logits, strict=True):
        want = reference.logits(model, ids + found, len(ids), additions)[len(ids) - 1 : -1]
        assert torch.allclose(scores[: len(found)], want, atol=TOLERANCE, rtol=0), (
            (scores[: len(found)] - want).abs().max()
        )
        best = want.topk(2).values
        near = best[:, 0] - best[:, 1] < NEAR
        ties.seen(near)
        excused.append(bool(near.any()))
        assert near.any() or want.argmax(-1).tolist() == found
    return excused


def texts_agree(model, tokens, answers, excused):
    for found, answer, near in zip(tokens, answers, excused, strict=True):
        ended = found[-1] == tiny.END
        text = model.tokenizer.decode(found[:-1] if ended else found, skip_special_tokens=True)
        assert near or (answer.text, answer.truncated) == (text, not ended)


@pytest.mark.parametrize(
    ("family", "window", "attn"),
    [(f, w, a) for f, w in FAMILIES for a in ("sdpa", "eager") if a == "eager" or f != "gemma2"],
)
def test_every_selector_in_every_family(family, window, attn):
    """Cached, left-padded, batched generation by plain transformers against rows by themselves; then ``complete``."""
    model, ties = tiny.shared(family, attn=attn, window=window), Ties()
    longest = max(map(len, reference.rows(model, PROMPTS)))
    effects = {}
    for where in reference.selectors(longest):
        additions = [
            Addition(1, reference.random_vector(model, 1), where),
            Addition(3, reference.random_vector(model, 2), where),
        ]
        tokens, logits = plain_generate(model, PROMPTS, additions)
        excused = agree(model, PROMPTS, additions, tokens, logits, ties)
        texts_agree(
            model, tokens, generation.complete(model, PROMPTS, [applied(additions)], max_new_tokens=NEW)[0], excused
        )
        effects[where.name] = logits[:, 0]
    ties.assert_rare()
    # the selectors really are different selections: the logits after the prompt tell them apart
    assert not torch.allclose(effects["all"], effects["all+first_token"], atol=1e-3)
    assert not torch.allclose(effects["prompt"], effects["last1"], atol=1e-3)
    assert not torch.allclose(effects["generated"], effects["last3"], atol=1e-3)
    assert torch.equal(effects["generated"], effects["generated+first_token"])
    assert not torch.allclose(effects["prompt"], effects["inner-4"], atol=1e-3)
    assert not torch.allclose(effects["inner-4"], effects["inner-4+first_token"], atol=1e-3)


@pytest.mark.parametrize(("family", "window"), [("qwen3", None), ("gemma3", tiny.SLIDING["gemma3"])])
def test_cached_is_uncached_and_batched_is_one_by_one(family, window):
    model, ties = tiny.shared(family, window=window), Ties()
    longest = max(map(len, reference.rows(model, PROMPTS)))
    for where in reference.selectors(longest):
        additions = [Addition(0, reference.random_vector(model, 3), where)]
        tokens, logits = plain_generate(model, PROMPTS, additions)
        excused = agree(model, PROMPTS, additions, tokens, logits, ties)
        for options in ({"use_cache": False}, {"batch_size": 1}, {"batch_size": 2}):
            arms = [applied(additions)]
            answers = generation.complete(model, PROMPTS, arms, max_new_tokens=NEW, **options)[0]
            texts_agree(model, tokens, answers, excused)
    ties.assert_rare()


def test_eager_is_sdpa():
    for family in tiny.CONFIGS:
        eager, sdpa = tiny.shared(family, attn="eager"), tiny.shared(family, attn="sdpa")
        batch = eager.tokenize(PROMPTS)
        delta = edits.add("resid_post", 1, reference.random_vector(eager, 4))
        found = []
        for model in (eager, sdpa):
            with zkit.edit(model, [delta]):
                found.append(model.hf(**batch).logits[batch["attention_mask"].bool()])
        assert torch.allclose(*found, atol=TOLERANCE, rtol=0)


prompts = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=25), min_size=1, max_size=4)


@st.composite
def selections(draw):
    kind, first_token = (
        draw(st.sampled_from(["all", "prompt", "generated", "last", "span", "inner"])),
        draw(st.booleans()),
    )
    if kind == "last":
        return reference.selector("last", draw(st.integers(1, 40)), first_token=first_token)
    if kind == "inner":
        return reference.selector("inner", draw(st.integers(0, 40)), draw(st.integers(0, 40)), first_token)
    if kind == "span":
        a = draw(st.integers(0, 60))
        b = draw(st.integers(a + 1 if first_token or a else 2, 80))
        return reference.selector("span", a, b, first_token=first_token)
    return reference.selector(kind, first_token=first_token)


additions = st.builds(
    lambda layer, seed, norm, where: Addition(layer, reference.random_vector(tiny.shared(), seed, norm), where),
    st.integers(0, 3), st.integers(0, 9), st.floats(-8, 8, allow_subnormal=False), selections(),
)  # fmt: skip


@few
@given(prompts, st.lists(additions, max_size=3))
def test_random_prompts_layers_strengths_and_selectors(texts, several):
    """Any prompts with any list of edits, several at one layer included."""
    model = tiny.shared()
    tokens, logits = plain_generate(model, texts, several)
    excused = agree(model, texts, several, tokens, logits, Ties())
    texts_agree(model, tokens, generation.complete(model, texts, [applied(several)], max_new_tokens=NEW)[0], excused)


@few
@given(prompts, st.lists(st.lists(additions, max_size=2), min_size=1, max_size=4), st.integers(1, 12))
def test_many_arms_in_one_batch_are_the_arms_one_by_one(texts, arms, batch_size):
    model = tiny.shared()
    together = generation.complete(
        model, texts, [applied(arm) for arm in arms], max_new_tokens=4, batch_size=batch_size
    )
    assert [len(answers) for answers in together] == [len(texts)] * len(arms)
    for arm, answers in zip(arms, together, strict=True):
        tokens, logits = plain_generate(model, texts, arm, 4)
        texts_agree(model, tokens, answers, agree(model, texts, arm, tokens, logits, Ties()))


def test_the_reference_loop_agrees_with_generate():
    """A real token-by-token loop of the reference, so that its one-pass scores are not the only witness."""
    model, seen = tiny.shared(), set()
    for where in reference.selectors(30):
        several = [Addition(1, reference.random_vector(model, 5, 6.0), where)]
        tokens, _ = plain_generate(model, PROMPTS[:1], several)
        want = reference.greedy(model, reference.rows(model, PROMPTS[:1])[0], len(tokens[0]), several)
        assert tokens[0] == want
        seen.add(tuple(want))
    assert len(seen) >= 6  # the tokens tell selectors apart


CONTINUATIONS = [" a lock", "!", " because of the moon, mostly"]


@pytest.mark.parametrize("family", ["qwen3", "gemma2", "mistral"])
def test_log_probs_of_every_selector(family):
    model = tiny.shared(family, window=tiny.SLIDING.get(family))
    longest = max(map(len, reference.rows(model, PROMPTS)))
    for where in reference.selectors(longest):
        several = [Addition(1, reference.random_vector(model, 1), where)]
        with zkit.edit(model, applied(several)):
            found = generation.log_probs(model, PROMPTS, CONTINUATIONS)
        for ids, text, scores in zip(reference.rows(model, PROMPTS), CONTINUATIONS, found, strict=True):
            tail = model.tokenizer(text)["input_ids"]
            want = reference.logits(model, ids + tail, len(ids), several)[len(ids) - 1 : -1].log_softmax(-1)
            assert torch.allclose(scores, want[range(len(tail)), tail], atol=TOLERANCE, rtol=0)


@few
@given(prompts, st.data())
def test_edits_of_some_rows_leave_the_others_alone(texts, data):
    model = tiny.shared()
    start = data.draw(st.integers(0, len(texts) - 1))
    stop = data.draw(st.integers(start + 1, len(texts)))
    where = data.draw(selections())
    delta = reference.random_vector(model, 6)
    batch = model.tokenize(texts)
    plain = model.hf(**batch).logits
    one = edits.add("resid_post", 1, delta, where.chosen, slice(start, stop))
    with zkit.edit(model, [one]), prompt_width(model.decoder, batch["input_ids"].shape[1]):
        found = model.hf(**batch).logits
    real = batch["attention_mask"].bool()
    for i, ids in enumerate(reference.rows(model, texts)):
        if start <= i < stop:
            want = reference.logits(model, ids, len(ids), [Addition(1, delta, where)])
            assert torch.allclose(found[i][real[i]], want, atol=TOLERANCE, rtol=0)
        else:
            assert torch.equal(found[i][real[i]], plain[i][real[i]])


def test_contexts_nest_and_forget_nothing():
    model = tiny.shared()
    one = Addition(0, reference.random_vector(model, 7), reference.selector("prompt"))
    two = Addition(2, reference.random_vector(model, 8), reference.selector("generated"))
    with zkit.edit(model, applied([one])):
        inner = plain_generate(model, PROMPTS, [two])
        outer = plain_generate(model, PROMPTS[:2], [])  # other prompts in the same context
    agree(model, PROMPTS, [one, two], *inner, Ties())
    agree(model, PROMPTS[:2], [one], *outer, Ties())


@pytest.mark.parametrize("where", ["prompt", "generated", "last"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_plain_calls_must_say_where_the_prompt_ends(where, use_cache):
    model = tiny.shared()
    batch = model.tokenize(PROMPTS)
    several = [Addition(1, reference.random_vector(model, 9), reference.selector(where, 1 if where == "last" else 0))]
    options = {"max_new_tokens": 3, "do_sample": False, "use_cache": use_cache}
    with zkit.edit(model, applied(several)):
        with pytest.raises(zkit.ZkitError, match="where the prompt ends"):
            model.hf.generate(**batch, **options)
        with prompt_width(model.decoder, batch["input_ids"].shape[1]):
            found = model.hf.generate(**batch, **options)
    assert found[:, batch["input_ids"].shape[1] :].tolist() == [
        reference.greedy(model, ids, 3, several) for ids in reference.rows(model, PROMPTS)
    ]


@pytest.mark.parametrize("where", ["all", "span"])
def test_absolute_positions_need_no_cache(where):
    model = tiny.shared()
    batch = model.tokenize(PROMPTS)
    chosen = zkit.positions.span(3, 9) if where == "span" else zkit.positions.parse("all")
    with zkit.edit(model, [edits.add("resid_post", 1, reference.random_vector(model, 9), chosen)]):
        slow = model.hf.generate(**batch, max_new_tokens=3, do_sample=False, use_cache=False)
        assert torch.equal(slow, model.hf.generate(**batch, max_new_tokens=3, do_sample=False))


@pytest.mark.parametrize("mask", [True, False])
def test_a_loop_of_ones_own_with_a_cache(mask):
    """The last user: calls the model token by token, with or without an attention mask."""
    model, where = tiny.shared("mistral", window=tiny.SLIDING["mistral"]), reference.selector("generated")
    several = [Addition(1, reference.random_vector(model, 2), where)]
    ids = reference.rows(model, PROMPTS)[0]
    new, scores, cache = list(ids), [], None
    with zkit.edit(model, applied(several)), prompt_width(model.decoder, len(ids)), torch.no_grad():
        for _ in range(4):
            feed = new if cache is None else new[-1:]
            extra = {"attention_mask": torch.ones(1, len(new), dtype=torch.long)} if mask else {}
            out = model.hf(input_ids=torch.tensor([feed]), past_key_values=cache, use_cache=True, **extra)
            cache = out.past_key_values
            scores.append(out.logits[:, -1])
            new.append(int(scores[-1].argmax()))
    agree(model, PROMPTS[:1], several, [new[len(ids) :]], torch.stack(scores, 1), Ties())
