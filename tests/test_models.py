"""Loading, the sites of a model, chat prompts; every bad input has one clear message."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig
from transformers.utils import logging as hf_logging

import zkit
from zkit import sources
from zkit.models import SITES, Model
from zkit.sources import Source

PROMPTS = ["Hi", "Explain what a mutex is."]


@pytest.fixture
def folder(tmp_path):
    """A tiny model saved as a user would save it."""
    return save(tiny.shared(), tmp_path / "model")


def save(model, path):
    model.hf.save_pretrained(path)
    model.tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("family", tiny.CONFIGS)
def test_save_and_load_every_family(family, tmp_path):
    model = tiny.shared(family)
    loaded = zkit.load(save(model, tmp_path / family))
    assert (loaded.n_layers, loaded.d_model, loaded.dtype) == (4, 32, torch.float32)
    assert not loaded.hf.training
    assert not any(p.requires_grad for p in loaded.hf.parameters())
    assert loaded.render(PROMPTS) == model.render(PROMPTS)
    assert loaded.generate(PROMPTS, 4) == model.generate(PROMPTS, 4)
    assert loaded.id == str(tmp_path / family)
    assert [loaded.width(site) for site in SITES] == [32, 32, 32, 48, 32, 32]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", torch.bfloat16, None, "auto"])
def test_dtypes(folder, dtype):
    want = (
        dtype if isinstance(dtype, torch.dtype) else torch.float32 if dtype in (None, "auto") else getattr(torch, dtype)
    )
    assert zkit.load(folder, dtype=dtype).dtype == want


def test_device_and_attention(folder):
    assert zkit.load(str(folder), device="cpu", attn_implementation="eager").hf.config._attn_implementation == "eager"
    assert zkit.load(folder, device_map="cpu").device == torch.device("cpu")
    with pytest.raises(zkit.ZkitError, match="device or device_map"):
        zkit.load(folder, device="cpu", device_map="auto")


def test_the_hash_is_stable_and_sees_every_byte(folder, tmp_path):
    first = zkit.load(folder).sha256
    assert len(first) == 64
    assert zkit.load(folder).sha256 == sources.resolve(folder).sha256() == first
    copy = save(tiny.shared(), tmp_path / "copy")
    assert sources.resolve(copy).sha256() == first
    (copy / "README.md").write_text("a note changes nothing")
    assert sources.resolve(copy).sha256() == first
    hashes = {first}
    for name in (
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        data = bytearray((copy / name).read_bytes())
        data[-3] ^= 1
        (copy / name).write_bytes(data)
        hashes.add(sources.resolve(copy).sha256())
    assert len(hashes) == 6
    (copy / "model.safetensors").unlink()
    with pytest.raises(zkit.ZkitError, match=r"no \*\.safetensors"):
        sources.resolve(copy).sha256()


def test_what_a_name_means(folder, monkeypatch):
    assert sources.resolve("embedded").embedded
    assert sources.resolve("embedded").path == Path(zkit.__file__).parent / "embedded" / "weights"
    assert sources.resolve(folder).path == sources.resolve(str(folder)).path == folder.resolve()
    assert sources.resolve("Qwen/Qwen3-0.6B") == Source("Qwen/Qwen3-0.6B", None)
    monkeypatch.chdir(folder.parent)
    assert sources.resolve("model").path == folder.resolve()


@pytest.mark.parametrize(
    "missing", ["/no/such/folder", "./nothing", "~/nothing-here", "a/b/c", "", "..\\models", Path("nothing")]
)
def test_a_missing_folder(missing):
    with pytest.raises(zkit.ZkitError, match="does not exist; give an existing folder"):
        zkit.load(missing)


HUB = """
import sys, time
import zkit
try:
    zkit.load("nobody/no-such-model")
except zkit.ZkitError as error:
    print("ZKIT", error)
try:
    zkit.sources.resolve("nobody/no-such-model").sha256()
except zkit.ZkitError as error:
    print("HASH", error)
"""


@pytest.mark.parametrize(
    "how", [{"HF_HUB_OFFLINE": "1"}, {"HTTPS_PROXY": "http://127.0.0.1:9", "HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_a_hub_out_of_reach(how, tmp_path):
    """One message that says what to do, without minutes of retries (the time limit is only a guard against them)."""
    environment = {"PATH": "", "HF_HOME": str(tmp_path), "PYTHONPATH": str(Path(zkit.__file__).parents[1]), **how}
    code = HUB.replace("import zkit\n", "import zkit, zkit.sources\n", 1)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    found = [line for line in done.stdout.splitlines() if line.startswith(("ZKIT", "HASH"))]
    assert done.returncode == 0, done.stderr
    assert [line[:4] for line in found] == ["ZKIT", "HASH"]
    assert "'nobody/no-such-model'" in found[0]
    assert "the Hugging Face hub does not answer; give a folder" in found[0]
    assert "hf download nobody/no-such-model" in found[1]
    assert "Traceback" not in done.stderr


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def without_config(folder):
    (folder / "config.json").unlink()


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def cut_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def lost_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def more_layers(folder):
    change_config(folder, num_hidden_layers=6, layer_types=["full_attention"] * 6)


def wider(folder):
    change_config(folder, intermediate_size=64)


def unknown_type(folder):
    change_config(folder, model_type="qwen99")


def broken_config(folder):
    (folder / "config.json").write_text("{not json")


def broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')


def few_rows(folder):
    hf = AutoModelForCausalLM.from_config(tiny.config(vocab_size=258))
    hf.save_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_tokenizer, "has no tokenizer"),
        (without_config, "cannot load model"),
        (without_weights, "cannot load model"),
        (cut_weights, "cannot load model"),
        (lost_tensor, r"1 tensors missing or of another shape, the first 'model\.layers\.2\.mlp\.up_proj\.weight'"),
        (more_layers, "tensors missing or of another shape"),
        (wider, r"12 tensors missing or of another shape, the first .*mlp\.down_proj"),
        (unknown_type, "cannot load model"),
        (broken_config, "cannot load model"),
        (broken_tokenizer, "cannot load model"),
        (few_rows, "has 261 tokens but the model has only 258 embedding rows"),
    ],
)
def test_spoilt_folders(folder, spoil, message):
    spoil(folder)
    with pytest.raises(zkit.ZkitError, match=message) as caught:
        zkit.load(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("dtype", ["float64", "int8", "half-ish", "nn", torch.int8, 16])
def test_unknown_dtypes(folder, dtype):
    with pytest.raises(zkit.ZkitError, match="unknown dtype"):
        zkit.load(folder, dtype=dtype)


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(vocab_size=272, n_embd=16, n_layer=2, n_head=2),
        GPTNeoXConfig(vocab_size=272, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32),
    ],
)
def test_other_architectures_are_refused_by_name(config, tmp_path):
    hf = AutoModelForCausalLM.from_config(config)
    with pytest.raises(zkit.ZkitError, match=r"looked for .*layers\[i\] with self_attn, mlp, mlp\.down_proj") as caught:
        Model(hf, tiny.tokenizer(), Source("other", None))
    assert type(hf).__name__ in str(caught.value)
    hf.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(zkit.ZkitError, match="is not supported"):
        zkit.load(tmp_path)


@pytest.mark.parametrize("layer", [-1, 4, 100, True, 1.5, "3", None])
def test_wrong_layers(layer):
    model = tiny.shared()
    v = zkit.steering.SteeringVector({0: torch.ones(32)})
    for call in (
        lambda: model.check_layer(layer),
        lambda: model.site("mlp_out", layer),
        lambda: zkit.record(model, PROMPTS, layers=[layer]),
        lambda: zkit.edit(model, [zkit.Edit("resid_post", layer, lambda h: h)]).__enter__(),
        lambda: zkit.steer(model, zkit.steering.SteeringVector({layer: v.vectors[0]})).__enter__(),
    ):
        with pytest.raises(zkit.ZkitError, match="layers are the integers 0 to 3"):
            call()


def test_layers_may_be_numpy_integers():
    model, l = tiny.shared(), np.int64(2)
    assert type(model.check_layer(l)) is int
    assert zkit.steering.actadd(model, "terse", layer=l).at(l).layers == [2]


def test_unknown_sites_are_named():
    with pytest.raises(zkit.ZkitError, match="unknown site 'layer'; sites are resid_post, attn_out, mlp_out, mlp_act"):
        tiny.shared().site("layer", 0)


def test_sites_are_the_modules_they_say():
    for family in tiny.CONFIGS:
        model = tiny.shared(family)
        block = model.hf.model.layers[2]
        assert model.site("resid_post", 2) is block
        assert model.site("attn_out", 2) is block.self_attn
        assert model.site("mlp_out", 2) is block.mlp
        assert model.site("mlp_act", 2) is block.mlp.down_proj


def test_prompts_are_rendered_with_thinking_off():
    model = tiny.shared()
    conversation = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    one, two = model.render(["Hi", conversation])
    tail = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert one == "<|im_start|>user\nHi<|im_end|>\n" + tail
    assert two == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n" + tail


def test_tokens_are_left_padded_without_doubled_specials():
    model = tiny.shared()
    batch = model.tokenize(PROMPTS)
    assert set(batch) == {"input_ids", "attention_mask"}
    short, long = model.render(PROMPTS)
    assert model.tokenizer.decode(batch["input_ids"][1]) == long
    n = int(batch["attention_mask"][0].sum())
    assert batch["attention_mask"][0].tolist() == [0] * (batch["input_ids"].shape[1] - n) + [1] * n
    assert model.tokenizer.decode(batch["input_ids"][0, -n:]) == short
    plain = model.tokenize(["ab", "c"], chat=False)
    assert plain["attention_mask"].tolist() == [[1, 1], [0, 1]]


def test_a_beginning_of_text_token_is_added_to_plain_text_alone():
    """The chat template writes its own, so that adding one would double it; a continuation never gets one."""
    model = Model(tiny.shared().hf, tiny.tokenizer(), Source("with-bos", None))
    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tiny.PAD)]
    )
    assert model.tokenize(["ab"], chat=False)["input_ids"][0, 0] == tiny.PAD
    assert tiny.PAD not in model.tokenize(["ab"])["input_ids"]
    assert [len(scores) for scores in zkit.generation.log_probs(model, ["ab"], ["cd"])] == [2]


def test_no_chat_template():
    model = Model(tiny.shared().hf, tiny.tokenizer(), Source("bare", None))
    model.tokenizer.chat_template = None
    with pytest.raises(zkit.ZkitError, match="'bare' has no chat template; pass chat=False"):
        model.generate(PROMPTS)
    assert len(model.generate(PROMPTS, 2, chat=False)) == 2


def test_no_padding_token():
    """Families without one pad with their end token; a tokenizer with neither is refused in words."""
    model = Model(tiny.shared().hf, tiny.tokenizer(), Source("bare", None))
    model.tokenizer.pad_token = None
    with pytest.raises(zkit.ZkitError, match="padding token"):
        model.tokenize(PROMPTS)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "is empty"),
        ("Hi", "must be a list, got the string 'Hi'"),
        (iter(["Hi"]), "must be a list"),
        (5, "must be a list"),
        ([5], "prompt 0"),
        (["Hi", None], "prompt 1"),
        (["Hi", []], "prompt 1"),
        (["Hi", ["Hi"]], "prompt 1"),
        ([[{"content": "x"}]], "prompt 0"),
    ],
)
def test_what_is_no_prompt(prompts, message):
    model = tiny.shared()
    for call in (model.render, model.tokenize, model.generate, lambda p: zkit.record(model, p)):
        with pytest.raises(zkit.ZkitError, match=message):
            call(prompts)


def test_conversations_need_the_template():
    with pytest.raises(zkit.ZkitError, match="conversations need the chat template"):
        tiny.shared().tokenize([[{"role": "user", "content": "Hi"}]], chat=False)


def test_progress_bars_are_left_as_they_were(folder):
    for enabled in (True, False):
        (hf_logging.enable_progress_bar if enabled else hf_logging.disable_progress_bar)()
        zkit.load(folder)
        assert hf_logging.is_progress_bar_enabled() == enabled
    hf_logging.enable_progress_bar()
