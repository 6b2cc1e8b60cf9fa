"""Transcriptions without a client that waits: POST /v1/audio/jobs.

A job is a row of the database and a folder; a process of its own works on them (`__main__`).

Importing this package imports nothing else: it is imported before `__main__` is, which has to patch
the standard library before anything else imports it.
"""
