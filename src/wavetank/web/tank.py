"""What a console shows of a tank, and may do to it: the seam that ``rehearsal`` fills.

The web room draws from these; it never starts a process nor reads a run directory itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from wavetank.kube.client import Object, Resource

__all__ = ["LoadControl", "LoadWish", "Tank"]

Record = Mapping[str, Any]


class LoadWish(Struct, frozen=True, forbid_unknown_fields=True):
    """The load that somebody asks for: the file's own stages, a rate, or a number of users.

    ``locust_ui``: Locust's own page too, on this machine. It asks nobody for a password, so it is never
    there unasked.
    """

    mode: Literal["stages", "rps", "users"]
    rps: float = 0.0
    users: int = 0
    locust_ui: bool = False


class LoadControl(Protocol):
    """Load that the console may start, change and stop."""

    def state(self) -> dict[str, Any]:
        """``state`` (idle, starting, running, stopping), the wish, and the figures now and in total."""
        ...

    async def start(self, wish: LoadWish) -> None:
        """Raises InputError for a wish that cannot be met, or where load runs already."""
        ...

    async def change(self, wish: LoadWish) -> None: ...

    async def stop(self) -> None: ...


class Tank(Protocol):
    """A tank, seen from the monitoring process."""

    @property
    def kind(self) -> Literal["tank", "rehearsal"]: ...

    @property
    def name(self) -> str: ...

    @property
    def load(self) -> LoadControl | None: ...

    async def report(self, window_seconds: float) -> bytes:
        """The run of the last seconds as JSON of the report's model."""
        ...

    async def objects(self, resource: Resource) -> Sequence[Object]:
        """All objects of a kind; none where the API does not know the kind."""
        ...

    async def read(self, path: str) -> bytes:
        """An answer of the Kubernetes API, asked as a reader. Raises ApiError."""
        ...

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Any) -> None:
        """A JSON patch, as an administrator. Raises ApiError."""
        ...

    def records(self) -> Sequence[Record]:
        """The journals of all processes so far, oldest first."""
        ...

    async def close(self) -> None: ...
