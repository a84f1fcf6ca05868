"""Which snapshot serves: follows the revision, swaps one reference, keeps the last good."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import asdict, fields, replace
from pathlib import Path

import orjson
from django.db import DatabaseError, InterfaceError, close_old_connections

from gateway import metrics, revision
from gateway.config_rows import ConfigRows, read_rows
from gateway.errors import ConfigurationError, NotReady
from gateway.kinds import Source
from gateway.snapshot import Snapshot
from gateway.snapshot_compiler import compile_rows

logger = logging.getLogger(__name__)

DATABASE_AWAY = (DatabaseError, InterfaceError, OSError)


class SnapshotStore:
    """Holds the snapshot that serves.

    `current` may be read from any thread at any time. `refresh` is called by one thread
    only.
    """

    def __init__(
        self, *, keys: list[str] | None, default_strategy: str, last_good: Path
    ) -> None:
        """`last_good` is the file that lets a start succeed without the database.

        Without `keys` it opens no secret: for who calls no provider and checks no API
        key.
        """
        self._keys = keys
        self._default_strategy = default_strategy
        self._last_good = last_good
        self._snapshot: Snapshot | None = None
        self._refused_revision: int | None = None
        self._refusal: str | None = None
        self._away_since_s: float | None = None  # monotonic

    @property
    def is_database_away(self) -> bool:
        """Whether the database did not answer last time."""
        return self._away_since_s is not None

    def away_for_s(self) -> float:
        """Say for how long the database has been away; 0 while it answers."""
        since_s = self._away_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @property
    def problem(self) -> str | None:
        """What keeps the newest configuration from serving, in a sentence."""
        if self.is_database_away:
            return "The database cannot be reached; the last configuration serves."
        return self._refusal

    @property
    def current(self) -> Snapshot:
        """The snapshot that serves.

        Raises:
            NotReady: There was never one.

        """
        if self._snapshot is None:
            raise NotReady(
                "AILB has no configuration yet: its database cannot be reached."
            )
        return self._snapshot

    @property
    def is_loaded(self) -> bool:
        """Whether there is a snapshot at all."""
        return self._snapshot is not None

    def refresh(self) -> bool:
        """Follow the database: compile and swap if the revision changed.

        Blocks; never raises for a bad set of rows or a database that is away, but says
        so in `problem`. Gives whether the snapshot changed.
        """
        try:
            found = self._read_changed()
        except DATABASE_AWAY as error:
            return self._database_is_away(error)
        except ConfigurationError as error:
            self._refuse(None, error)
            return False
        self._away_since_s = None
        if found is None:
            return False
        try:
            snapshot = self._compile(found)
        except ConfigurationError as error:
            self._refuse(found.revision, error)
            return False
        self._swap(snapshot)
        self._refused_revision, self._refusal = None, None
        metrics.CONFIG_REFUSED.set(0)
        self._keep(found)
        return True

    def _read_changed(self) -> ConfigRows | None:
        number = revision.current()
        serving = None if self._snapshot is None else self._snapshot.revision
        if number in {serving, self._refused_revision}:
            return None
        return read_rows()

    def _compile(self, found: ConfigRows) -> Snapshot:
        return compile_rows(
            found, keys=self._keys, default_strategy=self._default_strategy
        )

    def _swap(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        metrics.CONFIG_REVISION.set(snapshot.revision)
        logger.info(
            "configuration serves",
            extra={"revision": snapshot.revision, "models": len(snapshot.models)},
        )

    def _refuse(self, number: int | None, error: ConfigurationError) -> None:
        self._refused_revision = number
        self._refusal = f"The configuration is refused: {error.message}"
        metrics.CONFIG_REFUSED.set(1)
        logger.error("configuration refused", extra={"reason": error.message})

    def _database_is_away(self, error: Exception) -> bool:
        if not self.is_database_away:
            logger.warning("database away", extra={"reason": type(error).__name__})
        close_old_connections()  # the next look makes a new one
        return self.use_kept()

    def use_kept(self) -> bool:
        """Serve what was kept, unless something serves; say that the database is away.

        Gives whether the snapshot changed.
        """
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()
        found = self._read_kept() if self._snapshot is None else None
        if found is None:
            return False
        try:
            self._swap(self._compile(found))
        except ConfigurationError as error:  # kept by another version of AILB
            self._refuse(None, error)
            return False
        return True

    def _keep(self, found: ConfigRows) -> None:
        """Write the last-good file: 0600, credentials as ciphertext.

        Without simulators: they run only beside the start that made their rows.
        """
        real = [row for row in found.providers if row["source"] != Source.SIMULATOR]
        kept = replace(found, providers=tuple(real))
        draft = self._last_good.with_name(f".{self._last_good.name}.{os.getpid()}")
        try:
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(asdict(kept)))
            draft.replace(self._last_good)
        except OSError as error:
            logger.warning("snapshot file not written", extra={"reason": str(error)})

    def _read_kept(self) -> ConfigRows | None:
        try:
            kept = orjson.loads(self._last_good.read_bytes())
            known = [f.name for f in fields(ConfigRows) if f.name in kept]
            return ConfigRows(**{name: kept[name] for name in known})
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning(
                "snapshot file unreadable", extra={"reason": type(error).__name__}
            )
            return None
