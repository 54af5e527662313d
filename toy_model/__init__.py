"""The code that trains, exports and evaluates the toy model of the demo; not part of the wheel."""
