"""The tables of the job store, as Alembic revisions: one DDL statement each (MySQL cannot roll DDL back), expand → contract.

Old and new programs run side by side: a revision adds first, and a later release removes what nobody uses any more.
"""

HEAD = "0011"
"""The newest revision; a program refuses older tables and runs on newer ones."""
