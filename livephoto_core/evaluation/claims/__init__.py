"""The paper's claims, tested on the synthetic world.

The command writes `tables.md`, plots and frames; the verdicts are for `../REPORT.md`.
"""
