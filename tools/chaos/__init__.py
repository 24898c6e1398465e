"""The storm: faults at random under load, and the proof that nothing acknowledged is lost."""
