"""The server: who answers, with which models, and how to start one."""
