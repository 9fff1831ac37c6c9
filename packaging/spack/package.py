# Spack recipe: put this folder into a repository of yours as packages/omnipilot, then `spack install omnipilot`.
from spack.package import *


class Omnipilot(MakefilePackage):
    """Chooses GPU type, tensor parallel and precision of LLM serving jobs when they are submitted to Slurm."""

    homepage = "https://example.invalid/omnipilot"
    git = "https://example.invalid/omnipilot.git"

    license("Apache-2.0")

    version("main", branch="main")
    version("0.1.0", tag="v0.1.0")

    depends_on("rust@1.95:", type="build")
    depends_on("c", type="build")  # SQLite is compiled in
    depends_on("gmake", type="build")

    def build(self, spec, prefix):
        # The rest of the Makefile looks for what tests need.
        cargo = Executable("cargo")
        cargo("rustc", "--profile", "plugin", "--locked", "-p", "spank-plugin", "--crate-type", "cdylib")
        cargo("build", "--release", "--locked", "-p", "spank-advisor", "-p", "submit-wrapper")

    def install(self, spec, prefix):
        target = join_path(self.stage.source_path, "target")
        with set_env(
            PREFIX=prefix,
            OMNIPILOT_PLUGIN=join_path(target, "plugin", "libspank_omnipilot.so"),
            OMNIPILOT_ADVISOR=join_path(target, "release", "libomnipilot_advisor.so"),
            OMNIPILOT_BIN=join_path(target, "release", "omnipilot"),
        ):
            Executable("packaging/install.sh")("install")
