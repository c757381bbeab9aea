"""Gradients of ONNX's own node tests, of every operator that has a rule.

A case counts where ONNX Runtime runs it on floats of 32 or 64 bits.
"""

from __future__ import annotations

import re

import onnx
import pytest

from onnxvis.errors import RewriteError
from tests.rewrite.directions import relative_errors
from tests.rewrite.node_gradients import (
    FIRST_OUTPUT,
    SETTINGS,
    SLOW,
    Form,
    Skipped,
    case_of,
    forms,
    gradients_of,
    limit,
    names,
    unfit,
)

REFUSED = {
    "its coordinate_transformation_mode is tf_crop_and_resize, which also crops": (
        "test_resize_tf_crop_and_resize", "test_resize_tf_crop_and_resize_axes_2_3",
        "test_resize_tf_crop_and_resize_axes_3_2", "test_resize_tf_crop_and_resize_extrapolation_value",
    ),
    "its keep_aspect_ratio_policy is 'not_larger'; there is a rule for stretch": (
        "test_resize_downsample_sizes_nearest_not_larger", "test_resize_upsample_sizes_nearest_not_larger",
    ),
    "its keep_aspect_ratio_policy is 'not_smaller'; there is a rule for stretch": (
        "test_resize_downsample_sizes_nearest_not_smaller", "test_resize_upsample_sizes_nearest_not_smaller",
    ),
    "its reduction is 'mul'; there is a rule for none and add": (
        "test_scatter_elements_with_reduction_mul", "test_scatternd_multiply",
    ),
    "its reduction is 'max'; there is a rule for none and add": (
        "test_scatter_elements_with_reduction_max", "test_scatternd_max", "test_scatternd_max_with_element_indices",
    ),
    "its reduction is 'min'; there is a rule for none and add": (
        "test_scatter_elements_with_reduction_min", "test_scatternd_min", "test_scatternd_min_with_element_indices",
    ),
    "training_mode is 1, so it would normalise by the very pictures it is shown": (
        "test_batchnorm_epsilon_training_mode", "test_batchnorm_example_training_mode",
    ),
    "names no output, leaves indices to '...' or has one twice in an operand": (
        "test_einsum_batch_diagonal", "test_einsum_inner_prod",
    ),
    "its output_shape [10, 8] is larger than what its kernel reaches": ("test_convtranspose_output_shape",),
}  # fmt: skip
"""{what the rule says: cases that it refuses in every form}"""

_DROPPING = (
    "test_training_dropout", "test_training_dropout_default", "test_training_dropout_default_mask",
    "test_training_dropout_mask",
)  # fmt: skip
REFUSED_IN_FORM: dict[tuple[Form, str], tuple[str, ...]] = {
    ("fed", "the axes that it cuts are computed, by 'axes'"): (
        "test_slice", "test_slice_default_steps", "test_slice_end_out_of_bounds", "test_slice_neg",
        "test_slice_neg_steps", "test_slice_negative_axes",
    ),
    ("fed", "whether it drops values is known in the run alone, by 't'"): (
        *_DROPPING, "test_training_dropout_zero_ratio", "test_training_dropout_zero_ratio_mask",
    ),
    ("stored", "training_mode is set"): _DROPPING,
    ("free", "training_mode is set"): _DROPPING,
    ("free", "its padding, auto_pad SAME_UPPER with strides [2, 2], depends on the size of its input"): (
        "test_averagepool_2d_precomputed_same_upper",
    ),
    ("free", "its padding, auto_pad SAME_LOWER with strides [2, 2], depends on the size of its input"): (
        "test_conv_with_autopad_same",
    ),
    ("free", "its padding, given by output_shape [10, 8], depends on the size of its input"): (
        "test_convtranspose_kernel_shape", "test_convtranspose_output_shape",
    ),
    ("free", "number of its channels is not known"): ("test_depthtospace_crd_mode_example",),
}  # fmt: skip
"""{form, what the rule says: cases that it refuses in that form}"""

COLLECTED, FIT = 813, 521
"""Node tests of operators with a rule, and those of them with a gradient to test, with onnx 1.23.

The floor below leaves room for other versions, not for a broken test.
"""
FLOOR = 0.9


def refusal(name: str, form: Form) -> str:
    """What the rule is expected to say of the case in that form; nothing where it has a gradient."""
    in_form = [words for (refused, words), cases in REFUSED_IN_FORM.items() if refused == form and name in cases]
    return next(iter([*in_form, *(words for words, cases in REFUSED.items() if name in cases)]), "")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names()]
)
def test_gradients_are_those_of_differences_along_random_directions(name: str) -> None:
    try:
        case = case_of(name)
    except Skipped as reason:
        pytest.skip(str(reason))
    for form in forms(case):
        words = refusal(name, form)
        if words:
            with pytest.raises(RewriteError, match=re.escape(words)):
                gradients_of(case, form)
            continue
        errors = relative_errors(case, form)
        assert {key: error for key, error in errors.items() if error > limit(case.op)} == {}, form


def test_enough_cases_are_tested() -> None:
    assert len(names()) + len(unfit()) >= FLOOR * COLLECTED
    assert len(names()) >= FLOOR * FIT


def test_what_is_expected_to_be_refused_is_among_the_cases() -> None:
    if len(names()) < FIT:
        pytest.skip(f"onnx {onnx.__version__} has fewer node tests")
    expected = {name for cases in (*REFUSED.values(), *REFUSED_IN_FORM.values()) for name in cases}
    assert expected - set(names()) == set()


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("test_resize_upsample_scales_linear", "scales", "there is no gradient by its input 'scales'"),
        ("test_dropout_default_ratio", "r", "there is no gradient by its input 'r'"),
        ("test_dequantizelinear", "x_scale", "its scale 'x_scale' changes with what it is differentiated by"),
    ],
)
def test_an_input_that_says_how_has_no_gradient(name: str, setting: str, words: str) -> None:
    case = case_of(name)
    assert setting in [case.model.graph.node[0].input[place] for place in SETTINGS[case.op]]
    with pytest.raises(RewriteError, match=re.escape(words)):
        gradients_of(case, "fed", wrt=(setting,))


@pytest.mark.parametrize(
    ("name", "output"),
    [("test_layer_normalization_default_axis", "Mean"), ("test_batchnorm_example_training_mode", "output_mean")],
)
def test_an_output_beside_the_first_has_no_gradient(name: str, output: str) -> None:
    case = case_of(name)
    assert case.op in FIRST_OUTPUT
    with pytest.raises(RewriteError, match=f"its output '{output}' has no gradient"):
        gradients_of(case, "fed", outputs=(*case.outputs, output))
