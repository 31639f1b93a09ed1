"""shardrank: batch indexing and reranking of large document stores on Ray."""

__version__ = "0.1.0"
