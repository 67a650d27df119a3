"""What every model shares: operations, the ready queue, timers, buffers, statistics."""
