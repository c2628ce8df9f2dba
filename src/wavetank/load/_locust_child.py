"""The process that is Locust: run as ``python -m wavetank.load._locust_child --channel FD ...``.

Importing Locust patches the interpreter's sockets, threads and sleeps, so it happens here first of all and
nowhere else. The parent commands over a socket pair (``messages``); the runner, the events, the users and
the statistics are Locust's own. One process is a local runner; with ``--role`` several are a master and its
workers, and then every worker has its own gate and recorder while the master places the users.
"""

from __future__ import annotations

import locust  # first of all: it patches the standard library  # isort: skip

import argparse
import logging
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

import gevent
import msgspec
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool
from locust import log, runners
from locust.exception import InterruptTaskSet
from locust.stats import stats_history
from locust.user.users import PytestUser

from wavetank.clock import RealClock
from wavetank.limits import LOAD_DRAIN_SECONDS, LOAD_ORPHAN_SECONDS, LOAD_PUSH_SECONDS
from wavetank.load._locustfile import LocustfileError, LocustReports, build_environment, describe, warnings
from wavetank.load._patches import lead_pytest_through, lead_through, route_connections
from wavetank.load._player import Crew, Player
from wavetank.load.gate import Gate, Run
from wavetank.load.messages import (
    Begin,
    Command,
    Done,
    Hello,
    Quit,
    Report,
    RunShape,
    SetRate,
    SetUsers,
    Stop,
    WantUsers,
)
from wavetank.load.recorder import Recorder

_SPAWN_WARNING = "Your selected spawn rate is very high"


class Channel:
    """JSON lines to and from the parent."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # programs that a locustfile starts must not keep it open
        self.socket = socket.socket(fileno=descriptor)
        self._lock = BoundedSemaphore(1)
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Command).decode

    def send(self, report: Report) -> None:
        """A parent that is gone is noticed by the reader, not here."""
        line = self._encode(report) + b"\n"
        with self._lock, suppress(OSError):
            self.socket.sendall(line)

    def commands(self) -> Any:
        with self.socket.makefile("rb") as file:
            for line in file:
                yield self._decode(line)


class Child:
    """One Locust runner and what the parent may ask of it."""

    def __init__(self, options: argparse.Namespace, channel: Channel) -> None:
        self.options = options
        self.channel = channel
        self.clock = RealClock(options.seed)
        self.recorder = Recorder(self.clock)
        self.over = Event()
        self.reports: LocustReports | None = None
        self._stopping = False
        self._ran = False

    def prepare(self) -> None:
        """Import the locustfile, make the runner, greet. Raises LocustfileError."""
        options = self.options
        if options.route:
            route_connections(_routes(options.route))
        self.environment: Any = build_environment(
            options.locustfile,
            options.host,
            options.arguments,
            options.user_class,
            options.web_port is not None,
        )
        self.environment.stop_timeout = self.environment.stop_timeout or LOAD_DRAIN_SECONDS
        self.runner = self._make_runner()
        self.crew = Crew(self.runner, self._want if options.role == "worker" else None)
        self.gate = Gate(self.clock, self.recorder, self.crew, gives_back=(InterruptTaskSet,))
        self.player = Player(self.clock, self.gate, self.crew, self.channel.send, options.role)
        lead_through(self.gate)
        for user_class in self.environment.user_classes:
            if issubclass(user_class, PytestUser):
                lead_pytest_through(self.gate, user_class)
        self._listen()
        self._greet()
        gevent.spawn(self._push_regularly)

    def _make_runner(self) -> Any:
        options, environment = self.options, self.environment
        runner: Any
        if options.role == "master":
            # the master waits this long for its workers' word after every change of users; growth must not
            os.environ.setdefault("LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP", "0.1")
            runner = environment.create_master_runner("127.0.0.1", 0)
        elif options.role == "worker":
            runners.WORKER_REPORT_INTERVAL = 0.5  # the master's own figures lag this much, not three seconds
            runner = environment.create_worker_runner("127.0.0.1", options.master_port)
        else:
            runner = environment.create_local_runner()
        web_ui: Any = None
        if options.web_port is not None and options.role != "worker":
            web_ui = environment.create_web_ui(host="127.0.0.1", port=options.web_port, delayed_start=True)
        environment.events.init.fire(environment=environment, runner=runner, web_ui=web_ui)
        if web_ui is not None:
            web_ui.start()
        if options.role != "worker":
            gevent.spawn(stats_history, runner)
            self.reports = LocustReports(environment)
        return runner

    def _greet(self) -> None:
        self.recorder.take(users=0, busy=0, backlog=0, state="")  # leave the import out of the CPU figures
        shape = self.environment.shape_class
        self.channel.send(
            Hello(
                role=self.options.role,
                pid=os.getpid(),
                locust_version=locust.__version__,
                user_classes=tuple(describe(c) for c in self.environment.user_classes),
                shape=None if shape is None else type(shape).__name__,
                warnings=warnings(),
                master_port=self.runner.server.port if self.options.role == "master" else None,
            )
        )

    # --- recording

    def _listen(self) -> None:
        events = self.environment.events
        if self.options.role != "master":
            events.request.add_listener(self._on_request)
            events.user_error.add_listener(lambda **_: self.recorder.task_exception())
        events.test_stop.add_listener(self._on_test_stop)

    def _on_request(
        self,
        request_type: Any,
        name: Any,
        response_time: float | None,
        response_length: int | None,
        exception: Any = None,
        response: Any = None,
        **_more: Any,
    ) -> None:
        run: Run | None = getattr(gevent.getcurrent(), "wavetank_run", None)
        self.recorder.request(
            str(request_type),
            str(name),
            str(getattr(response, "status_code", None) or 0),
            None if response_time is None else response_time / 1000,
            run.take_waited() if run is not None and run.inside else 0.0,
            response_length or 0,
            None if exception is None else _error_text(exception),
        )

    def _on_test_stop(self, **_more: Any) -> None:
        if not self._stopping and self.options.role != "worker":
            self._done("the locustfile stopped the test")

    def _push_regularly(self) -> None:
        while True:
            gevent.sleep(LOAD_PUSH_SECONDS)
            self.push()

    def push(self) -> None:
        self.channel.send(
            self.recorder.take(
                users=self.runner.user_count,
                busy=self.gate.busy,
                backlog=self.gate.backlog,
                state=str(self.runner.state),
                workers=getattr(self.runner, "worker_count", 1),
            )
        )

    # --- commands

    def obey(self) -> None:
        """Carry out the parent's commands until it says quit or goes away."""
        for command in self.channel.commands():
            match command:
                case Begin() | SetRate():
                    self._ran = True
                    self.player.accept(command)
                case SetUsers():
                    self._ran = True
                    self.player.set_users(command)
                case RunShape():
                    self._ran = True
                    self.runner.start_shape()
                case Stop():
                    gevent.spawn(self._stop, command.drain_seconds)
                case Quit():
                    break
        self.over.set()

    def _stop(self, drain_seconds: float) -> None:
        self._stopping = True
        self.player.stop()
        self.gate.close()
        if self.options.role == "worker":
            return  # the master stops the users
        self.environment.stop_timeout = drain_seconds
        if self._ran:
            self.crew.settle()
            self.runner.stop()
        self._done("stopped")

    def _want(self, users: int) -> None:
        self.channel.send(WantUsers(users))

    def _done(self, reason: str) -> None:
        self.push()
        self.channel.send(Done(reason, self.environment.process_exit_code))

    def leave(self) -> None:
        """Locust's own farewell: its ``quitting`` and ``quit`` events, the runner's end, the last figures."""
        self._stopping = True
        self.player.stop()
        self.gate.close()
        self.environment.stop_timeout = min(self.environment.stop_timeout, 1.0)
        self.environment.events.quitting.fire(environment=self.environment, reverse=True)
        with gevent.Timeout(LOAD_ORPHAN_SECONDS, False):
            self.runner.quit()
        self._done("left")  # again: listeners of the farewell may have set the exit code
        if self.reports is not None:
            self.reports.finish()
        self.environment.events.quit.fire(exit_code=self.environment.process_exit_code or 0)


def _error_text(exception: Any) -> str:
    text = " ".join(str(exception).split())
    return text if text.startswith(type(exception).__name__) else f"{type(exception).__name__}: {text}"


def _routes(texts: list[str]) -> dict[str, dict[int, tuple[str, int]]]:
    """``host:port=ip:port`` each."""
    routes: dict[str, dict[int, tuple[str, int]]] = {}
    for text in texts:
        name, _, address = text.partition("=")
        host, _, port = name.rpartition(":")
        ip, _, to = address.rpartition(":")
        routes.setdefault(host.lower(), {})[int(port)] = (ip, int(to))
    return routes


def _watch_parent(channel: Channel) -> None:
    """End this process some seconds after the parent's end, even when a task never lets others run.

    A native thread: greenlets, and so the reader of the channel, stand still during such a task.
    """
    descriptor = channel.socket.fileno()

    def watch() -> None:
        poller = _native_poll()
        poller.register(descriptor, select.POLLRDHUP | select.POLLHUP)
        poller.poll()
        _native_poll().poll(LOAD_ORPHAN_SECONDS * 1000)
        os._exit(3)

    ThreadPool(1).spawn(watch)


def _native_poll() -> Any:
    from gevent.monkey import get_original

    return get_original("select", "poll")()


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="wavetank.load._locust_child")
    parser.add_argument("--channel", type=int, required=True, help="descriptor of a stream socket")
    parser.add_argument("--locustfile", action="append", required=True)
    parser.add_argument("--host")
    parser.add_argument("--route", action="append", default=[])
    parser.add_argument("--role", choices=("local", "master", "worker"), default="local")
    parser.add_argument("--master-port", type=int)
    parser.add_argument("--web-port", type=int)
    parser.add_argument("--user-class", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loglevel", default="INFO")
    parser.add_argument("arguments", nargs="*")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = _arguments(argv)
    locust_logging: Any = log
    locust_logging.setup_logging(options.loglevel)
    logging.getLogger("locust.runners").addFilter(lambda r: not str(r.msg).startswith(_SPAWN_WARNING))
    channel = Channel(options.channel)
    _watch_parent(channel)
    child = Child(options, channel)
    try:
        child.prepare()
    except LocustfileError as error:
        channel.send(error.failed)
        return 2
    gevent.signal_handler(signal.SIGTERM, child.over.set)
    gevent.spawn(child.obey)
    child.over.wait()
    child.leave()
    return child.environment.process_exit_code or 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of the locustfile or of gevent must not keep the process
