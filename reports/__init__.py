"""Shows what a run found, on the terminal and in files. Reads records, starts no trainer."""

from .json_file import read_verdict, schema
from .terminal import print_summary
from .write import Written, write_reports

__all__ = ["Written", "print_summary", "read_verdict", "schema", "write_reports"]
