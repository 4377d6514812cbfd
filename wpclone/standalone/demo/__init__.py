"""`wpclone demo`: clone a real WordPress before somebody's eyes, and check everything a clone promises.

Starts the service as its own process, asks for clones as any user would (the command line, REST), and looks at the outcome
from outside: HTTP, SQL and files. It knows nothing of jobs, steps or stubs, and trusts no part of the service to judge itself.
"""

from wpclone.standalone.demo.show import run

__all__ = ["run"]
