# What it has is native: stream_reading alone calls it.
