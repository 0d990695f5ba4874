"""Speed and memory as ratios of paired runs: `llm-action benchmark speed`."""
