"""What captions and the feet of tables say of where numbers come from."""

from vlrface.report.notes import comparison_facts, counts_text, facts, matcher_text, shared_facts

from . import evaluated, made


def test_everything_a_caption_must_name() -> None:
    found = facts(made.report(context={**evaluated.CONTEXT, "seed": 3, "resamples": 1000}))
    assert found["Counts"] == "1,796 probes, 689 gallery"
    assert found["Intervals"] == "95 % percentile bootstrap over people, 1,000 resamples, seed 3"
    assert found["Crops"] == "as given, embeddings of crop and mirror image fused"
    assert found["Matcher"] == "run_1, fingerprint abc"
    assert found["Data"] == "made_up/set"
    assert found["Benchmark"].startswith("tinyface (Test ")


def test_what_is_not_known_is_said_to_be_so() -> None:
    found = facts(made.report(title="", counts={}, context={}))
    assert found == {
        "Benchmark": "tinyface",
        "Counts": "not recorded",
        "Intervals": "95 % percentile bootstrap over people, not recorded number of resamples, seed not recorded",
        "Crops": "not recorded",
        "Matcher": "not recorded",
    }


def test_faces_may_be_a_sentence() -> None:
    assert facts(made.report(context={"faces": "built-in faces"}))["Crops"] == "built-in faces"


def test_small_counts_are_left_to_the_tables() -> None:
    counts = {"probes": 5, "faces@size=12-16": 3, "probes_doubtful": 2, "probe_failures": 0, "probes_without_mate": 1}
    assert counts_text(counts) == "5 probes, 1 probes without mate"


def test_a_foreign_model_is_named_by_its_file_and_hash() -> None:
    assert matcher_text({"model": "r50.onnx", "sha256": "0123456789abcdef"}) == "r50.onnx, SHA-256 0123456789ab…"
    assert matcher_text({"experiment": "x", "step": 0}) == "x, step 0"


def test_models_share_what_they_agree_on() -> None:
    one = made.report(context={"faces": {"model": "a.onnx", "crops": "aligned"}, "seed": 1})
    two = made.report(context={"faces": {"model": "b.onnx", "crops": "aligned"}, "seed": 1})
    said = shared_facts({"A": one, "B": two})
    assert "Crops: aligned." in said
    assert "Matcher: A: a.onnx; B: b.onnx." in said
    assert sum("tinyface" in each for each in said) == 1


def test_both_sides_of_a_comparison_are_named() -> None:
    said = " ".join(comparison_facts(evaluated.comparison("scface")))
    for words in ("model_a: run_1", "b.onnx", "scface", "differences are paired", "80 probes at distance 1", "seed 0"):
        assert words in said, words
