"""What several families share: file headers, key maps, tokenizer, objective, samplers, the model itself."""
