import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import fabricate
import fabricate_claims
import fabricate_explorers
import pytest

from zfnet.errors import UserError
from zfnet.files import write_json
from zfnet.report import claims, publish, records, track, wandb_report
from zfnet.report.gather import gather

pytestmark = pytest.mark.usefixtures("no_account")


class Module:
    """Stands for wandb_workspaces.reports.v2: each class only keeps what it was given."""

    def __getattr__(self, name):
        return lambda **given: SimpleNamespace(kind=name, id="", **given)


class Service:
    """Stands for W&B: writes down what it is asked, in order; `fails` names what refuses."""

    def __init__(self, fails=""):
        self.fails, self.asked, self.synced, self.report = fails, [], [], None

    def _ask(self, what):
        self.asked.append(what)
        if what == self.fails:
            raise UserError(f"no {what}")

    def reports(self):
        self._ask("reports")
        return Module()

    def login(self):
        self._ask("login")
        return "someone"

    def sync(self, folders, entity, project):
        self._ask("sync")
        self.synced, self.to = list(folders), (entity, project)

    def save(self, report, draft):
        self._ask("save")
        self.report, self.draft, self.before = report, draft, report.id
        report.id = report.id or "new"
        report.url = f"https://wandb.example/{report.id}"


def replay(root, mode="offline"):
    """results/track.json and the folders that an offline replay leaves, without W&B."""
    fabricate_claims.write(root)
    evidence = gather(root)
    group = records.group_of(evidence.config_text)
    runs = [
        {"id": record.id, "name": record.key, "group": group}
        for record in records.records_of(evidence, group)
    ]
    for run in runs if mode == "offline" else []:
        (root / "wandb" / f"offline-run-20261122_000000-{run['id']}").mkdir(parents=True)
    (root / "wandb").mkdir(exist_ok=True)
    write_json(root / "results" / "track.json", {"mode": mode, "group": group, "runs": runs})
    return {run["name"]: run["id"] for run in runs}


@pytest.fixture
def root(tmp_path):
    return fabricate.tree(tmp_path / "run")


def blocks_under(blocks, heading):
    """The blocks between this H1 and the next."""
    start = next(i for i, b in enumerate(blocks) if b.kind == "H1" and b.text.startswith(heading))
    after = blocks[start + 1 :]
    end = next((i for i, b in enumerate(after) if b.kind == "H1"), len(after))
    return after[:end]


def panels_of(blocks):
    return [panel for block in blocks if block.kind == "PanelGrid" for panel in block.panels]


# ------------------------------------------------------------------------------------ what is sent
def test_every_run_of_the_group_is_uploaded_and_no_other(root):
    runs = replay(root)
    stranger = root / "wandb" / "offline-run-20261121_000000-0123456789abcdef0123"
    stranger.mkdir()
    service = Service()
    url = publish.publish(root, root, service)
    assert url == "https://wandb.example/new"
    assert service.asked == ["reports", "login", "sync", "save"]
    assert service.to == ("someone", "zfnet")
    assert sorted(folder.name[28:] for folder in service.synced) == sorted(runs.values())
    assert set(runs) == {"train zfnet", "train alexnet", "features", "occlusion", "verdicts"}


def test_what_was_logged_online_is_not_uploaded_again(root):
    replay(root, mode="online")
    service = Service()
    publish.publish(root, root, service, draft=True)
    assert service.asked == ["reports", "login", "save"]
    assert service.draft


def test_the_report_of_a_group_is_rewritten_and_another_groups_is_not(root):
    replay(root)
    first, second, third = Service(), Service(), Service()
    publish.publish(root, root, first)
    publish.publish(root, root, second)
    assert (first.before, second.before) == ("", "new")
    write_json(root / "build" / "config.json", fabricate.CONFIG | {"seed": 1}, sort_keys=False)
    replay(root)
    publish.publish(root, root, third)
    assert third.before == ""
    assert len(json.loads((root / "wandb" / publish.REMEMBERED).read_text())) == 2


def test_chapters_hold_the_numbers_and_panels_of_their_own_runs(root):
    runs = replay(root)
    service = Service()
    publish.publish(root, root, service)
    verdicts = blocks_under(service.report.blocks, claims.HEADINGS["paper"])
    (table,) = [block.text for block in verdicts if block.kind == "MarkdownBlock"]
    assert table.splitlines()[2].endswith("| 0.104 [0.085, 0.122] | rises | **holds here** |")
    (grid,) = [block for block in verdicts if block.kind == "PanelGrid"]
    assert grid.panels[0].table_name == "claims"
    assert grid.runsets[0].filters == f"Metric('ID') in ['{runs['verdicts']}']"
    nets = blocks_under(service.report.blocks, wandb_report.NETS_HEADING)
    assert [panel.y for panel in panels_of(nets)] == [[name] for name in wandb_report.CURVES]
    study = blocks_under(service.report.blocks, "Feature visualisation")
    texts = [block.text for block in study if block.kind == "MarkdownBlock"]
    assert texts[:2] == ["**The answer** of features.", "How features was measured."]
    assert "| 0.512 [0.470, 0.553] | 64 |" in texts[2]
    keys = [key for panel in panels_of(study) for key in panel.media_keys]
    names = ["layer_3", "layer_1_filters", "layer_2", "layer_4", "layer_5"]  # the card's first
    assert keys == [f"figures/{name}" for name in names]
    folded, sheets = [block for block in study if block.kind == "H3"]
    (grid,) = folded.collapsed_blocks
    assert [panel.table_name for panel in grid.panels] == ["tables/purity"]
    assert grid.runsets[0].filters == f"Metric('ID') in ['{runs['features']}']"
    assert [panel.media_keys for panel in panels_of(sheets.collapsed_blocks)] == [
        ["figures/all_layer3"]
    ]


def test_the_evolution_has_one_panel_a_layer_whose_step_is_the_epoch(tmp_path):
    root = fabricate_explorers.tree(tmp_path / "run")
    replay(root)
    service = Service()
    publish.publish(root, root, service)
    blocks = blocks_under(service.report.blocks, "Evolution")
    keys = [panel.media_keys for panel in panels_of(blocks)]
    assert keys == [["evolution/layer_1"], ["evolution/layer_2"]]


# ---------------------------------------------------------------------------------------- refusals
def test_nothing_is_asked_of_wandb_before_there_is_a_replay(root):
    service = Service()
    with pytest.raises(UserError, match=r"track\.json is missing.*dvc repro track"):
        publish.publish(root, root, service)
    track.run(
        SimpleNamespace(tracking=SimpleNamespace(mode="disabled")),
        SimpleNamespace(root=root, main=root, results=root / "results" / "track"),
    )
    with pytest.raises(UserError, match=r"disabled.*tracking=offline"):
        publish.publish(root, root, service)
    assert service.asked == []


def test_a_replay_of_older_results_is_refused_by_name(root):
    replay(root)
    fabricate.result(root, "probe")
    fabricate.features(root, more=1)
    service = Service()
    with pytest.raises(UserError, match=r"\(features, probe changed since\)"):
        publish.publish(root, root, service)
    assert service.asked == []


def test_a_run_whose_folder_is_gone_is_named(root):
    runs = replay(root)
    shutil.rmtree(root / "wandb" / f"offline-run-20261122_000000-{runs['occlusion']}")
    service = Service()
    with pytest.raises(UserError, match=r"lacks the offline runs of occlusion"):
        publish.publish(root, root, service)
    assert service.asked == []


@pytest.mark.parametrize("what", ["reports", "login", "sync"])
def test_a_refusal_ends_it_there(root, what):
    replay(root)
    service = Service(fails=what)
    with pytest.raises(UserError, match=f"no {what}"):
        publish.publish(root, root, service)
    assert service.asked[-1] == what
    assert "save" not in service.asked
    assert not (root / "wandb" / publish.REMEMBERED).exists()


def test_a_missing_package_is_told_with_the_command_that_brings_it(root, monkeypatch):
    replay(root)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(UserError, match="uv run --extra publish zfnet publish"):
        publish.main([], root, root)


def test_what_wandb_sync_left_undone_is_named(root, monkeypatch):
    replay(root)
    folders = sorted((root / "wandb").iterdir())
    commands = []

    def run(command, env, check):
        commands.append(command)
        for folder in folders[1:]:
            (folder / "run-x.wandb.synced").touch()

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match=f"1 of 5 runs .{folders[0].name}.*no report was written"):
        publish.Wandb(root).sync(folders, "someone", "zfnet")
    (folders[0] / "run-x.wandb.synced").touch()
    publish.Wandb(root).sync(folders, "someone", "zfnet")
    assert commands[0][1:8] == [
        "-m", "wandb", "sync", "--entity", "someone", "--project", "zfnet",
    ]  # fmt: skip
    assert commands[0][8:] == [str(folder) for folder in folders]


# --------------------------------------------------------------------------------- the real classes
def test_the_real_classes_take_the_report(tmp_path, monkeypatch):
    module = pytest.importorskip("wandb_workspaces.reports.v2")
    interface = sys.modules["wandb_workspaces.reports.v2.interface"]
    root = fabricate_explorers.tree(tmp_path / "run")
    runs = replay(root)
    sent = []

    def execute_graphql(api, query, variables=None):
        sent.append(variables)
        if "spec" not in variables:
            return {"project": {"internalId": "UHJvamVjdA=="}}
        view = {key: variables[key] for key in ("name", "displayName", "description", "spec")}
        project = {"name": "zfnet", "entityName": "someone", "id": "UHJvamVjdA=="}
        return {"upsertView": {"view": view | {"id": variables["id"] or "Vlg6MQ==",
                                               "project": project}}}  # fmt: skip

    api = SimpleNamespace(projects=lambda entity: [SimpleNamespace(name="zfnet")])
    monkeypatch.setattr(interface, "_get_api", lambda: api)
    monkeypatch.setattr(interface, "execute_graphql", execute_graphql)
    monkeypatch.setattr(interface, "get_app_url", lambda api: "https://wandb.example")
    service = Service()
    service.reports = lambda: module
    service.save = publish.Wandb(root).save
    url = publish.publish(root, root, service)
    assert url.startswith("https://wandb.example/someone/zfnet/reports/")
    assert url == publish.publish(root, root, service)
    first, second = (variables for variables in sent if "spec" in variables)
    assert (first["id"], second["id"]) == (None, "Vlg6MQ==")
    spec = json.loads(first["spec"])
    grids = [block["metadata"] for block in spec["blocks"] if block["type"] == "panel-grid"]
    (filters,) = grids[0]["runSets"][0]["filters"]["filters"]
    assert filters["key"] == {"section": "run", "name": "name"}  # W&B's word for a run's id
    assert (filters["op"], filters["value"]) == ("IN", [runs["verdicts"]])
    monkeypatch.setattr(interface, "execute_graphql", lambda *_: {}["no such view"])
    with pytest.raises(UserError, match=r"did not take the report.*published\.json"):
        publish.publish(root, root, service)
