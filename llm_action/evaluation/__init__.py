"""Evaluation: metrics, probe and peers, tables of comparisons, unseen classes, and speed (`bench`)."""
