"""The lab: measures I/O models, with the same service and the same load for each."""
