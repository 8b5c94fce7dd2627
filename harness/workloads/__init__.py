"""What is trained on what: the tracer model, the tiny Llama, rows with ids, real text."""
