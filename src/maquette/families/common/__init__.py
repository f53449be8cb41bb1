"""What several families share: the safetensors header, key maps, tokenizer, objective, samplers, the latent diffusion model."""
