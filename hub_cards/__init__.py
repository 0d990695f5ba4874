"""Templates of the model, dataset and Space cards, and the Space app; installed as `llm_action.hub_cards`."""
