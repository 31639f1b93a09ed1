"""Families."""

ENCODER_HALVES = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
    "blenderbot": "models.blenderbot.modeling_blenderbot.BlenderbotEncoder",
    "blenderbot-small": "models.blenderbot_small.modeling_blenderbot_small.BlenderbotSmallEncoder",
    "m2m_100": "models.m2m_100.modeling_m2m_100.M2M100Encoder",
    "marian": "models.marian.modeling_marian.MarianEncoder",
    "pegasus": "models.pegasus.modeling_pegasus.PegasusEncoder",
    "pegasus_x": "models.pegasus_x.modeling_pegasus_x.PegasusXEncoder",
    "prophetnet": "ProphetNetEncoder",
    "switch_transformers": "SwitchTransformersEncoderModel",
}
