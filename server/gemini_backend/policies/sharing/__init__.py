"""One run for many readers: identical calls, lost connections, embeddings gathered."""
