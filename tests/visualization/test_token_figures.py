"""The picture of the language biases: drawn from what there is, and refused where there are no tokens."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from llm_action.visualization.token_figures import plot_tokens

FIGURES = {"rank_counts": [50, 20, 5, 0], "bits": 1.2, "bits_given_context": 0.7, "mmd_before": 0.9, "mmd": 0.3}


@pytest.mark.parametrize("missing", [(), ("mmd_before",), ("mmd", "mmd_before")], ids=str)
def test_drawn_from_what_there_is(tmp_path, missing):
    figures = {name: value for name, value in FIGURES.items() if name not in missing}
    pixels = np.asarray(Image.open(plot_tokens(figures, tmp_path / "new" / "tokens.png")).convert("RGB"))
    assert pixels.shape[1] > 1000 and len(np.unique(pixels[..., 0])) > 20


def test_continuous_features_have_none(tmp_path):
    with pytest.raises(ValueError, match="no tokens"):
        plot_tokens({"reconstruction_error": 0.1}, tmp_path / "tokens.png")
