"""The model folder and its way to the Hub and back: export, cards, training record, base models."""
