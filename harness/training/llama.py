"""Forwards of transformers' Llama modules, written with the fused kernels.

Each function has the signature of the forward that it stands in for and computes the same thing. They are
bound to single module instances by ``fuse``; the classes are never touched. Source of the behaviour:
``transformers/models/llama/modeling_llama.py``, 5.x.

Legend: B batch, L positions, N query heads, K key heads, D head dimension, H hidden, T = B L tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...kernels import (
    add_rms_norm,
    fused_linear_cross_entropy,
    lora_mlp,
    lora_qkv,
    packed_attention,
    rms_norm,
    rope,
    swiglu,
)
from .lora import adapted_together

IGNORE_INDEX = -100

#: Arguments of the model's forward that select outputs which the fused head does not make.
_OTHER_OUTPUTS = ("output_hidden_states", "output_attentions", "past_key_values")


def norm_forward(self: Any, hidden_states: Tensor) -> Tensor:
    """Stands in for ``LlamaRMSNorm.forward``."""
    return rms_norm(hidden_states, self.weight, eps=self.variance_epsilon)


def mlp_forward(self: Any, x: Tensor) -> Tensor:
    """Stands in for ``LlamaMLP.forward`` with SiLU; with three adapters, one kernel does all of it."""
    together = adapted_together(self.gate_proj, self.up_proj, self.down_proj)
    if together is not None:
        weights, dropout_p = together
        return lora_mlp(x, *weights, dropout_p=dropout_p, training=self.training)
    down: Tensor = self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))
    return down


def attention_forward(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Stands in for ``LlamaAttention.forward``; with ``cu_seqlens`` attention stays inside each document."""
    assert position_embeddings is not None
    shape_BL = hidden_states.shape[:-1]
    heads = (*shape_BL, -1, self.head_dim)
    q_BNLD, k_BKLD, v_BKLD = (x.view(heads).transpose(1, 2) for x in _projections(self, hidden_states))
    q_BNLD, k_BKLD = rope(q_BNLD, k_BKLD, *position_embeddings)
    cu_seqlens = kwargs.pop("cu_seqlens", None)
    if cu_seqlens is not None and past_key_values is None:
        q_TND, k_TKD, v_TKD = (x.transpose(1, 2).flatten(0, 1) for x in (q_BNLD, k_BKLD, v_BKLD))
        packed_TND = packed_attention(q_TND, k_TKD, v_TKD, cu_seqlens, scale=self.scaling)
        return self.o_proj(packed_TND.reshape(*shape_BL, -1)), None
    if past_key_values is not None:
        k_BKLD, v_BKLD = past_key_values.update(k_BKLD, v_BKLD, self.layer_idx)
    out_BLND, weights = attention_function(self.config)(
        self,
        q_BNLD,
        k_BKLD,
        v_BKLD,
        attention_mask,
        dropout=self.attention_dropout if self.training else 0.0,
        scaling=self.scaling,
        **kwargs,
    )
    return self.o_proj(out_BLND.reshape(*shape_BL, -1).contiguous()), weights


def _projections(self: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    together = adapted_together(self.q_proj, self.k_proj, self.v_proj)
    if together is None:
        return self.q_proj(hidden_states), self.k_proj(hidden_states), self.v_proj(hidden_states)
    weights, dropout_p = together
    return lora_qkv(hidden_states, *weights, dropout_p=dropout_p, training=self.training)


def attention_function(config: Any) -> Any:
    """The attention that the model's configuration names, from transformers' own registry."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.models.llama.modeling_llama import eager_attention_forward

    name = config._attn_implementation  # noqa: SLF001 - transformers keeps it there and nowhere else
    return ALL_ATTENTION_FUNCTIONS.get_interface(name, eager_attention_forward)


def layer_forward(self: Any, hidden_states: Tensor, **kwargs: Any) -> Tensor:
    """Stands in for ``LlamaDecoderLayer.forward``, gradient checkpointing included."""
    if self.gradient_checkpointing and self.training:
        kwargs = {**kwargs, "use_cache": False, "past_key_values": None}
        out: Tensor = self._gradient_checkpointing_func(partial(_layer, self, **kwargs), hidden_states)
        return out
    return _layer(self, hidden_states, **kwargs)


def _layer(self: Any, hidden_states: Tensor, **kwargs: Any) -> Tensor:
    attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
    norm = self.post_attention_layernorm
    normed, residual = add_rms_norm(
        attended.to(hidden_states.dtype), hidden_states, norm.weight, eps=norm.variance_epsilon
    )
    out: Tensor = residual + self.mlp(normed)
    return out


def causal_lm_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Stands in for ``LlamaForCausalLM.forward`` when there are labels: head and loss in one, no logits.

    Whatever the fused head cannot give (logits without labels, hidden states, a cache, part of the logits)
    comes from the forward of the class.
    """
    given = {key: value for key, value in kwargs.items() if value is not None}
    labels = given.get("labels")
    other = any(given.get(name) for name in _OTHER_OUTPUTS) or given.get("return_dict", True) is False
    if args or labels is None or other or not _is_all(given.get("logits_to_keep", 0)):
        return type(self).forward(self, *args, **kwargs)
    given.pop("labels")
    divisor, shifted = given.pop("num_items_in_batch", None), given.pop("shift_labels", None)
    for name in ("logits_to_keep", "use_cache", "return_dict", *_OTHER_OUTPUTS):
        given.pop(name, None)
    if "cu_seqlens" in given:
        # a mask of four dimensions is taken as it is: no (T, T) mask is made, the bounds say all there is to
        # say
        given["attention_mask"] = labels.new_empty(1, 1, 1, 1)
    hidden_BLH = self.model(**given, use_cache=False).last_hidden_state
    if shifted is None:
        shifted = nn.functional.pad(labels, (0, 1), value=IGNORE_INDEX)[..., 1:]
    loss = fused_linear_cross_entropy(
        hidden_BLH.flatten(0, 1),
        self.lm_head.weight,
        shifted.reshape(-1).to(hidden_BLH.device),
        bias=self.lm_head.bias,
        num_items_in_batch=divisor,
    )
    from transformers.modeling_outputs import CausalLMOutputWithPast

    return CausalLMOutputWithPast(loss=loss)


def _is_all(logits_to_keep: Any) -> bool:
    return not isinstance(logits_to_keep, torch.Tensor) and logits_to_keep == 0
