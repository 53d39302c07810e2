"""Explanations in four graded styles: a grammar writes them, wishes ask for them, measures tell them apart."""
