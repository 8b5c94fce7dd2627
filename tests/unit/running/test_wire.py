"""Frames and packed records: what is sent arrives, and nonsense is told from it."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.harness.ledger import CellError, OptimizerStep
from stepaudit.harness.running.packed import PackedRecord, error_record, pack
from stepaudit.harness.running.wire import Inbox, WireError, receive, send
from test_request import request


@given(st.lists(st.binary(max_size=50)), st.integers(1, 20))
def test_frames_survive_any_split(payloads, size):
    """A reader that sees arbitrary chunks gets the frames that were sent."""
    reading, writing = os.pipe()
    for payload in payloads:
        send(writing, payload)
    os.close(writing)
    inbox, frames = Inbox(), []
    while chunk := os.read(reading, size):
        frames.extend(inbox.feed(chunk))
    os.close(reading)
    assert frames == payloads


def test_a_frame_larger_than_the_pipe_arrives():
    reading, writing = os.pipe()
    payload = os.urandom(1 << 20)
    thread = threading.Thread(target=send, args=(writing, payload))
    thread.start()
    assert receive(reading) == payload
    thread.join()
    os.close(writing)
    assert receive(reading) is None
    os.close(reading)


@pytest.mark.parametrize("nonsense", [b"hello, world", b"SA1:\xff\xff\xff\xff", b"{}" * 10])
def test_nonsense_is_no_frame(nonsense):
    """Also a length that would fill the memory."""
    with pytest.raises(WireError, match="not a frame"):
        list(Inbox().feed(nonsense))


def test_a_packed_record_round_trips_with_nan_and_lone_surrogates():
    """Messages and names are what a file system gives, values are what a diverged loss gives."""
    step = OptimizerStep(
        learning_rates=(float("inf"),), grad_norm=float("nan"), weights={3: float("-inf")}, suppressed=False
    )
    record = error_record(
        request(subject="lone \udcff"), CellError(kind="exception", message="odd \udcff"), output="\udcff\0"
    )
    object.__setattr__(record, "events", (step,))
    packed = PackedRecord.from_frame(pack(record).to_frame())
    assert packed == pack(record)
    assert packed.record().digest() == record.digest()
    assert repr(packed.record().events) == repr(record.events)
    packed.error_message.encode()


@pytest.mark.parametrize("frame", [b"", b"{}\n", b"[]\nxx", b'{"cell_id": 1}\n', b"\xff\n", b"null\n"])
def test_a_frame_that_is_no_record_is_refused(frame):
    with pytest.raises(ValueError, match="not a packed record"):
        PackedRecord.from_frame(frame)
