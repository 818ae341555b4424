"""Settings: a value that won't do is told with its place, its key, itself and what is wanted."""

from pathlib import Path

import pytest

from shopstream.errors import ConfigError
from shopstream.settings import Settings, load_settings, setting_table

WRONG = {
    "rules = 3": "rules = 3 is not a path",
    "rules = []": "rules = [] is not a path",
    "port = 70000": "setting port: 70000 is not 0 to 65535",
    'events_ttl = "0s"': "setting events_ttl: 0s is not at least 1h",
    'orders_ttl = "59m"': "setting orders_ttl: 59m is not at least 1h",
    "body_bytes_max = 0": "setting body_bytes_max: 0 is not at least 1",
    "queue_events_max = -1": "setting queue_events_max: -1 is not at least 1",
    "order_alert_above = -1": "setting order_alert_above: -1 is not at least 0",
    "total_tolerance = 0": "setting total_tolerance: 0 is not at least 0.0001",
    "[order_alert_above_by_currency]\nERU = 5": "is not a table of ISO 4217 codes",
    'total_tolerance = "x"': "total_tolerance = 'x' is not a number",
    "notify = 3": "notify = 3 is not a list of texts",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=WRONG)
def test_a_setting_that_will_not_do_is_told_with_its_file(
    text: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "shopstream.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as told:
        load_settings({"data_dir": tmp_path}, environ={})
    assert str(told.value).startswith(f"{file}: ")
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("PORT", "abc", "port = 'abc' is not a whole number"),
        ("LAKE", "yes", "lake = 'yes' is not true or false"),
        (
            "EVENTS_TTL",
            "soon",
            "events_ttl = 'soon' is not a duration such as 90s, 30m, 24h or 30d",
        ),
        ("SHARDS", "65", "setting shards: 65 is not 0 to 64"),
    ],
)
def test_a_setting_of_the_environment_is_told_with_its_variable(
    name: str, value: str, wanted: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as told:
        load_settings({"data_dir": tmp_path}, environ={f"SHOPSTREAM_{name}": value})
    assert str(told.value).startswith(f"environment SHOPSTREAM_{name}: ")
    assert wanted in str(told.value)


def test_an_empty_path_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "shopstream.toml"
    empty = {"SHOPSTREAM_RULES": "", "SHOPSTREAM_DATA_DIR": ""}
    assert load_settings(environ=empty) == Settings()
    file.write_text('rules = "ours.toml"')
    assert load_settings({"data_dir": tmp_path}, environ=empty).rules == Path("ours.toml")
    file.write_text('rules = ""')
    assert load_settings({"data_dir": tmp_path}, environ={}).rules is None


def test_what_0s_means_is_said_where_it_may_be_given(tmp_path: Path) -> None:
    found = load_settings({"data_dir": tmp_path, "bronze_ttl": "0s", "log_ttl": "0s"}, environ={})
    assert not found.bronze_ttl
    helps = {setting.name: setting.help for setting in setting_table()}
    assert "0s is" in helps["bronze_ttl"]
    assert "0s is" in helps["log_ttl"]
    assert helps["events_ttl"].endswith("At least 1h.")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PORTT", "did you mean SHOPSTREAM_PORT?"),
        ("RULE", "did you mean SHOPSTREAM_RULES?"),
        ("QQQQ", "see `shopstream settings`"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_the_nearest_one(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as told:
        load_settings(environ={f"SHOPSTREAM_{name}": "1"})
    assert str(told.value) == f"environment SHOPSTREAM_{name}: there is no such setting; {hint}"


OF_KUBERNETES = {
    "SHOPSTREAM_SERVICE_HOST": "10.0.0.11",
    "SHOPSTREAM_SERVICE_PORT": "8080",
    "SHOPSTREAM_SERVICE_PORT_HTTP": "8080",
    "SHOPSTREAM_PORT_8080_TCP": "tcp://10.0.0.11:8080",
    "SHOPSTREAM_PORT_8080_TCP_PROTO": "tcp",
    "SHOPSTREAM_PORT_8080_TCP_PORT": "8080",
    "SHOPSTREAM_PORT_8080_TCP_ADDR": "10.0.0.11",
}


def test_what_kubernetes_says_of_a_service_called_shopstream_is_no_setting(tmp_path: Path) -> None:
    assert load_settings({"data_dir": tmp_path}, environ=OF_KUBERNETES).port == 8080
    port = {"SHOPSTREAM_PORT": "tcp://10.0.0.11:8080"}
    with pytest.raises(ConfigError, match=r"SHOPSTREAM_PORT: .*enableServiceLinks: false"):
        load_settings({"data_dir": tmp_path}, environ=OF_KUBERNETES | port)


@pytest.mark.parametrize("name", ["SERVICE", "SERVICE_PORTS", "PORT_TCP", "PORT_8080"])
def test_what_kubernetes_does_not_say_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="there is no such setting"):
        load_settings({"data_dir": tmp_path}, environ={f"SHOPSTREAM_{name}": "1"})


def test_variables_of_others_and_of_the_tests_are_no_settings(tmp_path: Path) -> None:
    environ = {"SHOPSTREAM_TEST_DATA": "x", "SHOPSTREAMER": "x", "PORT": "1"}
    assert load_settings({"data_dir": tmp_path}, environ=environ).port == 8080
