"""A whole forward of Wan's denoiser with random weights: `wanattn bench model`."""
