"""The lake: bronze files become tables of SQL models. Models are in `models/`, a folder a layer."""
