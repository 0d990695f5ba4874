"""What a run is: its settings, the presets, and how files are written."""
