# Spack recipe: put this folder into a repository of yours as packages/omnipilot, then `spack install omnipilot`.
from spack.package import *

try:
    # Since Spack 1.0 build systems are part of the package repository.
    from spack_repo.builtin.build_systems.generic import Package
except ImportError:
    pass


class Omnipilot(Package):
    """Chooses GPU type, tensor parallel and precision of LLM serving jobs when they are submitted to Slurm."""

    homepage = "https://example.invalid/omnipilot"
    git = "https://example.invalid/omnipilot.git"

    license("Apache-2.0")

    # Releases are added here with their tag and commit.
    version("main", branch="main")

    depends_on("rust@1.95:", type="build")
    depends_on("c", type="build")  # SQLite is compiled in

    sanity_check_is_file = ["bin/omnipilot", "lib/slurm/spank_omnipilot.so", "lib/slurm/omnipilot_advisor.so"]

    def install(self, spec, prefix):
        source = self.stage.source_path
        target = join_path(source, "target")
        # Not `make build`: the Makefile looks for what tests need. Dependencies come from crates.io, as Cargo.lock has them, into the stage.
        cargo = Executable("cargo")
        cargo.add_default_env("CARGO_HOME", join_path(self.stage.path, "cargo"))
        cargo.add_default_env("CARGO_TARGET_DIR", target)
        cargo("rustc", "--profile", "plugin", "--locked", "-p", "spank-plugin", "--crate-type", "cdylib")
        cargo("build", "--release", "--locked", "-p", "submit-wrapper")
        cargo("rustc", "--release", "--locked", "-p", "spank-advisor", "--crate-type", "cdylib")

        installer = Executable(join_path(source, "packaging", "install.sh"))
        installer.add_default_env("PREFIX", prefix)
        installer.add_default_env("OMNIPILOT_PLUGIN", join_path(target, "plugin", "libspank_omnipilot.so"))
        installer.add_default_env("OMNIPILOT_ADVISOR", join_path(target, "release", "libomnipilot_advisor.so"))
        installer.add_default_env("OMNIPILOT_BIN", join_path(target, "release", "omnipilot"))
        installer("install")
