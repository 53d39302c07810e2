"""Phase 3: is a subspace Z, taken from attention weights, where reasoning happens whatever the language?

Source: the Phase 3 specification (causal identification of Z, Qwen2.5-3B). Tensors in, tensors out; only ``weights``
sees a model.
"""

from zkit.phase3.kernels import mmd2
from zkit.phase3.weights import attention, z_mask

__all__ = ["attention", "mmd2", "z_mask"]
