"""How partial judgements of a model become an order: arithmetic, without any model."""
