"""An OpenAI-compatible server over HTTP; nothing here knows pictures or setups."""
