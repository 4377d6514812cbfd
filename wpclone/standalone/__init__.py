"""Everything on one machine, as children of one process.

May start processes, drop privileges and host the local clones' web servers. It is the only package that keeps root,
and it never imports the stubs, a servicer or a step: server and workers are processes to it, not modules.
"""
