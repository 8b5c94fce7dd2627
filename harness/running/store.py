"""The records of a sweep: one SQLite file that outlives `kill -9` and serves two runs at once."""

from __future__ import annotations

import hashlib
import sqlite3
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..ledger import LEDGER_VERSION, CellRecord, Outcome
from .liveness import Run
from .packed import PackedRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["RECORDS_NAME", "RecordDamagedError", "Store", "StoreError", "Survey"]

RECORDS_NAME = "records.sqlite"
OnDamage = Callable[[str], None] | None
_APPLICATION = 0x57A0D170
"""SQLite's `application_id`: a foreign database is refused, not written into"""
_SCHEMA_VERSION = 1
_VERSION = _SCHEMA_VERSION * 1000 + LEDGER_VERSION
_FOREIGN_LEASE_S = 3600.0
"""a lease from another machine, whose processes nobody here can see, is stale after an hour"""
_BUSY_S = 30.0
_COLUMNS = "cell_id, subject, outcome, seconds, error_kind, error_message, payload"
_SCHEMA = f"""
CREATE TABLE records (
    cell_id TEXT PRIMARY KEY NOT NULL, subject TEXT NOT NULL, outcome TEXT NOT NULL, seconds REAL NOT NULL,
    error_kind TEXT NOT NULL, error_message TEXT NOT NULL, payload BLOB NOT NULL, checksum BLOB NOT NULL
);
CREATE TABLE repeats (
    number INTEGER PRIMARY KEY, cell_id TEXT NOT NULL, subject TEXT NOT NULL, outcome TEXT NOT NULL,
    seconds REAL NOT NULL, error_kind TEXT NOT NULL, error_message TEXT NOT NULL, payload BLOB NOT NULL,
    checksum BLOB NOT NULL
);
CREATE INDEX repeats_by_cell ON repeats (cell_id);
CREATE TABLE leases (
    key TEXT PRIMARY KEY NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL,
    taken REAL NOT NULL
);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""


class StoreError(RuntimeError):
    """The store cannot be read or written; the message is one line. What was committed before is intact."""


class RecordDamagedError(StoreError):
    """A stored record does not match its checksum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What a store holds.

    Attributes:
        outcomes: outcome of every intact record by cell id.
        repeated: cells with an intact repeat that is no error.
        damaged: cells whose record, or a repeat of it, does not match its checksum.
    """

    outcomes: dict[str, Outcome]
    repeated: frozenset[str]
    damaged: frozenset[str]


class Store:
    """The records of one output directory.

    Args:
        path: the SQLite file, made when it is missing.
        read_only: the file must exist and is not changed.

    Raises:
        StoreError: not ours, another version's, damaged beyond reading, or not writable.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._read_only = read_only
        self._run = Run.current()
        with self._guarded("open"):
            self._connection = self._connect()
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        try:
            with self._guarded("open"):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give this run's leases back and close the file."""
        with suppress(StoreError):
            self.release_all()
        self._connection.close()

    def put(self, *records: PackedRecord) -> None:
        """Commit records and end their leases; an error never replaces a result."""
        with self._transaction() as connection:
            for packed in records:
                connection.execute(
                    f"INSERT INTO records ({_COLUMNS}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own names
                    " ON CONFLICT (cell_id) DO UPDATE SET subject = excluded.subject,"
                    " outcome = excluded.outcome, seconds = excluded.seconds,"
                    " error_kind = excluded.error_kind, error_message = excluded.error_message,"
                    " payload = excluded.payload, checksum = excluded.checksum"
                    " WHERE NOT (excluded.outcome = 'error' AND records.outcome <> 'error')",
                    _row(packed),
                )
                connection.execute("DELETE FROM leases WHERE key = ?", (_key(packed.cell_id, repeat=False),))

    def put_repeat(self, packed: PackedRecord) -> None:
        """Commit a second ledger of a cell beside the first one; every one is kept."""
        with self._transaction() as connection:
            connection.execute(
                f"INSERT INTO repeats ({_COLUMNS}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
                _row(packed),
            )
            connection.execute("DELETE FROM leases WHERE key = ?", (_key(packed.cell_id, repeat=True),))

    def discard(self, cell_ids: Iterable[str]) -> None:
        """Remove the damaged rows among these cells' records and repeats, so that the cells run again."""
        with self._transaction() as connection:
            for cell in cell_ids:
                for table in ("records", "repeats"):
                    found = connection.execute(
                        f"SELECT rowid, {_COLUMNS}, checksum FROM {table} WHERE cell_id = ?",  # noqa: S608 - our own names
                        (cell,),
                    ).fetchall()
                    for rowid, *row in found:
                        if _unpacked(row) is None:
                            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))  # noqa: S608 - our own names

    def packed(self, cell_id: str) -> PackedRecord | None:
        """Return the stored record, unread, or None; RecordDamagedError when it fails its checksum."""
        return next(self._select("records", "WHERE cell_id = ?", (cell_id,)), None)

    def get(self, cell_id: str) -> CellRecord | None:
        """Return the stored record, or None; RecordDamagedError when it fails its checksum."""
        packed = self.packed(cell_id)
        return None if packed is None else self._read(packed)

    def packed_records(self, *, on_damage: OnDamage = None) -> Iterator[PackedRecord]:
        """Yield all records unread, in the order of their ids; the rest as `records`."""
        return self._select("records", "ORDER BY cell_id", (), on_damage)

    def packed_repeats(self, *, on_damage: OnDamage = None) -> Iterator[PackedRecord]:
        """Yield all repeats unread, cell by cell, oldest first; the rest as `records`."""
        return self._select("repeats", "ORDER BY cell_id, number", (), on_damage)

    def records(self, *, on_damage: OnDamage = None) -> Iterator[CellRecord]:
        """Yield all records in the order of their ids.

        Args:
            on_damage: is told the cell id of a damaged record, which is left out; without it, the first
                damaged record raises RecordDamagedError.
        """
        return self._opened(self.packed_records(on_damage=on_damage), on_damage)

    def repeats(self, *, on_damage: OnDamage = None) -> Iterator[CellRecord]:
        """Yield all repeats, cell by cell, oldest first; the rest as `records`."""
        return self._opened(self.packed_repeats(on_damage=on_damage), on_damage)

    def count(self) -> int:
        """Return the number of stored records, repeats left out."""
        with self._guarded("read"):
            return int(self._connection.execute("SELECT count(*) FROM records").fetchone()[0])

    def survey(self) -> Survey:
        """Check every record against its checksum and return what there is."""
        damaged: list[str] = []
        records = self.packed_records(on_damage=damaged.append)
        outcomes = {packed.cell_id: packed.outcome for packed in records}
        repeats = self.packed_repeats(on_damage=damaged.append)
        repeated = frozenset(packed.cell_id for packed in repeats if packed.outcome is not Outcome.ERROR)
        return Survey(outcomes=outcomes, repeated=repeated, damaged=frozenset(damaged))

    def lease(self, cell_ids: Sequence[str], *, repeat: bool = False) -> set[str]:
        """Return the cells that this run may run now: neither done nor being run by a live run."""
        table = "repeats" if repeat else "records"
        granted: set[str] = set()
        with self._transaction() as connection:
            for cell in cell_ids:
                done = connection.execute(
                    f"SELECT 1 FROM {table} WHERE cell_id = ? AND outcome <> 'error'",  # noqa: S608 - our own names
                    (cell,),
                ).fetchone()
                key = _key(cell, repeat=repeat)
                if done or self._held(connection, key):
                    continue
                connection.execute(
                    "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)",
                    (key, self._run.host, self._run.pid, self._run.started, time.time()),
                )
                granted.add(cell)
        return granted

    def is_leased(self, cell_id: str, *, repeat: bool = False) -> bool:
        """Return whether another live run is at this cell."""
        with self._guarded("read"):
            return self._held(self._connection, _key(cell_id, repeat=repeat))

    def release_all(self) -> None:
        """End all leases of this run."""
        if not self._read_only:
            with self._transaction() as connection:
                connection.execute(
                    "DELETE FROM leases WHERE host = ? AND pid = ? AND started = ?",
                    (self._run.host, self._run.pid, self._run.started),
                )

    def _opened(self, packed_records: Iterator[PackedRecord], on_damage: OnDamage) -> Iterator[CellRecord]:
        for packed in packed_records:
            try:
                yield self._read(packed)
            except RecordDamagedError:
                if on_damage is None:
                    raise
                on_damage(packed.cell_id)

    def _read(self, packed: PackedRecord) -> CellRecord:
        try:
            return packed.record()
        except (ValueError, zlib.error) as error:
            raise RecordDamagedError(f"{self.path}: the record of cell {packed.cell_id}: {error}") from error

    def _select(
        self, table: str, where: str, values: tuple[Any, ...], on_damage: OnDamage = None
    ) -> Iterator[PackedRecord]:
        with self._guarded("read"):
            rows = self._connection.execute(
                f"SELECT {_COLUMNS}, checksum FROM {table} {where}",  # noqa: S608 - our own names
                values,
            )
        while True:
            with self._guarded("read"):
                row = rows.fetchone()
            if row is None:
                return
            packed = _unpacked(row)
            if packed is not None:
                yield packed
            elif on_damage is None:
                raise RecordDamagedError(f"{self.path}: the record of cell {row[0]} fails its checksum")
            else:
                on_damage(str(row[0]))

    def _held(self, connection: sqlite3.Connection, key: str) -> bool:
        row = connection.execute(
            "SELECT host, pid, started, taken FROM leases WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return False
        holder = Run(host=row[0], pid=row[1], started=row[2])
        if holder == self._run:
            return False
        return holder.alive if holder.here else time.time() - row[3] < _FOREIGN_LEASE_S

    def _connect(self) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri()
        if not self._read_only:
            return sqlite3.connect(f"{uri}?mode=rwc", uri=True, timeout=_BUSY_S, isolation_level=None)
        connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None)
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            # A directory that cannot be written has no place for the shared-memory file of a write-ahead log.
            connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
        return connection

    def _prepare(self) -> None:
        """Check whose file it is, before anything is written into it; make the tables in a new one."""
        if self._is_new():
            if self._read_only:
                raise StoreError(f"{self.path} holds no records")
            self._connection.execute("PRAGMA journal_mode = WAL")
            with self._transaction() as connection:
                if self._is_new():  # another run may have been faster
                    for statement in _SCHEMA.split(";\n"):
                        connection.execute(statement)
        application = self._pragma("application_id")
        version = self._pragma("user_version")
        if application != _APPLICATION:
            raise StoreError(f"{self.path} is a database of another program")
        if version != _VERSION:
            raise StoreError(
                f"{self.path} holds another version's records ({version // 1000}.{version % 1000}, this "
                f"stepaudit writes {_VERSION // 1000}.{_VERSION % 1000}): choose another output directory"
            )
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def _is_new(self) -> bool:
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return not tables and self._pragma("application_id") == 0 and self._pragma("user_version") == 0

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded("write"):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _guarded(self, verb: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"cannot {verb} {self.path}: {error}{_advice(error)}") from error


def _key(cell_id: str, *, repeat: bool) -> str:
    return f"{cell_id}/repeat" if repeat else cell_id


def _row(packed: PackedRecord) -> tuple[Any, ...]:
    facts = (
        packed.cell_id,
        packed.subject,
        packed.outcome.value,
        packed.seconds,
        packed.error_kind,
        packed.error_message,
        packed.payload,
    )
    return (*facts, _checksum(facts))


def _checksum(facts: Sequence[Any]) -> bytes:
    """Hash every column, so that a hand-edited outcome is found as well as a damaged payload."""
    digest = hashlib.sha256(repr(tuple(facts[:-1])).encode("utf-8", "surrogatepass"))
    digest.update(facts[-1])
    return digest.digest()


def _unpacked(row: Sequence[Any]) -> PackedRecord | None:
    """Return the record of a row, or None when it fails its checksum."""
    *facts, checksum = row
    cell_id, subject, outcome, seconds, error_kind, error_message, payload = facts
    if not isinstance(payload, bytes) or _checksum(facts) != checksum:
        return None
    return PackedRecord(
        cell_id=cell_id,
        subject=subject,
        outcome=Outcome(outcome),
        seconds=seconds,
        error_kind=error_kind,
        error_message=error_message,
        payload=payload,
    )


def _advice(error: sqlite3.Error) -> str:
    """Return what the user can do about it."""
    text = str(error)
    if "full" in text:
        return "; what was committed is intact: free some space and run the same command again"
    if "malformed" in text or "not a database" in text:
        return "; the file is damaged or not ours: move it away and run the same command again"
    if "unable to open" in text or "readonly" in text:
        return "; its directory must exist and be writable"
    if "locked" in text:
        return f"; another run has held it for {_BUSY_S:.0f} s"
    return ""
