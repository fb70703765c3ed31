"""ZFNet, AlexNet and every ablated variant from one layer list, and torchvision's models.

`spec` (no torch) holds the layer lists, `convnet` builds them, `net` bundles a model with all that
a study needs, `external` bundles torchvision's classification models the same way.
"""
