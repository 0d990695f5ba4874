"""Terms of the stage-1 loss: the three language biases. Reconstruction is in `llm_action.evaluation.rebuilding`.

The paper names three human-inductive-bias terms; their formulas are not public in full. Each has a weight of its own;
weight 0 switches it off.

- Zipf: JS(f, w), the Jensen-Shannon divergence of the codes' frequencies f, largest first, to Zipf-Mandelbrot's
  w_r ~ 1 / (r + 2.7). f is the mean over the batch of softmax(-d^2 / 0.1). The formula is sibling work's, the
  temperature this project's.
- Context: -I, the mutual information of a token and its context, estimated from below as H(mean p) + mean_t sum_k p_k
  log q_k over hidden steps t, of soft assignments p and what a masked-token predictor q expects from the other steps.
  This project's; the paper says only that tokens should depend on their context. The cross-entropy without the entropy
  would be least where all tokens are one.
- MMD: |mean phi(tokens) - mean phi(words)|^2 of the tokens' embeddings and a sample of the base model's word embeddings
  in the space of a sum of RBF kernels. The paper has an MMD term; kernels and sampling are this project's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ContextPredictor(nn.Module):
    """Context sensitivity: how well a token follows from its neighbours.

    A small transformer sees a sentence with `masked_share` of its steps hidden and predicts the hidden tokens. The
    entropy of the tokens minus the cross-entropy of the prediction bounds the mutual information of a token and its
    context from below (Barber and Agakov, 2003); predictor and encoder raise it together.
    """

    def __init__(self, code_dim: int, num_codes: int, num_places: int, width: int = 64, masked_share: float = 0.3):
        super().__init__()
        self.masked_share = masked_share
        self.projection = nn.Linear(code_dim, width)
        self.positions = nn.Parameter(0.02 * torch.randn(num_places, width))
        self.hidden_step = nn.Parameter(0.02 * torch.randn(width))
        self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(width, num_codes)

    def forward(self, vectors: Tensor, assignments: Tensor) -> Tensor:
        """Bounds minus the information, nats: vectors (batch, places, code_dim), assignments (batch, places, codes)."""
        hidden = torch.rand(vectors.shape[:2], device=vectors.device) < self.masked_share
        inputs = torch.where(hidden[..., None], self.hidden_step, self.projection(vectors)) + self.positions
        log_probs = self.head(self.layer(inputs)).log_softmax(-1)
        surprise = -(assignments * log_probs).sum(-1)[hidden].sum() / hidden.sum().clamp(min=1)
        frequencies = assignments.mean((0, 1))
        return surprise + (frequencies * frequencies.clamp(min=1e-12).log()).sum()
