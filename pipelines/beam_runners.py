"""Which Beam runner a name means. Beam's own in-process runner is pinned: its default would fetch a binary."""

from typing import Any

from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import create_runner

from tutelage.schemas.errors import ConfigError

QUIET_WORKERS = ("--default_sdk_harness_log_level=ERROR",)
"""Workers of their own process log every step at INFO otherwise, over the display."""


def runner_named(name: str | None) -> Any:
    """The runner of that name; without one Beam's own, in this process."""
    if name is None:
        return FnApiRunner()
    try:
        return create_runner(FULL_NAMES.get(name.lower(), name))
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"runner {name}: can't be used here ({error}); give dask, flink, spark, dataflow or the full name of "
            "a class, and install what it needs"
        ) from error


FULL_NAMES = {"dask": "apache_beam.runners.dask.dask_runner.DaskRunner"}
"""Names that Beam does not know by themselves."""
