"""The page in the browser: `llm-action app MODEL` serves it on this machine, the demo Space on the Hub."""
