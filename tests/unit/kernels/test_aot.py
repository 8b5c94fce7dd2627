"""Ahead-of-time compilation: every kernel compiles for every generation, spills nothing and fits."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os

import pytest
import torch
from stepaudit.kernels import BackendUnavailableError, aot, builds, catalogue, doctor

triton = pytest.importorskip("triton", reason="ahead-of-time compilation needs Triton")


@pytest.mark.parametrize("build", builds.sample_builds(), ids=lambda b: b.label)
def test_the_largest_size_fits(build):
    """The largest size of every kernel and pass, in bfloat16, spills no register on any generation."""
    for capability in aot.CAPABILITIES:
        got = aot.compile_build(build, capability)
        assert got.registers > 0
        assert got.fits, got


@pytest.mark.skipif(
    os.environ.get("STEPAUDIT_FULL_GRID") != "1",
    reason="747 compilations, minutes: STEPAUDIT_FULL_GRID=1 runs them, and so does `stepaudit doctor kernels`",
)
def test_the_full_grid_fits():
    """Every kernel, size and dtype compiles for every generation without a spill, within shared memory."""
    assert [c for c in aot.compile_all() if not c.fits] == []


def test_a_spill_is_seen():
    """A block far too large for its warps is reported as spilling (so that the test above can fail)."""
    build = next(
        b
        for b in builds.all_builds()
        if b.function == "layer_norm_backward_kernel" and b.constants["PARAMETERS"]
    )
    tile = builds.Tile(block=16384, num_warps=4)
    crowded = dataclasses.replace(build, constants={**build.constants, "BLOCK": tile.block}, tile=tile)
    got = aot.compile_build(crowded, 90)
    assert got.spill_bytes > 0
    assert not got.fits


def test_every_jit_kernel_is_built():
    """No launched `triton.jit` function of ours is missing from the builds, in either pass."""
    launched = {
        (folder, name)
        for folder in {e.folder for e in catalogue.CATALOGUE} - {"packed_attention", "linear_cross_entropy"}
        for name, value in vars(importlib.import_module(f"stepaudit.kernels.{folder}.triton_backend")).items()
        if isinstance(value, triton.runtime.JITFunction) and name.endswith("_kernel")
    }
    assert launched == {(b.folder, b.function) for b in builds.all_builds()}


def test_builds_follow_the_launchers():
    """Blocks and warps that are compiled are those that a launch would choose, and sizes are the real ones."""
    from stepaudit.kernels.tiling import row_parts, whole_row

    assert {b.tile for b in builds.all_builds() if b.folder == "norms"} == {
        whole_row("n", h) for h in builds.HIDDEN
    }
    assert {b.tile for b in builds.all_builds() if b.folder == "cross_entropy"} == {
        row_parts(v) for v in builds.VOCABULARY
    }
    assert min(builds.HIDDEN) == 1024
    assert max(builds.HIDDEN) == 8192
    assert max(builds.VOCABULARY) == 2**18
    assert {b.dtype for b in builds.all_builds()} == {"float32", "bfloat16", "float16"}


def test_every_public_kernel_is_catalogued():
    """The catalogue lists the public kernels, each with a reference of the same name."""
    public = importlib.import_module("stepaudit.kernels")
    functions = {n for n in public.__all__ if inspect.isfunction(getattr(public, n))}
    switches = {"active_backend", "set_backend", "unavailable_reason", "use_backend"}
    assert {e.name for e in catalogue.CATALOGUE} == functions - switches
    for entry in catalogue.CATALOGUE:
        reference = importlib.import_module(f"stepaudit.kernels.{entry.folder}.reference")
        mine = inspect.signature(getattr(public, entry.name)).parameters
        theirs = inspect.signature(getattr(reference, entry.name)).parameters
        dropout = {"dropout_p", "training"}  # the reference takes the mask itself
        assert [p for p in mine if p not in dropout] == [p for p in theirs if p not in ("mask", "masks")]


def test_bytes_moved_are_never_below_the_minimum():
    """For each kernel and pass, ours moves at least what any kernel must."""
    for tokens in (1, 4096):
        sizes = doctor.Sizes(tokens=tokens)
        for entry in catalogue.CATALOGUE:
            t = entry.traffic
            assert 0 < t.forward_minimal(sizes) <= t.forward_actual(sizes), entry.name
            assert 0 < t.backward_minimal(sizes) <= t.backward_actual(sizes), entry.name


def test_the_count_of_bytes_is_the_size_of_the_tensors():
    """The minimum of an elementwise kernel is the size of its operands, counted on real tensors."""
    s = doctor.Sizes(tokens=3, hidden=8, inner=16, element=2)
    x = torch.empty(3, 16, dtype=torch.bfloat16)
    swiglu = next(e for e in catalogue.CATALOGUE if e.name == "swiglu").traffic
    assert swiglu.forward_minimal(s) == 3 * x.nbytes
    assert swiglu.backward_minimal(s) == 5 * x.nbytes


def test_the_table_has_every_kernel():
    """A table made without compiling or checking says so in every row, and passes nothing off as checked."""
    rows = doctor.doctor_table(full=False, check=False, capabilities=())
    assert [r.kernel for r in rows] == [e.name for e in catalogue.CATALOGUE]
    assert all(r.compiled_for == () and r.interpreter_checked == {} for r in rows)
    assert {r.state for r in rows} == {"unchecked", "library"}
    for row in rows:
        cells = dict(zip(row.columns(), row.cells(), strict=True))
        assert cells["kernel"] == row.kernel
        assert cells["spills\nB"] == cells["builds"] == "-"
        assert "compiled for" not in row.details()


def test_the_table_fits_a_terminal_of_80_columns():
    """Nothing of the findings is cut off: the widest cell of each column, and a space between."""
    rows = doctor.doctor_table(full=False, check=False, capabilities=())
    widest = dataclasses.replace(
        rows[0], builds=999, registers=255, spill_bytes=9999, interpreter_checked={"float32": 9.99}
    )
    cells = [
        [line for name in rows[0].columns() for line in [name.split("\n")]],
        *([[cell] for cell in row.cells()] for row in (*rows, widest)),
    ]
    widths = [
        max(len(line) for row in cells for line in row[column]) for column in range(len(rows[0].columns()))
    ]
    assert sum(widths) + len(widths) - 1 <= 80


def test_the_state_of_a_row_is_what_was_found():
    """A row is sound only if it was compiled and checked; a spill, an excess or an error makes it faulty."""
    (row,) = (r for r in doctor.doctor_table(full=False, check=False, capabilities=()) if r.kernel == "rope")
    good = dataclasses.replace(
        row, builds=1, compiled_for=("sm_90",), shared_limit_bytes=1024, interpreter_checked={"float32": 0.5}
    )
    assert good.state == "sound"
    assert dataclasses.replace(good, interpreter_checked={}).state == "unchecked"
    assert dataclasses.replace(good, builds=0).state == "unchecked"
    for fault in (
        {"spill_bytes": 8},
        {"shared_bytes": 2048},
        {"interpreter_checked": {"float32": 1.5}},
        {"interpreter_checked": {"float32": float("nan")}},
    ):
        assert dataclasses.replace(good, **fault).state == "faulty"


def test_interpreter_check_passes_for_every_triton_kernel():
    """The check that the table runs in a child finds every kernel within its tolerance, in every dtype."""
    errors = doctor.interpreter_errors()
    assert set(errors) == {e.name for e in catalogue.CATALOGUE if e.builds}
    for row in errors.values():
        assert set(row) == {"float32", "bfloat16", "float16"}
        assert all(0 < e <= 1 for e in row.values())


def test_compiling_under_the_interpreter_is_an_error(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(BackendUnavailableError, match="TRITON_INTERPRET=1 is set"):
        aot.compile_build(builds.sample_builds()[0], 90)


def test_unknown_generation_is_an_error():
    with pytest.raises(ValueError, match=r"one of \[80, 90, 100\], got 75"):
        aot.compile_build(builds.sample_builds()[0], 75)
