"""Reading patients' records. Nothing here writes, sends or logs what a record holds."""
