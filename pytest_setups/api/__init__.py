"""An OpenAI-compatible server over HTTP; knows nothing of pictures or setups."""
