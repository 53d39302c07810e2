"""States pooled in several ways from one pass are those that record gives, and what no pool counts is named."""

import pytest
import torch

import zkit
from zkit.pooling import HALVES, POOLS, counted, pooled

PROMPTS = ["What is 3 + 4?", "计算 12 - 5。", "Tell me what you know about the long history of bread.", "Add 2 and 9."]
OPTIONS = {
    "all tokens": {"positions": "all", "first_token": True, "massive": True},
    "without massive": {"positions": "all"},
    "message": {},
    "last token": {"pool": "last"},
}


@pytest.mark.parametrize("id", ["embedded", "embedded-sink"])
@pytest.mark.parametrize("chat", [True, False])
def test_each_pool_is_what_record_gives(id, chat):
    model = zkit.load(id)
    found = pooled(model, PROMPTS, chat=chat)
    assert set(found) == {*POOLS, *HALVES}
    for pool, options in OPTIONS.items():
        wanted = zkit.record(model, PROMPTS, chat=chat, **options)
        assert torch.allclose(found[pool], wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max())), pool


def test_chosen_layers_and_parts_of_a_long_list():
    model = zkit.load()
    every = pooled(model, PROMPTS * 12)
    some = pooled(model, PROMPTS * 12, layers=[5, 2])
    for pool in every:
        assert torch.allclose(some[pool], every[pool][:, [5, 2]], atol=1e-3)
        assert torch.allclose(every[pool][:4], every[pool][-4:], atol=1e-3)


def test_the_halves_share_no_token_and_make_the_message():
    h = torch.randn(9, 2, 4, generator=torch.Generator().manual_seed(0))
    h[5, 1] *= 100  # massive at one layer
    message = torch.tensor([False, False, True, True, True, True, True, False, False])
    found = counted(h, message)
    even, odd = (found[half] for half in HALVES)
    assert not (even & odd).any() and ((even | odd) == found["message"]).all()
    assert found["message"].sum(0).tolist() == [5, 4]
    assert even.sum(0).tolist() == [2, 2] and odd.sum(0).tolist() == [3, 2]


def test_what_counts_no_token_is_named():
    model = zkit.load()
    with pytest.raises(zkit.ZkitError, match=r"no token counts for the pool .* in the prompt ''"):
        pooled(model, ["What is 3 + 4?", ""])
    with pytest.raises(zkit.ZkitError, match="empty"):
        pooled(model, [])
