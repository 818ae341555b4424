"""HTTP in, durable events in the log; look-ups out. `server.run_collector` is the process."""
