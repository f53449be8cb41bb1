"""Rules and what they find: one type for terminal, JSON and studio, one registry for every room's rules."""
