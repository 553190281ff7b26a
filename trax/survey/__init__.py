"""What a store has, read for people and programs: no writer is disturbed, nothing is unpickled."""
