"""The one way kernels are compiled: Numba, cached on disk, without the GIL, bounds as Python has them not.

A kernel is an ordinary Python function over flat NumPy arrays, with explicit signatures so that it is
compiled once and found in the cache by every later process. Importing this module imports Numba
(about 0.3 s): only rooms that hold kernels do so, and never ``wavetank.cli``.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from wavetank.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["kernel"]


def _usable(directory: Path) -> bool:
    """Whether kernels can be kept there. What lies there is run: nobody else may be able to put it there."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = directory.stat()
    except OSError:
        return False
    ours = facts.st_uid in (os.getuid(), 0) and not facts.st_mode & stat.S_IWOTH
    return ours and os.access(directory, os.W_OK | os.X_OK)


def _keep_kernels() -> bool:
    """Choose where compiled kernels are kept: beside the package, else in the first usable one of the
    service's cache (systemd's ``CacheDirectory=``), the user's cache, and a directory of our own in the
    temporary one. False: nowhere, and every process compiles what it calls."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given is not None:
        return _usable(Path(given))
    if os.access(Path(__file__).parent, os.W_OK):
        return True
    caches = [Path(os.environ.get("CACHE_DIRECTORY", "").split(":")[0])]
    caches.append(Path(os.environ.get("XDG_CACHE_HOME", "")))
    with suppress(RuntimeError):  # a user without a home
        caches.append(Path("~/.cache").expanduser())
    candidates = [cache / "wavetank" / "kernels" for cache in caches if cache.is_absolute()]
    candidates.append(Path(tempfile.gettempdir()) / f"wavetank-kernels-{os.getuid()}")
    for candidate in candidates:
        if _usable(candidate):
            os.environ["NUMBA_CACHE_DIR"] = str(candidate)
            return True
    return False


_KEPT: Final = _keep_kernels()

try:
    import numba  # (must see the cache directory)
except PermissionError as error:  # systemd's MemoryDenyWriteExecute, SELinux
    raise InputError(
        f"kernels cannot be compiled here: {error.strerror or error}".partition(". ")[0],
        fix="in a systemd unit set MemoryDenyWriteExecute=no",
    ) from None
from numba.core.registry import CPUDispatcher  # noqa: E402

_njit: Any = numba.njit


class _Leaf(CPUDispatcher):  # type: ignore[misc, unused-ignore]
    """A leaf is machine code for other kernels only: it has no entry point that Python could call, and
    calling it regardless would end the process. From Python it is the function it was written as."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self.py_func(*args, **kwargs)


def kernel(
    signature: str | Sequence[str] | None = None,
    *,
    inline: bool = False,
    always: bool = False,
    allocates: bool = True,
    fastmath: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function over NumPy arrays.

    ``signature`` is Numba's text form, e.g. ``"float64[::1](int64[::1], float64[::1])"``; None compiles at
    the first call for the types it sees. ``inline`` marks a leaf that is compiled into other kernels only,
    and stays ordinary Python when it is called from Python. The plain Python function stays reachable as
    ``.py_func``: tests run it as the reference. LLVM leaves out of line what is long; a leaf with ``always``
    it never does: a call copies seven words for each array. A kernel that makes no arrays and says so
    (``allocates=False``) does not count the references to those it is given, which costs two locked
    instructions for each array at each call of a leaf.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        options: dict[str, object] = {
            "nogil": True,
            "cache": _KEPT,
            "error_model": "numpy",
            "no_cfunc_wrapper": True,
        }
        if not allocates:
            options["_nrt"] = False
        if fastmath:
            options["fastmath"] = True
        if inline:
            # A leaf loaded from the cache is machine code that its callers cannot inline; compiled afresh
            # with them it can, and they are what is cached.
            # Without the wrappers by which Python would call it, it compiles in two thirds of the time.
            leaf = {"cache": False, "no_cpython_wrapper": True, "forceinline": always, "_nrt": allocates}
            inlined = _njit(**options | leaf)(function)
            inlined.__class__ = _Leaf
            return inlined  # type: ignore[no-any-return]
        if signature is None:
            return _njit(**options)(function)  # type: ignore[no-any-return]
        # Explicit signatures would compile at import; keep them for the first call.
        return _LazyKernel(function, signature, options)  # type: ignore[return-value]

    return decorate


class _LazyKernel:
    """Compiles (or loads from the cache) at the first call, so that importing a room costs nothing."""

    __slots__ = ("__name__", "_compiled", "_options", "_signature", "py_func")

    def __init__(
        self, function: Callable[..., object], signature: str | Sequence[str], options: dict[str, object]
    ) -> None:
        self.py_func = function
        self.__name__ = getattr(function, "__name__", "kernel")
        self._signature = signature if isinstance(signature, str) else list(signature)
        self._options = options
        self._compiled: Callable[..., object] | None = None

    def __call__(self, *args: object) -> object:
        compiled = self._compiled
        if compiled is None:
            compiled = self._compiled = _njit(self._signature, **self._options)(self.py_func)
        return compiled(*args)
