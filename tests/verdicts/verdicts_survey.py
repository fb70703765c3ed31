"""For every claim of the other techniques a result at which a careless rule would mislead."""

from __future__ import annotations

from collections.abc import Mapping

from verdicts_made import DRAWN, NO, NONE, OPEN, SMALL, Case, one

from zfnet.stats.estimate import STILL_LEARNING, Estimate

HOLDS, FAILS = "holds here", "fails here"
Numbers = Mapping[str, Mapping[str, Estimate]]


def layers(study: str, key: str, *values: float, half: float = 0.02, first: int = 1) -> Numbers:
    """One number a layer from `first` on."""
    return {study: {key.format(n=n): one(v, half) for n, v in enumerate(values, first)}}


def of(study: str, **numbers: Estimate) -> Numbers:
    return {study: numbers}


def inverted(errors: list[float], late: float = 0.01, half: float = 0.02) -> Numbers:
    """Errors of layers 1, 3, 5, 7 and what the last steps still brought."""
    numbers = {
        f"layer{n}_pixel_error": one(v, half) for n, v in zip((1, 3, 5, 7), errors, strict=True)
    }
    return {"inversion": numbers | {f"layer{n}_late_fall": one(late, 0.002) for n in (1, 3, 5, 7)}}


def told(gain: float, over_prior: float, half: float = 0.03) -> Numbers:
    each = {f"layer{n}_own_minus_other": one(gain, half) for n in (1, 3, 5, 7)}
    return {"inversion": each | {f"layer{n}_own_minus_prior": one(over_prior, half)
                                 for n in (1, 3, 5, 7)}}  # fmt: skip


CASES = [
    Case("sparser_with_training", "denser in layer 2, sparser above",
         layers("activations", "layer{n}_zeros_change", -0.1, 0.2, 0.2, 0.2, first=2), NO),
    Case("sparser_with_training", "two controls, first weights twice",
         layers("activations", "layer{n}_zeros_change", 0, 0, 0, 0, first=2), OPEN),
    Case("more_local_with_training", "in three of four layers",
         layers("activations", "layer{n}_locality_change", 0.1, 0.1, 0.1, 0.01, first=2), OPEN),
    Case("filters_smooth", "first weights, which are noise",
         layers("filters", "layer{n}_smoothness", 1, 1, 1, 1, 1), OPEN),
    Case("filters_smooth", "one layer of noise among smooth ones",
         layers("filters", "layer{n}_smoothness", 1.4, 1.2, 1.1, 1.1, 1.005), OPEN),
    Case("smoother_with_training", "rougher, in a net that is still learning",
         of("filters", layer1_smoothness_gain=one(-0.1, 0.02, STILL_LEARNING)), OPEN),
    Case("directions_as_pure_as_units", "alike but for one layer",
         layers("features", "layer{n}_directions_minus_units", 0, 0, 0, 0, -0.2), NO),
    Case("directions_as_pure_as_units", "too few maps to tell",
         layers("features", "layer{n}_directions_minus_units", 0, 0, 0, 0, 0, half=0.2), OPEN),
    Case("units_purer_than_directions", "a difference that nobody would see",
         of("features", layer5_directions_minus_units=one(-0.02, 0.01)), NO),
    Case("codes_cluster_by_class", "an untrained net's codes cluster as well",
         of("embedding", codes_minus_pixels_2d=one(0.5, 0.05),
            codes_minus_untrained_2d=one(0, 0.05)),
         NO),
    Case("codes_cluster_by_class", "a gain that the eye does not see",
         of("embedding", codes_minus_pixels_2d=one(0.05, 0.02),
            codes_minus_untrained_2d=one(0.05, 0.02)), NO),
    Case("after_relu_matters", "no difference",
         of("embedding", after_minus_before_relu_2d=one(0, 0.02)), OPEN),
    Case("grid_keeps_neighbours", "as a grid at random",
         of("embedding", grid_minus_permuted=one(0, 0.03)), OPEN),
    Case("class_image_scores_high", "every second class",
         of("class_models", score_beats_images=one(0.5, 0.2)), OPEN),
    Case("class_image_transfers", "the second net says the same of noise",
         of("class_models", transfer_minus_chance=one(0.4, 0.1), transfer_minus_noise=one(0, 0.1)),
         OPEN),
    Case("saliency_on_object", "more than area and edges, less than an untrained net",
         of("class_models", saliency_minus_area=one(0.2, 0.02),
            saliency_minus_centre=one(0.1, 0.02), saliency_minus_edges=one(0.05, 0.02),
            saliency_minus_untrained=one(-0.1, 0.02)), NO),
    Case("saliency_on_object", "more than area alone, as edges have it",
         of("class_models", saliency_minus_area=one(0.2, 0.02),
            saliency_minus_centre=one(0.1, 0.02), saliency_minus_edges=one(0.01, 0.02),
            saliency_minus_untrained=one(0.1, 0.02)), OPEN),
    Case("saliency_localises", "no better than the centre",
         of("class_models", localises_minus_centre=one(0, 0.05)), OPEN),
    Case("guided_ignores_class", "neither depends on the class",
         of("class_models", guided_minus_gradient_other_class=one(0, 0.02)), OPEN),
    Case("guided_ignores_weights", "on rendered images it depends on the weights more",
         of("class_models", guided_minus_gradient_untrained=one(-0.2, 0.02)), FAILS, run=DRAWN),
    Case("codes_still_show_image", "a picture without a code says as much",
         told(0.4, 0), OPEN),
    Case("codes_still_show_image", "every layer but the last",
         {"inversion": {**told(0.4, 0.2)["inversion"], "layer7_own_minus_other": one(0, 0.03)}},
         OPEN),
    Case("image_error_rises", "deeper layers are only less converged",
         inverted([0.2, 0.4, 0.6, 0.8], late=0.3), SMALL),
    Case("image_error_rises", "up and down",
         inverted([0.2, 0.6, 0.4, 0.8]), NO),
    Case("conv_aligns", "copying the coordinates is as good",
         of("alignment", conv_minus_patches=one(0.3, 0.05), conv_minus_copied=one(0, 0.05),
            conv_minus_untrained=one(0.3, 0.05)), OPEN),
    Case("conv_like_sift", "too few pairs to tell",
         of("alignment", conv_minus_sift=one(0, 0.1)), OPEN),
    Case("conv_like_sift", "better than SIFT is not as good as SIFT",
         of("alignment", conv_minus_sift=one(0.2, 0.05)), NO),
    Case("small_is_harder", "a dozen classes of photographs",
         of("attributes", scale_effect=one(0.2, 0.02)), SMALL,
         run={"classes": 12, "images": 5000}),
    Case("clutter_is_harder", "on rendered images, a word about them alone",
         of("attributes", clutter_effect=one(-0.2, 0.02)), HOLDS, run=DRAWN),
    Case("fgsm_beats_noise", "at two grey levels, not at one",
         of("fooling", fgsm_minus_noise_1=one(0.01, 0.02), fgsm_minus_noise_2=one(0.2, 0.02)),
         OPEN),
    Case("fooling_transfers", "any other image's change does it as well",
         of("fooling", transfer_minus_noise_4=one(0.2, 0.02),
            transfer_minus_other_4=one(0, 0.02)),
         OPEN),
    Case("fooled_by_noise", "the second net sees the same in it: no fooling",
         of("fooling", fooled_classes=one(1, 0.1), fooled_alone=one(0.1, 0.1)), NO),
    Case("linear_is_fooled", "noise does it as well",
         of("fooling", linear_minus_noise_4=one(0, 0.05)), OPEN),
    Case("people_err_less", "nobody has labelled", of("humans", net_error=one(5, 2)), NONE),
    Case("people_err_less", "on ten classes of photographs",
         of("humans", net_minus_human=one(5, 1)), SMALL, run={"classes": 10, "images": 9000}),
    Case("labels_explain_errors", "twenty errors",
         of("humans", outside_labels_difference=one(0.2, 0.25)), OPEN),
]  # fmt: skip
