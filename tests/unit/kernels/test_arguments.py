"""Wrong arguments are refused with the kernel, the argument and the value; nothing fails silently."""

from __future__ import annotations

import pytest
import torch
from stepaudit import kernels as k

X, H = torch.ones(2, 3), torch.ones(3)
LOGITS, LABELS = torch.zeros(2, 5), torch.tensor([0, 4])
FROZEN = {"weight": torch.ones(4, 3), "lora_a": torch.ones(1, 3), "lora_b": torch.ones(4, 1), "scaling": 1.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: k.rms_norm(X, torch.ones(4), eps=1e-6), r"rms_norm: weight has shape \[4\], x has \[2, 3\]"),
        (lambda: k.rms_norm(torch.ones(2, 0), torch.ones(0), eps=1e-6), "must not be empty"),
        (lambda: k.rms_norm(torch.ones(2, 3).long(), H, eps=1e-6), "floating dtype"),
        (lambda: k.add_rms_norm(X, X.double(), H, eps=1e-6), r"residual is torch\.float64"),
        (lambda: k.swiglu(X, torch.ones(2, 4)), r"swiglu: up has shape \[2, 4\]"),
        (lambda: k.geglu(X, X, approximate="erf"), "got 'erf'"),
        (lambda: k.rope(*[torch.ones(1, 1, 2, 3)] * 2, *[torch.ones(1, 2, 3)] * 2), "must be even, got 3"),
        (lambda: k.rope(*[torch.ones(1, 1, 2, 4)] * 2, *[torch.ones(2, 4)] * 2), r"cos has shape \[2, 4\]"),
        (lambda: k.cross_entropy(LOGITS, torch.tensor([0, 5])), r"label 5 at row 1 is outside .* \[0, 5\)"),
        (lambda: k.cross_entropy(LOGITS, torch.tensor([-1, 0])), "label -1 at row 0"),
        (lambda: k.cross_entropy(LOGITS, LABELS[:1]), r"expected \[2\]"),
        (lambda: k.cross_entropy(LOGITS, LABELS.int()), r"expected torch\.int64"),
        (lambda: k.cross_entropy(LOGITS, LABELS, num_items_in_batch=0), "must be positive, got 0"),
        (lambda: k.cross_entropy(LOGITS, LABELS, num_items_in_batch=torch.ones(2)), "must be 0-dimensional"),
        (lambda: k.cross_entropy(LOGITS, LABELS, label_smoothing=1.0), r"\[0, 1\), got 1.0"),
        (lambda: k.cross_entropy(LOGITS, LABELS, softcap=-1.0), "got -1.0"),
        (lambda: k.cross_entropy(LOGITS, LABELS, z_loss=float("nan")), "got nan"),
        (lambda: k.cross_entropy(LOGITS, LABELS, logit_scale=0.0), "not 0, got 0.0"),
        (lambda: k.fused_linear_cross_entropy(X, torch.ones(5, 4), LABELS), r"weight \[5, 4\]"),
        (
            lambda: k.fused_linear_cross_entropy(X, torch.ones(5, 3), LABELS, chunk_tokens=0),
            "positive, got 0",
        ),
        (
            lambda: k.fused_linear_cross_entropy(X, torch.ones(5, 3), LABELS, bias=torch.ones(4)),
            r"expected \[5\]",
        ),
        (lambda: k.lora_linear(X, **FROZEN, dropout_p=1.0), r"\[0, 1\), got 1.0"),
        (lambda: k.lora_linear(torch.ones(2, 4), **FROZEN), "do not fit 4 features"),
        (
            lambda: k.lora_linear(X, **{**FROZEN, "weight": torch.ones(4, 3, requires_grad=True)}),
            "weight requires grad, but the base is frozen",
        ),
        (lambda: k.packed_attention(*[torch.ones(3, 1, 2)] * 3, torch.tensor([0, 2])), "ascend from 0 to 3"),
        (
            lambda: k.packed_attention(torch.ones(3, 3, 2), *[torch.ones(3, 2, 2)] * 2, torch.tensor([0, 3])),
            "3 query heads are no multiple of 2",
        ),
    ],
)
def test_refused(call, message):
    """The message shows the offending value."""
    with pytest.raises(ValueError, match=message):
        call()
