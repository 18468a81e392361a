"""The paper's claims, tested on the synthetic world: see `../REPORT.md`."""
