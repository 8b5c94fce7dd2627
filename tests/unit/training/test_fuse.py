"""Kernels go into one instance and come out again, and change no figure."""

from __future__ import annotations

import copy

import pytest
import torch
from stepaudit.harness.training import TrainingConfig, fine_tune, fuse, unfuse

#: Sums in another order, in the dtype of the model; transformers' norm and loss are float32 even in a float64 model.
CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-6}, torch.float64: {"rtol": 1e-5, "atol": 1e-7}}


def batch(rows, padded):
    data = rows(3, shortest=4 if padded else 8, longest=9 if padded else 8)
    longest = max(len(row["input_ids"]) for row in data)

    def fill(key, value):
        return torch.stack(
            [torch.nn.functional.pad(row[key], (0, longest - len(row[key])), value=value) for row in data]
        )

    inputs = {"input_ids": fill("input_ids", 0), "labels": fill("labels", -100), "num_items_in_batch": 17}
    if padded:
        lengths = torch.tensor([len(row["input_ids"]) for row in data])
        inputs["attention_mask"] = (torch.arange(longest) < lengths[:, None]).long()
    return inputs


def loss_and_gradients(model, inputs):
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


CHANGES = {
    "plain": {},
    "eager": {"attn_implementation": "eager"},
    "tied": {"tie_word_embeddings": True},
    "biased": {"attention_bias": True, "mlp_bias": True},
    "another activation": {"hidden_act": "gelu"},
    "multi-head": {"num_key_value_heads": 4},
    "wide heads": {"head_dim": 16},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_fusing_changes_neither_loss_nor_gradients(dtype, padded, changes, llama, rows):
    """Loss and every gradient equal those of transformers' own code, with and without padding."""
    model, inputs = llama(dtype=dtype, **changes), batch(rows, padded)
    expected = loss_and_gradients(model, inputs)
    fusion = fuse(model)
    got = loss_and_gradients(model, inputs)
    torch.testing.assert_close(got[1], expected[1], **CLOSE[dtype])
    torch.testing.assert_close(got[0].double(), expected[0].double(), **CLOSE[dtype])
    assert "fused_linear_cross_entropy" in fusion.names
    assert ("swiglu" in fusion.names) == (changes.get("hidden_act") != "gelu")
    assert sum(fusion.left.values()) == (2 if changes.get("hidden_act") == "gelu" else 0)


def snapshot(model):
    return [(name, dict(vars(module))) for name, module in model.named_modules()]


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_unfusing_restores_the_instance_exactly(kind, llama, lora):
    """After `unfuse`, every attribute of every module is the very object it was; forwards given before are kept."""
    model = llama() if kind == "full" else lora()
    own = lambda *args, **kwargs: None  # noqa: E731 - any callable will do
    vars(model.get_submodule("model.norm" if kind == "full" else "base_model.model.model.norm"))[
        "forward"
    ] = own
    before = snapshot(model)
    fuse(model)
    assert snapshot(model) != before
    unfuse(model)
    after = snapshot(model)
    assert [name for name, _ in after] == [name for name, _ in before]
    for (_, ours), (_, theirs) in zip(after, before, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(ours[key] is theirs[key] for key in ours)


def test_fusing_touches_no_class_and_no_other_model(llama, rows):
    """A second model of the class, made before or after, still runs transformers' own code."""
    from transformers.models.llama import modeling_llama

    classes = [value for value in vars(modeling_llama).values() if isinstance(value, type)]
    before = {value: dict(vars(value)) for value in classes}
    other, model = llama(), llama()
    fuse(model)
    later = llama()
    assert {value: dict(vars(value)) for value in classes} == before
    for untouched in (other, later):
        assert all("forward" not in vars(module) for module in untouched.modules())
        assert untouched(**batch(rows, padded=False)).logits is not None


def test_a_fused_model_still_gives_logits_hidden_states_and_text(llama, rows):
    """Whatever the fused head does not make comes from the class's forward, with the same figures."""
    model, inputs = llama().eval(), batch(rows, padded=True)
    ids = inputs["input_ids"]
    expected = model(ids).logits
    hidden = model(**inputs, output_hidden_states=True).hidden_states
    text = model.generate(ids[:1, :4], max_new_tokens=5, do_sample=False)
    fuse(model)
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        model(**inputs, output_hidden_states=True).hidden_states, hidden, rtol=1e-4, atol=1e-5
    )
    assert torch.equal(model.generate(ids[:1, :4], max_new_tokens=5, do_sample=False), text)
    assert model(**inputs).logits is None


def test_fusing_twice_is_refused_and_other_models_are_left_alone(llama):
    """The second `fuse` would lose what the first put away; a model of another kind gets no kernel."""
    model = llama()
    fuse(model)
    with pytest.raises(ValueError, match="LlamaForCausalLM is fused already"):
        fuse(model)
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert fuse(plain).names == ()
    assert all("forward" not in vars(module) for module in plain.modules())
    unfuse(llama())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_lora_kernels_change_no_gradient(checkpointing, lora, rows):
    """With adapters everywhere, loss and adapter gradients equal PEFT's, also when layers are recomputed."""
    model, inputs = lora(), batch(rows, padded=True)
    expected = loss_and_gradients(model, inputs)
    fusion = fuse(model)
    if checkpointing:
        model.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
    got = loss_and_gradients(model.train(), inputs)
    assert {"lora_linear", "lora_mlp", "lora_qkv"} <= set(fusion.names)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(got[1], expected[1], rtol=1e-4, atol=1e-6)


def test_switched_off_and_merged_adapters_are_obeyed(lora, rows):
    """A fused layer follows PEFT's switches at each call."""
    model, inputs = lora().eval(), batch(rows, padded=False)
    with torch.no_grad():
        fuse(model)
        on = model(**inputs).loss
        with model.disable_adapter():
            off = model(**inputs).loss
        model.merge_adapter()
        merged = model(**inputs).loss
        unfuse(model)
        model.unmerge_adapter()
        with model.disable_adapter():
            expected_off = model(**inputs).loss
    assert off.item() == pytest.approx(expected_off.item(), rel=1e-6)
    assert merged.item() == pytest.approx(on.item(), rel=1e-5)
    assert abs(on.item() - off.item()) > 1e-4


def test_adapters_of_another_kind_keep_their_own_code(llama, rows):
    """DoRA is not what the kernel computes: it is left, with the reason, and trains all the same."""
    import warnings

    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(llama(), LoraConfig(r=2, target_modules=["q_proj"], use_dora=True))
    fusion = fuse(model)
    assert [reason for reason in fusion.left if "variant" in reason]
    assert "lora_linear" not in fusion.names
    unfuse(model)
    result = fine_tune(model, rows(4), TrainingConfig(max_steps=2, per_device_train_batch_size=2))
    assert result.global_step == 2


def test_training_leaves_the_model_as_it_came(llama, rows):
    """Forwards, modes and recomputation are what they were, also after a run that failed."""
    model = llama().eval()
    model.model.layers[0].train()
    modes = [module.training for module in model.modules()]
    before = snapshot(model)
    fine_tune(model, rows(4), TrainingConfig(max_steps=1, gradient_checkpointing=True))

    def fail(event):
        raise RuntimeError("handler")

    with pytest.raises(RuntimeError, match="handler"):
        fine_tune(model, rows(4), TrainingConfig(max_steps=1), on_event=fail)
    assert [module.training for module in model.modules()] == modes
    for (_, ours), (_, theirs) in zip(snapshot(model), before, strict=True):
        left = {
            "gradient_checkpointing",
            "_gradient_checkpointing_func",
            "_require_grads_hook",
            "_require_grads_hooks",
        }
        assert set(ours) - left == set(theirs) - left
        assert not ours.get("gradient_checkpointing", False)
    assert not model.get_input_embeddings()._forward_hooks


def test_copies_of_a_fused_model_run_their_own_parameters(llama, rows):
    """`copy.deepcopy` binds the forwards to the copy, not to the original."""
    model, inputs = llama(), batch(rows, padded=False)
    fuse(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert twin(**inputs).loss.item() != model(**inputs).loss.item()


def test_an_unavailable_backend_is_an_error(llama, rows):
    """No silent fallback: Triton asked for on the CPU says why it cannot run."""
    with pytest.raises(RuntimeError, match="triton"):
        fine_tune(llama(), rows(2), TrainingConfig(max_steps=1, kernel_backend="triton"))
