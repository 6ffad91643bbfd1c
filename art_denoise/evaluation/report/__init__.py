"""How results are told: as tables in any format, and as figures."""
