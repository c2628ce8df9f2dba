"""A leaf kernel is compiled into its callers; called from Python it is the function it was written as."""

from __future__ import annotations

import subprocess
import sys

from wavetank.jit import kernel


@kernel(inline=True)
def one_more(x: float) -> float:
    return x + 1.0


@kernel()
def twice_one_more(x: float) -> float:
    return one_more(x) * 2.0


def test_a_leaf_answers_python_and_kernels_alike() -> None:
    assert one_more(2.0) == 3.0
    assert twice_one_more(2.0) == 6.0
    assert twice_one_more.py_func(2.0) == 6.0  # type: ignore[attr-defined]
    assert one_more(2.0) == 3.0  # once it is machine code too


def test_a_leaf_that_was_compiled_first_does_not_end_the_process() -> None:
    program = (
        "import numpy as np\n"
        "from wavetank.simulation.kernels import settle, BINS, ROW\n"
        "from wavetank.simulation import kernels\n"
        "settle(np.zeros(BINS, np.int64), np.zeros(BINS, np.int64), np.zeros(ROW))\n"
        "print(kernels._middle(64 * 19))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert 0.25 < float(done.stdout) < 1.1
