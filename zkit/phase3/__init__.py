"""Phase 3: whether reasoning, in any language, takes place in a subspace Z that is computed from attention weights.

Source: the Phase 3 specification (causal identification of Z, Qwen2.5-3B). Functions take and return tensors; only
``weights`` uses a model.
"""

from zkit.phase3.kernels import mmd2
from zkit.phase3.weights import attention, z_mask

__all__ = ["attention", "mmd2", "z_mask"]
