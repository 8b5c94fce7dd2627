"""The verdict: rules asked, findings held against the known deviations, the run summed up. No torch, no I/O."""
