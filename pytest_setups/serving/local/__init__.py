"""What this machine knows of a server: its process, model files, environment and GPUs."""
