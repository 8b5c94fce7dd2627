"""The store: what was committed stays, what was tampered with is found, what is not ours is refused."""

import sqlite3
import subprocess
import sys
import textwrap
import zlib

import pytest
from stepaudit.harness.ledger import LEDGER_VERSION, CellError, CellRecord, OptimizerStep, Outcome
from stepaudit.harness.running import store as module
from stepaudit.harness.running.liveness import Run
from stepaudit.harness.running.merge import merge
from stepaudit.harness.running.packed import pack
from stepaudit.harness.running.request import cell_id
from stepaudit.harness.running.store import RECORDS_NAME, RecordDamagedError, Store, StoreError
from stepaudit.scenarios import Scenario


def record(rows=1, *, outcome=Outcome.COMPLETED, rate=0.1, output=""):
    scenario = Scenario(rows=rows)
    step = OptimizerStep(learning_rates=(rate,), grad_norm=1.0, weights=None, suppressed=False)
    return CellRecord(
        cell_id=cell_id(scenario=scenario, subject="s", versions={}, device="cpu"),
        scenario=scenario,
        subject="s",
        contract="c",
        versions={},
        device="cpu",
        outcome=outcome,
        events=(step,) if outcome is Outcome.COMPLETED else (),
        error=CellError(kind="killed", message="m") if outcome is Outcome.ERROR else None,
        output=output,
        seconds=0.1,
    )


def edit(path, statement, *values):
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


def test_what_is_put_is_got(store):
    """Also after closing, by a reader that may not write."""
    kept = record()
    store.put(pack(kept))
    assert store.get(kept.cell_id) == kept
    assert store.get("0" * 64) is None
    assert store.count() == 1
    with Store(store.path, read_only=True) as reader:
        assert list(reader.records()) == [kept]


def test_a_result_replaces_an_error_and_never_the_reverse(store):
    """A late error of a second run must not cost a result."""
    store.put(pack(record(outcome=Outcome.ERROR)))
    store.put(pack(record(outcome=Outcome.ERROR, output="again")))
    assert store.get(record().cell_id).output == "again"
    store.put(pack(record()))
    store.put(pack(record(outcome=Outcome.ERROR)))
    assert store.get(record().cell_id) == record()


def test_all_repeats_are_kept(store):
    for rate in (0.1, 0.2, 0.1):
        store.put_repeat(pack(record(rate=rate)))
    assert [repeat.events[0].learning_rates for repeat in store.repeats()] == [(0.1,), (0.2,), (0.1,)]


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE records SET payload = ?", zlib.compress(b'{"cell_id": "forged"}')),
        ("UPDATE records SET payload = substr(payload, 1, ?)", 20),
        ("UPDATE records SET payload = ?", "text"),
        ("UPDATE records SET payload = ?", b""),
        ("UPDATE records SET outcome = ?", "unsupported"),
        ("UPDATE records SET outcome = ?", "nonsense"),
        ("UPDATE records SET seconds = ?", 9.0),
        ("UPDATE records SET subject = ?", "better"),
        ("UPDATE records SET subject = CAST(? AS TEXT)", b"\xff\xfe"),
        ("UPDATE records SET cell_id = ?", "f" * 64),
        ("UPDATE records SET checksum = ?", b"0" * 32),
    ],
)
def test_an_edited_record_is_found_and_costs_only_itself(store, statement, value):
    """Any column: the checksum covers the whole row. Reading says so, discarding makes room to run again."""
    tampered, intact = record(1), record(2)
    store.put(pack(tampered))
    edit(store.path, statement, value)
    store.put(pack(intact))
    with pytest.raises(RecordDamagedError, match="fails its checksum"):
        list(store.records())
    damaged = []
    assert list(store.records(on_damage=damaged.append)) == [intact]
    survey = store.survey()
    assert survey.damaged == set(damaged)
    assert survey.outcomes == {intact.cell_id: Outcome.COMPLETED}
    store.discard(survey.damaged)
    assert store.survey().damaged == frozenset()
    assert store.lease([tampered.cell_id]) == {tampered.cell_id}


def test_an_edited_repeat_is_found(store):
    store.put_repeat(pack(record(1)))
    edit(store.path, "UPDATE repeats SET seconds = 9")
    assert store.survey().damaged == {record(1).cell_id}
    assert store.survey().repeated == frozenset()
    store.discard([record(1).cell_id])
    assert list(store.repeats()) == []


def test_another_versions_records_are_refused_and_left_alone(store):
    """The message names both versions; not a byte changes."""
    store.put(pack(record()))
    edit(store.path, f"PRAGMA user_version = {1000 + LEDGER_VERSION + 1}")
    store.close()
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match="holds another version's records") as error:
        Store(store.path)
    assert f"1.{LEDGER_VERSION + 1}" in str(error.value)
    assert store.path.read_bytes() == before


def test_a_foreign_database_is_refused_and_left_alone(tmp_path):
    edit(tmp_path / "other.sqlite", "CREATE TABLE records (x)")
    before = (tmp_path / "other.sqlite").read_bytes()
    with pytest.raises(StoreError, match="a database of another program"):
        Store(tmp_path / "other.sqlite")
    assert (tmp_path / "other.sqlite").read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_one_clear_error(tmp_path, content):
    (tmp_path / RECORDS_NAME).write_bytes(content)
    with pytest.raises(StoreError, match="not ours") as error:
        Store(tmp_path / RECORDS_NAME)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_one_clear_error(store):
    """Half the pages are gone: no record can be trusted to be all there is."""
    for rows in range(1, 200):
        store.put(pack(record(rows, output="x" * rows)))
    store.close()
    content = store.path.read_bytes()
    store.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="move it away"), Store(store.path) as opened:
        opened.survey()


@pytest.mark.parametrize("place", ["missing/records.sqlite", "file/records.sqlite", "."])
def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot open .*must exist and be writable"):
        Store(tmp_path / place)


def test_a_reader_makes_no_file(tmp_path):
    with pytest.raises(StoreError, match="cannot open"):
        Store(tmp_path / RECORDS_NAME, read_only=True)
    assert list(tmp_path.glob("*.sqlite*")) == []


def test_a_full_disk_is_one_clear_error_and_loses_nothing(store):
    """SQLite's own page limit stands for the disk; the same store goes on when there is room again."""
    for rows in range(1, 20):
        store.put(pack(record(rows)))
    store._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="full; what was committed is intact") as error:
        store.put(*(pack(record(rows, output=str(list(range(rows * 100))))) for rows in range(20, 200)))
    assert "\n" not in str(error.value)
    assert len(list(store.records())) == 19
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.put(pack(record(500)))
    assert len(list(store.records())) == 20


def test_a_killed_writer_loses_nothing_that_it_committed(tmp_path):
    """`kill -9` in the middle of a stream of commits; what the writer had reported is there."""
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from test_store import Store, pack, record
        store = Store(Path(sys.argv[1]))
        for rows in range(1, 100000):
            store.put(pack(record(rows)))
            print(rows, flush=True)
        """
    )
    path = tmp_path / RECORDS_NAME
    writer = subprocess.Popen(
        [sys.executable, "-P", "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    for line in writer.stdout:
        if int(line) == 50:
            writer.kill()
            break
    said = [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    writer.stdout.close()
    with Store(path) as store:
        rows = {kept.scenario.rows for kept in store.records()}
    last = max([50, *said[:-1]])
    assert rows >= set(range(1, last + 1))
    assert rows <= set(range(1, last + 3))


class TestLeases:
    """A cell that a live run is at is not run by another; a dead run's cells are free."""

    cell = record().cell_id

    @pytest.fixture
    def other(self, store, monkeypatch):
        """A second run on the same store."""
        monkeypatch.setattr(Run, "alive", property(lambda run: run.pid != 2))
        with Store(store.path) as opened:
            opened._run = Run(host=store._run.host, pid=1, started=7)
            yield opened

    def test_one_run_gets_a_cell(self, store, other):
        assert store.lease([self.cell]) == {self.cell}
        assert other.lease([self.cell]) == set()
        assert other.is_leased(self.cell)
        assert not store.is_leased(self.cell)

    def test_a_result_ends_the_lease_and_keeps_others_away(self, store, other):
        store.lease([self.cell])
        store.put(pack(record()))
        assert not other.is_leased(self.cell)
        assert other.lease([self.cell]) == set()

    def test_an_error_ends_the_lease_and_may_be_run_again(self, store, other):
        store.lease([self.cell])
        store.put(pack(record(outcome=Outcome.ERROR)))
        assert other.lease([self.cell]) == {self.cell}

    def test_a_dead_runs_lease_is_stale(self, store, other):
        store.lease([self.cell])
        edit(store.path, "UPDATE leases SET pid = 2")
        assert other.lease([self.cell]) == {self.cell}

    def test_a_later_process_of_the_same_number_is_another_run(self, store, monkeypatch):
        store.lease([self.cell])
        edit(store.path, "UPDATE leases SET started = started - 1")
        assert store.lease([self.cell]) == {self.cell}

    def test_another_machines_lease_holds_for_an_hour(self, store, other):
        store.lease([self.cell])
        edit(store.path, "UPDATE leases SET host = 'elsewhere'")
        assert other.lease([self.cell]) == set()
        edit(store.path, "UPDATE leases SET taken = taken - 3601")
        assert other.lease([self.cell]) == {self.cell}

    def test_closing_gives_the_leases_back(self, store, other):
        store.lease([self.cell])
        other.release_all()
        assert other.is_leased(self.cell)
        store.release_all()
        assert not other.is_leased(self.cell)

    def test_cell_and_repeat_are_leased_apart(self, store, other):
        store.lease([self.cell], repeat=True)
        assert other.lease([self.cell]) == {self.cell}
        assert other.lease([self.cell], repeat=True) == set()


class TestMerge:
    """Two stores become one, and nothing that differs is lost."""

    @pytest.fixture
    def other(self, tmp_path):
        with Store(tmp_path / "other.sqlite") as opened:
            yield opened

    def test_adds_what_is_missing_and_what_was_an_error(self, store, other):
        store.put(pack(record(1)), pack(record(2, outcome=Outcome.ERROR)))
        other.put(pack(record(1)), pack(record(2)), pack(record(3)), pack(record(4, outcome=Outcome.ERROR)))
        merged = merge(store, other)
        assert (merged.added, merged.replaced, merged.same) == (2, 1, 1)
        assert len(list(store.records())) == 4
        assert store.get(record(2).cell_id) == record(2)

    def test_keeps_both_of_two_ledgers(self, store, other):
        """Also when merged twice, once."""
        store.put(pack(record(1)))
        other.put(pack(record(1, rate=0.2)))
        for _ in range(2):
            assert merge(store, other).differing == [record(1).cell_id]
        assert store.get(record(1).cell_id) == record(1)
        assert list(store.repeats()) == [record(1, rate=0.2)]

    def test_carries_repeats_once(self, store, other):
        other.put_repeat(pack(record(1)))
        merge(store, other)
        merge(store, other)
        assert list(store.repeats()) == [record(1)]

    def test_leaves_damage_out_and_mends_its_own(self, store, other):
        store.put(pack(record(1)))
        other.put(pack(record(1)), pack(record(2)))
        edit(store.path, "UPDATE records SET seconds = 9")
        edit(other.path, "UPDATE records SET seconds = 9 WHERE cell_id = ?", record(2).cell_id)
        merged = merge(store, other)
        assert merged.damaged == [record(2).cell_id]
        assert list(store.records()) == [record(1)]


def test_two_openers_of_a_new_file_agree(tmp_path, monkeypatch):
    """The second one finds the tables made between its look and its lock."""
    path = tmp_path / RECORDS_NAME
    looks = []
    is_new = Store._is_new

    def late(store):
        looks.append(1)
        if len(looks) == 1:
            monkeypatch.setattr(module.Store, "_is_new", is_new)
            Store(path).close()
            return True
        return is_new(store)

    monkeypatch.setattr(module.Store, "_is_new", late)
    with Store(path) as store:
        store.put(pack(record()))
        assert store.count() == 1
