"""The site half of a restore: new content staged beside the old, verified, exchanged under a journal, and back again.

`RestoreTarget` speaks to the target's agent; `tables`, `files` and `options` stage; `health` judges the result. Nothing here
knows jobs: every call may be repeated, and is refused once a newer claim works at the target.
"""
