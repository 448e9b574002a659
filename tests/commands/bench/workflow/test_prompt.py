"""A workflow in the API format: read, resized, refused with a sentence."""

import json

import pytest
from wanattn.commands.bench.workflow import prompt
from wanattn.tests.commands.bench.workflow.flows import graph, plain


class TestLoad:
    def put(self, folder, data):
        path = folder / "flow.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        return path

    def test_takes_a_prompt_and_the_body_of_a_request(self, tmp_path):
        assert prompt.load(self.put(tmp_path, plain())) == plain()
        assert prompt.load(self.put(tmp_path, {"prompt": plain(), "client_id": "x"})) == plain()
        assert prompt.load(self.put(tmp_path, "\ufeff" + json.dumps(plain()))) == plain()

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            ("no json", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ({"nodes": [], "links": [], "version": 0.4}, "Workflow > Export"),
            ({}, "empty"),
            ([], "no nodes"),
            (
                {"1": {"class_type": None, "inputs": {}}},
                "node 1 of flow.json is of a type that the ComfyUI it was exported from does not have",
            ),
            (
                {"1": {"class_type": "UNETLoader"}},
                "node 1 of flow.json has no class_type and inputs",
            ),
            (
                {"1": {"class_type": "KSampler", "inputs": {"model": ["9", 0]}}},
                "KSampler 1 takes its model from node 9",
            ),
        ],
    )
    def test_says_what_is_wrong_and_how_to_export(self, tmp_path, data, said):
        with pytest.raises(ValueError, match=said) as caught:
            prompt.load(self.put(tmp_path, data))
        assert "export" in str(caught.value).lower()

    @pytest.mark.parametrize("slot", ["1e999", "-1e999", "NaN", "0.5"])
    def test_says_that_a_link_has_no_such_output(self, tmp_path, slot):
        data = json.dumps(plain()).replace('["2", 0]', f'["2", {slot}]')
        with pytest.raises(
            ValueError, match=r"KSampler 4 takes its model from output .* of node 2"
        ):
            prompt.load(self.put(tmp_path, data))

    def test_says_that_a_file_is_missing_or_binary(self, tmp_path):
        with pytest.raises(ValueError, match=r"cannot read .*absent\.json \(No such"):
            prompt.load(tmp_path / "absent.json")
        with pytest.raises(ValueError, match="is a folder, needs a workflow"):
            prompt.load(tmp_path)
        video = tmp_path / "video.mp4"
        video.write_bytes(b"\x00\xff\xfe\x80")
        with pytest.raises(ValueError, match="not JSON"):
            prompt.load(video)


class TestClip:
    def test_sets_length_and_size_only_where_a_video_is_sized(self):
        before = plain() | graph(n9=("ImageScale", {"width": 512, "height": 512}))
        after = prompt.with_clip(before, 25, "832x1216")

        assert prompt.clip_of(after) == ("832x1216", 25)
        assert after["9"] == before["9"]
        assert prompt.clip_of(before) == ("832x480", 81)

    def test_leaves_what_is_not_given(self):
        assert prompt.clip_of(prompt.with_clip(plain(), 25, None)) == ("832x480", 25)
        assert prompt.clip_of(prompt.with_clip(plain(), None, "64x64")) == ("64x64", 81)
        assert prompt.with_clip(plain(), None, None) == plain()

    def test_takes_the_place_of_a_link_and_says_so(self):
        linked = plain() | graph(n8=("ComfyMathExpression", {"expression": "5 * 16 + 1"}))
        linked["3"]["inputs"]["length"] = ["8", 0]

        after = prompt.with_clip(linked, 25, None)

        assert prompt.clip_of(linked) == ("", 0) and prompt.clip_of(after) == ("832x480", 25)
        (sentence,) = prompt.overruled(linked, after)
        assert sentence.endswith("length 25 in place of what ComfyMathExpression 8 gives it")
        sized = prompt.with_clip(linked, None, "64x64")
        assert sized["3"]["inputs"]["length"] == ["8", 0]
        assert prompt.overruled(linked, sized) == []

    def test_leaves_links_to_a_node_that_is_set_itself(self):
        before = plain() | graph(
            n8=("WanCameraImageToVideo", {"width": ["3", 1], "height": ["3", 2], "length": 81})
        )

        after = prompt.with_clip(before, 25, "64x64")

        assert after["8"]["inputs"] == {"width": ["3", 1], "height": ["3", 2], "length": 25}
        assert prompt.overruled(before, after) == []

    def test_says_that_no_node_sizes_a_video(self):
        with pytest.raises(ValueError, match="EmptyHunyuanLatentVideo"):
            prompt.with_clip(graph(n1=("UNETLoader", {})), 25, None)

    @pytest.mark.parametrize(("frames", "size"), [(24, None), (None, "832x481"), (None, "big")])
    def test_refuses_what_wan_cannot(self, frames, size):
        with pytest.raises(ValueError, match="needs"):
            prompt.with_clip(plain(), frames, size)
