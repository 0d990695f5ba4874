"""Evaluation: metrics, probe and peers, tables of comparisons and unseen classes."""
