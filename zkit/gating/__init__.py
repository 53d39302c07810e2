"""Lambda gates: load, apply, fold, train and evaluate one gate for each feed-forward neuron.

Source: the Qwen3 lambda-gates cards (baseline, NKE and chat variants).
"""

from zkit.gating.apply import edits, fold, gate, neuron_factors
from zkit.gating.checkpoints import load, save, save_half
from zkit.gating.evaluation import evaluate
from zkit.gating.gates import OFF_FRACTIONS, Gates, initial_logits, knowledge_neurons
from zkit.gating.recipes import VARIANTS, Recipe, recipe
from zkit.gating.texts import Text, known_texts, mark, read_jsonl
from zkit.gating.training import train

__all__ = [
    "OFF_FRACTIONS",
    "VARIANTS",
    "Gates",
    "Recipe",
    "Text",
    "edits",
    "evaluate",
    "fold",
    "gate",
    "initial_logits",
    "knowledge_neurons",
    "known_texts",
    "load",
    "mark",
    "neuron_factors",
    "read_jsonl",
    "recipe",
    "save",
    "save_half",
    "train",
]
