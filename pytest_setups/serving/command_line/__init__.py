"""Launch commands of servers: their words, programs and flags."""
