"""The output buffer: head, tail, and everything that was written before `take`."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepaudit.harness.running import output
from stepaudit.harness.running.output import BUFFER_BYTES, HEAD, TAIL, Buffer


@pytest.fixture(scope="module")
def channel():
    """A buffer and the pipe that it is filled from."""
    descriptor = os.memfd_create("buffer")
    os.ftruncate(descriptor, BUFFER_BYTES)
    reading, writing = os.pipe()
    output.widen(writing)
    yield Buffer(descriptor), reading, writing
    for each in (descriptor, reading, writing):
        os.close(each)


def fill(channel, text, size):
    buffer, reading, writing = channel
    buffer.clear()
    for start in range(0, len(text), size):
        os.write(writing, text[start : start + size])
        buffer.pour(reading)
    return buffer.text()


@pytest.mark.parametrize("length", [0, 1, HEAD - 1, HEAD, HEAD + 1, HEAD + TAIL - 1, HEAD + TAIL])
def test_what_fits_is_kept_whole(channel, length):
    text = bytes(65 + index % 26 for index in range(length))
    assert fill(channel, text, 50_000).encode() == text


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3 * TAIL), st.integers(5_000, 300_000))
def test_what_does_not_fit_keeps_head_and_tail(channel, excess, size):
    """Whatever the size of the writes, and the number of bytes left out is true."""
    text = b"".join(b"%07d\n" % index for index in range((HEAD + TAIL + excess) // 8 + 1))
    omitted = len(text) - HEAD - TAIL
    whole = fill(channel, text, size).encode()
    assert whole == text[:HEAD] + b"\n... %d bytes left out ...\n" % omitted + text[-TAIL:]


def test_nothing_is_captured_in_a_process_that_installed_nothing():
    output.begin()
    print("to the test's own output")
    assert output.take() == ""
