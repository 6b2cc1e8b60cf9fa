"""Deep probes of all services, and restarts of those that are stuck: a process of its own."""
