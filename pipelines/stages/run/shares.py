"""How far units on Ray are: their workers write it into the cluster's own key-value store, seldom,
and the driver reads it there. No actor has to be placed for it, and none can be lost."""

import secrets
import time
from dataclasses import dataclass, field

from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)

#: Seconds between two words of one unit.
TELL_EVERY = 3.0

_SPACE = "shardrank"


@dataclass(frozen=True)
class Board:
    """The shares of one sweep's units. Travels to the workers."""

    sweep: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        """Seconds since the sweep began, for the driver."""
        return time.monotonic() - self.began

    def __call__(self, unit: str, share: float) -> None:
        """A worker tells; a word that comes too soon after another, or that is not taken, is let
        go."""
        now = time.monotonic()
        if now - _told.get(unit, 0.0) < TELL_EVERY:
            return
        _told.clear()  # a worker has one unit at a time
        _told[unit] = now
        try:
            _internal_kv_put(f"{self.sweep}/{unit}", f"{share:.4f}", namespace=_SPACE)
        except Exception:  # what Ray's client raises is not documented; nothing depends on it
            return

    def read(self) -> dict[str, float]:
        """The shares told so far, by unit."""
        keys = _internal_kv_list(f"{self.sweep}/", namespace=_SPACE)
        found = {key: _internal_kv_get(key, namespace=_SPACE) for key in keys}
        return {
            key.decode().rpartition("/")[2]: float(share) for key, share in found.items() if share
        }

    def clear(self) -> None:
        """Take all of them away."""
        _internal_kv_del(f"{self.sweep}/", del_by_prefix=True, namespace=_SPACE)


#: When this process last told of a unit.
_told: dict[str, float] = {}
