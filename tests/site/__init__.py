"""Real hosts for the collection's tests: containers with sshd and a Docker engine of their own."""
