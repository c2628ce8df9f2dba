"""Importing the user's locustfile, and saying what is wrong with it in one line.

Follows the order of ``locust.main``: import, parse options (so that a locustfile's own arguments exist),
choose user classes. Errors become a ``Failed`` report with the user's own file and line, not ours.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
import locust
from locust import html, stats
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.main import merge_locustfiles_content
from locust.user.users import PytestUser

from wavetank.errors import did_you_mean
from wavetank.load.messages import Failed, UserClass

__all__ = ["LocustReports", "LocustfileError", "build_environment", "describe", "warnings"]


#: Options that Locust's own main would act on, and what to use here.
_OURS = {
    "master": "--processes",
    "worker": "--processes",
    "processes": "--processes",
    "run_time": "-t or --stages",
    "json": "--output json",
    "json_file": "--output json",
    "list_commands": "locust --list",
    "show_task_ratio": "locust --show-task-ratio",
    "show_task_ratio_json": "locust --show-task-ratio-json",
    "otel": "the locust command",
    "config_users": "the locust command",
}


class LocustfileError(Exception):
    """Carries the report to send."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


def build_environment(
    paths: Sequence[str], host: str | None, arguments: Sequence[str], chosen: Sequence[str], web: bool
) -> Environment:
    """Import the files and make Locust's Environment. Raises LocustfileError."""
    sys.argv = ["locust", "-f", ",".join(paths), *arguments]
    classes, shapes, tasks, shape = _import(paths)
    options = _options(paths, host, arguments, web)
    names = list(chosen) or list(options.user_classes) or list(classes)
    for name in names:
        if name not in classes:
            raise LocustfileError(
                Failed(f"no user class is named {name!r}", path=paths[0], fix=did_you_mean(name, classes))
            )
    try:
        environment = Environment(
            locustfile=Path(paths[0]).name,
            user_classes=[classes[name] for name in names],
            shape_class=shape,
            events=locust.events,
            host=options.host,
            reset_stats=options.reset_stats,
            parsed_options=options,
            parsed_locustfiles=list(paths),
            available_user_classes=classes,
            available_shape_classes=shapes,
            available_user_tasks=tasks,
            profile=options.profile,
        )
    except ValueError as error:
        raise LocustfileError(Failed(str(error), path=paths[0])) from error
    if options.equal_weights:
        environment.assign_equal_weights()
    _check_tasks(environment, paths[0])
    return environment


def _import(paths: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], Any]:
    try:
        found = merge_locustfiles_content(list(paths))
    except BaseException as error:
        raise LocustfileError(_blame(error, paths)) from error
    if not found[0]:
        raise LocustfileError(
            Failed(
                "the locustfile defines no user class",
                path=paths[0],
                fix="define a class that derives from locust.HttpUser and has a method under @task",
            )
        )
    return found


def _blame(error: BaseException, paths: Sequence[str]) -> Failed:
    """The failure with the last line of the user's own files that led to it."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    path, line = paths[0], None
    directories = {str(Path(p).resolve().parent) for p in paths}
    if isinstance(error, SyntaxError) and error.filename:
        path, line = error.filename, error.lineno
    else:
        for frame, number in traceback.walk_tb(error.__traceback__):
            name = str(Path(frame.f_code.co_filename).resolve())
            if any(name.startswith(d + "/") for d in directories) and "site-packages" not in name:
                path, line = frame.f_code.co_filename, number
    fix = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        fix = f"install {error.name} into the environment of {sys.executable}"
    detail = "".join(traceback.format_exception(error))
    return Failed(
        f"importing the locustfile raised {' '.join(text.split())}", path, line, fix, detail[-8000:]
    )


def _options(paths: Sequence[str], host: str | None, arguments: Sequence[str], web: bool) -> Any:
    """Locust's own options, with the locustfile's additions. argparse prints its complaint and exits."""
    line = ["-f", ",".join(paths), *([] if web else ["--headless"]), *(["--host", host] if host else [])]
    try:
        options = get_parser().parse_args([*line, *arguments])
    except SystemExit as error:
        shown = " ".join(arguments) or "its configuration files"
        raise LocustfileError(
            Failed(f"Locust does not accept {shown}", fix="run `locust --help` to see its options")
        ) from error
    for name, instead in _OURS.items():
        if getattr(options, name, None):
            option = "--" + name.replace("_", "-")
            raise LocustfileError(Failed(f"Locust's {option} has no meaning here", fix=f"use {instead}"))
    return options


def _check_tasks(environment: Environment, path: str) -> None:
    for user_class in environment.user_classes:
        if not describe(user_class).tasks:
            raise LocustfileError(
                Failed(
                    f"user class {user_class.__name__} has no tasks",
                    path=path,
                    fix="put @task on a method of it, or set abstract = True if it is only a base",
                )
            )


def describe(user_class: type[locust.User]) -> UserClass:
    tasks: Sequence[Any] = user_class.functions if issubclass(user_class, PytestUser) else user_class.tasks
    return UserClass(
        user_class.__name__,
        len(set(map(id, tasks))),
        float(user_class.weight),
        user_class.fixed_count,
        user_class.host,
    )


class LocustReports:
    """Locust's own report files, where its options ask for them: ``--csv`` and ``--html``."""

    def __init__(self, environment: Any) -> None:
        options = environment.parsed_options
        self._environment = environment
        self._html: str | None = options.html_file
        self._csv: Any = None
        if options.csv_prefix:
            Path(options.csv_prefix).parent.mkdir(parents=True, exist_ok=True)
            self._csv = stats.StatsCSVFileWriter(
                environment, stats.PERCENTILES_TO_REPORT, options.csv_prefix, options.stats_history_enabled
            )
            gevent.spawn(self._csv.stats_writer)

    def finish(self) -> None:
        if self._csv is not None:
            gevent.sleep(stats.CSV_STATS_INTERVAL_SEC)  # let the writer see the final figures
            self._csv.close_files()
        if self._html:
            Path(self._html).parent.mkdir(parents=True, exist_ok=True)
            get_html: Any = html.get_html_report
            Path(self._html).write_text(get_html(self._environment, show_download_link=False), "utf-8")


def warnings() -> tuple[str, ...]:
    """What in this environment would distort measurements."""
    if importlib.util.find_spec("niquests") is not None:
        return ("niquests replaces urllib3 in this environment and makes HttpUser about half as fast",)
    return ()
