"""The command line and what checks and shows the rest.

``cli``            the ``holdstate`` program: its commands, errors as one line, exit codes
``output``         exit codes, JSON, tables, notes
``run_command``    ``holdstate run``: options; ``run_job`` does it, ``run_runtimes`` keeps runtimes open
``run_source``     lines of files and stdin as inputs, ``line_reader`` reads them
``run_report``     what ``holdstate run`` answers and shows
``handlers``       what works a run off: a Python function; ``exec_handler`` a shell command
``store_command``  ``holdstate store``, ``store_views`` what it shows
``spec_command``   ``holdstate spec``: the tables; ``check_command`` explores what they allow
``explorer``       every state that a model can reach; ``explorer_machine`` one machine as a model,
                   ``explorer_whole`` the runtime with its store and its drivers; docs/explorer.md has the map
``demo``           kill ``holdstate run`` in the middle and look what became of its lines
"""

from .handlers import TryAgainLater

__all__ = ["TryAgainLater"]
