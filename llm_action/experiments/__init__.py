"""What measures the method: tables, ablations, baselines, unseen classes, speed."""
