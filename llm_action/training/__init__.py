"""The two training stages: `train_vqvae` (action tokenizer), `train_recognizer` (LLaMA with LoRA), `train` (both)."""
