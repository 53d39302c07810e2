"""Published figures of Phase 3 that need no generated text: attention weights, and means of states over all tokens."""

from __future__ import annotations

import re
from itertools import pairwise

import torch
from torch import Tensor

from zkbook.experiments import bridge, separation, updates
from zkbook.replication.host import Answers, Figures, Host, joined, named
from zkbook.replication.problems import means, problems, token_states
from zkbook.replication.records import Figure
from zkbook.replication.verdicts import Found, Measured
from zkit.errors import ZkitError
from zkit.phase3 import z_mask
from zkit.phase3.weights import attention, gate_rows
from zkit.phase3.z import effective_rank, ffn_avoidance, layer_similarity, spectra
from zkit.stats import Interval, bootstrap_mean


def ranks(host: Host, figures: Figures) -> Answers:
    """Effective ranks of the heads' kernels at a layer. Raises ZkitError for a figure that is none of these."""
    found: Answers = {}
    for key, figure in figures.items():
        layer = host.z_layer(figure, figure.at["layer"])
        heads = effective_rank(spectra(attention(host.model, layer)))
        where = named("layer", figure.at["layer"], layer)
        match key:
            case "z.effective_rank":
                found[key] = [_measured(bootstrap_mean(heads.tolist()), where)]
            case "z.effective_rank_sd":
                found[key] = [Measured(value=float(heads.std()), n=len(heads), where=where)]
            case "z.effective_rank_elsewhere":
                found[key] = [Measured(value=float(heads[figure.at["head"]]), where=where)]
            case _:
                raise ZkitError(f"{key} is no effective rank; name another function in its record")
    return found


def similarity(host: Host, figures: Figures) -> Answers:
    """Similarity of Z between two layers, and its drop over three."""
    found: Answers = {}
    for key, figure in figures.items():
        layers, k, where = _places(host, figure)
        spaces = [z_mask(host.model, layer, k) for layer in layers]
        between = [layer_similarity(one, other) for one, other in pairwise(spaces)]
        value = between[0] - between[1] if len(between) > 1 else between[0]
        found[key] = [Measured(value=value, where=where)]
    return found


def avoidance(host: Host, figures: Figures) -> Answers:
    """Share of the feed-forward rows in Z over chance, mean over some layers."""
    found: Answers = {}
    for key, figure in figures.items():
        layers, k, where = _places(host, figure)
        values = [ffn_avoidance(gate_rows(host.model, layer), z_mask(host.model, layer, k)) for layer in layers]
        found[key] = [Measured(value=sum(values) / len(values), n=len(values), where=where)]
    return found


def distance_ratios(host: Host, figures: Figures) -> Answers:
    """Distance ratios inside Z and outside of it, and the languages' difference in Z over chance, in percent.

    Intervals draw the problems anew. Raises ZkitError for a figure that is none of these.
    """
    pooled = means(token_states(host, problems(host)))
    found: Answers = {}
    for key, figure in figures.items():
        layer = host.z_layer(figure, figure.at["layer"])
        zh, en = pooled["zh"][:, layer], pooled["en"][:, layer]
        rows: list[Found] = []
        for printed in figure.at["k"]:
            k = host.z_size(figure, printed)
            z = z_mask(host.model, layer, k)
            where = joined(named("layer", figure.at["layer"], layer), named("k =", printed, k))
            match key:
                case "z.ratio_z" | "z.ratio_z_perp":
                    between = separation.distances(zh, en, z if key == "z.ratio_z" else z.complement())
                    low, high = separation.resampled(between).quantile(_EDGES).tolist()
                    rows.append(_measured(Interval(separation.ratio(between), low, high, len(zh)), where))
                case "z.language_energy":
                    rows.append(Measured(value=100 * separation.language_energy(zh, en, z), n=len(zh), where=where))
                case _:
                    raise ZkitError(f"{key} is no distance between problems; name another function in its record")
        found[key] = sorted(rows, key=lambda row: row.value) if len(rows) > 1 else rows  # type: ignore[union-attr]
    return found


def update_ratios(host: Host, figures: Figures) -> Answers:
    """R(l) of the mean update over all tokens, for each language or the smallest of both; intervals over prompts."""
    states = token_states(host, problems(host))
    written = {lang: [updates.updates(rows) for rows in found] for lang, found in states.items()}
    found: Answers = {}
    for key, figure in figures.items():
        layer, k = host.z_layer(figure, figure.at["layer"]), host.z_size(figure, figure.at["k"])
        z = z_mask(host.model, layer, k)
        sizes = {lang: updates.sizes(parts, [z])[0] for lang, parts in written.items()}
        if key == "z.update.smallest":
            both = (sizes["zh"] + sizes["en"]).intervals()
            least = min(range(len(both)), key=lambda l: both[l].value)
            where = joined(f"layer {least} to {least + 1}", named("k =", figure.at["k"], k))
            found[key] = [_measured(both[least], where)]
            continue
        intervals = sizes[key.rsplit(".", 1)[-1]].intervals()
        rows: list[Found] = []
        for place in figure.keys:
            there = int(re.findall(r"\d+", str(place))[0])
            here = min(host.z_layer(figure, there), len(intervals) - 1)
            moved = "" if there == here else f"layer {here} to {here + 1}"
            rows.append(_measured(intervals[here], joined(moved, named("k =", figure.at["k"], k))))
        found[key] = rows
    return found


def bridges(host: Host, figures: Figures) -> Answers:
    """R^2 of the linear map from English to Chinese in Z: the smallest on the problems fitted, or on those left out."""
    pooled = means(token_states(host, problems(host)))
    found: Answers = {}
    for key, figure in figures.items():
        layer = host.z_layer(figure, figure.at["layer"])
        sizes = [(k, host.z_size(figure, k)) for k in map(int, figure.keys or figure.at["k"])]
        x, y = (pooled[lang][:, layer] for lang in ("en", "zh"))
        moved = named("layer", figure.at["layer"], layer)
        rows = [
            Measured(value=_r2(host, x, y, layer, k, key), n=len(x), where=joined(moved, named("k =", there, k)))
            for there, k in sizes
        ]
        found[key] = rows if figure.keys else [min(rows, key=lambda row: row.value)]
    return found


def _r2(host: Host, x: Tensor, y: Tensor, layer: int, k: int, key: str) -> float:
    """In the coordinates of Z, not centred, as specified. Raises ZkitError for a figure that is no R^2."""
    z = z_mask(host.model, layer, k)
    one, other = (z.coordinates(states).double() for states in (x, y))
    match key:
        case "z.bridge.in_sample":
            return bridge.r2(one, other, bridge.linear, centre="none")
        case "z.bridge.leave_one_out":
            return bridge.q2(one, other, bridge.linear, range(len(one)), centre="none")
    raise ZkitError(f"{key} is no R^2 of a map; name another function in its record")


_EDGES = torch.tensor([0.025, 0.975], dtype=torch.float64)


def _places(host: Host, figure: Figure) -> tuple[list[int], int, str]:
    """The layers and k that stand for the published ones, and what to say of them."""
    there = figure.at["layers"]
    here, k = [host.z_layer(figure, layer) for layer in there], host.z_size(figure, figure.at["k"])
    moved = "" if here == there else f"layers {', '.join(map(str, here))}"
    return here, k, joined(moved, named("k =", figure.at["k"], k))


def _measured(value: Interval, where: str) -> Measured:
    return Measured(value=value.value, n=value.n, ci=[value.low, value.high], where=where)
