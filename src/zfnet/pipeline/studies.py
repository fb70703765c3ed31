"""The studies, a row each: what it is called, what it reads, its options, the numbers it writes.

A new study is a row here, studies/<name>.py, figures/<name>.py and report/pages/<name>.md.j2. From
the rows follow dvc.yaml, Hydra's group `study`, titles, and the numbers that a claim may name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zfnet.pipeline.options import (
    Count,
    Device,
    Layer,
    Natural,
    Positive,
    Seed,
    StudyOptions,
    TargetOptions,
    TrainingOptions,
)
from zfnet.pipeline.study import (
    EPOCHS,
    NET,
    PREPARED,
    TARGETS,
    Constants,
    Layers,
    Quantity,
    SomeLayers,
    Study,
    Tap,
)
from zfnet.pipeline.survey import SURVEY


class Features(StudyOptions):
    """Fig. 2: the strongest activations of every map, projected back by the deconvnet."""

    seed: Seed = 0
    device: Device = "auto"
    layers: Layers = (1, 2, 3, 4, 5)
    top_k: Count = 9  # strongest activations a map
    tap: Tap = "relu"
    # maps drawn a layer, as the paper's 16, 12, 10, 10; layer 1 shows its filters
    figure_maps: dict[int, Count] = {2: 16, 3: 12, 4: 10, 5: 10}
    # random, as in the paper; active: no dead maps; specific: purest
    choose: Literal["random", "active", "strongest", "specific"] = "random"
    maps: dict[int, tuple[Natural, ...]] = {}  # draw these in place of chosen ones: {3: [1, 7]}
    max_images: Count | None = None  # seeded sample of the validation images; null: all

    @model_validator(mode="after")
    def _named_layers(self) -> Self:
        for layer in self.maps:
            if layer not in self.layers:
                raise ValueError(f"maps names layer {layer}, which layers={self.layers} leaves out")
        return self


class Evolution(StudyOptions):
    """Fig. 4: each map's strongest activation over the training set, projected, by epoch."""

    seed: Seed = 0
    device: Device = "auto"
    layers: Layers = (1, 2, 3, 4, 5)
    tap: Tap = "relu"
    figure_maps: Count = 6  # maps drawn a layer; the paper does not say how many it shows
    max_images: Natural = 800  # seeded sample; 0: all, as in the paper (a pass an epoch)
    max_maps: Natural = 32  # seeded subset a layer that is measured; 0: all maps


class Invariance(StudyOptions):
    """Fig. 5: what shifting, enlarging and turning an image does to features and answer."""

    seed: Seed = 0
    device: Device = "auto"
    # drawn, as in the paper: classified correctly, of different classes; ten colours are told apart
    images: Annotated[int, Field(ge=1, le=10)] = 5
    ids: tuple[str, ...] = ()  # draw these images instead
    # behind bands and numbers, at least 2 to compare distances; null: the whole split
    max_images: Annotated[int, Field(ge=2)] | None = None
    layers: SomeLayers = ()  # empty: all before the classifier
    tap: Tap = "out"  # unstated; after pool and normalisation


class Architecture(StudyOptions):
    """Fig. 6: first- and second-layer features of the baseline and of the net under study."""

    seed: Seed = 0
    device: Device = "auto"
    measured_maps: Count = 64  # seeded random subset of layer 2's active maps
    max_images: Count | None = None  # null: the whole split


class Correspondence(StudyOptions):
    """Fig. 8, Table 1: parts of faces hidden, the features' changes compared between faces."""

    seed: Seed = 0
    device: Device = "auto"
    parts: Annotated[tuple[str, ...], Field(min_length=1)] = ("right_eye", "left_eye", "nose")
    classes: tuple[str, ...] | None = None  # null: every class that has the parts
    photos: str | None = None  # JSON list of photos with parts, below <data root>/raw
    keep_training: bool = False  # photos of the training set are used, and listed as such
    max_groups: Annotated[int, Field(ge=4)] = 30  # disjoint groups of five at most, for time
    size: Count = 32  # px of an input of 224, scaled to the net's; not stated
    layers: Layers = (5, 7)
    tap: Tap = "out"

    @model_validator(mode="after")
    def _rows_of_their_own(self) -> Correspondence:
        rows = [*self.parts, "random", "parts"]  # of Table 1, and the mean over the parts
        if len(set(rows)) < len(rows):
            raise ValueError("parts: name each once; 'random' and 'parts' are no parts' names")
        return self


class Occlusion(StudyOptions):
    """Fig. 7: a square slid over an image."""

    seed: Seed = 0
    device: Device = "auto"
    images: Count = 4  # drawn; the first of those measured
    measured: Count = 32  # chosen by seed among the correctly classified, classes taking turns
    ids: tuple[str, ...] = ()  # or these images
    size: Count = 48  # px of an input of 224, scaled to the net's; not stated
    stride: Count = 8  # likewise, for the images drawn
    measured_stride: Count = 16  # for those measured: more images in the same time
    fill: Literal["grey", "zero", "mean", "blur", "noise"] = "grey"  # grey of which level: unstated
    layer: Layer = 5

    @model_validator(mode="after")
    def _all_covered(self) -> Occlusion:
        for key in ("stride", "measured_stride"):
            if getattr(self, key) > self.size:
                raise ValueError(
                    f"{key}={getattr(self, key)} is larger than size={self.size}: some pixels "
                    "would never be covered"
                )
        return self


class Classification(StudyOptions):
    """Table 2: errors of one net, of nets averaged, of the wider net."""

    seed: Seed = 0
    # of numbers and confusions; the tables have both, the paper does not say which it scored
    view: Literal["centre", "ten"] = "centre"


class Ablation(StudyOptions):
    """Table 3: nets with layers taken out or resized, against the full net."""

    seed: Seed = 0
    view: Literal["centre", "ten"] = "centre"  # of validation errors


class Overlap(StudyOptions):
    """Images that the targets share with the source, by normalised correlation."""

    device: Device = "auto"
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.95  # from which two count as one picture


class Codes(StudyOptions):
    """Features of the targets, extracted once for transfer and probe."""

    seed: Seed = 0
    device: Device = "auto"
    layers: Layers | None = None  # null: those of 1, 2, 3, 4, 5, 7 that the net has
    untrained: bool = True  # the control: the same architecture with random weights


class Scratch(StudyOptions):
    """Tables 4, 5, "non-pretrained": the same net trained on each fold's images alone.

    The recipe is the net's own where null stands, but its rate falls at training.steps.at of
    `steps`: there are no images to validate on.
    """

    seed: Seed = 0
    device: Device = "auto"
    targets: dict[str, TargetOptions] = {}
    training: TrainingOptions = TrainingOptions()
    steps: Count = 2000  # of each training, whatever its number of images
    batch_size: Count | None = None  # images a step
    lr: Positive | None = None  # first learning rate
    init: Literal["paper", "scaled", "he"] | None = None  # torchvision's nets: their own
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None  # layers 6 and 7
    normalise: Literal["mean_image", "standardise"] | None = None  # by the training images' own


class Transfer(StudyOptions):
    """Tables 4, 5, 6, Fig. 9: layers 1-7 kept as they are, a new softmax on top."""

    seed: Seed = 0
    targets: dict[str, TargetOptions] = {}
    grid: Constants = (1.0, 10.0, 100.0, 1000.0)  # C, chosen on each fold's training images alone
    untrained: bool = True  # the control: layers 1-7 with random weights


class Probe(StudyOptions):
    """Table 7: linear classifiers on each layer's features, trained net and untrained control."""

    seed: Seed = 0
    targets: dict[str, TargetOptions] = {}
    svm_layers: Layers = (1, 2, 3, 4, 5, 7)
    softmax_layers: SomeLayers = (5, 7)
    svm_grid: Constants = (0.1, 1.0, 10.0, 100.0)  # C, chosen on each fold's training images alone
    softmax_grid: Constants = (1.0, 10.0, 100.0, 1000.0)
    sensitivity_folds: Natural = 1  # on which other scalings and a fixed C are tried; 0: none


_TARGET = r"(?P<target>[a-z0-9]\w*?)"
_NET = r"(?P<net>[a-z0-9]\w*)"
_ALONE = r"(?!\w*_minus_)"  # no difference of two
_SETS = ("unseen", "caltech101", "caltech256", "voc2007", "voc2012")  # on cards
Q = Quantity

PAPER: Mapping[str, Study] = {
    "features": Study(
        title="Feature visualisation: what excites each map",
        place="Fig. 2",
        desc="Fig. 2: strongest activations of every map, projected by the deconvnet",
        options=Features,
        reads=(PREPARED, NET),
        quantities=(
            Q(r"layer\d_(maps|dead_maps)", "maps", ""),
            Q(r"layer(?P<n>\d)_purity", "", "maps", "purity.layer{n}"),
            Q(r"layer\d_purity_directions", "", "directions"),
            Q(r"layer\d_(directions_minus_units|overlap_(units|directions))", "", "maps"),
            Q(r"layer\d_(field_px|field_share|support_share|support_px)", "", "maps"),
            Q(r"layer\d_spread_(projections|patches|difference)", "", "maps"),
            Q(r"spread_difference|support_share|purity_slope|purity_slope_within|purity_chance",
              "", "maps"),
            Q(r"images", "images", ""),
        ),
        headline=("purity_slope_within", "purity_slope", "spread_difference"),
    ),
    "evolution": Study(
        title="Evolution: when features settle",
        place="Fig. 4",
        desc="Fig. 4: how each map's strongest projection develops over the epochs",
        options=Evolution,
        reads=(PREPARED, NET, EPOCHS),
        quantities=(
            Q(r"layer\d_(left_start|start|settled|settled_share|unsettled|image_changes)", "",
              "maps"),
            Q(r"layer\d_(floor|dead_maps)", "", "maps"),
            Q(r"upper_minus_lower", "epochs", "maps", "evolution.upper_layers_later"),
            Q(r"upper_minus_lower_share", "", "maps"),
            Q(r"images|measured_epochs|run_epochs", "", ""),
        ),
        headline=("layer1_settled", "layer5_settled", "upper_minus_lower"),
    ),
    "invariance": Study(
        title="Invariance: what shifting, enlarging and turning an image changes",
        place="Fig. 5",
        desc="Fig. 5: features and class probability under shift, scale and rotation",
        options=Invariance,
        reads=(PREPARED, NET),
        images="dealt",
        quantities=(
            Q(r"p_clean", ""),
            Q(r"(?P<change>translation|scale|rotation)_slope_ratio", "", "images",
              "invariance.{change}_ratio"),
            Q(r"disc_slope_ratio|(translation|scale|rotation|disc)_(slope_layer\d|p_mean)", ""),
            Q(r"(translation|scale)_(straightness_layer\d|straight_layer\d|p_end)", ""),
            Q(r"(translation|scale|rotation)_unfilled_ratio", ""),
            Q(r"(rotation|disc)_(peak|nearer)_(90|180|270)", ""),
            Q(r"images", "images", ""),
        ),
        headline=("translation_slope_ratio", "scale_slope_ratio", "rotation_slope_ratio"),
    ),
    "architecture": Study(
        title="Architecture: first and second layers of two nets",
        place="Fig. 6",
        desc="Fig. 6: filters and second-layer features, AlexNet against ZFNet",
        options=Architecture,
        reads=(PREPARED, NET, "models/alexnet/final", "models/zfnet_nolimit/final"),
        each=("zfnet", "alexnet"),
        quantities=(
            Q(r"(?P<net>zfnet|alexnet)_layer(?P<n>[12])_never_active", "maps", "maps",
              "dead_filters.{net}_layer{n}"),
            Q(r"difference_layer[12]_never_active", "", "maps"),
            Q(r"(zfnet|alexnet|difference)_layer[12]_(weak|dominance|low|mid|high)", "", "maps"),
            Q(r"difference_layer2_grid_excess", "", "maps", "aliasing.zfnet_minus_alexnet"),
            Q(r"(zfnet|alexnet)_layer2_grid_excess", "", "maps"),
            Q(r"(zfnet|alexnet|difference)_layer2_(grid_ratio|field_share)", "", "maps"),
            Q(r"(zfnet|alexnet|difference|unlimited)_layer1_roughness", "", "maps"),
            Q(r"(unlimited|limit)_layer1_dominance", "", "maps"),
            Q(r"images", "images", ""),
        ),
        headline=(
            "zfnet_layer1_roughness", "difference_layer1_low", "difference_layer2_grid_excess"
        ),
    ),
    "occlusion": Study(
        title="Occlusion: what the answer rests on",
        place="Fig. 7",
        desc="Fig. 7: probability and label while a square hides part of the image",
        options=Occlusion,
        reads=(PREPARED, NET),
        images="dealt",
        quantities=(
            Q(r"inside_minus_outside", "", "images", "occlusion.object_minus_elsewhere"),
            Q(r"projection_correlation_gain", "", "images", "occlusion.follows_projection"),
            Q(r"worst_drop|label_changed|activity_drop|field_share", ""),
            Q(r"drop_(inside|outside)_box", ""),
            Q(r"projection_correlation(_other|_p)?", ""),
            Q(r"images|size_px|stride_px", "", ""),
        ),
        headline=("worst_drop", "inside_minus_outside", "projection_correlation_gain"),
    ),
    "correspondence": Study(
        title="Correspondence: do faces share eyes and noses?",
        place="Fig. 8, Table 1",
        desc="Fig. 8, Table 1: hidden parts of faces, and how alike the features change",
        options=Correspondence,
        reads=(PREPARED, NET),
        images="dealt",
        quantities=(
            Q(r"layer(?P<n>\d)_parts_minus_random", "", "groups", "parts_minus_random.layer{n}"),
            Q(r"layer\d_(right_eye|left_eye|nose)(_minus_random|_p)?", "", "groups"),
            Q(r"layer\d_(parts|parts_p|random)", "", "groups"),
            Q(r"gap_first_minus_last_layer", "", "groups"),
            Q(r"size_px", "px", ""),
        ),
        headline=tuple(f"layer{n}_parts_minus_random" for n in (5, 7)),
    ),
    "classification": Study(
        title="Classification error: one net, several, a wider one",
        place="Table 2",
        desc="Table 2: classification error, one net and ensembles",
        options=Classification,
        reads=(NET, "models/alexnet/final", "models/zfnet_wide/final"),
        each=(),
        quantities=(
            Q(r"top1_(zfnet|alexnet|zfnet_ensemble|zfnet_wide|both)", "%"),
            Q(r"top5_(?P<net>zfnet|alexnet|zfnet_ensemble|zfnet_wide|both)", "%", "images",
              "top5_error.{net}"),
            Q(r"zfnet_minus_alexnet|ensemble_minus_one|wide_minus_zfnet|both_minus_ensemble",
              "points"),
            Q(r"ten_crops_minus_centre", "points"),
        ),
        headline=("top1_zfnet", "top1_alexnet", "zfnet_minus_alexnet"),
    ),
    "ablation": Study(
        title="Ablation: layers taken out and resized",
        place="Table 3",
        desc="Table 3: layers left out, widened, narrowed",
        options=Ablation,
        reads=("models/*/final",),
        each=(),
        quantities=(
            Q(r"cost_removing_(?P<layers>3_4|7|6_7|3_4_6_7|3_4_6_7_slow)", "points", "images",
              "cost_without.{layers}"),
            Q(r"change_fc8192_of_wide", "points"),
            Q(r"change_(alexnet|zfnet)_fc(2048|8192)", "points"),
            Q(r"change_zfnet_wide(_fc8192)?", "points"),
            Q(r"cost_beyond_(sum|3_4|6_7)(_slow)?", "points"),
            Q(r"training_gain_fc8192_of_wide", "points"),
            Q(rf"val_top1_{_NET}", "%"),
        ),
        headline=("cost_removing_3_4", "cost_removing_6_7", "cost_removing_3_4_6_7"),
    ),
    "overlap": Study(
        title="Overlap: images that the targets share with the source",
        place="Section 5.2",
        desc="images that the targets share with the source",
        options=Overlap,
        reads=(PREPARED, TARGETS),
        each=(),
        quantities=(
            Q(rf"(source|{_TARGET})_(shared|most_in_a_class|strongest|repeated)", "", ""),
        ),
        headline=tuple(f"{name}_shared" for name in _SETS),
    ),
    "codes": Study(
        title="Features of the targets",
        place="",
        desc="features of the targets at every layer, of the trained and of an untrained net",
        options=Codes,
        reads=(TARGETS, NET),
        measures=False,
    ),
    "scratch": Study(
        title="The same net trained on the targets alone",
        place="",
        desc="the same net trained from scratch on the few images of each target",
        options=Scratch,
        reads=(TARGETS, NET),
        measures=False,
        images="redrawn",
        module="zfnet.training.scratch",
    ),
    "transfer": Study(
        title="Transfer: features kept, a new softmax for other classes",
        place="Tables 4–6, Fig. 9",
        desc="Tables 4–6, Fig. 9: a new softmax on layer 7, against training from scratch",
        options=Transfer,
        reads=(TARGETS, NET, "results/codes", "results/scratch", "results/overlap"),
        images="redrawn",
        quantities=(
            Q(rf"{_ALONE}{_TARGET}_pretrained_(?P<n>\d+)", "%", "test images",
              "transfer.{target}_{n}"),
            Q(rf"{_ALONE}{_TARGET}_scratch_(?P<n>\d+)", "%", "test images",
              "scratch.{target}_{n}"),
            Q(rf"{_ALONE}{_TARGET}_untrained_\d+", "%", "test images"),
            Q(rf"{_TARGET}_pretrained_minus_(scratch|untrained)_\d+", "points", "test images"),
            Q(rf"{_TARGET}_few_images", "images", ""),
            Q(rf"{_TARGET}_(softmax|sigmoids|untrained)_map", "%", "test images"),
        ),
        headline=(
            "unseen_pretrained_30", "unseen_pretrained_minus_scratch_30",
            "caltech101_pretrained_30", "caltech101_pretrained_minus_scratch_30",
            "caltech256_pretrained_60", "caltech256_pretrained_minus_scratch_60",
            "voc2007_softmax_map", "voc2012_softmax_map",
        ),
    ),
    "probe": Study(
        title="What each layer knows: linear classifiers on its features",
        place="Table 7",
        desc="Table 7: what each layer knows",
        options=Probe,
        reads=(TARGETS, NET, "results/codes", "results/overlap"),
        images="redrawn",
        quantities=(
            Q(rf"{_TARGET}_svm_(?P<n>\d+)", "%", "test images", "probe.{target}_layer{n}"),
            Q(rf"{_TARGET}_softmax_\d+", "%", "test images"),
            Q(rf"{_TARGET}_gain_\d+", "points", "test images"),
            Q(rf"{_TARGET}_trend(_untrained)?", "", "test images"),
            Q(rf"{_TARGET}_rise(_upper)?", "points", "test images"),
        ),
        headline=tuple(
            f"{name}_{key}" for name in _SETS for key in ("svm_7", "trend", "gain_7")
        ),
    ),
}  # fmt: skip
STUDIES: Mapping[str, Study] = {**PAPER, **SURVEY}
# Of every training, in metrics/train_<net>.json; over several seeds also as <key>_over_seeds.
TRAINING_QUANTITIES = (
    Q(r"val_top1_error", "%", headline="top1_error.{net}"),
    Q(r"val_top5_error|val_ten_crop_top[15]_error|(running_)?train_top1_error", "%"),
    Q(r"train_loss", "nat"),
    Q(r"epochs|parameters|filters_rescaled|largest_filter_rms", "", ""),
    Q(r"classes|images|input_px|trainings", "", ""),
)
_TRAINING = re.compile(rf"train_{_NET}")


def quantity_of(source: str, key: str) -> tuple[Quantity, dict[str, str]] | None:
    """What metrics/<source>.json means by `key`, and the words in it: net, target, layer …

    None for a key that nothing writes there, and for a file that nothing writes.
    """
    trained = _TRAINING.fullmatch(source)
    row = STUDIES.get(source)
    known = TRAINING_QUANTITIES if trained else row.quantities if row else ()
    for quantity in known:
        if found := re.fullmatch(quantity.pattern, key):
            return quantity, (trained.groupdict() if trained else {}) | found.groupdict()
    return None
