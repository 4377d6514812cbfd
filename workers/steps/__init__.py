"""One step a file: `do` and `undo` side by side, and both may run twice.

Names of outside things derive from the job's id, so "already there" and "already gone" are success. A step writes neither
jobs nor clones; it returns `Done(facts)` or raises. Facts hold no secrets, because watchers may see them.
"""
