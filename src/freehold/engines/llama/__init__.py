"""llama.cpp in a process of its own: the engine, what is asked of it and said by it, schemas, speculation."""
