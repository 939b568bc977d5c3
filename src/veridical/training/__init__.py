"""Training of networks: sessions, loops, devices, states to resume from."""
