"""The studies of the techniques that the course notes list beside the paper's, a row each.

The course is CS231n, "Visualizing what ConvNets learn"; see `zfnet.pipeline.studies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from zfnet.pipeline.options import Count, DataOptions, Device, Natural, Seed, StudyOptions
from zfnet.pipeline.study import EPOCHS, NET, PREPARED, Layers, Quantity, Study

ALEXNET = "models/alexnet/final"
HUMANS = "data/humans"
Q = Quantity


class Activations(StudyOptions):
    """Every layer's maps for one picture; over many, how sparse and local, which are silent."""

    seed: Seed = 0
    device: Device = "auto"
    images: Count = 2  # drawn
    max_images: Count = 1000  # a training, of its training images


class Filters(StudyOptions):
    """The weights of every layer as pictures, and how smooth they are."""

    seed: Seed = 0


class Embedding(StudyOptions):
    """Codes in two dimensions by t-SNE, and whose neighbours share a class."""

    seed: Seed = 0
    device: Device = "auto"
    max_images: Annotated[int, Field(ge=40)] = 1000  # a training, of its validation images


class ClassAscent(StudyOptions):
    """Pictures that raise a class's score, and which pixels a score is sensitive to."""

    seed: Seed = 0
    device: Device = "auto"
    steps: Count = 200  # of gradient ascent
    max_images: Count = 200  # a training, whose saliency is measured


class Inversion(StudyOptions):
    """Pictures made from a code alone, layer by layer."""

    seed: Seed = 0
    device: Device = "auto"
    layers: Layers = (1, 2, 3, 4, 5, 6, 7)
    images: Annotated[int, Field(ge=2)] = 8  # a training
    steps: Count = 400  # at most


class Alignment(StudyOptions):
    """Keypoints carried from one picture to another by the nearest column of features."""

    seed: Seed = 0
    device: Device = "auto"
    layers: Layers = (1, 2, 3, 4, 5)
    photos: str | None = None  # below <data root>/raw: JSON list of photos with parts, or a folder
    # of Berkeley's VOC keypoints
    max_pairs: Annotated[int, Field(ge=4)] = 200  # a training


class Attributes(StudyOptions):
    """How sure the net is of the true class, by an attribute of the picture."""

    seed: Seed = 0
    device: Device = "auto"
    data: DataOptions = DataOptions()  # how the prepared images were rendered
    scenes: Annotated[int, Field(ge=2)] = 60  # a training, rendered again with an attribute changed
    max_images: Count | None = None  # a training, of those prepared; null: all


class Fooling(StudyOptions):
    """How small a change makes the net err, and pictures of nothing of which it is sure."""

    seed: Seed = 0
    device: Device = "auto"
    max_images: Count = 200  # a training, among those that it knows
    smallest: Natural = 20  # of these, whose smallest perturbation is sought
    steps: Count = 200  # of gradient ascent from noise


class Humans(StudyOptions):
    """The net against people who labelled the same pictures."""

    seed: Seed = 0


SURVEY: Mapping[str, Study] = {
    "activations": Study(
        title="Activations: what every layer does with a picture",
        place="CS231n",
        desc="activations of every layer; sparsity, locality, silent maps",
        options=Activations,
        reads=(PREPARED, NET, EPOCHS),
        images="dealt",
        quantities=(
            Q(r"layer\d_(zeros|locality)(_start|_change)?", ""),
            Q(r"layer\d_(silent|dead_by_weights|always_on)", "", "maps"),
            Q(r"images|silent_bound|maps", "", ""),
        ),
        headline=("layer5_zeros", "layer5_zeros_change", "layer5_silent"),
        work="survey",
    ),
    "filters": Study(
        title="Filter weights: smooth, or noise?",
        place="CS231n",
        desc="filters of every layer, smoothness against shuffled taps and first weights",
        options=Filters,
        reads=(NET, EPOCHS),
        quantities=(
            Q(r"layer\d_smoothness(_start|_gain)?|layer1_roughness", "", "maps"),
            Q(r"layer\d_dead", "", "maps"),
        ),
        headline=("layer1_smoothness", "layer1_smoothness_gain"),
        work="survey",
    ),
    "embedding": Study(
        title="Codes in two dimensions: do classes lie together?",
        place="CS231n, Karpathy",
        desc="t-SNE of codes, neighbours of the same class, grid of images",
        options=Embedding,
        reads=(PREPARED, NET),
        images="dealt",
        quantities=(
            Q(r"agreement_(codes|pixels|untrained|before_relu|chance)(_2d)?", ""),
            Q(r"codes_minus_(pixels|untrained)_2d|after_minus_before_relu_2d", ""),
            Q(r"codes_minus_pixels|agreement_errors_2d", ""),
            Q(r"grid_(same|permuted|greedy|minus_permuted)", ""),
            Q(r"trustworthiness_(codes|pixels|untrained)", ""),
            Q(r"images", "images", ""),
        ),
        headline=("agreement_codes_2d", "agreement_pixels_2d", "grid_minus_permuted"),
        work="survey",
    ),
    "class_models": Study(
        title="Class models and saliency: what raises a class's score",
        place="Simonyan et al.",
        desc="pictures that raise a class's score; saliency; guided backprop's limits",
        options=ClassAscent,
        reads=(PREPARED, NET, ALEXNET),
        each=("zfnet", "alexnet"),
        images="dealt",
        quantities=(
            Q(r"score_beats_images|outside", "", "classes"),
            Q(r"transfer(_minus_chance|_minus_noise|_noise|_back)?", "", "classes"),
            Q(r"saliency_in_box|box_area|saliency_minus_(area|centre|edges|untrained)", ""),
            Q(r"saliency_localises|centre_localises|localises_minus_centre", ""),
            Q(r"(guided|gradient|deconvnet)_(other_class|untrained)", ""),
            Q(r"guided_minus_gradient_(other_class|untrained)", ""),
            Q(r"images|classes", "", ""),
        ),
        headline=("score_beats_images", "transfer", "saliency_minus_area"),
        work="survey",
    ),
    "inversion": Study(
        title="Inversion: what a code still says of the picture",
        place="Mahendran & Vedaldi",
        desc="pictures made from the codes of each layer",
        options=Inversion,
        reads=(PREPARED, NET),
        images="dealt",
        quantities=(
            Q(r"layer\d_(pixel_error|code_error|distance_error|own|edges)(_untrained)?", ""),
            Q(r"layer\d_late_fall(_untrained)?", ""),
            Q(r"layer\d_(other|own_minus_other|own_minus_prior|found|starts_apart)", ""),
            Q(r"prior_(pixel_error|own)", ""),
            Q(r"images|steps", "", ""),
        ),
        headline=("layer1_pixel_error", "layer5_pixel_error", "layer7_own_minus_other"),
        work="survey",
    ),
    "alignment": Study(
        title="Alignment: do features find the same point in another picture?",
        place="Long, Zhang & Darrell",
        desc="keypoints carried between pictures by feature columns, patches, SIFT",
        options=Alignment,
        reads=(PREPARED, NET),
        images="dealt",
        quantities=(
            Q(r"layer\d_pck(_005|_02)?", ""),
            Q(r"layer\d_pck_untrained|(patches|sift|copied|copied_box)_pck(_005|_02)?", ""),
            Q(r"conv_pck|conv_minus_(patches|copied|untrained|sift)", ""),
            Q(r"layer\d_(keypoint|keypoint_untrained)", ""),
            Q(r"keypoint_chance|pairs|layer", "", ""),
        ),
        headline=("conv_pck", "conv_minus_patches", "conv_minus_sift"),
        work="survey",
    ),
    "attributes": Study(
        title="Accuracy by attribute: which pictures are hard",
        place="Russakovsky et al.",
        desc="probability of the true class by scale, rotation, clutter, light, texture",
        options=Attributes,
        reads=(PREPARED, NET),
        images="dealt",
        quantities=(
            Q(r"(scale|rotation|clutter|light|texture)_(effect|p)", ""),
            Q(r"(scale|rotation|clutter|light|texture)_error_effect", "points"),
            Q(r"(scale|rotation|clutter|light)_(within|correlation|correlation_p)", ""),
            Q(r"(box_size|aspect|brightness|contrast|sharpness)_(correlation|correlation_p)", ""),
            Q(r"scale_minus_light|scale_untrained", ""),
            Q(r"p_true|images|scenes", "", ""),
        ),
        headline=("scale_effect", "clutter_effect", "box_size_correlation"),
        work="survey",
    ),
    "fooling": Study(
        title="Fooling: how little it takes to change the answer",
        place="Szegedy et al., Goodfellow et al.",
        desc="adversarial pictures against noise of the same size; pictures of nothing",
        options=Fooling,
        reads=(PREPARED, NET, ALEXNET),
        each=("zfnet", "alexnet"),
        images="dealt",
        quantities=(
            Q(r"(fgsm|noise|linear_fgsm|linear_noise)_\d+", ""),
            Q(r"fgsm_minus_noise_\d+|linear_minus_noise_\d+", ""),
            Q(r"transfer_(fgsm|noise|other|minus_noise|minus_other)_\d+", ""),
            Q(r"linear_error|smallest_found", ""),
            Q(r"smallest_rms", "grey levels"),
            Q(r"fooled_(classes|alone|start)", "", "classes"),
            Q(r"confidence_(flipped|errors)", ""),
            Q(r"images|classes", "", ""),
        ),
        headline=("fgsm_minus_noise_1", "transfer_minus_noise_4", "fooled_classes"),
        work="survey",
    ),
    "humans": Study(
        title="People: who errs less, and on which pictures",
        place="Karpathy; Russakovsky et al.",
        desc="the net against people on the same pictures",
        options=Humans,
        reads=(PREPARED, NET, HUMANS),
        each=(),
        quantities=(
            Q(r"net_error|human_error", "%"),
            Q(r"net_minus_human", "points"),
            Q(r"kappa|kappa_humans|outside_labels_(errors|hits|difference)", ""),
            Q(r"answers|people|reassessed", "", ""),
        ),
        headline=("net_minus_human", "kappa"),
        work="survey",
    ),
}  # fmt: skip
