"""ZFNet, AlexNet and every ablated variant from one layer list, and nets that others made.

`spec` (no torch) holds the layer lists, `convnet` builds them, `net` bundles a model with all that
a study needs, `checkpoint` writes and reads such bundles, `foreign` makes them of torchvision's
models. `trained` (no torch) reads what a training left, `absent` says that none was done.
"""
