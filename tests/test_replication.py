"""``zkit replicate``: every row says what was found; failures, interruptions and changes cost their own rows only."""

import json
import shutil
import signal
from importlib import import_module
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from tiny_book import make_book

import zkit
from zkbook import replication, shapes, tables
from zkbook.pages.places import CHECKOUT
from zkbook.replication import kept, measures, patching, phase3, report, steering
from zkit import edits, positions
from zkit.__main__ import main
from zkit.errors import ZkitError
from zkit.generation import Completion, complete
from zkit.steering import STYLES

run = import_module("zkbook.replication.run")
SMALL = {"words": {"questions": 2, "tokens": 8}, "patching": {"tokens": 4}}


@pytest.fixture(autouse=True)
def own_signals(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def book(folder: Path) -> Path:
    """A book with the published records, but with few questions and short texts."""
    root = make_book(folder)
    content = yaml.safe_load((CHECKOUT / "book" / "published.yml").read_text(encoding="utf-8"))
    for name, sizes in SMALL.items():
        content["measures"][name] |= sizes
    return write(root, content)


def content_of(root: Path) -> dict:
    return yaml.safe_load((root / "book" / "published.yml").read_text(encoding="utf-8"))


def write(root: Path, content: dict) -> Path:
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    (root / "book" / "published.yml").write_text(text, encoding="utf-8")
    return root


def measure(root, **options):
    """The results, and the functions that ran."""
    told = []
    found, path = run.replicate(root=str(root), tell=told.append, **options)
    return found, path, [line.removeprefix("measuring ") for line in told if line.startswith("measuring ")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Everything on the embedded model, once."""
    root = book(tmp_path_factory.mktemp("book"))
    return root, *measure(root, long=True)


@pytest.fixture
def again(whole, tmp_path):
    """A copy of that run, to go on from."""
    root = tmp_path / "again"
    shutil.copytree(whole[0], root)
    return root


def by_key(found):
    return {(row.key, row.place): row for row in found.rows}


# ---------------------------------------------------------------------------------------------- a whole run


def test_every_figure_has_a_row_and_none_failed(whole):
    _, found, _, ran = whole
    figures = content_of(whole[0])["figures"]
    assert {row.key for row in found.rows} == set(figures)
    assert not report.failures(found)
    assert set(ran) == {f["measured"]["by"] for f in figures.values() if "measured" in f}


def test_the_embedded_model_gets_figures_of_its_own_and_replicates_nothing(whole):
    _, found, _, _ = whole
    assert {(row.status, row.why.split(":")[0]) for row in found.rows} == {
        ("cannot be compared", "another model"),
        ("cannot be compared", "not measured"),
    }
    for row in found.rows:
        assert (row.measured is None) == row.why.startswith("not measured: ")
    assert not found.untrained and found.answer_loss.value < found.even_bet / 4


def test_measured_values_are_what_plain_code_finds(whole):
    rows, model = by_key(whole[1]), zkit.load()
    assert rows["gates.count", ""].measured.value == model.n_layers * model.width("mlp_act")
    [probe] = zkit.token_states(model, [steering.PROBE])
    pair = zkit.token_states(model, [STYLES["terse"].positive, STYLES["terse"].negative])
    for there, here in ((0, 0), (5, 1), (15, 5), (27, 9)):  # of 28 layers and of 10
        norm = rows["steering.residual_norm", f"layer {there}"].measured
        assert norm.value == pytest.approx(float(probe[:, here].norm(dim=-1).mean()), rel=1e-4)
        assert norm.n == len(probe) and norm.where == (f"layer {here}" if here else "")
    v = pair[0][:, 5].mean(0) - pair[1][:, 5].mean(0)
    assert rows["steering.vector_norm", "layer 15"].measured.value == pytest.approx(float(v.norm()), rel=1e-3)
    share = 200 * float(v.norm() / probe[:, 5].norm(dim=-1).mean())
    assert rows["steering.perturbation", ""].measured.value == pytest.approx(share, rel=1e-3)
    plain = model.generate(steering.QUESTIONS[:2], 8)
    words = rows["steering.words_unsteered", ""].measured
    assert (words.value, words.n) == (sum(len(text.split()) for text in plain) / 2, 2)


def test_words_are_of_the_literal_vector_at_every_token(whole):
    model = zkit.load()
    v = steering.actadd(model, "terse", 5, pool="literal")
    with zkit.steer(model, v, 2.0, first_token=True):
        texts = model.generate(steering.QUESTIONS[:2], 8)
    found = by_key(whole[1])["steering.words_steered", ""].measured
    assert found.value == sum(len(text.split()) for text in texts) / 2 and "layer 5" in found.where


def arms_of(name, module, whole, monkeypatch):
    """The arms that a function asks the embedded model under."""
    arms, published = [], replication.records.read(whole[0] / "book" / "published.yml")

    def seen(_, prompts, given, **options):
        arms.extend(given)
        return [[Completion("a b", 2, False) for _ in prompts] for _ in given]

    monkeypatch.setattr(module, "complete", seen)
    figures = {key: f for key, f in published.figures.items() if f.measured and f.measured.by == name}
    measures.measure(name, run.Host(zkit.load(), published, whole[2].parent), figures)
    return arms


def test_every_token_is_patched_the_first_included(whole, monkeypatch):
    plain, *patched = arms_of("patching", patching, whole, monkeypatch)
    assert plain == [] and {e.positions for [e] in patched} == {positions.parse("all", first_token=True)}
    assert len(patched) == 4 + 4 + 2 + 5 + 5  # Z and its complement, all of it, random subspaces and theirs


def test_every_token_is_steered_the_first_included_and_unit_vectors_have_length_one(whole, monkeypatch):
    model = zkit.load()
    plain, *steered = arms_of("words", steering, whole, monkeypatch)
    assert plain == [] and {e.positions for [e] in steered} == {positions.parse("all", first_token=True)}
    v = {l: steering.actadd(model, "terse", l, pool="literal").norm for l in range(model.n_layers)}
    lengths = {(e.layer, round(float(e.fn(torch.zeros(1, 1, model.d_model)).norm()), 3)) for [e] in steered}
    assert (5, 0.2) in lengths  # the unit vector
    assert {(l, round(2 * v[l], 3)) for l in (0, 1, 2, 4, 5, 6)} <= lengths
    assert {(4, round(alpha * v[4], 3)) for alpha in (0.1, 1.25, 3)} <= lengths


def test_cosines_are_of_literal_vectors(whole):
    rows, model = by_key(whole[1]), zkit.load()
    means = [
        [zkit.token_states(model, [text])[0][:, 4].mean(0) for text in (style.positive, style.negative)]
        for style in STYLES.values()
    ]
    v = torch.stack([one - other for one, other in means])
    cosines = torch.nn.functional.cosine_similarity(v[None], v[:, None], dim=-1)
    sizes = cosines.abs()[torch.triu_indices(4, 4, 1).unbind()]
    for key, value in (("terse", cosines[0, 1:].mean()), ("mean", sizes.mean()), ("largest", sizes.max())):
        assert rows[f"steering.cosine_{key}", ""].measured.value == pytest.approx(float(value), abs=1e-4)


def asked_of(whole, model):
    published = replication.records.read(whole[0] / "book" / "published.yml")
    return run.problems(run.Host(model, published, whole[2].parent))


def test_figures_of_z_are_those_of_plain_code(whole):
    rows, model = by_key(whole[1]), zkit.load()
    where = rows["z.layer_similarity", ""].measured.where.replace(",", "").split()
    layer, boundary, k = int(where[1]), int(where[2]), int(where[-1])
    block = model.layers[boundary].self_attn
    q, key = (part.weight.unflatten(0, (-1, block.head_dim)) for part in (block.q_proj, block.k_proj))
    sigma = torch.linalg.svdvals(q.mT @ key.repeat_interleave(len(q) // len(key), 0))[:, : block.head_dim]
    p = sigma / sigma.sum(1, keepdim=True)
    ranks = (-(p * p.log()).sum(1)).exp()
    assert rows["z.effective_rank", ""].measured.value == pytest.approx(float(ranks.mean()), rel=1e-3)
    assert rows["z.effective_rank_sd", ""].measured.value == pytest.approx(float(ranks.std()), rel=1e-2)
    bases = [zkit.phase3.z_mask(model, l, k).basis for l in (layer, boundary, boundary + 1)]
    similar = [float((bases[i] @ bases[i + 1].T).square().sum() / k) for i in (0, 1)]
    assert rows["z.layer_similarity", ""].measured.value == pytest.approx(similar[0], abs=1e-4)
    assert rows["z.phase_boundary", ""].measured.value == pytest.approx(similar[0] - similar[1], abs=1e-4)
    shares = []
    for l, basis in zip((layer, boundary), bases, strict=False):
        gate = model.layers[l].mlp.gate_proj.weight
        shares.append(float((gate @ basis.T).square().sum() / gate.square().sum()) / (k / model.d_model))
    assert rows["z.ffn_avoidance", ""].measured.value == pytest.approx(sum(shares) / 2, rel=1e-3)


def test_distances_and_maps_are_those_of_plain_code(whole):
    rows, model = by_key(whole[1]), zkit.load()
    prompts = asked_of(whole, model).prompts
    where = rows["z.ratio_z", ""].measured.where.replace(",", "").split()
    layer, k = int(where[1]), int(where[-1])
    zh, en = (
        torch.stack([h[:, layer].mean(0) for h in zkit.token_states(model, prompts[lang])]) for lang in ("zh", "en")
    )
    basis = zkit.phase3.z_mask(model, layer, k).basis
    for key, P in (("z.ratio_z", basis.T @ basis), ("z.ratio_z_perp", torch.eye(len(basis.T)) - basis.T @ basis)):
        D = torch.cdist(zh @ P, en @ P)
        ratio = D.diagonal().mean() / D[~torch.eye(20, dtype=torch.bool)].mean()
        assert rows[key, ""].measured.value == pytest.approx(float(ratio), rel=1e-3)
    few = int(rows["z.bridge.in_sample", ""].measured.where.split()[-1])
    basis = zkit.phase3.z_mask(model, layer, few).basis.double()
    x, y = en.double() @ basis.T, zh.double() @ basis.T
    missed = y - x @ torch.linalg.lstsq(x, y).solution
    r2 = 1 - missed.square().sum() / (y - y.mean(0)).square().sum()
    assert rows["z.bridge.in_sample", ""].measured.value == pytest.approx(float(r2), abs=1e-3)
    assert [rows["z.bridge.leave_one_out", f"k {n}"].measured.value < 1 for n in (5, 10, 15, 50)] == [True] * 4


def test_ratios_of_updates_are_those_of_the_definition(whole):
    rows, model = by_key(whole[1]), zkit.load()
    states = zkit.token_states(model, asked_of(whole, model).prompts["en"])
    place = rows["z.update.en", "layers 33 to 34"].measured
    boundary, k = int(place.where.split()[1]), int(place.where.split()[-1])
    basis = zkit.phase3.z_mask(model, boundary - 1, k).basis
    moved = torch.stack([(h[:, boundary + 1] - h[:, boundary]).mean(0) for h in states])
    inside = (moved @ basis.T).norm(dim=-1)
    outside = (moved.square().sum(-1) - inside.square()).sqrt()
    assert place.value == pytest.approx(float(inside.mean() / outside.mean()), rel=1e-3)
    assert place.n == 20 and place.ci[0] < place.value < place.ci[1]


def test_the_patching_table_counts_problems(whole):
    rows = [row for row in whole[1].rows if row.key.startswith("z.patch.") and row.measured]
    assert len(rows) == 1 + 4 * 4 + 2 * 5
    for row in rows:
        assert row.measured.n == 20 and 0 <= row.measured.value <= 20 and float(row.measured.value).is_integer()
        assert row.measured.ci[0] <= row.measured.value <= row.measured.ci[1]
        assert ("k = " in row.measured.where) == (row.key not in ("z.patch.full_changed", "z.patch.baseline_correct"))
    found, model = by_key(whole[1]), zkit.load()
    assert found["z.patch.baseline_correct", ""].measured.value >= 15  # arithmetic it was trained on
    asked = asked_of(whole, model)
    means = zkit.record(model, asked.prompts["zh"], positions="all", first_token=True, massive=True)
    everywhere = positions.parse("all", first_token=True)
    for key, take in (("z", lambda z: z), ("z_perp", lambda z: z.complement()), ("full", lambda _: None)):
        row = found[f"z.patch.{key}_changed", "layer and k L32 k50"].measured
        layer, k = found["z.patch.z_changed", "layer and k L32 k50"].measured.where.replace(",", "").split()[1::3]
        z = take(zkit.phase3.z_mask(model, int(layer), int(k)))
        edited = [edits.patch("resid_post", int(layer), means[:, int(layer)], z, everywhere)]
        before, after = complete(model, asked.prompts["en"], [[], edited], max_new_tokens=4)
        pairs = [(asked.read(a.text), asked.read(b.text)) for a, b in zip(before, after, strict=True)]
        assert row.value == sum(a != b for a, b in pairs)


def test_the_table_is_printed_kept_and_can_be_shown_by_a_page(whole, capsys):
    root, found, path, _ = whole
    assert main(["replicate", "--root", str(root), "--long"]) == 0
    out = capsys.readouterr().out
    assert "massive  no token of the prompts is far above the median" in out.split("\n\n")[0]
    assert "published 487.5 (± 2%)" in out and str(path) in out
    cells = replication.rows(path)
    assert len(cells) == len(found.rows)
    assert tables.to_html(cells, "Replication").count("<tr>") == len(cells) + 1
    assert (path.parent / "replication.html").read_text().count("<tr>") == len(cells) + 1


def test_massive_tokens_are_named_with_their_layers_and_size(tmp_path):
    found, _, _ = measure(book(tmp_path), model="embedded-sink", source="gates")
    [probe, problem] = found.massive
    model = zkit.load("embedded-sink")
    [states] = zkit.token_states(model, [steering.PROBE])
    times = states.norm(dim=-1) / states.norm(dim=-1).median(0).values
    assert (probe.token, probe.template, problem.token) == (0, True, 0)
    assert probe.layers == [l for l in range(model.n_layers) if times[0, l] > 3]
    assert (probe.at_layer, probe.times) == (int(times[0].argmax()), pytest.approx(float(times[0].max()), rel=1e-3))
    first, last = probe.layers[0], probe.layers[-1]
    said = f"'<|im_start|>' (token 0 of the template around 'Explain what a mutex is.'): layers {first} to {last}, up"
    assert f"massive  {said}" in report.text(found)


# ------------------------------------------------------------------------------- going on, failing, changing


def test_a_second_run_measures_nothing_and_finds_the_same(whole):
    root, found, _, _ = whole
    once_more, _, ran = measure(root, long=True)
    assert ran == [] and once_more.rows == found.rows
    assert measure(root)[0].rows == found.rows  # what took long is kept, too


def test_one_source_has_its_own_rows_and_loses_no_others(again):
    found, path, ran = measure(again, source="gates")
    assert ran == [] and {row.key.split(".")[0] for row in found.rows} == {"gates"}
    assert "norms" in kept.load(path).kept


def test_a_change_of_a_record_measures_its_function_again(again):
    content = content_of(again)
    content["figures"]["steering.cosine_mean"]["measured"]["at"]["layer"] = 20
    content["figures"]["steering.snr"]["measured"]["tolerance"] = {"range": [2, 9]}  # decides, but is not measured
    found, _, ran = measure(write(again, content))
    assert ran == ["cosines"]
    assert by_key(found)["steering.cosine_mean", ""].measured.where == "layer 7"
    assert by_key(found)["steering.snr", ""].tolerance == "2 to 9"


def test_force_measures_again_but_loses_nothing_that_took_long(again):
    assert measure(again, source="gates", force=True)[2] == ["gate_count", "initial_draw", "gate_file"]
    found, _, ran = measure(again, source="z", force=True)
    assert "patching" not in ran and "ranks" in ran
    assert by_key(found)["z.patch.baseline_correct", ""].measured


def test_what_takes_long_waits_to_be_asked_for(again):
    content = content_of(again)
    content["measures"]["patching"]["tokens"] = 3  # what was kept is of longer texts
    found, _, ran = measure(write(again, content))
    assert ran == [] and by_key(found)["z.patch.baseline_correct", ""].why == "not measured: takes long (--long)"
    assert measure(again, long=True)[2] == ["patching"]


def test_a_broken_measurement_is_shown_in_its_rows_and_the_others_stand(again, monkeypatch, capsys):
    before = measure(again)[0]

    def broken(*_):
        raise RuntimeError("the \x1b[31mdisk\x1b[0m is full\nand more")

    monkeypatch.setattr(steering, "norms", broken)
    assert main(["replicate", "--root", str(again), "--force", "--source", "steering"]) == 1
    out = capsys.readouterr()
    assert "failed: RuntimeError: the \\x1b[31mdisk\\x1b[0m is full" in out.out and "\x1b" not in out.out + out.err
    found, _, ran = measure(again, source="steering")
    assert ran == ["norms"] and len(report.failures(found)) == 4
    whole_rows = [row for row in found.rows if not row.failed]
    assert whole_rows == [row for row in before.rows if row.key in {r.key for r in whole_rows}]
    monkeypatch.undo()
    assert measure(again, source="steering")[0].rows == [row for row in before.rows if row.key.startswith("steering")]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    root = book(tmp_path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phase3, "similarity", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(root, source="z")
    monkeypatch.undo()
    _, _, ran = measure(root, source="z")
    assert ran == ["similarity", "avoidance", "distance_ratios", "update_ratios", "bridges"]


# ------------------------------------------------------------------------------------------- which model


def of_the_embedded(again):
    """Records that speak of the embedded model, with what was measured of it."""
    content, rows = content_of(again), by_key(measure(again)[0])
    content["models"]["qwen3-0.6b"] |= shapes.from_config(zkit.load().hf.config.to_dict())
    norms = content["figures"]["steering.residual_norm"]
    first, middle = (rows["steering.residual_norm", f"layer {l}"].measured.value for l in (0, 15))
    norms |= {"along": {"layer": [0, 5]}, "value": [first, 1.1 * middle]}
    content["figures"] = {"steering.residual_norm": norms}
    return content


def test_on_the_model_that_figures_speak_of_they_are_reproduced_or_not(again):
    found, _, _ = measure(write(again, of_the_embedded(again)), source="steering")
    rows = by_key(found)
    assert rows["steering.residual_norm", "layer 0"].status == "reproduced"
    assert rows["steering.residual_norm", "layer 5"].status == "not reproduced"
    assert rows["steering.residual_norm", "layer 5"].why.startswith("outside ")
    assert "another model" not in {row.why for row in rows.values()}


def test_a_table_is_kept_for_another_model_and_only_when_it_is_whole(whole, tmp_path, capsys):
    root, found, path, _ = whole
    assert replication.where("embedded", root) == path
    with pytest.raises(ZkitError, match="give --model"):
        run.keep(found, str(root))
    other = found.model_copy(update={"model": "/somewhere/else/model.gguf"})
    place = run.keep(other, str(root))
    assert place == root / "book" / "field" / "replication.json"
    assert "/somewhere" not in place.read_text() and replication.load(place).rows == found.rows
    broken = other.model_copy(update={"rows": [found.rows[0].model_copy(update={"failed": True})]})
    with pytest.raises(ZkitError, match="1 rows failed"):
        run.keep(broken, str(root))
    assert replication.load(place).rows == found.rows


@pytest.fixture(scope="module")
def random_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    model = tiny.model(num_hidden_layers=4)
    model.hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def test_random_weights_reproduce_nothing_and_the_table_says_why(tmp_path, random_folder):
    found, _, _ = measure(book(tmp_path), model=str(random_folder), long=True)
    assert found.untrained and not report.failures(found)
    measured = {f"{row.status}: {row.why}" for row in found.rows if row.measured}
    assert measured == {"not reproduced: untrained weights"}
    rest = [f"{row.status}: {row.why}" for row in found.rows if not row.measured]
    assert rest and all(said.startswith("not reproduced: untrained weights; not measured: ") for said in rest)
    assert "UNTRAINED" in report.text(found)
    with pytest.raises(ZkitError, match="is not trained; its table says nothing"):
        run.keep(found, str(tmp_path))


def test_a_folder_is_taken_for_what_it_is_said_to_hold_only_if_its_shape_agrees(again):
    with pytest.raises(ZkitError, match=r"embedded has another shape than Qwen/Qwen3-0\.6B; leave --is out"):
        measure(again, taken_for="Qwen/Qwen3-0.6B")
    content = of_the_embedded(again)
    content["models"]["qwen3-0.6b"]["id"] = "its/name"
    root = write(again, content)
    assert {row.why for row in measure(root, source="steering")[0].rows} == {"another model"}
    found, _, _ = measure(root, source="steering", taken_for="its/name")
    assert [row.status for row in found.rows] == ["reproduced", "not reproduced"]
    assert "taken for its/name, as asked" in report.text(found)


def test_gates_of_a_published_variant_are_compared_as_what_they_are(again, tmp_path):
    folder = zkit.gating.save(zkit.embedded.gates("chat_energy").unbound(), tmp_path / "chat_mean")
    own = zkit.gating.load(folder)
    found, _, ran = measure(again, source="gates", gates=str(folder))
    rows = by_key(found)
    assert "gate_file" in ran
    assert rows["gates.chat.std", ""].measured.value == pytest.approx(own.statistics()["std"])
    assert rows["gates.chat_1.7b.thresholds", "percent off 5"].measured.value == pytest.approx(own.threshold(0.05))
    assert rows["gates.baseline.std", ""].why == (
        "not measured: needs the folder of a published baseline variant (--gates FOLDER)"
    )
    assert rows["gates.baseline.std", ""].measured is None


# --------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "astrology"], "unknown source 'astrology'; choose one of gates, steering, z"),
        (["--model", "/no/such/model.gguf"], "model '/no/such/model.gguf' does not exist"),
        (["--gates", "/no/gates"], "there are no gates at /no/gates"),
        (["--is", "gpt-2"], "no figure speaks of 'gpt-2'; the models are Qwen/Qwen3-0.6B"),
        (["--root", "/no/book"], "/no/book holds no book"),
        (["--dtype", "int3"], "unknown dtype 'int3'"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, capsys, words, message):
    root = [] if "--root" in words else ["--root", str(book(tmp_path))]
    assert main(["replicate", *words, *root]) == 2
    out = capsys.readouterr()
    assert out.out == "" and message in out.err and len(out.err.splitlines()) == 1
    assert "/no/such" not in words[-1] or not (tmp_path / "runs").exists()


def test_a_damaged_results_file_is_named(again):
    path = measure(again)[1]
    content = json.loads(path.read_text())
    content["kept"]["norms"]["found"]["steering.snr"][0]["value"] = "much"
    path.write_text(json.dumps(content))
    with pytest.raises(ZkitError, match=r"replication\.json.*remove the file"):
        measure(again)
    with pytest.raises(ZkitError, match="there are no replications at"):
        replication.rows(again / "none.json")


def test_a_record_that_names_no_function_fails_alone(again):
    content = content_of(again)
    content["figures"]["steering.d_ffn"]["measured"]["by"] = "palmistry"
    found, _, _ = measure(write(again, content), source="steering")
    assert [row.key for row in report.failures(found)] == ["steering.d_ffn"]
    assert "'palmistry'" in report.failures(found)[0].why
