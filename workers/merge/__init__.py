"""Three-way merging of tables on the clones' database server: the base, the clone, and the target as it is now.

All three are schemas of one server, so a merge is SQL; only what travels to the target leaves it. Tables are compared by hashes
of their rows: the base keeps nothing but keys and hashes.
"""
