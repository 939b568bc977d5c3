"""Puts the workflow, which lies beside the package in a clone, into the package that is installed."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HOME = Path(__file__).parent
FOLDERS = ("workflow", "scripts", "envs", "profiles")  # keep in step with `veridical.study.code_digests.HOME`


class WithWorkflow(build_py):
    """The usual build, and these folders as `veridical/_workflow`; an editable install uses the clone's."""

    def run(self):
        """Copies one file at a time, so that nothing but sources gets in."""
        super().run()
        if not self.editable_mode:
            for name in self._beside():
                target = Path(self.build_lib, "veridical", "_workflow", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(HOME / name), str(target))

    def get_source_files(self):
        """A source distribution holds them too."""
        return [*super().get_source_files(), *self._beside()]

    def _beside(self):
        files = [path for folder in FOLDERS for path in (HOME / folder).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(HOME)) for path in files if "__pycache__" not in path.parts)


setup(cmdclass={"build_py": WithWorkflow})
