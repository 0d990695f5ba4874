"""Evaluation: metrics, calibration, the ledger of test parts, token metrics and the probe."""
