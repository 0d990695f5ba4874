"""Made-up skeletons of everyday actions."""
