# Spack: put this file into packages/zkrsync of a repository of yours, then "spack install zkrsync".
from spack.package import *


class Zkrsync(MakefilePackage):
    """Spread the rsync of one huge directory tree over many nodes, coordinated by ZooKeeper."""

    homepage = "https://github.com/hpcugent/vsc-zk"
    git = "https://github.com/hpcugent/vsc-zk.git"

    license("LGPL-2.1-or-later")

    version("main", branch="main")

    depends_on("go@1.26.7:", type="build")
    depends_on("rsync@3.1:", type="run")

    def build(self, spec, prefix):
        make("build", "VERSION={0}".format(spec.version))

    def install(self, spec, prefix):
        make("install", "PREFIX={0}".format(prefix), "VERSION={0}".format(spec.version))
