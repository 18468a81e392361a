"""A synthetic world of moving shapes: clips, captions, a held-out split and a closed-form judge."""
