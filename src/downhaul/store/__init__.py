"""Flags and kills in a SQL database, and what a machine keeps of them on its own disk.

Tables, migrations, reading, writing and watching live here, for every SQL backend; what is special
to one (its LISTEN, its file) is that backend's. Flags and kills stand on one watcher and one copy.
Nothing is imported here, so that the keeper of kills does not cost an application SQLAlchemy.
"""
