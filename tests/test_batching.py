"""Batches: filled by rows and memory, sorted, in order; beginnings read once; lists as one. All equal one by one."""

from itertools import pairwise

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import NEAR, TOLERANCE, Addition, few

import zkit
from zkit import edits, memory, packing, prefill
from zkit.generation import complete, log_probs, next_log_probs
from zkit.positions import last, parse, span

PROMPTS = [
    "Hi",
    "Explain what a mutex is, and why.",
    "Why are there tides?",
    "Hi there",
    "What is a tide, and a mutex?",
]
TAILS = ["a lock", "!", "because of the moon", "xyz", "no"]
NEW = 5
FAMILIES = [(family, None) for family in tiny.CONFIGS] + list(tiny.SLIDING.items())


@pytest.fixture
def eager_to_share(monkeypatch):
    """Beginnings are read once however little that saves: the prompts of the tests are short."""
    monkeypatch.setattr(prefill, "OVERHEAD", 0)


def passes(model):
    """The shapes [rows, columns] of the forward passes to come, and the handle of the hook that collects them."""
    seen = []
    hook = lambda m, a, kwargs: seen.append(tuple(kwargs["input_ids"].shape))  # noqa: E731
    return seen, model.decoder.register_forward_pre_hook(hook, with_kwargs=True)


def arms_of(model):
    """Arms that touch the beginning, that leave it alone, and that differ from prompt to prompt; additions beside."""
    vectors = [reference.random_vector(model, seed) for seed in range(4)]
    several = [
        [],
        [Addition(1, vectors[0], reference.selector("all"))],
        [
            Addition(0, vectors[1], reference.selector("last", 1)),
            Addition(2, vectors[1], reference.selector("last", 3)),
        ],
        [Addition(2, vectors[2], reference.selector("span", 2, 7))],
        [Addition(1, vectors[3], reference.selector("inner", 3, 2, True))],
        [Addition(1, vectors[0], reference.selector("generated"))],
        [Addition(2, vectors[2], reference.selector("prompt"))],
    ]
    return several, [[edits.add("resid_post", a.layer, a.delta, a.where.chosen) for a in arm] for arm in several]


def agree(model, additions, tails, scores, prompts=PROMPTS):
    """The log-probabilities of each row are those of the row by itself, without padding, cache or sharing."""
    for ids, tail, found in zip(reference.rows(model, prompts), tails, scores, strict=True):
        tokens = model.tokenizer(tail)["input_ids"]
        want = reference.logits(model, ids + tokens, len(ids), additions)[len(ids) - 1 : -1].log_softmax(-1)
        assert torch.allclose(found, want[range(len(tokens)), tokens], atol=TOLERANCE, rtol=0)


def greedy(model, additions, answers, prompts=PROMPTS):
    """The texts are those of the row by itself, but for near ties."""
    for ids, answer in zip(reference.rows(model, prompts), answers, strict=True):
        new = reference.greedy(model, ids, NEW, additions)
        new = new[: new.index(tiny.END)] if tiny.END in new else new
        if answer.text != model.tokenizer.decode(new, skip_special_tokens=True):
            best = reference.logits(model, ids + new, len(ids), additions)[len(ids) - 1 :].topk(2).values
            assert (best[:, 0] - best[:, 1]).min() < NEAR


@pytest.mark.parametrize(("family", "window"), FAMILIES)
def test_every_arm_in_every_family_is_the_row_by_itself(family, window, eager_to_share):
    """Arms of every kind one by one (each takes its own way to read beginnings), then together."""
    model = tiny.shared(family, window=window)
    several, arms = arms_of(model)
    chosen = range(len(arms)) if family in ("qwen3", "gemma3") else (1, 2)
    for i in chosen:
        agree(model, several[i], TAILS, log_probs(model, PROMPTS, TAILS, [arms[i], arms[i]])[1])
    for additions, scores in zip(several, log_probs(model, PROMPTS, TAILS, arms, batch_size=13), strict=True):
        agree(model, additions, TAILS, scores)
    greedy(model, several[1], complete(model, PROMPTS, arms[:3], max_new_tokens=NEW)[1])
    assert prefill.reusable(model) == (family in ("qwen3", "qwen2", "llama", "gemma"))


def test_beginnings_are_read_by_each_where_positions_turn_otherwise():
    for kind in ("dynamic", "longrope"):
        model = tiny.model()
        model.decoder.rotary_emb.rope_type = kind
        assert not prefill.reusable(model)


@few
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=4),
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.integers(1, 12),
    st.sampled_from([None, 40_000]),
)
def test_whatever_the_batches(which, asked, batch_size, room):
    """Any arms, any prompts, any number of rows and memory: with beginnings shared as without, in the order given."""
    model = tiny.shared()
    arms, prompts = [arms_of(model)[1][i] for i in which], [PROMPTS[i] for i in asked]
    tails = [TAILS[i] for i in asked]
    want = [log_probs(model, prompts, tails, [arm], prefix=False)[0] for arm in arms]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefill, "OVERHEAD", 0)
        found = log_probs(model, prompts, tails, arms, batch_size=batch_size, memory=room)
    for scores, whole in zip(found, want, strict=True):
        assert [len(row) for row in scores] == [len(row) for row in whole]
        assert torch.allclose(torch.cat(scores), torch.cat(whole), atol=TOLERANCE, rtol=0)


def test_a_patch_of_the_last_token_costs_one_token(eager_to_share):
    """A prompt's beginning is read once for all its arms, the template once for all prompts; a slot each is left."""
    model = tiny.shared()
    arms = [[edits.patch("resid_post", layer, torch.ones(32), positions=last(1))] for layer in (0, 1, 2, 3)]
    seen, hook = passes(model)
    with hook:
        kept = next_log_probs(model, PROMPTS, None, arms)
    lengths = [len(ids) for ids in reference.rows(model, PROMPTS)]
    assert [rows for rows, _ in seen][1:] == [5, 20]
    assert seen[0][0] < 5 and seen[0][1] + seen[1][1] >= max(lengths) - 1
    assert seen[2] == (20, 1)
    whole = next_log_probs(model, PROMPTS, None, arms, prefix=False)
    assert torch.allclose(
        *(torch.stack([torch.cat(rows) for rows in found]) for found in (kept, whole)), atol=TOLERANCE
    )


def test_a_beginning_that_an_arm_edits_is_its_own(eager_to_share):
    model = tiny.shared()
    arms = [[edits.add("resid_post", 1, reference.random_vector(model, i))] for i in range(3)]
    seen, hook = passes(model)
    with hook:
        log_probs(model, PROMPTS, TAILS, arms)
    assert [rows for rows, _ in seen][1:] == [15] and seen[0][0] % 3 == 0
    assert 0 < seen[0][1] + seen[1][1] - len(max(TAILS, key=len)) <= max(map(len, reference.rows(model, PROMPTS))) + 9


def plans(prompts, *arms, outside=()):
    made = [[edits.add("resid_post", 0, torch.ones(4), where) for where in arm] for arm in arms]
    return prefill.plan(prompts, made, outside)


def test_plans_by_hand(eager_to_share):
    two, plan = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 9]], prefill.Beginnings
    nothing = plan((0, 0), (0,), (0, 0))
    assert plans(two, []) == plan((0, 0), (3,), (3, 3))
    assert plans(two, [last(1)], [last(1)]) == plan((0, 0), (3,), (5, 3))
    assert plans(two, [last(1)], [last(3)]) == plan((0, 0), (1,), (3, 1))
    assert plans(two, [parse("generated")], []) == plan((0, 0), (3,), (5, 3))
    assert plans(two, [parse("all")], []) == plan((0, 0), (3,), (3, 3), by_arm=True)
    assert plans(two, [span(2, 9)], []) == plan((0, 0), (3,), (3, 3), by_arm=True)
    assert plans(two, [span(2, 9), last(2)], []) == plan((0, 0), (2,), (2, 2))
    assert plans(two, [span(1, 2), last(2)]) == plan((0, 0), (2,), (2, 2), by_arm=True)  # where two of the second begin
    assert plans(two, [], outside=[last(2)]) == plan((0, 0), (2,), (2, 2))
    assert plans(two, [], outside=[parse("prompt")]) == plan((0, 0), (3,), (3, 3))
    assert plans(two, [], outside=[last(4)]) == plan((0, 0), (1,), (1, 1))
    assert plans([[1, 2], [3, 2]], []) == nothing
    mixed = [*two, [7], [8, 8, 8, 8], [8, 8, 8]]  # some of another kind, and a short one
    assert plans(mixed, []).each == (3, 3, 0, 2, 2)
    assert plans(mixed, [parse("prompt")], []).each == (3, 3, 0, 2, 2)
    assert plans(mixed, [parse("prompt")], []).by_arm
    assert plans(mixed, [last(2)]).each == (2, 2, 0, 1, 1)
    assert plans([[1, 2, 3]] * 2, [parse("all")]) == plan(
        (0, 0), (2,), (2, 2), by_arm=True
    )  # one token is left to read
    own = edits.add("resid_post", 0, torch.ones(2, 4), span(2, 3))
    assert prefill.plan(two, [[own], [own]], ()) == plan((0, 0), (2,), (2, 2))
    assert prefill.plan(two, [[own, edits.add("resid_post", 0, torch.ones(4))]], ()) == plan(
        (0, 0), (2,), (2, 2), by_arm=True
    )
    assert prefill.plan(two, [[edits.add("resid_post", 0, torch.ones(2, 4))]], ()) == plan((0, 0), (1,), (1, 1))


def test_nothing_is_shared_that_costs_more_than_it_saves():
    assert plans([[1, 2, 3, 4]] * 20, []) == prefill.nothing(20)
    assert plans([[1, 2, 3, 4]] * 60, []) == prefill.Beginnings((0,) * 60, (3,), (3,) * 60)


@few
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6), min_size=1, max_size=7), st.integers(0, 6))
def test_no_other_grouping_saves_more(rows, most):
    """Against every way to put the rows into groups; each row begins as its group does."""
    caps = [min(most, len(row) - 1) for row in rows]
    of, ends, saved = prefill.shared_beginnings(rows, caps)
    for k, length in enumerate(ends):
        mine = [i for i in range(len(rows)) if of[i] == k]
        assert len({tuple(rows[i][:length]) for i in mine}) == 1
        assert length <= min(caps[i] for i in mine)
    assert saved == sum(ends[k] for k in of) - sum(ends)

    def most_saved(left):
        if not left:
            return 0
        head, rest, found = left[0], left[1:], 0
        for mask in range(1 << len(rest)):
            mine = [head, *(i for j, i in enumerate(rest) if mask >> j & 1)]
            length = min(caps[i] for i in mine)
            while len({tuple(rows[i][:length]) for i in mine}) > 1:
                length -= 1
            others = [i for j, i in enumerate(rest) if not mask >> j & 1]
            found = max(found, (len(mine) - 1) * length + most_saved(others))
        return found

    assert saved == most_saved(list(range(len(rows))))


@pytest.mark.parametrize("where", ["all", "prompt", "last", "generated"])
def test_edits_in_force_outside_know_where_they_are(where, eager_to_share):
    model, delta = tiny.shared(), reference.random_vector(tiny.shared(), 5)
    with zkit.edit(model, [edits.add("resid_post", 1, delta, parse(where))]):
        found = log_probs(model, PROMPTS, TAILS, [[], [edits.add("resid_post", 2, delta, last(1))]])
    addition = Addition(1, delta, reference.selector(where, 1 if where == "last" else 0))
    agree(model, [addition], TAILS, found[0])
    agree(model, [addition, Addition(2, delta, reference.selector("last", 1))], TAILS, found[1])


def test_a_vector_for_each_prompt_follows_its_prompt(eager_to_share):
    """Through sorting, several batches, arms and rows that leave."""
    model = tiny.model()
    model.hf.lm_head.weight[tiny.END] = model.hf.lm_head.weight[71] + model.hf.lm_head.weight[30]  # some answers end
    own = torch.stack([reference.random_vector(model, seed, 9.0) for seed in range(5)])
    for where in ("all", "last", "generated"):
        arm = [edits.add("resid_post", 1, own, parse(where))]
        selector = reference.selector(where, 1 if where == "last" else 0)
        for batch_size in (3, 64):
            found = log_probs(model, PROMPTS, TAILS, [[], arm, arm], batch_size=batch_size)
            answers = complete(model, PROMPTS, [[], arm], max_new_tokens=NEW, batch_size=batch_size)[1]
            for i in range(5):
                additions = [Addition(1, own[i], selector)]
                agree(model, additions, [TAILS[i]], [found[2][i]], [PROMPTS[i]])
                greedy(model, additions, [answers[i]], [PROMPTS[i]])


def test_edits_of_single_rows_cannot_be_in_force():
    model, own = tiny.shared(), torch.ones(5, 32)
    for outside in (edits.add("resid_post", 1, own), edits.add("resid_post", 1, own[0], rows=slice(0, 2))):
        with zkit.edit(model, [outside]):
            for call in (complete, zkit.record, next_log_probs):
                with pytest.raises(zkit.ZkitError, match=r"laid out anew here; give it as an arm"):
                    call(model, PROMPTS)


def test_rows_that_have_ended_leave(eager_to_share):
    """Half of the rows end at once and leave; the others go on as if they had been alone, their edits with them."""
    model = tiny.model()
    model.hf.lm_head.bias = torch.nn.Parameter(torch.zeros(272), requires_grad=False)
    model.hf.lm_head.bias[tiny.END] = 1e-3
    silent = [zkit.Edit("resid_post", 3, torch.zeros_like, parse("all", first_token=True))]
    delta = [edits.add("resid_post", 1, reference.random_vector(model, 3))]
    seen, hook = passes(model)
    with hook:
        found = complete(model, PROMPTS, [silent, delta, silent], max_new_tokens=4)
    assert [rows for rows, columns in seen if columns == 1] == [5, 5, 5]
    assert {answer.n_tokens for answer in found[0] + found[2]} == {0}
    assert found[1] == complete(model, PROMPTS, [delta], max_new_tokens=4)[0]
    assert found[1] != complete(model, PROMPTS, max_new_tokens=4)


@pytest.mark.parametrize("family", ["qwen3", "gemma", "mistral"])
def test_prompts_of_very_different_lengths_are_read_apart_and_decode_together(family):
    """Without padding, and with their own edits; not where attention slides, which would see the padding."""
    model = tiny.shared(family, window=tiny.SLIDING.get(family))
    prompts = ["x" * 200, "Hi", "y" * 90 + "?", "Why", "z" * 210]
    own = torch.stack([reference.random_vector(model, seed, 9.0) for seed in range(5)])
    steer = Addition(2, own[0], reference.selector("all"))
    arms = [[edits.add("resid_post", 1, own, last(1))], [edits.add("resid_post", 2, own[0])]]
    seen, hook = passes(model)
    with hook:
        found = complete(model, prompts, arms, max_new_tokens=NEW)
    apart = family != "mistral"
    assert sum(columns == 1 and rows == 10 for rows, columns in seen) == (NEW - 1 if apart else 0)
    assert not apart or sum(rows * columns for rows, columns in seen if columns > 1) < 1400
    for i in range(5):
        greedy(model, [Addition(1, own[i], reference.selector("last", 1))], [found[0][i]], [prompts[i]])
        greedy(model, [steer], [found[1][i]], [prompts[i]])


def test_rows_are_sorted_and_come_back_in_order():
    """Long and short prompts in turn: little padding, and the answers where they belong."""
    model = tiny.shared()
    prompts = [f"{'x' * (40 * (i % 3))} {i}" for i in range(12)]
    seen, hook = passes(model)
    with hook:
        scores = log_probs(model, prompts, ["ab"] * 12, batch_size=4, prefix=False)
    assert [rows for rows, _ in seen] == [4, 4, 4]
    assert len({columns for _, columns in seen}) == 3
    for i, prompt in enumerate(prompts):
        assert torch.allclose(scores[i], log_probs(model, [prompt], ["ab"])[0], atol=TOLERANCE)


@few
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 4), st.integers(20_000, 400_000))
def test_memory_is_respected(lengths, n_arms, given_memory):
    """Rows times columns of a batch never weigh more than the memory given, unless it is a single row."""
    model = tiny.shared()
    limits = memory.room(model, memory=given_memory)
    arms = [[edits.add("resid_post", 1, reference.random_vector(model, i))] for i in range(n_arms)]
    seen, hook = passes(model)
    with hook:
        complete(model, ["x" * n for n in lengths], arms, max_new_tokens=1, memory=given_memory, prefix=False)
    for rows, columns in seen:
        assert rows == 1 or rows * limits.weight(columns + 1) <= given_memory
    assert sum(rows for rows, _ in seen) == n_arms * len(lengths)


def test_room_comes_from_what_is_free(monkeypatch, tmp_path):
    model = tiny.shared()
    monkeypatch.setattr(memory, "free", lambda device: 4000)
    assert memory.room(model).memory == memory.SHARE * 4000
    assert memory.room(model, 7, 99) == memory.Room(7, 99.0, memory.room(model).token, memory.room(model).logits)
    monkeypatch.undo()
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 400\nfile 500\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.free(torch.device("cpu")) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free(torch.device("cpu")) > 10**6


def test_a_token_weighs_at_least_its_keys_and_values():
    model = tiny.shared()
    batch = model.tokenize(["some words here"])
    cache = model.hf(**batch, use_cache=True).past_key_values
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert memory.room(model).token >= kept / batch["input_ids"].shape[1]


def test_arms_fill_batches_before_they_are_split():
    model = tiny.shared()
    arms = [[edits.add("resid_post", 1, i * reference.random_vector(model, i))] for i in range(8)]
    for batch_size, shapes in ((None, [24]), (24, [24]), (12, [12, 12]), (8, [8, 8, 8]), (5, [4, 4, 4, 4, 4, 4])):
        seen, hook = passes(model)
        with hook:
            complete(model, ["abc", "def", "ghi"], arms, max_new_tokens=1, batch_size=batch_size, prefix=False)
        assert [rows for rows, _ in seen] == shapes


def test_some_prompts_through_the_template_and_some_not():
    model = tiny.shared()
    chat = [True, False, False, True, False]
    mixed = complete(model, PROMPTS, max_new_tokens=4, chat=chat)
    for through in (True, False):
        here = [i for i, c in enumerate(chat) if c is through]
        assert [mixed[i] for i in here] == complete(model, [PROMPTS[i] for i in here], max_new_tokens=4, chat=through)
    with pytest.raises(zkit.ZkitError, match="5 prompts but chat has 2 entries"):
        complete(model, PROMPTS, chat=[True, False])


def test_many_lists_as_one():
    model = tiny.shared()
    lists = {"a": PROMPTS[:2], "none": [], "b": PROMPTS[2:]}
    seen, hook = passes(model)
    with hook:
        found = packing.as_one(lists, lambda prompts: complete(model, prompts, max_new_tokens=1))
    assert [rows for rows, _ in seen] == [5]
    assert found == {key: complete(model, x, max_new_tokens=1) if x else [] for key, x in lists.items()}
    assert packing.as_one({"a": []}, lambda prompts: 1 / 0) == {"a": []}
    with pytest.raises(zkit.ZkitError, match="5 members but 2 results"):
        packing.as_one(lists, lambda prompts: [1, 2])


@few
@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(1, 4), st.integers(10, 90))
def test_no_other_cut_within_the_limits_costs_less(lengths, rows, room):
    lengths = sorted(lengths)
    n = len(lengths)

    def cost(cuts):
        pairs = list(pairwise(cuts))
        for a, b in pairs:
            if b - a > rows or (b - a > 1 and (b - a) * lengths[b - 1] > room):
                return float("inf")
        return sum(5 + (b - a) * lengths[b - 1] for a, b in pairs)

    every = ([0, *(i for i in range(1, n) if mask >> (i - 1) & 1), n] for mask in range(1 << (n - 1)))
    found = packing.cheapest_cuts(lengths, 5, rows, lengths, room)
    assert cost(found) == min(map(cost, every))


@pytest.mark.parametrize("among", [None, [65, 3, 200]])
def test_next_tokens_after_the_prompt_and_a_few_of_them(among):
    model = tiny.shared()
    found = next_log_probs(model, PROMPTS, among=among)
    along = next_log_probs(model, PROMPTS, TAILS, among=among)
    for ids, tail, rows, more in zip(reference.rows(model, PROMPTS), TAILS, found, along, strict=True):
        tokens = model.tokenizer(tail)["input_ids"]
        want = reference.logits(model, ids + tokens, len(ids))[len(ids) - 1 :].log_softmax(-1)
        want = want if among is None else want[:, among]
        assert torch.allclose(more, want, atol=TOLERANCE)
        assert torch.allclose(rows, want[:1], atol=TOLERANCE)


def test_distributions_that_would_not_fit_are_refused(monkeypatch):
    model, arms = tiny.shared(), [[]] * 50
    monkeypatch.setattr("zkit.scoring.free", lambda device: 4 * 272 * 5 * 50 - 1)
    with pytest.raises(zkit.ZkitError, match="name the tokens of interest with among"):
        next_log_probs(model, PROMPTS, None, arms)
    assert len(next_log_probs(model, PROMPTS, None, arms, among=[1, 2])) == 50
    for among in ([], [272], [-1]):
        with pytest.raises(zkit.ZkitError, match="among must be token ids from 0 to 271"):
            next_log_probs(model, PROMPTS, among=among)
    with pytest.raises(zkit.ZkitError, match="memory is 0;"):
        next_log_probs(model, PROMPTS, memory=0)


def test_several_sites_from_one_pass():
    model = tiny.shared()
    sites = ("resid_post", "mlp_out", "attn_heads", "resid_pre")
    seen, hook = passes(model)
    with hook:
        found = zkit.record(model, PROMPTS, site=sites, layers=[2, 0])
    assert len(seen) == 1
    assert list(found) == list(sites)
    for site in sites:
        assert torch.allclose(found[site], zkit.record(model, PROMPTS, site=site, layers=[2, 0]), atol=1e-5)
    every = zkit.token_states(model, PROMPTS, site=["mlp_out"], batch_size=2)["mlp_out"]
    one = zkit.token_states(model, PROMPTS, site="mlp_out")
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(every, one, strict=True))
    with pytest.raises(zkit.ZkitError, match="unknown site 'head'"):
        zkit.record(model, PROMPTS, site=["mlp_out", "head"])
    with pytest.raises(zkit.ZkitError, match="and a site"):
        zkit.record(model, PROMPTS, site=[])
