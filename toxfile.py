"""Lets `tox run -e torch --force-dep "torch==2.14.0"` swap a release without editing a file.

tox 4 has the option without `run` only. tox loads this file itself, because it stands beside
tox.ini.
"""

from __future__ import annotations

from argparse import ArgumentError

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from tox.config.cli.parser import ToxParser
from tox.config.loader.memory import MemoryLoader
from tox.config.sets import EnvConfigSet
from tox.plugin import impl
from tox.session.state import State


@impl
def tox_add_option(parser: ToxParser) -> None:
    run, _ = parser.handlers["run"]
    try:
        run.add_argument(
            "--force-dep",
            action="append",
            default=[],
            type=Requirement,
            metavar="REQUIREMENT",
            help="in the place of an environment's own requirement of that distribution",
        )
    except ArgumentError:
        return  # a tox that has it there


@impl
def tox_add_env_config(env_conf: EnvConfigSet, state: State) -> None:
    named = getattr(state.conf.options, "force_dep", [])
    forced = {canonicalize_name(requirement.name): str(requirement) for requirement in named}
    text = _written(env_conf) if forced else ""
    lines = [forced.get(_name(line), line) for line in text.splitlines()]
    if lines != text.splitlines():
        # A loader in front of tox.ini's: tox then sees that the requirements have changed, and
        # makes the environment anew; and again when the option is left out.
        env_conf.loaders.insert(0, MemoryLoader(deps="\n".join(lines)))


def _written(env_conf: EnvConfigSet) -> str:
    """What tox.ini says under `deps`, as it stands there."""
    for loader in env_conf.loaders:
        try:
            return str(loader.load_raw("deps", None, env_conf.name))
        except KeyError:
            continue
    return ""


def _name(line: str) -> str | None:
    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return None
