"""How much of a token a decoder keeps, by its config.json alone."""

from shardrank.models.folder.plain_decoder import Config, DecoderShape, is_plain_decoder

#: What families call their layers, heads and width (transformers 5.23, attribute_map).
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
KEY_HEADS = ("num_key_value_heads", "num_kv_heads", *HEADS)
WIDTH = ("hidden_size", "n_embd", "d_model")


def kept_numbers(config: Config) -> int:
    """The numbers of a token's keys and values in all layers; 0 where config.json does not say it,
    and of layers that keep none."""
    if is_plain_decoder(config):
        shape = DecoderShape.of(config)
        return 2 * shape.layers * shape.key_heads * shape.head_width
    heads = said(config, HEADS)
    width = said(config, ("head_dim",)) or said(config, WIDTH) // max(1, heads)
    return 2 * said(config, LAYERS) * said(config, KEY_HEADS) * width


def said(config: Config, names: tuple[str, ...]) -> int:
    """What config.json says under the first of the names that it has; 0: under none."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), 0)
