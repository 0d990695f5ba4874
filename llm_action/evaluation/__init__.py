"""Evaluation: metrics and the protocols they are reported on."""
