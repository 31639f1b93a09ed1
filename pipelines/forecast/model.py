"""A model as numbers: what an input of so many tokens takes."""

from dataclasses import dataclass

#: Tokens that a model adds to a text.
SPECIALS = 2


@dataclass(frozen=True)
class Model:
    """A model, whatever its family: what its files' shapes say.

    Attributes:
        parameters: that each token is multiplied with.
        dtype: of the forward pass.
        far: components of all layers' heads by which a token is compared with all others.
        near: likewise of layers where it sees only those around it.
        reach: how many these are.
        looked_up: components of a token's row, where a table is all there is.
        measured: whether models of its kind were, in such a type.
    """

    parameters: int
    dtype: str
    far: int = 0
    near: int = 0
    reach: int = 0
    looked_up: int = 0
    measured: bool = True

    def flops(self, tokens: float, inputs: float = 1.0) -> float:
        """Of a forward pass over so many inputs of so many tokens each: two for each parameter, and
        four for each component by which two tokens are compared and mixed."""
        compared = self.far * tokens + self.near * min(tokens, self.reach)
        return inputs * tokens * (2.0 * self.parameters + 4.0 * compared)

    @property
    def memory(self) -> float:
        """Bytes of its loaded weights, less its embeddings."""
        return self.parameters * number_bytes(self.dtype)


def number_bytes(dtype: str) -> int:
    """Bytes of a weight, or of a key's or value's number."""
    return {"int8": 1, "bf16": 2, "fp16": 2}.get(dtype, 4)
