"""The command line and what checks and shows the rest.

``cli``            the ``holdstate`` program: its commands, errors as one line, exit codes
``output``         exit codes, JSON, tables, notes
``run_command``    ``holdstate run``: options; ``run_job`` does it, ``run_runtimes`` keeps runtimes open
``run_source``     lines of files and stdin as inputs, ``line_reader`` reads them
``run_report``     what ``holdstate run`` answers and shows
``handlers``       what works a run off: a Python function; ``exec_handler`` a shell command
``store_command``  ``holdstate store``, ``store_views`` what it shows
``spec_command``   ``holdstate spec``: the tables; ``check_command`` explores what they allow
``diagram_command``  pictures of machines; ``diagram_layout`` places what ``diagram_parts`` shows, docs/diagrams.md
``generate_command`` everything under docs/generated/
``explorer``       every state that a model can reach; ``explorer_machine`` one machine as a model,
                   ``explorer_whole`` the runtime with its store and its drivers; docs/explorer.md has the map
``trace``          a trace as a record: JSON, ITF (``trace_itf``); ``explorer_trace`` and ``tlc_trace`` make one,
                   ``trace_file`` reads one; ``trace_view`` is what a page, a terminal and a text show of it
``harness``        tests for machines and stores of your own, with a pytest plugin; ``replay_command`` plays a failure
``demo``           kill ``holdstate run`` in the middle and look what became of its lines

The names below are loaded when they are first used: a pytest plugin is in this package, and pytest loads it every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .handlers import TryAgainLater

__all__ = ["TryAgainLater"]


def __getattr__(name: str) -> object:
    if name != "TryAgainLater":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from .handlers import TryAgainLater

    return TryAgainLater
