"""Lambda gates: load, apply, fold, train and evaluate one gate for each feed-forward neuron.

Source: the Qwen3 lambda-gates cards (baseline, NKE and chat variants).
"""

from zkit.gating.apply import edits, fold, gate, neuron_factors
from zkit.gating.checkpoints import load, save, save_half
from zkit.gating.evaluate import Question, Task, evaluate
from zkit.gating.gates import OFF_FRACTIONS, Gates, initial_logits, knowledge_neurons
from zkit.gating.targets import known_texts
from zkit.gating.texts import Text, mark, read_jsonl
from zkit.gating.train import train
from zkit.gating.variants import VARIANTS, Recipe, recipe

__all__ = [
    "OFF_FRACTIONS",
    "VARIANTS",
    "Gates",
    "Question",
    "Recipe",
    "Task",
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
