"""Phase 3: is a subspace Z, taken from attention weights, where language-independent reasoning happens?"""
