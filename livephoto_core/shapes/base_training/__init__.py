"""Training the tiny base model, part by part, and putting it into one file."""
