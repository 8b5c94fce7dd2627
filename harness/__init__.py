"""Runs and judges: ledger, contract, workloads, probes, subjects, training, judging, diagnosis, running, cli."""
