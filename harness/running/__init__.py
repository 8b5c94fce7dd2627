"""The runner: warm workers, environments, the store, the sweep. It formats no text and judges nothing.

Nothing is re-exported here: a worker imports `stepaudit.harness.running.worker`, and with it this file, into
the environment of the subject, where the runner's own imports have no business.
"""
