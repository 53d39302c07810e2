"""A real model out of its file: loaded twice, recorded, steered, gated, folded, saved, read by plain transformers."""

import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import zkit

PROMPTS = ["What is the capital of France?", "法国的首都是哪里？", "Why are there tides?"]
LENGTH = 16


def test_a_second_load_is_quick(field_model, field_file, capsys):
    """The time is printed, not judged: what else the machine does is not known here."""
    start, cpu = time.perf_counter(), time.process_time()
    again = zkit.load(field_file)
    seconds, busy = time.perf_counter() - start, time.process_time() - cpu
    with capsys.disabled():
        print(f"\nsecond load of {again.id}: {seconds:.1f} s ({busy:.1f} s of them computing)")
    assert (again.id, again.sha256, again.dtype) == (field_model.id, field_model.sha256, field_model.dtype)
    ours, theirs = again.hf.state_dict(), field_model.hf.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_answers_and_ends_its_turns(field_model):
    answers = zkit.generation.complete(field_model, PROMPTS[:2], max_new_tokens=LENGTH)
    assert "Paris" in answers[0].text and "巴黎" in answers[1].text
    assert not answers[0].truncated
    [closed] = field_model.tokenizer([field_model.tokenizer.decode([field_model.end_of_turn])]).input_ids
    assert closed == [field_model.end_of_turn] and field_model.end_of_turn in field_model.end_tokens


def test_states_are_recorded_and_steered(field_model):
    states = zkit.record(field_model, PROMPTS)
    assert states.shape == (3, field_model.n_layers, field_model.d_model) and bool(states.isfinite().all())
    plain = field_model.generate(PROMPTS, LENGTH)
    layer = field_model.n_layers // 2
    v = zkit.steering.actadd(field_model, "terse", layer=layer)
    with zkit.steer(field_model, v, 0):
        assert field_model.generate(PROMPTS, LENGTH) == plain
    with zkit.steer(field_model, v, 1):
        moved = zkit.record(field_model, PROMPTS)
    assert torch.allclose(moved[:, :layer], states[:, :layer], atol=1e-3)
    assert not torch.allclose(moved[:, layer:], states[:, layer:], atol=1e-1)
    assert field_model.generate(PROMPTS, LENGTH) == plain


def test_gates_folded_and_saved_are_the_same_model_in_plain_transformers(field_model, tmp_path):
    generator = torch.Generator().manual_seed(0)
    shape = (field_model.n_layers, field_model.width("mlp_act"))
    gates = zkit.gating.Gates(1 + torch.randn(*shape, generator=generator), {"scale": "mean"})
    with zkit.gate(field_model, gates):
        want = field_model.generate(PROMPTS, LENGTH)
    assert want != field_model.generate(PROMPTS, LENGTH)
    zkit.gating.fold(field_model, gates).hf.save_pretrained(tmp_path)
    field_model.tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    found = []
    for prompt in PROMPTS:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        new = plain.generate(**ids, max_new_tokens=LENGTH, do_sample=False)[0, ids["input_ids"].shape[1] :]
        found.append(tokenizer.decode(new, skip_special_tokens=True))
    assert found == want
