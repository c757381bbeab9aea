"""How each operator passes a gradient from its outputs to its inputs; one file for each kind of operator."""
